//! Times as the pure crates take them: since 1970.

use policy::Time;
use std::time::Duration;

/// The time since 1970 of a moment.
pub(crate) fn since(time: Time) -> Duration {
    Duration::from_micros(u64::try_from(time.0).unwrap_or(0))
}

/// The moment so long after 1970.
pub(crate) fn at(since: Duration) -> Time {
    Time(micros(since))
}

/// A duration as the tables hold it.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
