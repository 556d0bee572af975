//! Two replicas that live at once, over one database. Time is told, so that a minute takes no minute.

use super::*;
use crate::{
    MIGRATIONS,
    signals::{Asked, Span},
};
use series::{Across, Buckets, Labels, Over, Query, Selector, Value};
use shared::db::Db;
use std::sync::Arc;

const BEGIN: i64 = 1_800_000_000;

fn at_second(second: i64) -> Time {
    time(At(BEGIN + second))
}

fn sample(name: &str, instance: &str, value: Value) -> Sample {
    Sample { name: name.into(), labels: [("instance", instance)].into_iter().collect(), value }
}

/// What somebody heard of a process.
fn heard(instance: &str, calls: f64, times: [f64; 3]) -> Vec<Sample> {
    let buckets = Buckets::new(Arc::from([1.0, 2.0]), times.to_vec(), 1.0).unwrap();
    vec![
        sample("calls", instance, Value::counter(calls).unwrap()),
        sample("load", instance, Value::gauge(calls).unwrap()),
        sample("times", instance, Value::Histogram(Arc::new(buckets))),
    ]
}

async fn answers(signals: &Signals, now: Time) -> Vec<Vec<(Labels, Vec<Option<f64>>)>> {
    let mut all = Vec::new();
    for (name, over, across) in [
        ("calls", Over::Increase, Across::Sum),
        ("load", Over::Last, Across::Max),
        ("times", Over::Quantile(0.5), Across::Sum),
    ] {
        for by in [vec![], vec!["instance".into()]] {
            let query = Query { over, across, by, window: 300 };
            let asked = Asked { selector: Selector::named(name), query, span: Span::At(None) };
            let found = signals.ask(&asked, now).await.unwrap();
            all.push(found.answers.into_iter().map(|answer| (answer.labels, answer.values)).collect());
        }
    }
    all
}

#[tokio::test]
async fn replicas_answer_the_same_a_minute_later() {
    let db = Db::memory(&MIGRATIONS).await.unwrap();
    let (one, other) = (Signals::new(&db), Signals::new(&db));
    one.take(at_second(5), &heard("a:1", 3.0, [1.0, 0.0, 0.0]));
    other.take(at_second(15), &heard("b:1", 4.0, [0.0, 3.0, 0.0]));
    other.take(at_second(25), &heard("a:1", 5.0, [0.0, 0.0, 0.0]));
    assert_ne!(
        answers(&one, at_second(30)).await,
        answers(&other, at_second(30)).await,
        "each knows its own"
    );
    // Each looks every ten seconds: the first looks after the minute write it, the second ones read it.
    for second in [60, 70] {
        one.round(at_second(second), None).await;
        other.round(at_second(second), None).await;
    }
    let found = answers(&one, at_second(70)).await;
    assert_eq!(found, answers(&other, at_second(70)).await);
    assert_eq!(found[0], [(Labels::default(), vec![Some(12.0)])]);
    assert_eq!(found[1].len(), 2, "by instance, whoever heard of it");
    assert_eq!(found[4], [(Labels::default(), vec![Some(1.0 + 1.0 / 3.0)])], "of all buckets together");
    let names = |signals: &Signals| {
        let names = signals.names("", None, 10).into_iter();
        names.map(|named| (named.name, named.series)).collect::<Vec<_>>()
    };
    assert_eq!(names(&one), names(&other));
}
