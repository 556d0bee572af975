//! The prices of one thing over time.

use crate::Price;

/// A price from a time on. `I` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version<I, P = Price> {
    /// Its name.
    pub id: I,
    /// From when on it counts, in microseconds since 1970.
    pub from: i64,
    /// When it was written down; of two that count from the same time, the later one does.
    pub written: i64,
    /// The price.
    pub price: P,
}

/// All versions of the price of one model, or of whatever else has a price `P`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History<I, P = Price>(Vec<Version<I, P>>);

impl<I: Ord, P> History<I, P> {
    /// Of these versions, in any order.
    #[must_use]
    pub fn new(mut versions: Vec<Version<I, P>>) -> Self {
        versions.sort_by(|one, other| {
            (one.from, one.written, &one.id).cmp(&(other.from, other.written, &other.id))
        });
        Self(versions)
    }

    /// The version of this name.
    #[must_use]
    pub fn named(&self, id: &I) -> Option<&Version<I, P>> {
        self.0.iter().find(|version| version.id == *id)
    }

    /// The version that counts at a time: the last that began by then.
    #[must_use]
    pub fn at(&self, time: i64) -> Option<&Version<I, P>> {
        let begun = self.0.partition_point(|version| version.from <= time);
        self.0[..begun].last()
    }
}
