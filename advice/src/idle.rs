//! Idle capacity: hours in which a pool had more instances than its requests needed.

use crate::{Advice, Kind, MONTH, Pool, TARGET, Told, input, withheld};

/// Instances that were spare on the mean, below which nothing is advised.
const LEAST: f64 = 0.5;

/// How many instances a pool could have done without.
pub fn idle(pool: &Pool) -> Told {
    if let Some(because) = pool.lacks() {
        return withheld(Kind::Idle, &pool.name, because);
    }
    let Some(price) = pool.price else {
        return withheld(Kind::Idle, &pool.name, "the price of its GPUs is not known");
    };
    let hours = pool.hours.len() as f64;
    let needed: Vec<f64> = pool.hours.iter().map(|hour| pool.needed(hour)).collect();
    let spare = pool.hours.iter().zip(&needed).map(|(hour, needed)| (hour.instances - needed).max(0.0));
    let spare = spare.sum::<f64>() / hours;
    if spare < LEAST {
        return withheld(
            Kind::Idle,
            &pool.name,
            format!("{spare:.2} instances were spare on the mean: it fits"),
        );
    }
    let least = needed.iter().copied().fold(f64::INFINITY, f64::min);
    let most = needed.iter().copied().fold(0.0, f64::max);
    let (confidence, because) = pool.confidence();
    Ok(Advice {
        kind: Kind::Idle,
        subject: pool.name.clone(),
        text: format!(
            "Let {} have between {least:.0} and {most:.0} instances, by the hour; it had {:.1} on the mean.",
            pool.name,
            pool.instance_hours() / hours,
        ),
        saving: spare * pool.gpus * price * MONTH,
        inputs: vec![
            input("hours", hours, "hours"),
            input("instances", pool.instance_hours() / hours, "instances on the mean"),
            input("capacity", pool.capacity, "weighted tokens of a GPU and hour"),
            input("target", TARGET, "part of the capacity"),
            input("gpus", pool.gpus, "GPUs of an instance"),
            input("spare", spare, "instances on the mean"),
            input("price", price, "dollars of a GPU and hour"),
        ],
        formula: "needed = max(1, ceil(work / (capacity × gpus × target))) of every hour; \
                  spare = mean(max(0, instances − needed)); saving = spare × gpus × price × 730",
        confidence,
        because,
    })
}
