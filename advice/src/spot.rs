//! Spot share: instances that a cloud may take away cost less. What every hour needs stays; what only some hours need may go.

use crate::{Advice, Confidence, FEWEST_HOURS, Kind, MONTH, Pool, Told, input, withheld};

/// The part of requests that may be cut off by it.
const ERRORS: f64 = 0.001;

/// How many instances of a pool could be on spot.
pub fn spot(pool: &Pool) -> Told {
    if let Some(because) = pool.lacks() {
        return withheld(Kind::Spot, &pool.name, because);
    }
    let (Some(price), Some(cheap)) = (pool.price, pool.spot_price) else {
        return withheld(Kind::Spot, &pool.name, "its price on spot, or that beside it, is not known");
    };
    let hours = pool.hours.len() as f64;
    let base = pool.hours.iter().map(|hour| pool.needed(hour)).fold(f64::INFINITY, f64::min);
    let (instances, on_spot) = (pool.instance_hours(), pool.hours.iter().map(|hour| hour.spot).sum::<f64>());
    let could = pool.hours.iter().map(|hour| (hour.instances - base).max(0.0)).sum::<f64>();
    // Where none was on spot, nothing is known of how often they are taken away: one is a trial.
    let known = on_spot >= FEWEST_HOURS as f64;
    let more = if known { could - on_spot } else { (could - on_spot).min(hours) } / hours;
    if cheap >= price || more < 0.5 {
        return withheld(
            Kind::Spot,
            &pool.name,
            format!("{more:.2} instances more could be on spot: it fits"),
        );
    }
    let cut_off = if known { pool.cut_off as f64 / on_spot * more * hours } else { 0.0 };
    if cut_off > ERRORS * pool.requests as f64 {
        let because = format!(
            "{} instances were taken away and cut off {} requests: more of them would cut off {cut_off:.0} in the same time",
            pool.preemptions, pool.cut_off
        );
        return withheld(Kind::Spot, &pool.name, because);
    }
    let (sure, why) = pool.confidence();
    let (confidence, because) = match known {
        true => (sure, why),
        false => (Confidence::Low, "how often the cloud takes instances away is not known: try one".into()),
    };
    Ok(Advice {
        kind: Kind::Spot,
        subject: pool.name.clone(),
        text: format!(
            "Let {more:.1} more instances of {} be on spot; {base:.0} that every hour needs stay as they are.",
            pool.name
        ),
        saving: more * pool.gpus * (price - cheap) * MONTH,
        inputs: vec![
            input("instances", instances / hours, "instances on the mean"),
            input("base", base, "instances that every hour needs"),
            input("on spot", on_spot / hours, "instances on the mean"),
            input("more", more, "instances on the mean"),
            input("gpus", pool.gpus, "GPUs of an instance"),
            input("price", price, "dollars of a GPU and hour"),
            input("spot price", cheap, "dollars of a GPU and hour"),
            input("preemptions", pool.preemptions as f64, "instances taken away"),
            input("cut off", pool.cut_off as f64, "requests"),
            input("requests", pool.requests as f64, "requests"),
        ],
        formula: "more = mean(max(0, instances − base)) − on spot; at most 1 while on spot is less than 24 instance-hours; \
                  cut off / instance-hours on spot × more × hours ≤ 0.001 × requests; \
                  saving = more × gpus × (price − spot price) × 730",
        confidence,
        because,
    })
}
