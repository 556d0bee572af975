//! How long answers are: on the mean, and nearly the longest.

/// Tokens of an answer before any was seen.
const FIRST: f64 = 200.0;
/// Weight of the newest answer, once there were enough.
const NEWEST: f64 = 0.002;
/// The same of the first ones.
const NEWEST_AT_FIRST: f64 = 0.1;
/// Part of the answers that are no longer than the longest ones that are reckoned with.
const NEARLY_ALL: f64 = 0.98;
/// Bounds of the histogram: powers of 1.25 up to a million tokens.
const BOUNDS: usize = 64;
const GROWTH: f64 = 1.25;

/// Lengths of the answers of one model, in tokens, the newest counting most.
#[derive(Debug)]
pub(crate) struct Outputs {
    mean: f64,
    count: u32,
    histogram: [f64; BOUNDS],
}

impl Outputs {
    pub(crate) const fn new() -> Self {
        Self { mean: FIRST, count: 0, histogram: [0.0; BOUNDS] }
    }

    /// An answer had so many tokens.
    pub(crate) fn add(&mut self, tokens: u32) {
        self.count = self.count.saturating_add(1);
        let newest = NEWEST.max(NEWEST_AT_FIRST / f64::from(self.count).sqrt());
        self.mean += newest * (f64::from(tokens) - self.mean);
        let place = f64::from(tokens.max(1)).log(GROWTH).ceil().clamp(0.0, (BOUNDS - 1) as f64) as usize;
        for (at, part) in self.histogram.iter_mut().enumerate() {
            *part += newest * (f64::from(u8::from(at == place)) - *part);
        }
    }

    pub(crate) const fn mean(&self) -> f64 {
        self.mean
    }

    /// What nearly all answers stay below.
    pub(crate) fn longest(&self) -> f64 {
        let all: f64 = self.histogram.iter().sum();
        if all <= 0.0 {
            return FIRST;
        }
        let mut below = 0.0;
        let place = self.histogram.iter().position(|part| {
            below += part;
            below >= NEARLY_ALL * all
        });
        GROWTH.powi(i32::try_from(place.unwrap_or(BOUNDS - 1)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_and_the_longest_follow_what_is_seen() {
        let mut outputs = Outputs::new();
        for n in 0..5_000 {
            outputs.add(if n % 10 == 0 { 1_000 } else { 100 });
        }
        assert!((outputs.mean() - 190.0).abs() < 30.0, "{}", outputs.mean());
        assert!((1_000.0..1_260.0).contains(&outputs.longest()), "{}", outputs.longest());
        for _ in 0..5_000 {
            outputs.add(10);
        }
        assert!((outputs.mean() - 10.0).abs() < 1.0, "{}", outputs.mean());
        assert!(outputs.longest() < 13.0, "{}", outputs.longest());
    }
}
