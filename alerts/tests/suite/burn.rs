//! Burn rates against windows that were worked out by hand.

use crate::{NOON, labels};
use alerts::{Memory, Rule, Sample, Time, defaults, evaluate};
use std::time::Duration;

const MINUTE: u64 = 60;

/// The shipped rule about a window.
fn burn(window: &str) -> Rule {
    let text =
        defaults().unwrap().into_iter().find(|rule| rule.labels.get("window").is_some_and(|of| of == window));
    Rule::try_from(&text.unwrap()).unwrap()
}

/// Requests and failures of each minute up to noon, `(minutes, requests, failures)` at a time, as counters.
fn traffic(parts: &[(u64, f64, f64)]) -> Memory {
    let mut memory = Memory::default();
    let minutes: u64 = parts.iter().map(|(minutes, ..)| minutes).sum();
    let (mut now, mut met, mut failed) = (NOON.minus(Duration::from_secs(minutes * MINUTE)), 0.0, 0.0);
    let mut say = |now: Time, met: f64, failed: f64| {
        for (end, value) in [("met", met), ("engine_failed", failed), ("left", met)] {
            let series = labels(&[("tollgate_end", end), ("tollgate_class", "default")]);
            memory.add("tollgate_goodput_requests_total", series, Sample { at: now, value });
        }
    };
    say(now, met, failed);
    for (minutes, requests, failures) in parts {
        for _ in 0..*minutes {
            now = now.plus(Duration::from_secs(MINUTE));
            met += requests - failures;
            failed += failures;
            say(now, met, failed);
        }
    }
    memory
}

fn value(window: &str, memory: &Memory) -> Option<f64> {
    evaluate(&burn(window).expression, memory, NOON).series.first().map(|(_, value)| *value)
}

#[test]
fn both_windows_have_to_burn() {
    // Of the hour's 60,000 requests 900 failed: 1.5 %, 15 times the goal's 0.1 %. In the last five minutes 15 % did.
    let memory = traffic(&[(55, 1_000.0, 900.0 / 55.0 * 0.2), (5, 1_000.0, 144.0)]);
    let share = (900.0 * 0.2 + 720.0) / 60_000.0;
    assert_eq!(share, 0.015);
    assert!(value("1h", &memory).is_some_and(|value| (value - share).abs() < 1e-9));

    // The same hour, but the last five minutes are well: it is over.
    let memory = traffic(&[(5, 1_000.0, 144.0), (55, 1_000.0, 900.0 / 55.0 * 0.2)]);
    assert_eq!(value("1h", &memory), None);

    // 1.44 % is exactly 14.4 times, and that is not above it.
    assert_eq!(value("1h", &traffic(&[(60, 10_000.0, 144.0)])), None);
    assert!(value("1h", &traffic(&[(60, 10_000.0, 145.0)])).is_some());
}

#[test]
fn few_requests_burn_nothing() {
    assert_eq!(value("1h", &traffic(&[(60, 1.0, 1.0)])), None, "60 requests, all of them failed");
    assert!(value("1h", &traffic(&[(60, 2.0, 1.0)])).is_some(), "120 requests");
}

#[test]
fn slower_burns_need_longer_windows() {
    // 0.7 % over six hours and the last half hour: not 14.4 times, but 6.
    let memory = traffic(&[(6 * 60, 1_000.0, 7.0)]);
    assert_eq!(value("1h", &memory), None);
    assert!(value("6h", &memory).is_some_and(|value| (value - 0.007).abs() < 1e-9));
    // 0.35 % over a day: 3 times, for a ticket.
    let memory = traffic(&[(24 * 60, 1_000.0, 3.5)]);
    assert_eq!(value("6h", &memory), None);
    assert!(value("1d", &memory).is_some_and(|value| (value - 0.0035).abs() < 1e-9));
    // 0.15 % over three days.
    let memory = traffic(&[(72 * 60, 1_000.0, 1.5)]);
    assert_eq!(value("1d", &memory), None);
    assert!(value("3d", &memory).is_some());
}

#[test]
fn the_budget_that_a_burn_spends_is_the_one_it_is_named_for() {
    // burn × window ÷ 30 days.
    for (window, burn, hours, budget) in
        [("1h", 14.4, 1.0, 0.02), ("6h", 6.0, 6.0, 0.05), ("1d", 3.0, 24.0, 0.1), ("3d", 1.0, 72.0, 0.1)]
    {
        assert!((burn * hours / 720.0 - budget) < 1e-9);
        let text = super::burn::burn(window).expression.to_string();
        assert_eq!(text.matches(&format!("{burn} * 0.001")).count(), 2, "{text}");
    }
}
