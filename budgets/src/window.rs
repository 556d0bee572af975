//! The days and months of a time zone, as spans of time.

use jiff::{
    Timestamp, ToSpan, Zoned,
    civil::{Date, Weekday},
    tz::TimeZone,
};

/// How often a budget begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// From one midnight to the next.
    Day,
    /// From the midnight that begins the first of a month to that of the next.
    Month,
}

/// A calendar: periods of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    period: Period,
    zone: TimeZone,
}

/// A span of time in microseconds since 1970: `start` belongs to it, `end` does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// Its first instant.
    pub start: i64,
    /// The first instant after it.
    pub end: i64,
}

/// No time zone has that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no time zone of the IANA database, like Europe/Berlin")]
pub struct UnknownZone;

impl Window {
    /// Whether a time is in it.
    #[must_use]
    pub const fn contains(&self, time: i64) -> bool {
        self.start <= time && time < self.end
    }
}

impl Calendar {
    /// The periods of a place, `Europe/Berlin`; `UTC` when it is empty.
    ///
    /// # Errors
    /// When there is no such place.
    pub fn new(period: Period, zone: &str) -> Result<Self, UnknownZone> {
        let zone = if zone.is_empty() { Ok(TimeZone::UTC) } else { TimeZone::get(zone) };
        Ok(Self { period, zone: zone.map_err(|_| UnknownZone)? })
    }

    /// The window that a time is in. A day on which clocks change has 23 or 25 hours; where midnight is skipped, the day
    /// begins when it does.
    #[must_use]
    pub fn window(&self, time: i64) -> Window {
        let date = self.date(time);
        let (first, next) = match self.period {
            Period::Day => (date, date.saturating_add(1.day())),
            Period::Month => {
                let first = date.first_of_month();
                (first, first.saturating_add(1.month()))
            }
        };
        Window { start: self.begins(first), end: self.begins(next) }
    }

    /// The days of a window, each as a window with its day of the week, Monday 0.
    #[must_use]
    pub fn days(&self, window: Window) -> Vec<(Window, u8)> {
        let (mut date, mut days) = (self.date(window.start), Vec::new());
        loop {
            let next = date.saturating_add(1.day());
            let day = Window { start: self.begins(date), end: self.begins(next) };
            if day.start >= window.end || next == date {
                return days;
            }
            days.push((day, weekday(date.weekday())));
            date = next;
        }
    }

    /// The time of the midnight that begins the day so many days before the one of `time`.
    #[must_use]
    pub fn days_before(&self, time: i64, days: i64) -> i64 {
        self.begins(self.date(time).saturating_sub(days.days()))
    }

    fn date(&self, time: i64) -> Date {
        let time = Timestamp::from_microsecond(time).unwrap_or(Timestamp::UNIX_EPOCH);
        Zoned::new(time, self.zone.clone()).date()
    }

    fn begins(&self, date: Date) -> i64 {
        date.to_zoned(self.zone.clone())
            .and_then(|midnight| midnight.start_of_day())
            .map_or(i64::MAX, |begin| begin.timestamp().as_microsecond())
    }
}

fn weekday(day: Weekday) -> u8 {
    day.to_monday_zero_offset().unsigned_abs()
}
