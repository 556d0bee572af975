//! Tiers, hours and load against plain arithmetic, over the days on which the clocks change.

use crate::world::{DO, requests, settings};
use limits::{Action, Hours, Importance, Level, Limiter, Moment, Settings, Tier};
use proptest::prelude::*;
use std::time::Duration;

fn limiter(zone: &str, importance: Importance) -> Limiter {
    let action = Action { importance, limits: vec![requests(100, 60)], ..Action::default() };
    let hours = Settings::default().hours;
    let actions = [(DO.to_owned(), action)].into();
    Limiter::new(Settings { time_zone: zone.to_owned(), actions, hours, ..Settings::default() })
}

/// What the limit of 100 comes to, for every tier.
fn limits(limiter: &mut Limiter, second: i64) -> [u64; 3] {
    let rows = limiter.rows(Moment { at: Duration::ZERO, second });
    rows.iter().find(|row| &*row.action == DO).unwrap().now
}

fn second(zone: &str, local: &str) -> i64 {
    let zone = jiff::tz::TimeZone::get(zone).unwrap();
    let local: jiff::civil::DateTime = local.parse().unwrap();
    local.to_zoned(zone).unwrap().timestamp().as_second()
}

#[test]
fn the_factors_of_the_requirement_at_the_edges_of_their_hours() {
    let mut limiter = limiter("Asia/Seoul", Importance::Normal);
    for (local, free) in [
        ("2026-11-20T08:59:59", 100),
        ("2026-11-20T09:00:00", 80),
        ("2026-11-20T17:59:59", 80),
        ("2026-11-20T18:00:00", 100),
        ("2026-11-20T22:59:59", 100),
        ("2026-11-20T23:00:00", 150),
        ("2026-11-21T05:59:59", 150),
        ("2026-11-21T06:00:00", 100),
    ] {
        let now = limits(&mut limiter, second("Asia/Seoul", local));
        assert_eq!(now, [free, free * 2, free * 10], "{local}");
    }
}

#[test]
fn load_shrinks_by_importance_and_high_is_never_shrunk() {
    let (noon, night) = (12 * 3_600, 3 * 3_600);
    for (importance, level, at, free) in [
        (Importance::Normal, Level::Warning, noon, 60),
        (Importance::Normal, Level::Critical, noon, 40),
        (Importance::Normal, Level::Critical, night, 75),
        (Importance::Low, Level::Warning, noon, 45),
        (Importance::Low, Level::Critical, noon, 20),
        (Importance::High, Level::Critical, noon, 100),
        (Importance::High, Level::Calm, night, 150),
    ] {
        let mut limiter = limiter("UTC", importance);
        limiter.load(level);
        assert_eq!(limits(&mut limiter, at), [free, free * 2, free * 10], "{importance:?} {level:?}");
    }
}

/// The hour that a clock on the wall shows, by counting from the changes of the zone that were written down here.
fn wall_hour(changes: &[(i64, i64)], second: i64) -> i64 {
    let (_, offset) = changes.iter().rev().find(|(from, _)| second >= *from).unwrap();
    (second + offset).div_euclid(3_600).rem_euclid(24)
}

proptest! {
    #[test]
    fn hours_are_those_of_the_clock_on_the_wall_also_when_it_is_changed(
        minutes in prop::collection::vec(0..60 * 24 * 400_i64, 1..60), which in 0..3_usize,
    ) {
        // 2026-01-01 to 2027-02-05. New York and Berlin change in March and October or November, Lord Howe by half an hour.
        let start = 1_767_225_600;
        let (zone, changes): (_, &[(i64, i64)]) = [
            ("America/New_York", &[(0, -18_000), (1_772_953_200, -14_400), (1_793_512_800, -18_000)][..]),
            ("Europe/Berlin", &[(0, 3_600), (1_774_746_000, 7_200), (1_792_890_000, 3_600)][..]),
            ("Australia/Lord_Howe", &[(0, 39_600), (1_775_314_800, 37_800), (1_791_041_400, 39_600)][..]),
        ][which];
        let mut limiter = limiter(zone, Importance::Normal);
        for minute in minutes {
            // Moments jump about: what was looked up for another one must not stick.
            for second in [start + minute * 60, start + minute * 60 + 59] {
                let free = match wall_hour(changes, second) {
                    9..18 => 80,
                    23 | 0..6 => 150,
                    _ => 100,
                };
                prop_assert_eq!(limits(&mut limiter, second), [free, free * 2, free * 10], "{} {}", zone, second);
            }
        }
    }
}

#[test]
fn the_minutes_around_every_change_of_a_year() {
    for (zone, change, before, after) in [
        ("America/New_York", 1_772_953_200, -18_000, -14_400),
        ("America/New_York", 1_793_512_800, -14_400, -18_000),
        ("Europe/Berlin", 1_774_746_000, 3_600, 7_200),
        ("Europe/Berlin", 1_792_890_000, 7_200, 3_600),
    ] {
        let mut limiter = limiter(zone, Importance::Normal);
        // A day before to a day after, each minute.
        for second in (change - 86_400..change + 86_400).step_by(60) {
            let hour = wall_hour(&[(0, before), (change, after)], second);
            let free = if (9..18).contains(&hour) {
                80
            } else if hour == 23 || hour < 6 {
                150
            } else {
                100
            };
            assert_eq!(limits(&mut limiter, second)[0], free, "{zone} {second}");
        }
    }
}

#[test]
fn the_burst_is_there_whatever_becomes_of_the_limit_and_nobody_is_shut_out() {
    let mut limit = requests(3, 60);
    limit.burst = 2;
    let mut settings = settings(vec![limit]);
    settings.hours = vec![Hours { from: 0, to: 24, factor: 0.1 }];
    let mut limiter = Limiter::new(settings);
    limiter.load(Level::Critical);
    assert_eq!(limits(&mut limiter, 0), [1 + 2, 1 + 2, 1 + 2]);
}

#[test]
fn a_limit_that_shrinks_with_the_hour_counts_what_was_used_before() {
    let mut limiter = limiter("UTC", Importance::Normal);
    let call = crate::world::call(&limiter, 1);
    let at = |second: i64| Moment { at: Duration::from_secs(second as u64), second };
    let nine = 9 * 3_600;
    let before = (0..200).filter(|_| limiter.enter(&call, at(nine - 1)).is_ok()).count();
    assert_eq!(before, 100);
    let refused = limiter.enter(&call, at(nine)).unwrap_err();
    assert_eq!((refused.gauge.limit, refused.gauge.remaining), (80, 0));
    let admin = limits::Call { tier: Tier::Admin, ..call };
    assert_eq!(limiter.enter(&admin, at(nine)).unwrap().standing.requests.unwrap().remaining, 800 - 101);
}
