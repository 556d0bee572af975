//! Forecasts against arithmetic by hand.

use budgets::{
    forecast::{Day, Forecast, Known, Method, forecast},
    window::{Calendar, Period},
};
use jiff::Timestamp;

fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_microsecond()
}

/// June 2026 has 30 days and begins on a Monday.
fn june(now: &str, spent: f64, limit: f64, history: &[Day]) -> Forecast {
    let calendar = Calendar::new(Period::Month, "UTC").unwrap();
    let window = calendar.window(at("2026-06-10T00:00:00Z"));
    let days = calendar.days(window);
    forecast(&Known { now: at(now), window, days: &days, spent, limit: Some(limit), history })
}

fn same(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-6
}

#[test]
fn with_few_days_it_is_a_straight_line() {
    let told = june("2026-06-04T00:00:00Z", 30.0, 200.0, &[Day { weekday: 0, spent: 10.0 }; 2]);
    assert_eq!((told.method, told.p90), (Method::Linear, None));
    assert!(same(told.p50, 300.0), "{told:?}");
    // 170 are left at 10 a day.
    assert_eq!(told.exhausted, Some(at("2026-06-21T00:00:00Z")));
    assert_eq!(june("2026-06-04T00:00:00Z", 30.0, 300.0, &[]).exhausted, None, "just enough");
    assert_eq!(june("2026-06-01T00:00:00Z", 0.0, 5.0, &[]).exhausted, None, "nothing was spent");
    let over = june("2026-06-04T00:00:00Z", 30.0, 20.0, &[]);
    assert_eq!(over.exhausted, Some(at("2026-06-04T00:00:00Z")), "it is over already");
}

#[test]
fn each_day_to_come_costs_what_its_days_of_the_week_did() {
    // Four weeks: 10 on workdays, 1 at weekends, each exactly.
    let history: Vec<Day> =
        (0..28).map(|day| Day { weekday: day % 7, spent: if day % 7 < 5 { 10.0 } else { 1.0 } }).collect();
    // From Monday the 8th at noon: half a Monday, then 16 workdays and 6 days of weekends.
    let told = june("2026-06-08T12:00:00Z", 60.0, 100.0, &history);
    assert_eq!(told.method, Method::Weekdays);
    assert!(same(told.p50, 60.0 + 5.0 + 160.0 + 6.0), "{told:?}");
    assert!(same(told.p90.unwrap(), told.p50), "days that never differ have no range");
    // 40 are left: 5 today, then 10 a day: at noon of Friday the 12th.
    assert_eq!(told.exhausted, Some(at("2026-06-12T12:00:00Z")));
}

#[test]
fn days_that_differ_make_a_range() {
    // Half of the days 8, half 12, and Mondays alike: a deviation of 2.
    let history: Vec<Day> = (0..28)
        .map(|day| Day { weekday: day % 7, spent: if day / 7 % 2 == 0 { 8.0 } else { 12.0 } })
        .collect();
    let told = june("2026-06-06T00:00:00Z", 50.0, 1_000.0, &history);
    assert!(same(told.p50, 300.0), "{told:?}");
    // 25 days: 1.2816 · 2 · 5.
    assert!(same(told.p90.unwrap(), 300.0 + 12.816), "{told:?}");
    assert_eq!(told.exhausted, None);
}
