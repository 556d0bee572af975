//! A linear model that learns one observation at a time: a Kalman filter for weights that drift slowly.
//!
//! Weights are relative to what was believed before anything was seen: 1 is "as believed". Observations are divided by
//! what was believed of them, so a long one counts as much as a short one.

/// Variance of a weight before anything was seen: it may well be half or twice as much.
const PRIOR: f64 = 0.5;
/// Variance of an observation: steps vary by a tenth, and their count is seen with an error of one.
const NOISE: f64 = 0.04;
/// What is added to a weight's variance by each observation: half of what was learned is renewed in some 500 of them.
const DRIFT: f64 = 1e-5;
/// No weight leaves these bounds; what is believed is never wrong by more.
const BOUNDS: (f64, f64) = (1.0 / 50.0, 50.0);
/// An observation this many times off counts as one that is that much off: it tells of a stall, not of the weights.
const SURPRISE: f64 = 4.0;

/// `N` weights.
#[derive(Debug, Clone)]
pub(crate) struct Fit<const N: usize> {
    weights: [f64; N],
    variance: [[f64; N]; N],
}

impl<const N: usize> Fit<N> {
    pub(crate) fn new() -> Self {
        Self::from(&[1.0; N])
    }

    /// Weights that were found elsewhere.
    pub(crate) fn from(weights: &[f64; N]) -> Self {
        let mut variance = [[0.0; N]; N];
        for (at, row) in variance.iter_mut().enumerate() {
            row[at] = PRIOR;
        }
        Self { weights: *weights, variance }
    }

    pub(crate) const fn weights(&self) -> &[f64; N] {
        &self.weights
    }

    /// Learns that parts of these believed sizes took `seen` together.
    pub(crate) fn learn(&mut self, believed: [f64; N], seen: f64) {
        let whole: f64 = believed.iter().sum();
        let expected = dot(&self.weights, &believed);
        if whole <= 0.0 || expected <= 0.0 || seen <= 0.0 {
            return;
        }
        let part = believed.map(|part| part / expected);
        let seen = (seen / expected).clamp(1.0 / SURPRISE, SURPRISE);
        let spread: [f64; N] = std::array::from_fn(|row| dot(&self.variance[row], &part));
        let gain = spread.map(|spread_of| spread_of / (dot(&part, &spread) + NOISE));
        for (row, variance) in self.variance.iter_mut().enumerate() {
            let weight = (self.weights[row] + gain[row] * (seen - 1.0)).clamp(BOUNDS.0, BOUNDS.1);
            self.weights[row] = weight;
            for (variance, spread) in variance.iter_mut().zip(spread) {
                *variance -= gain[row] * spread;
            }
            // Relative to the weight: what is a tenth of the belief is known to a tenth of the precision.
            let drifted = DRIFT.mul_add(weight * weight, variance[row]);
            variance[row] = drifted.clamp(0.0, PRIOR.max(weight * weight));
        }
    }
}

fn dot<const N: usize>(left: &[f64; N], right: &[f64; N]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in 0..1 that look random.
    fn numbers() -> impl Iterator<Item = f64> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        std::iter::from_fn(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            Some((state >> 11) as f64 / (1_u64 << 53) as f64)
        })
    }

    #[test]
    fn weights_are_found_from_noisy_sums() {
        let (mut fit, mut numbers) = (Fit::<3>::new(), numbers());
        let truth = [0.3, 2.0, 1.0];
        for _ in 0..3_000 {
            let parts: [f64; 3] = std::array::from_fn(|_| numbers.next().unwrap());
            let noise = 0.9 + 0.2 * numbers.next().unwrap();
            fit.learn(parts, dot(&truth, &parts) * noise);
        }
        for (found, truth) in fit.weights().iter().zip(truth) {
            assert!((found - truth).abs() < 0.1 * truth.max(0.5), "{found} is not {truth}");
        }
    }

    #[test]
    fn a_stall_moves_little_and_nonsense_nothing() {
        let mut fit = Fit::<2>::new();
        for _ in 0..200 {
            fit.learn([1.0, 0.5], 1.5);
        }
        fit.learn([1.0, 0.5], 1_000.0);
        let predicted = dot(fit.weights(), &[1.0, 0.5]);
        assert!(predicted < 2.5, "{predicted}");
        let before = *fit.weights();
        fit.learn([0.0, 0.0], 1.0);
        fit.learn([1.0, 1.0], -1.0);
        assert_eq!(&before, fit.weights());
    }
}
