//! Observations counted by size, and what share of them was how large.

use std::sync::Arc;

/// How many observations fell into each bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets {
    /// Upper bounds, inclusive, rising and finite; above the last one is a bucket without a bound.
    bounds: Arc<[f64]>,
    /// Observations of each bucket alone, one more than there are bounds.
    counts: Vec<f64>,
    /// The sum of all that was observed.
    sum: f64,
}

impl Buckets {
    /// Counts by bucket, not cumulative, and the sum of what was observed. `None` when the bounds do not rise, are not
    /// finite, or there is not one count more than bounds, none of them negative.
    #[must_use]
    pub fn new(bounds: Arc<[f64]>, counts: Vec<f64>, sum: f64) -> Option<Self> {
        let rising = bounds.windows(2).all(|pair| pair[0] < pair[1]);
        let good = rising
            && bounds.iter().all(|bound| bound.is_finite())
            && counts.len() == bounds.len() + 1
            && counts.iter().all(|count| count.is_finite() && *count >= 0.0)
            && sum.is_finite();
        good.then_some(Self { bounds, counts, sum })
    }

    /// No observation, in these buckets.
    #[must_use]
    pub fn none(bounds: Arc<[f64]>) -> Option<Self> {
        let counts = vec![0.0; bounds.len() + 1];
        Self::new(bounds, counts, 0.0)
    }

    /// The upper bounds of all buckets but the last.
    #[must_use]
    pub fn bounds(&self) -> &Arc<[f64]> {
        &self.bounds
    }

    /// Observations of each bucket alone, one more than there are bounds.
    #[must_use]
    pub fn counts(&self) -> &[f64] {
        &self.counts
    }

    /// The sum of what was observed.
    #[must_use]
    pub const fn sum(&self) -> f64 {
        self.sum
    }

    /// How many observations there were.
    #[must_use]
    pub fn count(&self) -> f64 {
        self.counts.iter().sum()
    }

    /// The mean of what was observed; `None` when nothing was.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0.0).then(|| self.sum / count)
    }

    /// The value below which this share of the observations lies, `share` from 0 to 1; `None` when there were none.
    ///
    /// Within a bucket observations are taken to be spread evenly, the first bucket to begin at 0 when its bound is
    /// positive, and the last one to be as large as its lower bound: as `histogram_quantile` of Prometheus does.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count = self.count();
        if count <= 0.0 || !(0.0..=1.0).contains(&share) {
            return None;
        }
        let rank = share * count;
        let mut below = 0.0;
        for (at, inside) in self.counts.iter().enumerate() {
            if *inside > 0.0 && below + inside >= rank {
                let Some(upper) = self.bounds.get(at).copied() else { break };
                let lower = match at.checked_sub(1).and_then(|before| self.bounds.get(before)) {
                    Some(lower) => *lower,
                    None if upper > 0.0 => 0.0,
                    None => return Some(upper),
                };
                return Some(lower + (upper - lower) * ((rank - below) / inside).clamp(0.0, 1.0));
            }
            below += inside;
        }
        // Above every bound: nothing is known but that. Without any bound not even this.
        self.bounds.last().copied()
    }

    /// The share of the observations that were at most this large, as far as a bound says so: that of the largest bound
    /// which is not above `limit`. `None` when there were none, or every bound is above.
    #[must_use]
    pub fn share_within(&self, limit: f64) -> Option<f64> {
        let buckets = self.bounds.iter().take_while(|bound| **bound <= limit).count();
        let count = self.count();
        (buckets > 0 && count > 0.0).then(|| self.counts.iter().take(buckets).sum::<f64>() / count)
    }

    /// Adds what others counted. Where bounds differ, those that both have remain, for which counts stay exact.
    pub fn add(&mut self, other: &Self) {
        if self.bounds != other.bounds {
            let shared: Arc<[f64]> =
                self.bounds.iter().copied().filter(|bound| other.bounds.contains(bound)).collect();
            self.counts = self.within(&shared);
            let added = other.within(&shared);
            self.bounds = shared;
            self.counts.iter_mut().zip(added).for_each(|(count, added)| *count += added);
        } else {
            self.counts.iter_mut().zip(&other.counts).for_each(|(count, added)| *count += added);
        }
        self.sum += other.sum;
    }

    /// The counts by fewer bounds, all of them ours.
    fn within(&self, bounds: &[f64]) -> Vec<f64> {
        let mut counts = vec![0.0; bounds.len() + 1];
        for (at, count) in self.counts.iter().enumerate() {
            let place = match self.bounds.get(at) {
                Some(upper) => bounds.partition_point(|bound| bound < upper),
                None => bounds.len(),
            };
            if let Some(sum) = counts.get_mut(place) {
                *sum += count;
            }
        }
        counts
    }
}
