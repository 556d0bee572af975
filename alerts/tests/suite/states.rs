//! Pending, firing, resolved; what flaps; what is missing; the past.

use crate::{NOON, at, labels, rule};
use alerts::{Change, Evaluation, Every, Memory, NoData, Sample, Severity, State, Track, replay};
use std::time::Duration;

fn seconds(seconds: u64) -> Every {
    Every(Duration::from_secs(seconds))
}

/// What is found for hosts that are wrong.
fn wrong(hosts: &[&str]) -> Evaluation {
    let series = hosts.iter().map(|host| (labels(&[("host", host)]), 7.0)).collect();
    Evaluation { series, seen: true }
}

fn changes(track: &mut Track, rule: &alerts::Rule, found: &Evaluation, now: u64) -> Vec<Change> {
    track.step(rule, found, at(now)).into_iter().map(|(_, change)| change).collect()
}

#[test]
fn what_is_wrong_for_long_enough_fires_and_resolves() {
    let rule = rule("x > 1", |text| text.pending = seconds(30));
    let mut track = Track::default();
    let mut step = |found: &Evaluation, now| changes(&mut track, &rule, found, now);
    assert_eq!(step(&wrong(&["a"]), 0), [Change::Pending]);
    assert_eq!(step(&wrong(&["a", "b"]), 20), [Change::Pending]);
    assert_eq!(step(&wrong(&["a"]), 30), [Change::Firing, Change::Dropped]);
    assert_eq!(step(&wrong(&["a"]), 40), []);
    assert_eq!(step(&wrong(&[]), 50), [Change::Resolved]);
    assert_eq!(step(&wrong(&[]), 60), []);
    assert_eq!(step(&wrong(&["a"]), 70), [Change::Pending], "it begins anew");
    assert_eq!(step(&wrong(&["a"]), 100), [Change::Firing]);
    assert_eq!(step(&wrong(&[]), 110), [Change::Resolved]);
    assert_eq!(step(&wrong(&[]), 110 + 15 * 60), [Change::Forgotten]);
}

#[test]
fn without_a_pending_time_it_fires_at_once() {
    let rule = rule("x > 1", |text| {
        text.labels.insert("severity".into(), "critical".into());
        text.labels.insert("team".into(), "{{ $labels.host }}-team".into());
        text.annotations.insert("summary".into(), "{{ $labels.host }} has {{ $value }}".into());
    });
    assert_eq!(rule.severity, Severity::Critical);
    let mut track = Track::default();
    assert_eq!(changes(&mut track, &rule, &wrong(&["a"]), 0), [Change::Firing]);
    let alert = track.alerts.values().next().unwrap();
    let expected = [("alertname", "Test"), ("host", "a"), ("severity", "critical"), ("team", "a-team")];
    assert_eq!(alert.labels, labels(&expected));
    assert_eq!((alert.annotations.get("summary"), alert.fired), ("a has 7", Some(NOON)));
}

#[test]
fn what_comes_and_goes_is_one_alert() {
    let rule = rule("x > 1", |text| text.keep_firing_for = seconds(60));
    let mut track = Track::default();
    let said: Vec<_> = (0..20)
        .flat_map(|n| {
            let found = if n % 3 == 0 { wrong(&["a"]) } else { wrong(&[]) };
            changes(&mut track, &rule, &found, n * 10)
        })
        .collect();
    assert_eq!(said, [Change::Firing]);
    // It was last wrong at 180.
    assert_eq!(changes(&mut track, &rule, &wrong(&[]), 239), []);
    assert_eq!(changes(&mut track, &rule, &wrong(&[]), 240), [Change::Resolved]);
}

#[test]
fn what_a_rule_that_is_gone_said_is_over() {
    let rule = rule("x > 1", |text| text.keep_firing_for = seconds(600));
    let mut track = Track::default();
    changes(&mut track, &rule, &wrong(&["a"]), 0);
    let mut close = |now| track.close(at(now)).into_iter().map(|(_, change)| change).collect::<Vec<_>>();
    assert_eq!((close(0), close(10), close(900)), (vec![Change::Resolved], vec![], vec![Change::Forgotten]));
}

#[test]
fn what_missing_data_mean_is_the_rules_to_say() {
    let nothing = Evaluation::default();
    for (policy, first, then) in [
        (NoData::Ok, vec![], vec![Change::Resolved]),
        (NoData::Keep, vec![], vec![]),
        (NoData::Alerting, vec![Change::Firing], vec![Change::Firing, Change::Resolved]),
    ] {
        let rule = rule("x > 1", |text| text.no_data = policy);
        assert_eq!(changes(&mut Track::default(), &rule, &nothing, 0), first, "{policy:?}");
        let mut track = Track::default();
        changes(&mut track, &rule, &wrong(&["a"]), 0);
        assert_eq!(changes(&mut track, &rule, &nothing, 10), then, "{policy:?}");
    }
}

#[test]
fn too_many_alerts_are_one_that_says_so() {
    let rule = rule("x > 1", |_| {});
    let series = (0..1_001).map(|number| (labels(&[("n", &number.to_string())]), 1.0)).collect();
    let mut track = Track::default();
    track.step(&rule, &Evaluation { series, seen: true }, NOON);
    let alert = track.alerts.values().next().unwrap();
    assert_eq!((track.alerts.len(), alert.labels.get("too_many"), alert.value), (1, "true", 1_001.0));
}

#[test]
fn the_past_is_told_as_it_would_have_been() {
    let rule = rule("x > 1", |text| text.pending = seconds(20));
    let mut memory = Memory::default();
    for (step, value) in [0.0, 3.0, 0.0, 3.0, 5.0, 4.0, 0.0, 0.0, 2.0].into_iter().enumerate() {
        memory.add("x", labels(&[("host", "a")]), Sample { at: at(step as u64 * 10), value });
    }
    let told = replay(&rule, &memory, (NOON, at(80)), Duration::from_secs(10));
    let told: Vec<_> = told.iter().map(|one| (one.since, one.fired, one.ended, one.highest)).collect();
    let expected = [
        (at(10), None, Some(at(20)), 3.0),
        (at(30), Some(at(50)), Some(at(60)), 5.0),
        (at(80), None, None, 2.0),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_track_goes_on_where_it_was_read_back() {
    let rule = rule("x > 1", |text| text.pending = seconds(30));
    let mut track = Track::default();
    changes(&mut track, &rule, &wrong(&["a"]), 0);
    assert_eq!(track.alerts.values().next().unwrap().state, State::Pending);
    let mut read = track.clone();
    assert_eq!(changes(&mut read, &rule, &wrong(&["a"]), 31), [Change::Firing]);
}
