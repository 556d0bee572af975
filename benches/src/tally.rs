//! What a run found: how long answers took, and what went wrong how often.

use crate::connection::{Answered, Failure};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration, time::Instant};

/// Longest latency told apart, in nanoseconds; longer ones count as this.
const LONGEST: u64 = 120_000_000_000;

/// Latencies and failures of some requests.
#[derive(Debug, Clone)]
pub struct Tally {
    /// From the moment meant to the last byte, in nanoseconds.
    pub whole: Histogram<u64>,
    /// From the moment meant to the first byte of the body, in nanoseconds.
    pub first_byte: Histogram<u64>,
    /// By word.
    pub failures: BTreeMap<String, u64>,
}

impl Tally {
    /// Of nothing.
    ///
    /// # Errors
    /// Never in practice: the bounds are constants that a histogram takes.
    pub fn new() -> anyhow::Result<Self> {
        let histogram = Histogram::new_with_bounds(1_000, LONGEST, 3)?;
        Ok(Self { whole: histogram.clone(), first_byte: histogram, failures: BTreeMap::new() })
    }

    /// Counts one request that was meant to go at `due`.
    pub fn count(&mut self, due: Instant, answer: Result<Answered, Failure>) {
        match answer {
            Ok(Answered { first_byte, whole }) => {
                self.whole.saturating_record(nanos(whole - due));
                self.first_byte.saturating_record(nanos(first_byte.saturating_duration_since(due)));
            }
            Err(failure) => self.fail(failure.word()),
        }
    }

    /// Counts one request that went wrong in the way that `word` says.
    pub fn fail(&mut self, word: String) {
        *self.failures.entry(word).or_default() += 1;
    }

    /// Adds what another connection or another round found.
    ///
    /// # Errors
    /// Never in practice: all tallies have the same bounds.
    pub fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.whole.add(&other.whole)?;
        self.first_byte.add(&other.first_byte)?;
        for (word, count) in &other.failures {
            *self.failures.entry(word.clone()).or_default() += count;
        }
        Ok(())
    }

    /// Requests answered well.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.whole.len()
    }

    /// Requests that went wrong.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

/// The value that this percentage of a histogram lies at or below, in microseconds.
#[must_use]
pub fn micros(histogram: &Histogram<u64>, percentile: f64) -> f64 {
    Duration::from_nanos(histogram.value_at_percentile(percentile)).as_secs_f64() * 1e6
}

/// The percentiles that reports show, in microseconds.
#[must_use]
pub fn percentiles(histogram: &Histogram<u64>) -> Value {
    let at = |percentile| (micros(histogram, percentile) * 10.0).round() / 10.0;
    json!({"p50": at(50.0), "p99": at(99.0), "p99.9": at(99.9)})
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
