//! When a gateway serves only what is urgent.
//!
//! What is seen again and again is made steady, each sign by itself, and what was entered for a sign lasts a while even when
//! the sign goes. What an operator orders holds for its time, whatever is seen; what is seen goes on to be noted meanwhile.

use crate::Steady;
use std::{collections::BTreeMap, time::Duration};

/// How long it lasts at least, once something seen has begun it.
pub const DWELL: Duration = Duration::from_secs(60);
/// The shortest and the longest hint to whoever is turned away while the end cannot be foreseen.
const HINT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// What may begin it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sign {
    /// Fewer than half of the engines take requests.
    Engines,
    /// Usage records wait in the journal and do not reach the ledger.
    Journal,
    /// A cloud takes engines away that are half of what there is.
    Preemption,
    /// An operator said so.
    Operator,
}

impl Sign {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Engines, Self::Journal, Self::Preemption, Self::Operator];

    /// As labels and settings name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Engines => "engines",
            Self::Journal => "journal",
            Self::Preemption => "preemption",
            Self::Operator => "operator",
        }
    }
}

/// What is seen at one look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signs {
    /// See [`Sign::Engines`].
    pub engines: bool,
    /// See [`Sign::Journal`].
    pub journal: bool,
    /// See [`Sign::Preemption`].
    pub preemption: bool,
}

/// What an operator orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Whether only what is urgent is to be served, or everything in any case.
    pub degraded: bool,
    /// Since when.
    pub since: Duration,
    /// Until when.
    pub until: Duration,
}

/// Whether only what is urgent is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mode {
    dwell: Duration,
    steady: BTreeMap<Sign, Steady>,
    /// Since when it holds for what is seen.
    seen: Option<Duration>,
    /// What was seen last, while it holds for that.
    signs: Vec<Sign>,
    order: Option<Order>,
}

impl Default for Mode {
    fn default() -> Self {
        Self::new(DWELL)
    }
}

impl Mode {
    /// Everything is served; what is seen keeps it otherwise for `dwell` at least.
    #[must_use]
    pub const fn new(dwell: Duration) -> Self {
        Self { dwell, steady: BTreeMap::new(), seen: None, signs: Vec::new(), order: None }
    }

    /// Takes in one look.
    pub fn look(&mut self, now: Duration, signs: Signs) {
        let looks = [
            (Sign::Engines, signs.engines),
            (Sign::Journal, signs.journal),
            (Sign::Preemption, signs.preemption),
        ];
        for (sign, bad) in looks {
            self.steady.entry(sign).or_default().look(!bad);
        }
        let bad = self.steady.iter().filter(|(_, steady)| steady.is_down()).map(|(sign, _)| *sign);
        let bad: Vec<Sign> = bad.collect();
        let over = |since| now.saturating_sub(since) >= self.dwell;
        if !bad.is_empty() {
            (self.seen, self.signs) = (self.seen.or(Some(now)), bad);
        } else if self.seen.is_some_and(over) {
            (self.seen, self.signs) = (None, bad);
        }
        self.order = self.order.filter(|order| now < order.until);
    }

    /// Takes in what an operator orders, or that nothing is ordered any more. Then what was seen holds at once.
    pub const fn order(&mut self, order: Option<Order>) {
        self.order = order;
    }

    /// What an operator ordered, as long as it holds.
    #[must_use]
    pub fn ordered(&self, now: Duration) -> Option<Order> {
        self.order.filter(|order| now < order.until)
    }

    /// Since when only what is urgent is served, if so.
    #[must_use]
    pub fn entered(&self, now: Duration) -> Option<Duration> {
        match self.ordered(now) {
            Some(Order { degraded: false, .. }) => None,
            Some(order) => Some(self.seen.map_or(order.since, |seen| seen.min(order.since))),
            None => self.seen,
        }
    }

    /// Why only what is urgent is served; empty when everything is. A sign that has gone holds until the least time is over.
    #[must_use]
    pub fn reasons(&self, now: Duration) -> Vec<Sign> {
        if self.entered(now).is_none() {
            return Vec::new();
        }
        self.signs.iter().copied().chain(self.ordered(now).map(|_| Sign::Operator)).collect()
    }

    /// When whoever is turned away may be served, as well as that is known: the end of an order, what is left of the least
    /// time, and while its sign stays, as long again as it has lasted, between 5 s and 5 min.
    #[must_use]
    pub fn retry_after(&self, now: Duration) -> Duration {
        let ordered = self.ordered(now).filter(|order| order.degraded).map(|order| order.until - now);
        let seen = self.seen.map(|since| {
            let lasted = now.saturating_sub(since);
            let stays = self.steady.values().any(Steady::is_down);
            let again = if stays { lasted.clamp(HINT.0, HINT.1) } else { Duration::ZERO };
            again.max(self.dwell.saturating_sub(lasted))
        });
        ordered.into_iter().chain(seen).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const WELL: Signs = Signs { engines: false, journal: false, preemption: false };
    const FEW: Signs = Signs { engines: true, ..WELL };

    /// The mode after looks at seconds 1, 2 and so on.
    fn after(looks: &[Signs]) -> Mode {
        let mut mode = Mode::default();
        for (second, signs) in (1..).zip(looks) {
            mode.look(s(second), *signs);
        }
        mode
    }

    #[test]
    fn a_sign_begins_it_when_it_is_seen_three_times_in_a_row() {
        assert_eq!(after(&[FEW, FEW, WELL, FEW, FEW]).entered(s(5)), None);
        let mode = after(&[FEW, FEW, FEW]);
        assert_eq!((mode.entered(s(3)), mode.reasons(s(3))), (Some(s(3)), vec![Sign::Engines]));
        let mixed = after(&[FEW, FEW, Signs { journal: true, ..WELL }]);
        assert_eq!(mixed.entered(s(3)), None, "each sign by itself");
    }

    #[test]
    fn it_lasts_a_minute_and_until_the_sign_has_been_gone_twice() {
        let mut mode = after(&[FEW; 3]);
        for second in 4..63 {
            mode.look(s(second), WELL);
            assert_eq!(mode.entered(s(second)), Some(s(3)), "{second}");
        }
        assert_eq!(mode.reasons(s(62)), [Sign::Engines], "the sign is gone, and was the reason");
        assert_eq!(mode.retry_after(s(62)), s(1), "what is left of the minute");
        mode.look(s(63), WELL);
        assert_eq!((mode.entered(s(63)), mode.reasons(s(63))), (None, Vec::new()));
        let mut mode = after(&[FEW; 3]);
        mode.look(s(100), FEW);
        mode.look(s(101), WELL);
        assert_eq!(mode.entered(s(101)), Some(s(3)), "gone once is not gone");
        mode.look(s(102), WELL);
        assert_eq!(mode.entered(s(102)), None);
    }

    #[test]
    fn an_order_holds_for_its_time_whatever_is_seen() {
        let mut mode = after(&[WELL]);
        mode.order(Some(Order { degraded: true, since: s(2), until: s(12) }));
        assert_eq!((mode.entered(s(2)), mode.reasons(s(2))), (Some(s(2)), vec![Sign::Operator]));
        assert_eq!(mode.retry_after(s(5)), s(7));
        assert_eq!(mode.entered(s(12)), None, "at its end at once");
        let mut mode = after(&[FEW; 3]);
        mode.order(Some(Order { degraded: false, since: s(4), until: s(14) }));
        assert_eq!((mode.entered(s(5)), mode.reasons(s(5))), (None, Vec::new()));
        assert_eq!(mode.entered(s(14)), Some(s(3)), "what is seen counts again");
        mode.order(None);
        assert_eq!(mode.entered(s(5)), Some(s(3)));
    }

    #[test]
    fn while_the_sign_stays_the_hint_grows_with_the_time_it_has_lasted() {
        let mode = after(&[FEW; 3]);
        let hints = [3, 33, 83, 203, 4_000].map(|second| mode.retry_after(s(second)).as_secs());
        assert_eq!(hints, [60, 30, 80, 200, 300]);
        assert_eq!(Mode::default().retry_after(s(9)), Duration::ZERO);
    }
}
