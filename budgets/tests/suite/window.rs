//! Days and months of places, across changes of clocks and ends of months.

use budgets::window::{Calendar, Period, Window};
use jiff::Timestamp;
use proptest::prelude::*;

fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_microsecond()
}

fn hours(window: Window) -> i64 {
    (window.end - window.start) / 3_600_000_000
}

#[test]
fn a_day_on_which_clocks_change_has_23_or_25_hours() {
    let cases = [
        // In Berlin the 30th of March 2025 begins at 23:00 UTC and has 23 hours, the 26th of October has 25.
        ("Europe/Berlin", "2025-03-30T00:30:00Z", "2025-03-29T23:00:00Z", 23),
        ("Europe/Berlin", "2025-03-30T21:59:59Z", "2025-03-29T23:00:00Z", 23),
        ("Europe/Berlin", "2025-03-30T22:00:00Z", "2025-03-30T22:00:00Z", 24),
        ("Europe/Berlin", "2025-10-26T01:30:00Z", "2025-10-25T22:00:00Z", 25),
        ("America/New_York", "2025-11-02T05:30:00Z", "2025-11-02T04:00:00Z", 25),
        ("America/New_York", "2025-03-09T12:00:00Z", "2025-03-09T05:00:00Z", 23),
        // Half an hour of difference.
        ("Australia/Lord_Howe", "2025-10-05T00:00:00Z", "2025-10-04T13:30:00Z", 23),
        // In Beirut clocks go forward at midnight, so that day begins at one.
        ("Asia/Beirut", "2025-03-30T12:00:00Z", "2025-03-29T22:00:00Z", 23),
        ("Asia/Seoul", "2025-06-30T15:00:00Z", "2025-06-30T15:00:00Z", 24),
        ("UTC", "2025-03-30T00:30:00Z", "2025-03-30T00:00:00Z", 24),
        ("", "2024-02-29T23:59:59.999999Z", "2024-02-29T00:00:00Z", 24),
    ];
    for (zone, time, start, length) in cases {
        let window = Calendar::new(Period::Day, zone).unwrap().window(at(time));
        assert_eq!((window.start, hours(window)), (at(start), length), "{zone} {time}");
    }
}

#[test]
fn months_end_where_the_calendar_says() {
    let cases = [
        ("UTC", "2024-02-29T23:59:59Z", "2024-02-01T00:00:00Z", 29 * 24),
        ("UTC", "2025-02-28T23:59:59Z", "2025-02-01T00:00:00Z", 28 * 24),
        ("UTC", "2025-12-31T23:59:59Z", "2025-12-01T00:00:00Z", 31 * 24),
        ("UTC", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", 31 * 24),
        // The last hours of a month in UTC are the next month in Seoul.
        ("Asia/Seoul", "2025-06-30T15:00:00Z", "2025-06-30T15:00:00Z", 31 * 24),
        // March in Berlin is an hour short, October an hour long.
        ("Europe/Berlin", "2025-03-15T00:00:00Z", "2025-02-28T23:00:00Z", 31 * 24 - 1),
        ("Europe/Berlin", "2025-10-15T00:00:00Z", "2025-09-30T22:00:00Z", 31 * 24 + 1),
        ("America/New_York", "2025-11-30T23:00:00Z", "2025-11-01T04:00:00Z", 30 * 24 + 1),
    ];
    for (zone, time, start, length) in cases {
        let window = Calendar::new(Period::Month, zone).unwrap().window(at(time));
        assert_eq!((window.start, hours(window)), (at(start), length), "{zone} {time}");
    }
}

#[test]
fn a_month_has_its_days() {
    let calendar = Calendar::new(Period::Month, "Europe/Berlin").unwrap();
    let month = calendar.window(at("2025-03-15T00:00:00Z"));
    let days = calendar.days(month);
    assert_eq!(days.len(), 31);
    // The 1st of March 2025 was a Saturday.
    assert_eq!((days[0].1, days[1].1, days[2].1), (5, 6, 0));
    assert_eq!((days[0].0.start, days[30].0.end), (month.start, month.end));
    assert!(days.windows(2).all(|pair| pair[0].0.end == pair[1].0.start));
    assert_eq!(calendar.days_before(at("2025-03-31T12:00:00Z"), 2), at("2025-03-28T23:00:00Z"));
}

#[test]
fn a_place_that_is_not_there_is_refused() {
    assert!(Calendar::new(Period::Day, "Mars/Olympus").is_err());
}

proptest! {
    #[test]
    fn every_time_is_in_its_window_and_windows_touch(
        seconds in 0..4_000_000_000i64,
        zone in prop_oneof![Just("Europe/Berlin"), Just("America/New_York"), Just("Asia/Seoul"), Just("Australia/Lord_Howe"), Just("Africa/Cairo")],
        month: bool,
    ) {
        let calendar = Calendar::new(if month { Period::Month } else { Period::Day }, zone).unwrap();
        let time = seconds * 1_000_000;
        let window = calendar.window(time);
        prop_assert!(window.contains(time), "{:?}", window);
        prop_assert_eq!(calendar.window(window.start), window);
        prop_assert_eq!(calendar.window(window.end - 1), window);
        prop_assert_eq!(calendar.window(window.end).start, window.end);
        prop_assert_eq!(calendar.window(window.start - 1).end, window.start);
    }
}
