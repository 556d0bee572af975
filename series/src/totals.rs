//! Increases, made of the running totals that counters show.

use crate::{Buckets, Labels, Sample, Value};
use std::{collections::HashMap, sync::Arc};

/// What totals were when they were read last.
///
/// A total that is smaller than before began again at zero, and all of it is increase. The first total of a series is
/// all increase when the page was read before and the series was not on it; else it was counted before anybody looked,
/// and only the next one tells.
#[derive(Debug, Default)]
pub struct Totals {
    seen: HashMap<(Box<str>, Labels), Total>,
    reading: u64,
}

#[derive(Debug)]
struct Total {
    value: Value,
    reading: u64,
}

impl Totals {
    /// Totals of a process from its beginning, where every total is all increase.
    #[must_use]
    pub fn from_start() -> Self {
        Self { seen: HashMap::new(), reading: 1 }
    }

    /// Makes increases of what one page shows, where counters and histograms hold totals. What has not two readings yet
    /// is left out. Series that are on the page no more are forgotten.
    pub fn increases(&mut self, page: impl IntoIterator<Item = Sample>) -> Vec<Sample> {
        let first = self.reading == 0;
        self.reading += 1;
        let reading = self.reading;
        let mut increases = Vec::new();
        for sample in page {
            if matches!(sample.value, Value::Gauge(_)) {
                increases.push(sample);
                continue;
            }
            let key = (sample.name.clone(), sample.labels.clone());
            let total = Total { value: sample.value.clone(), reading };
            let before = self.seen.insert(key, total).map(|total| total.value);
            let value = match before {
                Some(before) => increase(&before, &sample.value),
                None if first => None,
                None => Some(sample.value.clone()),
            };
            if let Some(value) = value {
                increases.push(Sample { value, ..sample });
            }
        }
        self.seen.retain(|_, total| total.reading == reading);
        increases
    }
}

/// By how much a total rose.
fn increase(before: &Value, now: &Value) -> Option<Value> {
    match (before, now) {
        (Value::Counter(before), Value::Counter(now)) => {
            Value::counter(if now >= before { now - before } else { *now })
        }
        (Value::Histogram(before), Value::Histogram(now)) => {
            let rose = before.bounds() == now.bounds()
                && before.counts().iter().zip(now.counts()).all(|(before, now)| now >= before);
            if !rose {
                return Some(Value::Histogram(Arc::clone(now)));
            }
            let counts = now.counts().iter().zip(before.counts()).map(|(now, before)| now - before);
            let buckets = Buckets::new(Arc::clone(now.bounds()), counts.collect(), now.sum() - before.sum())?;
            Some(Value::Histogram(Arc::new(buckets)))
        }
        _ => None,
    }
}
