//! How much is done per second, as of late.

/// Seconds in which what was done loses two thirds of its weight.
const WINDOW: f64 = 5.0;

/// A sum that fades.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rate {
    sum: f64,
    at: f64,
}

impl Rate {
    pub(crate) fn add(&mut self, amount: f64, now: f64) {
        self.sum = self.sum_at(now) + amount;
        self.at = now;
    }

    /// Per second.
    pub(crate) fn per_second(&self, now: f64) -> f64 {
        self.sum_at(now) / WINDOW
    }

    fn sum_at(&self, now: f64) -> f64 {
        self.sum * (-(now - self.at).max(0.0) / WINDOW).exp()
    }
}
