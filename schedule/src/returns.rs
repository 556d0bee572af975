//! Who was refused and told when to come back.
//!
//! A time to come back is true only when there is a place then. So each is booked behind those who were told before, as
//! far as people come back at all; and whoever comes at the time that they were told goes before those who come for the
//! first time. They are known by what they ask: whoever asks the same again comes back.

use crate::class::Class;
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

/// How long after its time a booking is kept.
const GRACE: Duration = Duration::from_secs(5);
/// How long before its time somebody who comes back is on time.
const EARLY: Duration = Duration::from_millis(100);
/// Bookings at once.
const MOST: usize = 100_000;
/// Weight of the newest booking in the part of them that are kept.
const NEWEST: f64 = 0.02;

/// A request as it is known again, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Print {
    pub(crate) asks: u64,
    pub(crate) path: u64,
}

#[derive(Debug, Clone, Copy)]
struct Booking {
    path: u64,
    class: Class,
    arrived: Duration,
    cost: f64,
}

/// The bookings of one model.
#[derive(Debug, Default)]
pub(crate) struct Returns {
    bookings: HashMap<u64, Booking>,
    /// By what is asked, the time told, and the booking.
    known: BTreeSet<(u64, Duration, u64)>,
    /// By time: these are over, if they were not kept.
    ends: BTreeSet<(Duration, u64, u64)>,
    work: [f64; 4],
    by_path: HashMap<u64, (usize, f64)>,
    /// Part of the bookings that are kept.
    kept: f64,
    seen: u32,
    next: u64,
}

impl Returns {
    /// Seconds of work of a class that are booked, as far as they come before one more of a path.
    pub(crate) fn before(&self, path: u64, class: Class) -> f64 {
        let all = self.work[class.index()].max(0.0);
        let (mine, others) =
            (self.by_path.get(&path).map_or(0.0, |mine| mine.1), self.by_path.len().max(1) as f64);
        self.kept * all.min(mine.mul_add(others, all / others))
    }

    /// Seconds of work of a path that are booked.
    pub(crate) fn of(&self, path: u64) -> f64 {
        self.kept * self.by_path.get(&path).map_or(0.0, |mine| mine.1.max(0.0))
    }

    /// Somebody was told to come back.
    pub(crate) fn book(&mut self, print: Print, class: Class, cost: f64, arrived: Duration, at: Duration) {
        if print.asks == 0 || self.bookings.len() >= MOST {
            return;
        }
        let number = self.next;
        self.next += 1;
        self.bookings.insert(number, Booking { path: print.path, class, arrived, cost });
        self.known.insert((print.asks, at, number));
        self.ends.insert((at + GRACE, number, print.asks));
        self.work[class.index()] += cost;
        let of_path = self.by_path.entry(print.path).or_default();
        *of_path = (of_path.0 + 1, of_path.1 + cost);
    }

    /// Somebody asks. When they came first, if they were told to come now.
    pub(crate) fn came(&mut self, print: Print, now: Duration) -> Option<Duration> {
        self.sweep(now);
        if print.asks == 0 {
            return None;
        }
        let (asks, at, number) = self.known.range((print.asks, Duration::ZERO, 0)..).next().copied()?;
        if asks != print.asks || at > now + EARLY {
            return None;
        }
        self.learn(1.0);
        self.drop(asks, at, number)
    }

    /// Nobody came for these.
    fn sweep(&mut self, now: Duration) {
        while let Some(&(end, number, asks)) = self.ends.first().filter(|first| first.0 < now) {
            self.learn(0.0);
            self.drop(asks, end - GRACE, number);
        }
    }

    fn learn(&mut self, kept: f64) {
        self.seen = self.seen.saturating_add(1);
        self.kept += NEWEST.max(1.0 / f64::from(self.seen)) * (kept - self.kept);
    }

    fn drop(&mut self, asks: u64, at: Duration, number: u64) -> Option<Duration> {
        self.known.remove(&(asks, at, number));
        self.ends.remove(&(at + GRACE, number, asks));
        let booking = self.bookings.remove(&number)?;
        self.work[booking.class.index()] -= booking.cost;
        if let Some(of_path) = self.by_path.get_mut(&booking.path) {
            *of_path = (of_path.0 - 1, of_path.1 - booking.cost);
            if of_path.0 == 0 {
                self.by_path.remove(&booking.path);
            }
        }
        if self.bookings.is_empty() {
            self.work = [0.0; 4];
        }
        Some(booking.arrived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Print = Print { asks: 7, path: 1 };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn booked(returns: &mut Returns, told: u64) {
        returns.book(ME, Class::Default, 0.5, at(1), at(told));
    }

    #[test]
    fn who_asks_the_same_at_the_time_told_comes_back_once() {
        let mut returns = Returns::default();
        booked(&mut returns, 10);
        assert_eq!(returns.came(ME, at(9)), None, "too early");
        assert_eq!(returns.came(Print { asks: 8, path: 1 }, at(10)), None, "something else");
        assert_eq!(returns.came(ME, at(11)), Some(at(1)));
        assert_eq!(returns.came(ME, at(11)), None, "one place for each");
        assert!(returns.bookings.is_empty() && returns.ends.is_empty() && returns.by_path.is_empty());
    }

    #[test]
    fn who_does_not_come_takes_nobodys_place() {
        let mut returns = Returns::default();
        for told in 10..20 {
            booked(&mut returns, told);
        }
        assert_eq!(
            (returns.of(1), returns.before(1, Class::Default)),
            (0.0, 0.0),
            "nobody has come back yet"
        );
        assert_eq!(returns.came(ME, at(10)), Some(at(1)));
        assert!(returns.of(1) > 4.0 && returns.of(2) == 0.0);
        assert_eq!(returns.came(ME, at(100)), None, "its time is over");
        assert!(returns.bookings.is_empty() && returns.kept < 0.2, "{}", returns.kept);
    }

    #[test]
    fn bookings_are_bounded() {
        let mut returns = Returns::default();
        for told in 0..MOST as u64 + 10 {
            booked(&mut returns, told + 1_000);
        }
        assert_eq!(returns.bookings.len(), MOST);
    }
}
