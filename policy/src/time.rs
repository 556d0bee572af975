//! Instants as the engine sees them: microseconds since 1970 in UTC, handed in by the caller.
//!
//! Validity is half-open everywhere: something valid in `[start, expire)` is valid at `start` and no longer at
//! `expire`.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// An instant, in microseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub i64);

impl Time {
    /// Before every instant a fact can name: the start of what has always been valid.
    pub(crate) const ALWAYS: i64 = i64::MIN;
    /// After every instant a fact can name: the end of what never expires.
    pub(crate) const NEVER: i64 = i64::MAX;

    /// This instant as microseconds since the Unix epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The instant `wait` later, or the last representable one.
    #[must_use]
    pub fn plus(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(micros(wait)))
    }

    /// The instant `wait` earlier, or the first representable one.
    #[must_use]
    pub fn minus(self, wait: Duration) -> Self {
        Self(self.0.saturating_sub(micros(wait)))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    pub(crate) fn known(end: i64) -> Option<Self> {
        (end != Self::NEVER).then_some(Self(end))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}us", self.0)
    }
}

fn micros(wait: Duration) -> i64 {
    i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)
}
