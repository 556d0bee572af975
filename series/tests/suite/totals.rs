//! Increases from totals.

use crate::{counter, gauge, histogram, labels};
use series::{Labels, Sample, Totals, Value};

fn rose(samples: &[Sample]) -> Vec<(&str, f64)> {
    let of = |sample: &Sample| match &sample.value {
        Value::Counter(increase) => *increase,
        Value::Gauge(gauge) => gauge.last,
        Value::Histogram(buckets) => buckets.count(),
    };
    samples.iter().map(|sample| (&*sample.name, of(sample))).collect::<Vec<_>>()
}

#[test]
fn a_total_that_was_counted_before_anybody_looked_tells_with_its_second_reading() {
    let mut totals = Totals::default();
    let page = |value: f64| [counter("requests", Labels::default(), value)];
    assert!(totals.increases(page(100.0)).is_empty());
    assert_eq!(rose(&totals.increases(page(107.0))), [("requests", 7.0)]);
    assert_eq!(rose(&totals.increases(page(107.0))), [("requests", 0.0)], "looked at, and stood still");
    assert_eq!(rose(&totals.increases(page(3.0))), [("requests", 3.0)], "it began again at zero");
}

#[test]
fn a_series_that_appears_between_two_readings_began_at_zero() {
    let mut totals = Totals::default();
    totals.increases([counter("errors", labels([("kind", "a")]), 5.0)]);
    let page =
        [counter("errors", labels([("kind", "a")]), 5.0), counter("errors", labels([("kind", "b")]), 1.0)];
    assert_eq!(rose(&totals.increases(page)), [("errors", 0.0), ("errors", 1.0)]);
    let mut ours = Totals::from_start();
    assert_eq!(rose(&ours.increases([counter("errors", Labels::default(), 2.0)])), [("errors", 2.0)]);
}

#[test]
fn histograms_rise_by_bucket_and_gauges_stay_what_they_are() {
    let mut totals = Totals::default();
    totals.increases([histogram("times", Labels::default(), [1.0, 2.0, 3.0, 4.0])]);
    let now = histogram("times", Labels::default(), [1.0, 4.0, 3.0, 5.0]);
    let increases = totals.increases([now, gauge("free", Labels::default(), -2.5)]);
    let Value::Histogram(buckets) = &increases[0].value else { unreachable!("it is a histogram") };
    assert_eq!(buckets.counts(), [0.0, 2.0, 0.0, 1.0]);
    assert_eq!(rose(&increases), [("times", 3.0), ("free", -2.5)]);
    let again = totals.increases([histogram("times", Labels::default(), [1.0, 0.0, 0.0, 0.0])]);
    assert_eq!(rose(&again), [("times", 1.0)], "it began again at zero");
}

#[test]
fn what_left_the_page_and_came_back_is_new() {
    let mut totals = Totals::default();
    totals.increases([counter("requests", Labels::default(), 5.0)]);
    totals.increases([]);
    assert_eq!(rose(&totals.increases([counter("requests", Labels::default(), 9.0)])), [("requests", 9.0)]);
}
