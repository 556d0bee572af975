//! A thousand rules over an hour of samples, as monitoring holds them: what one round costs.

use alerts::{Labels, Memory, Rule, RuleText, Sample, Time, Track, evaluate};
use criterion::{Criterion, criterion_group, criterion_main};
use std::{hint::black_box, time::Duration};

const RULES: usize = 1_000;
const SERIES: usize = 10;

/// Ten series of each of a hundred names, a sample every ten seconds for an hour.
fn memory(now: Time) -> Memory {
    let mut memory = Memory::default();
    for step in (0..360).rev() {
        let at = now.minus(Duration::from_secs(step * 10));
        for name in 0..100 {
            for series in 0..SERIES {
                let labels = Labels::from_iter([("engine", format!("http://10.0.0.{series}:8000"))]);
                let value = (step as usize * (series + 1) % 97) as f64;
                memory.add(format!("metric_{name}"), labels, Sample { at, value });
            }
        }
    }
    memory
}

/// Plain comparisons, means, rates and ratios, a quarter each.
fn rules() -> Vec<Rule> {
    let rules = (0..RULES).map(|number| {
        let name = number % 100;
        let expr = match number % 4 {
            0 => format!("metric_{name} > 90"),
            1 => format!("avg by (engine) (avg_over_time(metric_{name}[5m])) > 90"),
            2 => format!("sum(rate(metric_{name}[5m])) > 1e9"),
            _ => format!(
                "sum(rate(metric_{name}[30m])) / sum(rate(metric_{}[30m])) > 14.4 * 0.001",
                (name + 1) % 100
            ),
        };
        Rule::try_from(&RuleText { alert: format!("rule {number}"), expr, ..RuleText::default() })
    });
    rules.filter_map(Result::ok).collect()
}

fn round(criterion: &mut Criterion) {
    let now = Time(1_778_846_400_000_000);
    let (memory, rules) = (memory(now), rules());
    assert_eq!(rules.len(), RULES);
    let mut tracks = vec![Track::default(); RULES];
    criterion.bench_function("1,000 rules, one round", |bencher| {
        bencher.iter(|| {
            for (rule, track) in rules.iter().zip(&mut tracks) {
                black_box(track.step(rule, &evaluate(&rule.expression, &memory, now), now));
            }
        });
    });
}

criterion_group!(benches, round);
criterion_main!(benches);
