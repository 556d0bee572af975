//! What is remembered, and for how long.

use crate::{BEGIN, counter, gauge, histogram, labels};
use series::{At, Gauge, Labels, Limits, Matcher, Memory, Point, Refused, Selector, Value, roll};

fn small() -> Memory {
    Memory::new(Limits { step: 10, steps: 6, per_name: 3, names: 3 })
}

fn all(memory: &Memory, name: &str) -> Vec<(i64, Value)> {
    let series = memory.select(&Selector::named(name), At(0), BEGIN.plus(1_000_000));
    let points = series.into_iter().flat_map(|series| series.points);
    points.map(|point| (point.at.0 - BEGIN.0, point.value)).collect()
}

#[test]
fn what_was_not_measured_is_missing() {
    let mut memory = small();
    for seconds in [3, 12, 48] {
        memory.take(BEGIN.plus(seconds), &gauge("load", Labels::default(), 0.5)).unwrap();
    }
    let read = Value::Gauge(Gauge::read(0.5));
    assert_eq!(all(&memory, "load"), [(0, read.clone()), (10, read.clone()), (40, read)]);
}

#[test]
fn the_oldest_stretch_makes_room_and_a_late_report_of_it_is_refused() {
    let mut memory = small();
    for step in 0..9 {
        memory.take(BEGIN.plus(step * 10), &counter("calls", Labels::default(), 1.0)).unwrap();
    }
    assert_eq!(all(&memory, "calls").first().unwrap().0, 30);
    assert_eq!(memory.oldest(BEGIN), BEGIN.plus(30));
    let late = memory.take(BEGIN.plus(20), &counter("calls", Labels::default(), 1.0));
    assert_eq!(late, Err(Refused::Old));
    memory.take(BEGIN.plus(45), &counter("calls", Labels::default(), 2.0)).unwrap();
    assert_eq!(all(&memory, "calls")[1], (40, Value::Counter(3.0)), "two reports of one stretch add up");
    memory.take(BEGIN.plus(10_000), &counter("calls", Labels::default(), 1.0)).unwrap();
    assert_eq!(all(&memory, "calls"), [(10_000, Value::Counter(1.0))]);
}

#[test]
fn what_was_before_the_first_report_is_taken_as_far_back_as_anything_is_remembered() {
    let mut memory = small();
    for (seconds, calls) in [(60, 1.0), (30, 2.0), (10, 3.0)] {
        memory.take(BEGIN.plus(seconds), &counter("calls", Labels::default(), calls)).unwrap();
        memory.take(BEGIN.plus(seconds), &histogram("times", Labels::default(), [calls; 4])).unwrap();
    }
    let expected = [(10, 3.0), (30, 2.0), (60, 1.0)];
    assert_eq!(all(&memory, "calls"), expected.map(|(at, calls)| (at, Value::Counter(calls))));
    assert_eq!(all(&memory, "times").len(), 3);
    let too_old = memory.take(BEGIN, &counter("calls", Labels::default(), 1.0));
    assert_eq!(too_old, Err(Refused::Old));
}

#[test]
fn series_and_names_are_bounded_and_what_does_not_fit_is_counted() {
    let mut memory = small();
    for user in ["a", "b", "c"] {
        memory.take(BEGIN, &counter("calls", labels([("of", user)]), 1.0)).unwrap();
    }
    assert_eq!(memory.take(BEGIN, &counter("calls", labels([("of", "d")]), 1.0)), Err(Refused::Full));
    assert_eq!(memory.take(BEGIN, &gauge("calls", Labels::default(), 1.0)), Err(Refused::Kind));
    memory.take(BEGIN, &gauge("two", Labels::default(), 1.0)).unwrap();
    memory.take(BEGIN, &gauge("three", Labels::default(), 1.0)).unwrap();
    assert_eq!(memory.take(BEGIN, &gauge("four", Labels::default(), 1.0)), Err(Refused::Full));
    assert_eq!((memory.overflow(), memory.len()), (2, 5));
    memory.take(BEGIN.plus(1_000), &counter("calls", labels([("of", "a")]), 1.0)).unwrap();
    memory.forget(BEGIN.plus(1_000));
    assert_eq!(memory.len(), 1, "what is known no more makes room");
    memory.take(BEGIN.plus(1_000), &counter("calls", labels([("of", "d")]), 1.0)).unwrap();
}

#[test]
fn series_are_picked_by_their_labels() {
    let mut memory = Memory::new(Limits::default());
    for (engine, model) in [("a", "tiny"), ("b", "tiny"), ("c", "large")] {
        memory.take(BEGIN, &gauge("load", labels([("engine", engine), ("model", model)]), 1.0)).unwrap();
    }
    let count = |matchers: &[(&str, &str, &str)]| {
        let read =
            |(label, operator, value): &(&str, &str, &str)| Matcher::read(label, operator, value).unwrap();
        let selector = Selector { name: "load".into(), matchers: matchers.iter().map(read).collect() };
        memory.select(&selector, BEGIN, BEGIN.plus(10)).len()
    };
    assert_eq!(count(&[]), 3);
    assert_eq!(count(&[("model", "=", "tiny")]), 2);
    assert_eq!(count(&[("model", "=", "tiny"), ("engine", "!=", "a")]), 1);
    assert_eq!(count(&[("model", "=~", "ti")]), 0, "a pattern matches as a whole");
    assert_eq!(count(&[("model", "=~", "ti.*|large")]), 3);
    assert_eq!(count(&[("model", "!~", "ti.*")]), 1);
    assert_eq!(count(&[("zone", "=", "")]), 3, "a label that is not there is empty");
    assert!(Matcher::read("model", "~", "x").is_err());
    assert!(Matcher::read("model", "=~", "(").is_err());
    assert!(Matcher::read("model", "=~", "a)|(b").is_err());
    assert!(Matcher::read("model", "=~", "((a{900}){900}){900}").is_err());
}

#[test]
fn labels_have_an_order_and_no_empty_values() {
    let one = labels([("b", "2"), ("a", "1"), ("c", ""), ("a", "3")]);
    assert_eq!(one, labels([("a", "3"), ("b", "2")]));
    assert_eq!(one.to_string(), r#"{a="3",b="2"}"#);
    assert_eq!((one.get("a"), one.get("c")), (Some("3"), None));
    assert_eq!(one.only(&["b", "z"]), labels([("b", "2")]));
    assert_eq!(one.with("b", "5"), labels([("a", "3"), ("b", "5")]));
}

#[test]
fn minutes_and_hours_hold_what_their_stretches_held() {
    let mut memory = Memory::new(Limits::default());
    for step in 0..720 {
        let at = BEGIN.plus(step * 10);
        memory.take(at, &gauge("load", Labels::default(), (step % 60) as f64)).unwrap();
        memory.take(at, &counter("calls", Labels::default(), 2.0)).unwrap();
        if step >= 360 {
            memory.take(at, &histogram("times", Labels::default(), [1.0, 0.0, 0.0, 2.0])).unwrap();
        }
    }
    let points =
        |name: &str| memory.select(&Selector::named(name), BEGIN, BEGIN.plus(7_200)).pop().unwrap().points;
    for (name, expected) in [
        ("load", Value::Gauge(Gauge { last: 59.0, min: 0.0, max: 59.0, sum: 10_620.0, readings: 360.0 })),
        ("calls", Value::Counter(720.0)),
    ] {
        let hours = roll(&roll(&points(name), 60), 3_600);
        assert_eq!(hours[1], Point { at: BEGIN.plus(3_600), value: expected }, "{name}");
        assert_eq!((hours.len(), hours.clone()), (2, roll(&points(name), 3_600)), "by minutes or at once");
    }
    let hours = roll(&points("times"), 3_600);
    let Value::Histogram(buckets) = &hours[0].value else { unreachable!("it is a histogram") };
    assert_eq!((hours.len(), hours[0].at), (1, BEGIN.plus(3_600)), "an hour without any is none");
    assert_eq!(buckets.counts(), [360.0, 0.0, 0.0, 720.0]);
}
