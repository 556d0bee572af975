//! What a round over a thousand rules costs, over what monitoring remembers and what it has read of the days before.
//!
//! `a round` has plain comparisons, means, rates and ratios over windows of up to half an hour, a quarter each, of a hundred
//! names with ten series. `burn rates` are the shipped ones over six hours, a day and three, of five hundred series.

use alerts::{Evaluation, Measured, Past, Rule, RuleText, Time, Track, defaults, evaluate, long_windows};
use criterion::{Criterion, criterion_group, criterion_main};
use series::{At, Kind, Labels, Limits, Memory, Point, Sample, Selector, Series, Value};
use std::{hint::black_box, sync::Arc};

const RULES: usize = 1_000;
const NAMES: usize = 100;
const SERIES: usize = 10;
/// Series of what burn rates look at: ten models, five classes, ten ends.
const BURNING: usize = 500;
const BURN: &str = "tollgate_goodput_requests_total";
/// Noon of a day in May 2026.
const NOW: At = At(1_778_846_400);
const REMEMBERED: i64 = 7_200;

fn labels(series: usize) -> Labels {
    let ends = ["answered", "cut", "engine_failed", "no_engine", "left"];
    let end = ends[series % ends.len()].to_owned();
    [("engine", format!("http://10.0.0.{series}:8000")), ("tollgate_end", end)].into_iter().collect()
}

/// A sample of each series every ten seconds for two hours.
fn memory() -> Memory {
    let mut memory = Memory::new(Limits::default());
    let names = (0..NAMES).map(|name| (format!("metric_{name}"), SERIES));
    for (name, count) in names.chain([(BURN.to_owned(), BURNING)]) {
        for series in 0..count {
            let labels = labels(series);
            for step in 0..REMEMBERED / 10 {
                let value = Value::Counter((step as usize * (series + 1) % 97) as f64);
                let sample = Sample { name: name.as_str().into(), labels: labels.clone(), value };
                // There is room for all of them.
                let _ = memory.take(At(NOW.0 - REMEMBERED + step * 10), &sample);
            }
        }
    }
    memory
}

/// Hours of what burn rates look at.
fn past(rules: &[Rule]) -> Past {
    let until = NOW.plus(-REMEMBERED + 60);
    let name: Arc<str> = BURN.into();
    let of = |window: i64| {
        let first = NOW.plus(-window).floor(3_600);
        let hours = (0..).map(|hour| first.plus(hour * 3_600)).take_while(|at| *at < until);
        let points: Vec<Point> = hours.map(|at| Point { at, value: Value::Counter(7.0) }).collect();
        let series = (0..BURNING).map(|series| Series {
            name: Arc::clone(&name),
            labels: labels(series),
            kind: Kind::Counter,
            points: points.clone(),
        });
        series.collect()
    };
    let windows = rules.iter().flat_map(|rule| long_windows(rule, REMEMBERED));
    Past { until, series: windows.map(|(name, window)| ((name, window), of(window))).collect() }
}

/// Plain comparisons, means, rates and ratios, a quarter each.
fn rules() -> Vec<Rule> {
    let rules = (0..RULES).map(|number| {
        let name = number % NAMES;
        let next = (name + 1) % NAMES;
        let expr = match number % 4 {
            0 => format!("metric_{name} > 90"),
            1 => format!("avg by (engine) (avg_over_time(metric_{name}[5m])) > 90"),
            2 => format!("sum(rate(metric_{name}[5m])) > 1e9"),
            _ => format!("sum(rate(metric_{name}[30m])) / sum(rate(metric_{next}[30m])) > 14.4 * 0.001"),
        };
        Rule::try_from(&RuleText { alert: format!("rule {number}"), expr, ..RuleText::default() })
    });
    rules.filter_map(Result::ok).collect()
}

fn burning() -> Vec<Rule> {
    let shipped = defaults().unwrap_or_default();
    let burning = shipped.iter().filter(|text| text.alert == "ErrorBudgetBurn");
    burning.filter_map(|text| Rule::try_from(text).ok()).collect()
}

fn look(rules: &[Rule], tracks: &mut [Track], memory: &Memory, past: &Past) {
    let remembered = |selector: &Selector, from, until| memory.select(selector, from, until);
    let measured = Measured::new(&remembered, memory.step(), past);
    let now = Time(NOW.0 * 1_000_000);
    for (rule, track) in rules.iter().zip(tracks) {
        let found: Evaluation = evaluate(&rule.expression, &measured, now);
        black_box(track.step(rule, &found, now));
    }
}

fn rounds(criterion: &mut Criterion) {
    let (memory, rules, burning) = (memory(), rules(), burning());
    assert_eq!((rules.len(), burning.len()), (RULES, 4));
    let past = past(&burning);
    for (name, rules) in [("a round", rules), ("burn rates", burning)] {
        let mut tracks = vec![Track::default(); rules.len()];
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| look(&rules, &mut tracks, &memory, &past));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = rounds
}
criterion_main!(benches);
