//! The one clock. Decisions take the time as an argument; the edges of a service read it here.

pub use policy::Time;
use prost_types::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The current time in UTC.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock that everything else asks")]
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Time(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// A time as it crosses the wire.
#[must_use]
pub fn to_proto(time: Time) -> Timestamp {
    Timestamp {
        seconds: time.0.div_euclid(1_000_000),
        nanos: i32::try_from(time.0.rem_euclid(1_000_000) * 1_000).unwrap_or(0),
    }
}

/// A time from the wire, or `None` when it lies outside of what can be stored.
#[must_use]
pub fn from_proto(time: &Timestamp) -> Option<Time> {
    let micros = time.seconds.checked_mul(1_000_000)?.checked_add(i64::from(time.nanos / 1_000))?;
    (0..=999_999_999).contains(&time.nanos).then_some(Time(micros))
}

/// A duration as it crosses the wire.
#[must_use]
pub fn duration_to_proto(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// A duration from the wire, or `None` when it is negative.
#[must_use]
pub fn duration_from_proto(duration: &prost_types::Duration) -> Option<Duration> {
    Some(Duration::new(u64::try_from(duration.seconds).ok()?, u32::try_from(duration.nanos).ok()?))
}
