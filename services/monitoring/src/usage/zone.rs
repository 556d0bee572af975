//! The clocks of a place, by which days and months begin.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use policy::Time;
use serde::Serialize;

const MICROS: i64 = 1_000_000;

/// A time zone of the IANA database; UTC when its name is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Zone {
    name: String,
    #[serde(skip)]
    clocks: TimeZone,
}

impl Zone {
    /// The zone of that name, when there is one.
    pub(crate) fn named(name: String) -> Option<Self> {
        let clocks = if name.is_empty() { Some(TimeZone::UTC) } else { TimeZone::get(&name).ok() };
        clocks.map(|clocks| Self { name, clocks })
    }

    /// UTC.
    pub(crate) const fn utc() -> Self {
        Self { name: String::new(), clocks: TimeZone::UTC }
    }

    /// Its name as databases know it.
    pub(crate) fn name(&self) -> &str {
        if self.name.is_empty() { "UTC" } else { &self.name }
    }

    /// How far its clocks are ahead of UTC between two times, in microseconds: each until the time beside it, the last one to
    /// the end.
    pub(crate) fn offsets(&self, start: Time, end: Time) -> (Vec<(Time, i64)>, i64) {
        let (first, last) = (timestamp(start), timestamp(end));
        let ahead = |offset: jiff::tz::Offset| i64::from(offset.seconds()) * MICROS;
        let (mut until, mut now) = (Vec::new(), ahead(self.clocks.to_offset(first)));
        for change in self.clocks.following(first).take_while(|change| change.timestamp() < last) {
            until.push((Time(change.timestamp().as_microsecond()), now));
            now = ahead(change.offset());
        }
        (until, now)
    }

    /// What its clocks show at a time, as the microseconds that UTC's would need to show it.
    pub(crate) fn shown(&self, time: Time) -> i64 {
        let shown = self.clocks.to_datetime(timestamp(time));
        shown.to_zoned(TimeZone::UTC).map_or(time.0, |shown| shown.timestamp().as_microsecond())
    }

    /// The time at which a day begins whose midnight they show so; where midnight is skipped, the day begins when it does.
    pub(crate) fn begins(&self, shown: i64) -> Time {
        let day: DateTime = TimeZone::UTC.to_datetime(timestamp(Time(shown)));
        let begin = day.date().to_zoned(self.clocks.clone());
        let begin = begin.and_then(|midnight| midnight.start_of_day());
        begin.map_or(Time(shown), |begin| Time(begin.timestamp().as_microsecond()))
    }
}

fn timestamp(time: Time) -> Timestamp {
    Timestamp::from_microsecond(time.0).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        Time(text.parse::<Timestamp>().unwrap().as_microsecond())
    }

    #[test]
    fn clocks_change_when_they_do_and_days_begin_by_them() {
        let berlin = Zone::named("Europe/Berlin".into()).unwrap();
        let hours = 3_600 * MICROS;
        let (changes, last) = berlin.offsets(at("2026-03-01T00:00:00Z"), at("2026-12-01T00:00:00Z"));
        let expected = [(at("2026-03-29T01:00:00Z"), hours), (at("2026-10-25T01:00:00Z"), 2 * hours)];
        assert_eq!((changes.as_slice(), last), (expected.as_slice(), hours));
        let midnight = at("2026-06-30T22:00:00Z");
        assert_eq!(berlin.shown(midnight), at("2026-07-01T00:00:00Z").0);
        assert_eq!(berlin.begins(at("2026-07-01T00:00:00Z").0), midnight);
        assert_eq!(Zone::named("Europe/Atlantis".into()), None);
        assert_eq!(
            Zone::named(String::new()).unwrap().offsets(Time(0), at("2026-01-01T00:00:00Z")),
            (vec![], 0)
        );
    }
}
