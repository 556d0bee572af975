//! What is promised of series, held against values that were computed otherwise.
#![expect(clippy::unwrap_used, reason = "test code: whatever is not as expected fails the test")]

mod buckets;
mod memory;
mod page;
mod query;
mod totals;

use series::{At, Labels, Sample, Value};
use std::sync::Arc;

/// The labels `name="value"`.
fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    pairs.into_iter().collect()
}

fn gauge(name: &str, labels: Labels, value: f64) -> Sample {
    Sample { name: name.into(), labels, value: Value::gauge(value).unwrap() }
}

fn counter(name: &str, labels: Labels, increase: f64) -> Sample {
    Sample { name: name.into(), labels, value: Value::counter(increase).unwrap() }
}

/// A histogram with the bounds 1, 2 and 4.
fn histogram(name: &str, labels: Labels, counts: [f64; 4]) -> Sample {
    let buckets = series::Buckets::new(Arc::from([1.0, 2.0, 4.0]), counts.to_vec(), 0.0).unwrap();
    Sample { name: name.into(), labels, value: Value::Histogram(Arc::new(buckets)) }
}

/// A time that is the beginning of an hour.
const BEGIN: At = At(1_800_000_000);
