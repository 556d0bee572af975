//! What is computed, against what was computed by hand.

use crate::{BEGIN, counter, gauge, histogram, labels};
use series::{Across, Answer, Labels, Limits, Memory, Over, Query, Selector, Series};

/// Two engines over ten minutes: one makes 1 call a second, the other 3 in its second half alone.
fn world() -> Memory {
    let mut memory = Memory::new(Limits::default());
    for step in 0..60_i32 {
        let at = BEGIN.plus(i64::from(step) * 10);
        memory.take(at, &counter("calls", labels([("engine", "a"), ("model", "tiny")]), 10.0)).unwrap();
        memory.take(at, &gauge("load", labels([("engine", "a")]), f64::from(step))).unwrap();
        memory.take(at, &histogram("times", labels([("engine", "a")]), [10.0, 0.0, 0.0, 0.0])).unwrap();
        if step >= 30 {
            memory.take(at, &counter("calls", labels([("engine", "b"), ("model", "tiny")]), 30.0)).unwrap();
            memory.take(at, &gauge("load", labels([("engine", "b")]), 100.0)).unwrap();
            memory.take(at, &histogram("times", labels([("engine", "b")]), [0.0, 0.0, 10.0, 0.0])).unwrap();
        }
    }
    memory
}

fn of(memory: &Memory, name: &str) -> Vec<Series> {
    memory.select(&Selector::named(name), BEGIN, BEGIN.plus(600))
}

fn query(over: Over, across: Across, by: &[&str], window: i64) -> Query {
    Query { over, across, by: by.iter().map(|name| (*name).into()).collect(), window }
}

fn now(series: &[Series], over: Over, across: Across, by: &[&str], window: i64) -> Vec<Option<f64>> {
    let answers = query(over, across, by, window).at(series, BEGIN.plus(600)).unwrap();
    answers.into_iter().map(|(_, value)| value).collect()
}

#[test]
fn counters_rise_and_their_rates_add_up() {
    let calls = of(&world(), "calls");
    assert_eq!(now(&calls, Over::Increase, Across::Sum, &[], 60), [Some(240.0)]);
    assert_eq!(now(&calls, Over::Rate, Across::Sum, &[], 60), [Some(4.0)]);
    assert_eq!(now(&calls, Over::Rate, Across::Sum, &["engine"], 60), [Some(1.0), Some(3.0)]);
    assert_eq!(now(&calls, Over::Rate, Across::Sum, &["model"], 600), [Some(4.0)], "b since it is there");
    assert_eq!(now(&calls, Over::Rate, Across::Max, &[], 60), [Some(3.0)]);
    assert_eq!(now(&calls, Over::Rate, Across::Mean, &[], 60), [Some(2.0)]);
}

#[test]
fn what_is_over_still_counts_in_its_window() {
    let mut memory = Memory::new(Limits::default());
    memory.take(BEGIN, &counter("calls", Labels::default(), 60.0)).unwrap();
    let calls = of(&memory, "calls");
    let rate = query(Over::Rate, Across::Sum, &[], 60);
    let at = |seconds: i64| rate.at(&calls, BEGIN.plus(seconds)).unwrap()[0].1;
    assert_eq!((at(10), at(60), at(70)), (Some(6.0), Some(1.0), None));
}

#[test]
fn gauges_are_read_over_time_and_across() {
    let load = of(&world(), "load");
    assert_eq!(now(&load, Over::Last, Across::Sum, &[], 60), [Some(159.0)]);
    assert_eq!(now(&load, Over::Min, Across::Min, &[], 60), [Some(54.0)]);
    assert_eq!(now(&load, Over::Max, Across::Mean, &[], 60), [Some(79.5)]);
    assert_eq!(now(&load, Over::Mean, Across::Sum, &["engine"], 60), [Some(56.5), Some(100.0)]);
}

#[test]
fn quantiles_are_of_everything_in_the_window_together() {
    let times = of(&world(), "times");
    assert_eq!(now(&times, Over::Quantile(0.5), Across::Mean, &["engine"], 60), [Some(0.5), Some(3.0)]);
    assert_eq!(now(&times, Over::Quantile(0.75), Across::Mean, &[], 60), [Some(3.0)], "not the mean of two");
    assert_eq!(now(&times, Over::Within(1.0), Across::Sum, &[], 60), [Some(0.5)]);
    assert_eq!(now(&times, Over::Increase, Across::Sum, &[], 60), [Some(120.0)]);
    assert_eq!(now(&times, Over::Rate, Across::Sum, &[], 60), [Some(2.0)]);
}

#[test]
fn a_range_is_aligned_and_its_gaps_are_gaps() {
    let load = of(&world(), "load");
    let range = query(Over::Last, Across::Sum, &["engine"], 60);
    let answers = range.range(&load, BEGIN, BEGIN.plus(720), 180).unwrap();
    let expected = [
        Answer {
            labels: labels([("engine", "a")]),
            values: vec![None, Some(17.0), Some(35.0), Some(53.0), None],
        },
        Answer {
            labels: labels([("engine", "b")]),
            values: vec![None, None, Some(100.0), Some(100.0), None],
        },
    ];
    assert_eq!(answers, expected);
    assert!(range.range(&load, BEGIN.plus(10), BEGIN, 60).unwrap()[0].values.is_empty());
}

#[test]
fn what_makes_no_sense_is_refused() {
    let world = world();
    for (name, over) in [
        ("load", Over::Rate),
        ("load", Over::Quantile(0.5)),
        ("calls", Over::Last),
        ("calls", Over::Mean),
        ("times", Over::Max),
    ] {
        assert!(query(over, Across::Sum, &[], 60).at(&of(&world, name), BEGIN).is_err(), "{name} {over:?}");
    }
    assert!(now(&[], Over::Last, Across::Sum, &[], 60).is_empty());
}
