//! The crate as monitoring uses it: rules over samples, alerts over time, messages of a desk.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod burn;
mod desk;
mod expressions;
mod files;
mod states;

use alerts::{Labels, Memory, Rule, RuleText, Sample, Time};
use std::time::Duration;

/// Noon of a day in May 2026.
const NOON: Time = Time(1_778_846_400_000_000);

fn at(seconds: u64) -> Time {
    NOON.plus(Duration::from_secs(seconds))
}

fn labels(text: &[(&str, &str)]) -> Labels {
    text.iter().map(|(name, value)| (*name, *value)).collect()
}

/// Samples of one series, ten seconds apart, the last at noon.
fn until_noon(memory: &mut Memory, name: &str, of: &[(&str, &str)], values: &[f64]) {
    for (before, value) in (0..values.len() as u64).rev().zip(values) {
        let at = NOON.minus(Duration::from_secs(before * 10));
        memory.add(name, labels(of), Sample { at, value: *value });
    }
}

fn rule(expression: &str, change: impl FnOnce(&mut RuleText)) -> Rule {
    let mut text = RuleText { alert: "Test".into(), expr: expression.into(), ..RuleText::default() };
    change(&mut text);
    Rule::try_from(&text).unwrap_or_else(|fault| unreachable!("{expression}: {fault}"))
}
