//! Hours of the week, in UTC: what is asked every Monday at nine is expected again on Monday at nine.

use crate::store::popularity::Hour;
use policy::Time;
use std::time::Duration;

/// Microseconds of an hour, a day and a week.
const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
pub(super) const WEEK: i64 = 7 * DAY;
/// 1970 began on a Thursday.
const FROM_MONDAY: i64 = 3 * DAY;
/// Weeks that are looked back upon.
pub(super) const WEEKS: i64 = 4;

/// The hour of the week at a time.
pub(super) fn hour_of(time: Time) -> Hour {
    let since_monday = time.0 + FROM_MONDAY;
    let hour = since_monday.rem_euclid(WEEK) / HOUR;
    Hour { week: since_monday.div_euclid(WEEK), hour: i32::try_from(hour).unwrap_or(0) }
}

/// How long it is until the next full hour.
pub(super) fn until_next(now: Time) -> Duration {
    Duration::from_micros(u64::try_from(HOUR - now.0.rem_euclid(HOUR)).unwrap_or(0))
}

/// The first of the weeks that are looked back upon.
pub(super) fn weeks_before(now: Time) -> i64 {
    hour_of(now).week - WEEKS
}

/// Whether a time of the day, since midnight in UTC, was after one time and until another.
pub(super) fn is_between(time_of_day: Duration, after: Time, until: Time) -> bool {
    let time_of_day = i64::try_from(time_of_day.as_micros()).unwrap_or(0);
    let today = until.0.div_euclid(DAY) * DAY + time_of_day;
    let last = if today <= until.0 { today } else { today - DAY };
    last > after.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Monday, 5 January 1970, 0 h.
    const MONDAY: i64 = 4 * DAY;

    #[test]
    fn weeks_begin_on_mondays() {
        let at = |micros| {
            let Hour { week, hour } = hour_of(Time(micros));
            (week, hour)
        };
        assert_eq!((at(MONDAY), at(MONDAY - 1), at(MONDAY + WEEK + HOUR)), ((1, 0), (0, 167), (2, 1)));
        assert_eq!(at(0), (0, 72), "a Thursday");
        assert_eq!(hour_of(Time(MONDAY).plus(until_next(Time(MONDAY)))), Hour { week: 1, hour: 1 });
        assert_eq!(until_next(Time(MONDAY + HOUR - 1)), Duration::from_micros(1));
        assert_eq!(weeks_before(Time(MONDAY)), -3);
    }

    #[test]
    fn a_time_of_the_day_comes_once_a_day() {
        let six = Duration::from_secs(6 * 3_600);
        let at = |day: i64, hours: i64| Time(MONDAY + day * DAY + hours * HOUR);
        for (after, until, came) in [
            (at(0, 5), at(0, 6), true),
            (at(0, 6), at(0, 7), false),
            (at(0, 23), at(1, 1), false),
            (at(0, 23), at(1, 7), true),
            (at(0, 7), at(3, 5), true),
        ] {
            assert_eq!(is_between(six, after, until), came, "{after:?} {until:?}");
        }
    }
}
