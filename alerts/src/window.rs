//! Arithmetic over the samples of a window, and over the buckets of a histogram.

use crate::{expression::Over, signals::Sample};
use std::time::Duration;

/// By how much a counter grew from the first to the last of these samples. A counter that is smaller than before began
/// anew, so all of its value came since.
///
/// `None` for fewer than two samples: one says nothing of growth.
#[must_use]
pub fn increase(samples: &[Sample]) -> Option<f64> {
    if samples.len() < 2 {
        return None;
    }
    let grown = samples.windows(2).map(|pair| match pair {
        [before, after] if after.value >= before.value => after.value - before.value,
        [_, after] => after.value,
        _ => 0.0,
    });
    Some(grown.sum())
}

/// The value under which `quantile` of the observations lie, by linear interpolation in the bucket where that is: what
/// Prometheus' `histogram_quantile` answers.
///
/// `buckets` are upper bounds and how many observations were at most that, in any order; the last bound has to be
/// infinite. Above the highest finite bound nothing is known, so that bound is the answer there; in the lowest bucket
/// values begin at 0 unless its bound is negative. `None` when there are no observations, or no such buckets.
#[must_use]
pub fn quantile(quantile: f64, buckets: &mut [(f64, f64)]) -> Option<f64> {
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (last, total) = *buckets.last()?;
    if last != f64::INFINITY || buckets.len() < 2 || total <= 0.0 || !(0.0..=1.0).contains(&quantile) {
        return None;
    }
    // Buckets of counters that were read at different moments may disagree by a little.
    let mut most = 0.0_f64;
    for (_, count) in buckets.iter_mut() {
        most = most.max(*count);
        *count = most;
    }
    let rank = quantile * total;
    let at = buckets.iter().position(|(_, count)| *count >= rank)?;
    let (upper, count) = buckets[at];
    if upper == f64::INFINITY {
        return Some(buckets[at - 1].0);
    }
    let (lower, below) = match at.checked_sub(1) {
        Some(before) => buckets[before],
        None if upper <= 0.0 => return Some(upper),
        None => (0.0, 0.0),
    };
    let inside = count - below;
    Some(if inside > 0.0 { lower + (upper - lower) * (rank - below) / inside } else { upper })
}

impl Over {
    /// What the samples of a window amount to. They are at least one.
    pub(crate) fn of(self, samples: &[Sample], window: Duration) -> Option<f64> {
        let values = samples.iter().map(|sample| sample.value);
        match self {
            Self::Rate => increase(samples).map(|grown| grown / window.as_secs_f64()),
            Self::Increase => increase(samples),
            Self::Mean => Some(values.sum::<f64>() / samples.len() as f64),
            Self::Least => values.reduce(f64::min),
            Self::Most => values.reduce(f64::max),
            Self::Last => samples.last().map(|sample| sample.value),
            Self::Sum => Some(values.sum()),
            Self::Count => Some(samples.len() as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::Time;

    fn samples(values: &[f64]) -> Vec<Sample> {
        (0..).zip(values).map(|(at, value)| Sample { at: Time(at * 10_000_000), value: *value }).collect()
    }

    #[test]
    fn a_counter_that_began_anew_lost_nothing() {
        assert_eq!(increase(&samples(&[10.0, 14.0, 3.0, 5.0])), Some(4.0 + 3.0 + 2.0));
        assert_eq!(increase(&samples(&[7.0])), None);
        assert_eq!(Over::Rate.of(&samples(&[0.0, 30.0]), Duration::from_secs(60)), Some(0.5));
    }

    #[test]
    fn windows_are_what_their_samples_are() {
        let samples = samples(&[2.0, 8.0, 5.0]);
        let of = |over: Over| over.of(&samples, Duration::from_secs(30));
        assert_eq!(
            [Over::Mean, Over::Least, Over::Most, Over::Last, Over::Sum, Over::Count].map(of),
            [5.0, 2.0, 8.0, 5.0, 15.0, 3.0].map(Some)
        );
    }

    #[test]
    fn quantiles_are_interpolated_where_they_lie() {
        let infinite = f64::INFINITY;
        let of = |share, buckets: &[(f64, f64)]| quantile(share, &mut buckets.to_vec());
        let buckets = [(1.0, 50.0), (2.0, 90.0), (4.0, 100.0), (infinite, 100.0)];
        assert_eq!(of(0.5, &buckets), Some(1.0));
        assert_eq!(of(0.7, &buckets), Some(1.5));
        assert_eq!(of(0.95, &buckets), Some(3.0));
        assert_eq!(of(0.25, &buckets), Some(0.5), "from 0 in the lowest");
        assert_eq!(of(0.99, &[(1.0, 10.0), (infinite, 100.0)]), Some(1.0), "nothing is known above");
        assert_eq!(of(0.5, &[(1.0, 0.0), (infinite, 0.0)]), None);
        assert_eq!(of(0.5, &[(1.0, 5.0)]), None, "it has to end");
        assert_eq!(of(1.5, &buckets), None);
    }
}
