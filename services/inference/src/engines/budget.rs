//! How many retries there may be: a part of the traffic, so that a fleet in trouble is not asked more but less.
//!
//! Pure: told the time. Two halves of a window are counted, the older one whole, so the part holds over between one
//! and two of them.

use crate::config;
use std::time::Instant;

/// The retries of a gateway.
#[derive(Debug, Clone)]
pub struct Budget {
    began: Instant,
    current: Counts,
    last: Counts,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    requests: u64,
    retries: u64,
}

impl Budget {
    /// A budget of which nothing is spent.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { began: now, current: Counts::default(), last: Counts::default() }
    }

    /// A request came.
    pub fn request(&mut self, now: Instant, config: &config::Retry) {
        self.turn(now, config);
        self.current.requests += 1;
    }

    /// Whether one may be tried again; if so it is counted.
    pub fn retry(&mut self, now: Instant, config: &config::Retry) -> bool {
        self.turn(now, config);
        let requests = self.current.requests + self.last.requests;
        let retries = self.current.retries + self.last.retries;
        let most = (requests as f64 * config.share) as u64;
        let may = retries < most.max(u64::from(config.minimum));
        self.current.retries += u64::from(may);
        may
    }

    fn turn(&mut self, now: Instant, config: &config::Retry) {
        let half = config.window / 2;
        let passed = now.saturating_duration_since(self.began);
        if passed >= half {
            let recent = passed < half * 2;
            self.last = if recent { self.current } else { Counts::default() };
            self.current = Counts::default();
            self.began = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn retries(budget: &mut Budget, now: Instant, config: &config::Retry) -> usize {
        (0..1_000).take_while(|_| budget.retry(now, config)).count()
    }

    #[test]
    fn a_tenth_of_the_traffic_and_a_small_minimum() {
        let (config, now) = (config::Retry::default(), Instant::now());
        let mut budget = Budget::new(now);
        assert_eq!(retries(&mut budget, now, &config), 10, "the minimum");
        (0..500).for_each(|_| budget.request(now, &config));
        assert_eq!(retries(&mut budget, now, &config), 40, "a tenth, those before included");
        let later = now + config.window / 2;
        assert_eq!(retries(&mut budget, later, &config), 0, "the older half still counts");
        let later = later + config.window;
        assert_eq!(retries(&mut budget, later, &config), 10);
    }

    #[test]
    fn none_at_all_when_set_so() {
        let config = config::Retry { share: 0.0, minimum: 0, ..config::Retry::default() };
        let now = Instant::now();
        let mut budget = Budget::new(now);
        budget.request(now + Duration::from_secs(1), &config);
        assert_eq!(retries(&mut budget, now, &config), 0);
    }
}
