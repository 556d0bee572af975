//! The processors that a control group (version 2) may use, and how much of them it did.

use std::{fs, time::Duration};

/// What a control group with a limit has used so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Processor {
    /// Processors that it may use, not always a whole number.
    limit: f64,
    /// Time of processors that it used since it was made.
    used: Duration,
}

impl Processor {
    /// Of this process's group; nothing when that has no limit.
    pub(super) fn read() -> Option<Self> {
        let page = |name: &str| fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok();
        Self::of(&page("cpu.max")?, &page("cpu.stat")?)
    }

    fn of(max: &str, stat: &str) -> Option<Self> {
        let (quota, period) = max.trim().split_once(' ')?;
        let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
        let used = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?.trim().parse().ok()?;
        (quota > 0.0 && period > 0.0)
            .then(|| Self { limit: quota / period, used: Duration::from_micros(used) })
    }

    /// The part of what it might have used since `before`, that much time ago.
    pub(super) fn busy_since(&self, before: &Self, time: Duration) -> Option<f64> {
        let allowed = time.as_secs_f64() * self.limit;
        (allowed > 0.0).then(|| self.used.saturating_sub(before.used).as_secs_f64() / allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_with_a_limit_is_measured_by_it_and_one_without_is_not() {
        let before = Processor::of("50000 100000\n", "usage_usec 1000000\nuser_usec 1\n").unwrap();
        let after = Processor::of("50000 100000\n", "usage_usec 3000000\nuser_usec 1\n").unwrap();
        assert_eq!(after.busy_since(&before, Duration::from_secs(8)), Some(0.5));
        assert_eq!(after.busy_since(&before, Duration::ZERO), None);
        assert_eq!(Processor::of("max 100000", "usage_usec 1"), None);
        assert_eq!(Processor::of("50000 100000", "nr_periods 3"), None);
    }
}
