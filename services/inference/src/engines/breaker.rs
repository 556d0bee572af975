//! The breaker of one engine: after failures in a row it gets nothing for a while, then one probe decides.
//!
//! Pure: told what happened and when. A request that fails while the breaker is open says nothing new.

use crate::config;
use std::time::{Duration, Instant};

/// Connections that all break within this time broke for one reason: the engine's end. It may have been started again
/// before anybody looked, so a probe is sent that soon. An engine that goes on doing so is left alone for longer each time.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What the breaker lets through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Position {
    /// Everything.
    #[default]
    Closed,
    /// Nothing, until a probe is due.
    Open {
        /// When that is.
        until: Instant,
    },
    /// Nothing but the probe that is under way.
    HalfOpen,
}

/// The breaker of one engine.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    position: Position,
    failures: u32,
    /// When the first of these was, and whether all of them were connections that broke.
    row: Option<(Instant, bool)>,
    successes: u32,
    /// How long it was open last.
    lasted: Option<Duration>,
}

impl Breaker {
    /// What it lets through.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// Failures in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// A request was answered. As many in a row as open it make its next opening a first one again.
    pub fn succeeded(&mut self, config: &config::Breaker) {
        if self.position == Position::Closed {
            (self.failures, self.row) = (0, None);
            self.successes = self.successes.saturating_add(1);
            if self.successes >= config.failures {
                self.lasted = None;
            }
        }
    }

    /// A request failed by the engine's fault; `broken` when its connection broke.
    pub fn failed(&mut self, now: Instant, broken: bool, config: &config::Breaker) {
        if self.position == Position::Closed {
            self.successes = 0;
            self.failures += 1;
            let (first, all_broken) = self.row.unwrap_or((now, true));
            self.row = Some((first, all_broken && broken));
            if self.failures >= config.failures {
                let at_once = all_broken && broken && now.saturating_duration_since(first) <= AT_ONCE;
                self.open(now, if at_once { AT_ONCE.min(config.open) } else { config.open }, config);
            }
        }
    }

    /// Whether the one probe is to be sent now; the caller then says how it ended by [`Breaker::probed`].
    pub fn half_open(&mut self, now: Instant) -> bool {
        let due = matches!(self.position, Position::Open { until } if until <= now);
        if due {
            self.position = Position::HalfOpen;
        }
        due
    }

    /// The probe ended.
    pub fn probed(&mut self, well: bool, now: Instant, config: &config::Breaker) {
        if self.position != Position::HalfOpen {
            return;
        }
        if well {
            (self.position, self.failures, self.row, self.successes) = (Position::Closed, 0, None, 0);
        } else {
            self.open(now, config.open, config);
        }
    }

    /// The engine was gone and is back: what its predecessor did says nothing of it, so the probe is sent at once.
    pub fn renewed(&mut self, now: Instant) {
        if matches!(self.position, Position::Open { .. }) {
            (self.position, self.lasted) = (Position::Open { until: now }, None);
        }
    }

    /// Opens it, the first time for at least so long.
    fn open(&mut self, now: Instant, least: Duration, config: &config::Breaker) {
        let lasts = self.lasted.map_or(least, |lasted| (lasted * 2).min(config.max_open).max(least));
        self.lasted = Some(lasts);
        self.position = Position::Open { until: now + lasts };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn open(breaker: &mut Breaker, now: Instant, config: &config::Breaker) -> Duration {
        while breaker.position() == Position::Closed {
            breaker.failed(now, false, config);
        }
        let Position::Open { until } = breaker.position() else { panic!("{breaker:?}") };
        until - now
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_success_between_them_does_not() {
        let (config, now) = (config::Breaker::default(), Instant::now());
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            (0..4).for_each(|_| breaker.failed(now, false, &config));
            breaker.succeeded(&config);
        }
        assert_eq!(breaker.position(), Position::Closed);
        (0..4).for_each(|_| breaker.failed(now, false, &config));
        assert_eq!(breaker.position(), Position::Closed);
        breaker.failed(now, false, &config);
        assert_eq!(breaker.position(), Position::Open { until: now + 60 * SECOND });
    }

    #[test]
    fn a_failed_probe_doubles_the_time_up_to_the_longest() {
        let (config, mut now) = (config::Breaker::default(), Instant::now());
        let mut breaker = Breaker::default();
        let mut lasts = vec![open(&mut breaker, now, &config)];
        for _ in 0..4 {
            let last = *lasts.last().unwrap();
            assert!(!breaker.half_open(now + last - SECOND / 1000), "not before its time");
            now += last;
            assert!(breaker.half_open(now));
            assert!(!breaker.half_open(now), "one probe, not two");
            breaker.probed(false, now, &config);
            let Position::Open { until } = breaker.position() else { panic!("{breaker:?}") };
            lasts.push(until - now);
        }
        assert_eq!(lasts, [60, 120, 240, 300, 300].map(|seconds| seconds * SECOND));
    }

    #[test]
    fn connections_that_break_all_at_once_are_probed_soon_and_each_time_later() {
        let config = config::Breaker::default();
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        for seconds in [1, 2, 4] {
            (0..config.failures).for_each(|_| breaker.failed(now, true, &config));
            now += seconds * SECOND;
            assert!(!breaker.half_open(now - SECOND / 1000) && breaker.half_open(now), "after {seconds} s");
            breaker.probed(true, now, &config);
        }
        // One after the other, or beside other failures, they are failures like any.
        let opened = |failures: [(u32, bool); 2]| {
            let mut breaker = Breaker::default();
            for (after, broken) in failures {
                (0..config.failures - 1).for_each(|_| breaker.failed(now + after * SECOND, broken, &config));
            }
            breaker.position() == Position::Open { until: now + failures[1].0 * SECOND + 60 * SECOND }
        };
        assert!(opened([(0, true), (2, true)]) && opened([(0, true), (0, false)]));
        // A probe that fails says that it is not the engine's new beginning.
        (0..config.failures).for_each(|_| breaker.succeeded(&config));
        (0..config.failures).for_each(|_| breaker.failed(now, true, &config));
        assert!(breaker.half_open(now + SECOND));
        breaker.probed(false, now + SECOND, &config);
        assert_eq!(breaker.position(), Position::Open { until: now + 61 * SECOND });
    }

    #[test]
    fn requests_of_before_neither_close_nor_prolong_it() {
        let (config, now) = (config::Breaker::default(), Instant::now());
        let mut breaker = Breaker::default();
        let lasts = open(&mut breaker, now, &config);
        breaker.succeeded(&config);
        breaker.failed(now + SECOND, true, &config);
        assert_eq!(breaker.position(), Position::Open { until: now + lasts });
    }

    #[test]
    fn an_engine_that_was_gone_is_probed_at_once_and_begins_anew() {
        let (config, now) = (config::Breaker::default(), Instant::now());
        let mut breaker = Breaker::default();
        breaker.renewed(now);
        assert_eq!(breaker.position(), Position::Closed);
        open(&mut breaker, now, &config);
        breaker.renewed(now + SECOND);
        assert!(breaker.half_open(now + SECOND));
        breaker.probed(false, now + SECOND, &config);
        assert_eq!(breaker.position(), Position::Open { until: now + 61 * SECOND });
    }

    #[test]
    fn it_forgets_how_long_it_was_open_only_after_successes_in_a_row() {
        let (config, now) = (config::Breaker::default(), Instant::now());
        let mut breaker = Breaker::default();
        let probe = |breaker: &mut Breaker, at| {
            assert!(breaker.half_open(at));
            breaker.probed(true, at, &config);
        };
        open(&mut breaker, now, &config);
        probe(&mut breaker, now + 60 * SECOND);
        breaker.succeeded(&config);
        assert_eq!(open(&mut breaker, now, &config), 120 * SECOND);
        probe(&mut breaker, now + 120 * SECOND);
        (0..5).for_each(|_| breaker.succeeded(&config));
        assert_eq!(open(&mut breaker, now, &config), 60 * SECOND);
    }
}
