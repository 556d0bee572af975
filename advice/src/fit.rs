//! Better-fitting instances: two pools served the same model, and one of them does the same work for less.

use crate::{Advice, Confidence, Kind, MONTH, Pool, Told, input, withheld};

/// The dearer pool's price for a million weighted tokens, of which the cheaper one's is at most so much.
const CHEAPER: f64 = 0.9;
/// Weighted tokens of a model in a pool, below which it says nothing.
const LEAST_WORK: f64 = 100_000.0;

/// Whether a model that two pools served would cost less in the other one.
pub fn fit(model: &str, one: &Pool, other: &Pool) -> Told {
    let subject = format!("{model}: {} and {}", one.name, other.name);
    for pool in [one, other] {
        if let Some(because) = pool.lacks() {
            return withheld(Kind::Instance, &subject, format!("{}: {because}", pool.name));
        }
        if pool.models.get(model).copied().unwrap_or(0.0) < LEAST_WORK {
            let because =
                format!("{}: it did less than {LEAST_WORK:.0} weighted tokens of the model", pool.name);
            return withheld(Kind::Instance, &subject, because);
        }
    }
    let (Some(first), Some(second)) = (million(one), million(other)) else {
        return withheld(Kind::Instance, &subject, "the price of the GPUs of one of them is not known");
    };
    let (dear, cheap, most, least) =
        if first >= second { (one, other, first, second) } else { (other, one, second, first) };
    if least > most * CHEAPER {
        return withheld(Kind::Instance, &subject, "they cost nearly the same for the same work");
    }
    let work = dear.models.get(model).copied().unwrap_or(0.0) / dear.hours.len() as f64;
    let said = one.capacity_said && other.capacity_said;
    let (sure, because) = dear.confidence().min(cheap.confidence());
    Ok(Advice {
        kind: Kind::Instance,
        subject,
        text: format!("Serve {model} with instances like those of {} in place of {}.", cheap.name, dear.name),
        saving: work / 1e6 * (most - least) * MONTH,
        inputs: vec![
            input("work", work, "weighted tokens of the model an hour in the dearer pool"),
            input("dear", most, "dollars for a million weighted tokens there, full"),
            input("cheap", least, "dollars for a million weighted tokens in the other, full"),
        ],
        formula: "price of a million = price of a GPU and hour / capacity × 1,000,000; \
                  saving = work / 1,000,000 × (dear − cheap) × 730",
        confidence: if said { sure } else { Confidence::Low },
        because,
    })
}

/// Dollars for a million weighted tokens when it is full.
fn million(pool: &Pool) -> Option<f64> {
    (pool.capacity > 0.0).then_some(())?;
    Some(pool.price? / pool.capacity * 1e6)
}
