//! Each piece of advice against numbers that were worked out by hand, and what is not advised.

mod fit;
mod idle;
mod model;
mod spot;

use advice::{Hour, Pool};

/// A pool of instances of two GPUs at 3 dollars an hour, 1 on spot, each GPU full at 1,000,000 weighted tokens an hour: at a
/// target of 0.8 an instance is given 1,600,000.
fn pool(hours: Vec<Hour>) -> Pool {
    Pool {
        name: "a100".into(),
        gpus: 2.0,
        price: Some(3.0),
        spot_price: Some(1.0),
        capacity: 1_000_000.0,
        capacity_said: true,
        hours,
        requests: 100_000,
        ..Pool::default()
    }
}

/// So many hours with so many instances, of which some are on spot, and so much work.
fn hours(count: usize, instances: f64, spot: f64, work: f64) -> Vec<Hour> {
    vec![Hour { instances, spot, work }; count]
}

fn near(one: f64, other: f64) {
    assert!((one - other).abs() < 1e-6, "{one} is not {other}");
}
