//! What was measured, over time: series by name and labels, and what can be asked of them.
//!
//! Pure: told the time and the samples, it answers with numbers. Every [`Point`] speaks of a stretch of time, and of a
//! counter or a histogram it holds the **increase** in that stretch, never the running total. So stretches add up to
//! longer ones, replicas add up to a service, a reset is dealt with once, where the total is read ([`Totals`]), and one
//! [`Query`] serves points of ten seconds, minutes and hours alike.
//!
//! What was not measured is missing, which is not zero: a gap is `None` all the way to the answer.
//!
//! [`text`] reads Prometheus' text format, [`Totals`] makes increases of totals, [`Memory`] keeps the last hours,
//! [`Selector`] picks series, [`Query`] computes over them and [`roll`] makes longer stretches of short ones.

mod buckets;
mod labels;
mod memory;
mod query;
mod sample;
mod select;
pub mod text;
mod totals;

pub use buckets::Buckets;
pub use labels::Labels;
pub use memory::{Limits, Memory, Refused};
pub use query::{Across, Answer, Over, Query, Unfit};
pub use sample::{Gauge, Kind, Point, Sample, Series, Value, roll};
pub use select::{BadMatcher, Comparison, Matcher, Selector};
pub use totals::Totals;

/// Whole seconds since 1970 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct At(pub i64);

impl At {
    /// The beginning of the stretch of so many seconds that this second lies in.
    #[must_use]
    pub const fn floor(self, seconds: i64) -> Self {
        Self(self.0 - self.0.rem_euclid(seconds))
    }

    /// The beginning of the stretch of so many seconds after the one that this second lies in.
    #[must_use]
    pub const fn next(self, seconds: i64) -> Self {
        Self(self.floor(seconds).0.saturating_add(seconds))
    }

    /// So many seconds later; earlier, when negative.
    #[must_use]
    pub const fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}
