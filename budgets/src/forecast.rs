//! Where a window will end if it goes on as the days before: an estimate, and never an account, so it is in `f64`.
//!
//! Each remaining day is expected to cost the mean of its days of the week among the last 28 days, and of all days where
//! that day of the week was not seen. The range assumes that days differ from that as they did, independently:
//! p90 = p50 + 1.2816 · σ · √days, the normal distribution's 90th percentile. With less than [`FEWEST`] days of history it
//! is a straight line from the window's start.

use crate::window::Window;

/// Fewer whole days than that say nothing about days of the week.
pub const FEWEST: usize = 3;
/// Standard deviations from the middle to the 90th percentile of a normal distribution.
const Z90: f64 = 1.2816;

/// A whole day that is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Day {
    /// Monday is 0.
    pub weekday: u8,
    /// What it cost.
    pub spent: f64,
}

/// How it was worked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// From the means of the days of the week.
    Weekdays,
    /// From the time of the window that has passed.
    Linear,
}

/// An estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// How it was worked out.
    pub method: Method,
    /// At the end of the window, as likely less as more.
    pub p50: f64,
    /// Nine times of ten less than that; not known of a straight line.
    pub p90: Option<f64>,
    /// When the limit is reached at that pace, in microseconds since 1970; `None` when not in this window.
    pub exhausted: Option<i64>,
}

/// What is known at a time.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Now, in microseconds since 1970.
    pub now: i64,
    /// The window that is under way.
    pub window: Window,
    /// Its days with their days of the week.
    pub days: &'a [(Window, u8)],
    /// Spent in it so far.
    pub spent: f64,
    /// What it may cost.
    pub limit: Option<f64>,
    /// The days before today, at most 28 count.
    pub history: &'a [Day],
}

/// Where the window ends.
#[must_use]
pub fn forecast(known: &Known<'_>) -> Forecast {
    if known.history.len() < FEWEST { linear(known) } else { weekdays(known) }
}

fn linear(known: &Known<'_>) -> Forecast {
    let (passed, whole) = (known.now - known.window.start, known.window.end - known.window.start);
    let pace = if passed > 0 { known.spent / passed as f64 } else { 0.0 };
    let reached = known.limit.and_then(|limit| match limit - known.spent {
        over if over <= 0.0 => Some(known.now),
        over if pace > 0.0 => Some(known.now.saturating_add((over / pace) as i64)),
        _ => None,
    });
    Forecast {
        method: Method::Linear,
        p50: pace * whole as f64,
        p90: None,
        exhausted: reached.filter(|time| *time < known.window.end),
    }
}

fn weekdays(known: &Known<'_>) -> Forecast {
    let history = &known.history[known.history.len().saturating_sub(28)..];
    let mean = |days: &[f64]| days.iter().sum::<f64>() / days.len() as f64;
    let all: Vec<f64> = history.iter().map(|day| day.spent).collect();
    let overall = mean(&all);
    let expected: Vec<f64> = (0..7)
        .map(|weekday| {
            let same = history.iter().filter(|day| day.weekday == weekday);
            let same: Vec<f64> = same.map(|day| day.spent).collect();
            if same.is_empty() { overall } else { mean(&same) }
        })
        .collect();
    let of = |weekday: u8| expected.get(usize::from(weekday)).copied().unwrap_or(overall);
    let squares = history.iter().map(|day| (day.spent - of(day.weekday)).powi(2)).sum::<f64>();
    let deviation = (squares / history.len() as f64).sqrt();
    let (mut total, mut days, mut exhausted) = (known.spent, 0.0, None);
    if known.limit.is_some_and(|limit| known.spent >= limit) {
        exhausted = Some(known.now);
    }
    for (day, weekday) in known.days.iter().filter(|(day, _)| day.end > known.now) {
        let from = day.start.max(known.now);
        let part = (day.end - from) as f64 / (day.end - day.start) as f64;
        let cost = of(*weekday) * part;
        if let Some(limit) = known.limit.filter(|limit| exhausted.is_none() && total + cost >= *limit) {
            let share = (limit - total) / cost;
            exhausted = Some(from + ((day.end - from) as f64 * share) as i64);
        }
        (total, days) = (total + cost, days + part);
    }
    Forecast {
        method: Method::Weekdays,
        p50: total,
        p90: Some(total + Z90 * deviation * f64::sqrt(days)),
        exhausted,
    }
}
