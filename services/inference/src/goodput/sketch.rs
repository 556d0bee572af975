//! Percentiles of times in constant space: counts in steps of a fifth, from half a millisecond to twenty minutes.

use std::time::Duration;

const STEPS: usize = 81;
const GROWTH: f64 = 1.2;
const SHORTEST: f64 = 0.0005;

/// How often times of each size were seen.
#[derive(Debug, Clone)]
pub(super) struct Sketch([u32; STEPS]);

/// A size of times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step(usize);

impl Step {
    pub(super) fn of(time: Duration) -> Self {
        let step = (time.as_secs_f64() / SHORTEST).max(1.0).log(GROWTH);
        Self((step as usize).min(STEPS - 1))
    }
}

impl Default for Sketch {
    fn default() -> Self {
        Self([0; STEPS])
    }
}

impl Sketch {
    pub(super) fn add(&mut self, Step(step): Step) {
        self.0[step] = self.0[step].saturating_add(1);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    /// The time that this part of all is not longer than, to a tenth.
    pub(super) fn quantile(&self, part: f64) -> Option<Duration> {
        let all: u64 = self.0.iter().map(|count| u64::from(*count)).sum();
        let wanted = ((all as f64 * part).ceil() as u64).max(1);
        let mut below = 0;
        let step = self.0.iter().position(|count| {
            below += u64::from(*count);
            below >= wanted
        })?;
        Some(Duration::from_secs_f64(SHORTEST * GROWTH.powf(step as f64 + 0.5)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_a_tenth() {
        let mut sketch = Sketch::default();
        assert_eq!(sketch.quantile(0.5), None);
        for millis in 1..=10_000 {
            sketch.add(Step::of(Duration::from_millis(millis)));
        }
        for (part, true_one) in [(0.5, 5.0), (0.95, 9.5), (0.99, 9.9)] {
            let found = sketch.quantile(part).unwrap().as_secs_f64();
            assert!((found / true_one - 1.0).abs() < 0.1, "{part}: {found}");
        }
        sketch.add(Step::of(Duration::ZERO));
        sketch.add(Step::of(Duration::MAX));
        assert!(sketch.quantile(1.0).unwrap() > Duration::from_secs(1_000));
    }
}
