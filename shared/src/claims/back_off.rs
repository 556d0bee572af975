//! How long to wait before something is tried again.

use std::time::Duration;

/// Twice as long each time, up to a longest wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// After the first failure.
    pub first: Duration,
    /// At most.
    pub most: Duration,
}

impl BackOff {
    /// The wait after so many attempts. `chance`, 0 to 1, spreads those that failed together over its upper half.
    #[must_use]
    pub fn after(&self, attempts: u32, chance: f64) -> Duration {
        let whole = self.first.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(self.most);
        whole.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_twice_the_last_up_to_the_longest() {
        let back_off = BackOff { first: Duration::from_secs(1), most: Duration::from_secs(60) };
        let waits: Vec<u64> =
            [1, 2, 3, 6, 7, 1_000].map(|attempts| back_off.after(attempts, 1.0).as_secs()).into();
        assert_eq!(waits, [1, 2, 4, 32, 60, 60]);
        assert_eq!(back_off.after(2, 0.0), Duration::from_secs(1));
    }
}
