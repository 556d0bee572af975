//! What rules look at: series of samples by name and labels.

use crate::{labels::Labels, matcher::Matcher};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, time::Duration};

/// A time in UTC: microseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub i64);

impl Time {
    /// So much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// So much earlier.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; zero when it was not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// What was measured once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When.
    pub at: Time,
    /// How much.
    pub value: f64,
}

/// Which series are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// Their name.
    pub name: String,
    /// What all of them must be taken by.
    pub matchers: Vec<Matcher>,
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        if self.matchers.is_empty() {
            return Ok(());
        }
        formatter.write_str("{")?;
        for (at, matcher) in self.matchers.iter().enumerate() {
            write!(formatter, "{}{matcher}", if at > 0 { ", " } else { "" })?;
        }
        formatter.write_str("}")
    }
}

/// Whoever has the samples.
pub trait Signals {
    /// Shows every series that is meant and has samples from `from` to `to`, both included, with these in the order of
    /// their times. A histogram is shown as its buckets, named `…_bucket` with the label `le`, and `…_sum`, `…_count`.
    fn select(&self, selector: &Selector, from: Time, to: Time, visit: &mut dyn FnMut(&Labels, &[Sample]));
}

/// Samples in memory, as tests and the past need them.
#[derive(Debug, Clone, Default)]
pub struct Memory(BTreeMap<String, BTreeMap<Labels, Vec<Sample>>>);

impl Memory {
    /// Adds a sample; those of a series come in the order of their times.
    pub fn add(&mut self, name: impl Into<String>, labels: Labels, sample: Sample) {
        self.0.entry(name.into()).or_default().entry(labels).or_default().push(sample);
    }
}

impl Signals for Memory {
    fn select(&self, selector: &Selector, from: Time, to: Time, visit: &mut dyn FnMut(&Labels, &[Sample])) {
        let Some(series) = self.0.get(&selector.name) else { return };
        for (labels, samples) in series.iter().filter(|(labels, _)| labels.matched_by(&selector.matchers)) {
            let first = samples.partition_point(|sample| sample.at < from);
            let end = samples.partition_point(|sample| sample.at <= to);
            if let Some(shown) = samples.get(first..end).filter(|shown| !shown.is_empty()) {
                visit(labels, shown);
            }
        }
    }
}
