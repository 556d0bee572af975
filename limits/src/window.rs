//! A sliding window: how many there were of late.
//!
//! The window of length `W` is kept as [`SLOTS`] slots of `W / SLOTS` and the one that is being filled. Whatever came in
//! the last `W` is counted, and whatever came more than `W + W / SLOTS` ago is not; in between it depends on where in its
//! slot it came. So what is allowed by it is never more than the limit in any stretch of `W`, and what is refused by it
//! would be refused by an exact window that is a twentieth longer.
//!
//! The clock may jump. Back: what was counted keeps its age, and the time that passed unseen is not believed, so nothing
//! is forgotten early. Ahead: it is as if the time had passed.

use std::time::Duration;

/// Slots of a window, beside the one that is being filled.
pub const SLOTS: usize = 20;

/// Counts of a sliding window.
#[derive(Debug, Clone)]
pub struct Window {
    /// Length of a slot, in microseconds.
    slot: u64,
    /// Number of the slot that is being filled; the counts of slot `n` are at `n % (SLOTS + 1)`.
    head: u64,
    counts: [u32; SLOTS + 1],
    sum: u64,
}

impl Window {
    /// An empty window of this length.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        Self { slot: (micros(length) / SLOTS as u64).max(1), head: 0, counts: [0; SLOTS + 1], sum: 0 }
    }

    /// Length of a slot: how exact the window is.
    #[must_use]
    pub const fn slot(&self) -> Duration {
        Duration::from_micros(self.slot)
    }

    /// Goes to this time and forgets what is too old.
    pub fn advance(&mut self, at: Duration) {
        let head = micros(at) / self.slot;
        if head == self.head {
            return;
        }
        if head < self.head {
            let back = (self.head - head) % (SLOTS as u64 + 1);
            self.counts.rotate_left(usize::try_from(back).unwrap_or(0));
        } else if self.sum > 0 {
            for gone in 1..=(head - self.head).min(SLOTS as u64 + 1) {
                let count = &mut self.counts[place(self.head + gone)];
                self.sum -= u64::from(std::mem::take(count));
            }
        }
        self.head = head;
    }

    /// How many there were, up to the time that it was told last.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// Adds so many to those of now.
    pub fn add(&mut self, many: u64) {
        self.add_to(self.head, many);
    }

    fn add_to(&mut self, slot: u64, many: u64) {
        let count = &mut self.counts[place(slot)];
        let sum = u32::try_from(u64::from(*count) + many).unwrap_or(u32::MAX);
        self.sum += u64::from(sum - *count);
        *count = sum;
    }

    /// Adds so many that came this long ago, when they are not too old.
    pub fn add_past(&mut self, age: Duration, at: Duration, many: u64) {
        let slot = micros(at).saturating_sub(micros(age)) / self.slot;
        if slot <= self.head && self.head - slot <= SLOTS as u64 {
            self.add_to(slot, many);
        }
    }

    /// Takes back so many of those that came last.
    pub fn take_back(&mut self, mut many: u64) {
        for slot in self.slots() {
            let count = &mut self.counts[place(slot)];
            let gone = u64::from(*count).min(many);
            *count -= u32::try_from(gone).unwrap_or(0);
            (self.sum, many) = (self.sum - gone, many - gone);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        (self.counts, self.sum) = ([0; SLOTS + 1], 0);
    }

    /// What leaves the window when, the soonest first.
    #[must_use]
    pub fn leaving(&self, at: Duration) -> Vec<(Duration, u32)> {
        let filled = self.slots().filter(|slot| self.counts[place(*slot)] > 0);
        let mut all: Vec<_> =
            filled.map(|slot| (self.gone(slot).saturating_sub(at), self.counts[place(slot)])).collect();
        all.reverse();
        all
    }

    /// How long until nothing is left of what is counted now.
    #[must_use]
    pub fn until_empty(&self, at: Duration) -> Duration {
        if self.sum == 0 {
            return Duration::ZERO;
        }
        let newest = self.slots().find(|slot| self.counts[place(*slot)] > 0);
        newest.map_or(Duration::ZERO, |slot| self.gone(slot).saturating_sub(at))
    }

    /// What there is, each with how long ago the last of it may have come.
    #[must_use]
    pub fn ages(&self, at: Duration) -> Vec<(Duration, u32)> {
        let filled = self.slots().filter(|slot| self.counts[place(*slot)] > 0);
        let end = |slot: u64| Duration::from_micros((slot + 1).saturating_mul(self.slot));
        filled.map(|slot| (at.saturating_sub(end(slot)), self.counts[place(slot)])).collect()
    }

    /// The slots that are counted, the newest first.
    fn slots(&self) -> impl Iterator<Item = u64> + use<> {
        let head = self.head;
        (0..=SLOTS as u64).map_while(move |age| head.checked_sub(age))
    }

    /// When a slot is forgotten.
    const fn gone(&self, slot: u64) -> Duration {
        Duration::from_micros((slot + SLOTS as u64 + 1).saturating_mul(self.slot))
    }
}

fn place(slot: u64) -> usize {
    usize::try_from(slot % (SLOTS as u64 + 1)).unwrap_or(0)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
