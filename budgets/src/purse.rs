//! What a gateway may spend of a budget in one window, as the gateway sees it. Everything here is a few additions.

use crate::{Amount, Ask, Limit};

/// A gateway's part of a budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purse {
    limit: Limit,
    granted: Amount,
    released: Amount,
    /// Of requests that are over.
    used: Amount,
    /// For requests under way.
    reserved: Amount,
    /// What did not fit when it was wanted last.
    missed: Amount,
}

impl Purse {
    /// An empty one.
    #[must_use]
    pub const fn new(limit: Limit) -> Self {
        Self {
            limit,
            granted: Amount::ZERO,
            released: Amount::ZERO,
            used: Amount::ZERO,
            reserved: Amount::ZERO,
            missed: Amount::ZERO,
        }
    }

    /// The budget allows another amount from now on. What is in the purse stays.
    pub const fn set_limit(&mut self, limit: Limit) {
        self.limit = limit;
    }

    /// What it limits.
    #[must_use]
    pub const fn limit(&self) -> Limit {
        self.limit
    }

    /// What is in it; below zero when requests cost more than was set aside for them.
    #[must_use]
    pub fn available(&self) -> Amount {
        self.granted - self.released - self.used - self.reserved
    }

    /// Sets so much aside for a request, if it is there.
    pub fn reserve(&mut self, amount: Amount) -> bool {
        let fits = self.limit.fits(amount, self.available());
        if fits {
            self.reserved += self.limit.of(amount);
        } else if self.limit.fits(amount, self.limit.less(Amount::ZERO)) {
            // What no purse can ever hold is not asked for.
            self.missed = self.missed.max(self.limit.of(amount));
        }
        fits
    }

    /// The request is over: so much of what was set aside for it was spent, the rest is back in the purse.
    pub fn settle(&mut self, reserved: Amount, spent: Amount) {
        self.reserved = self.reserved - self.limit.of(reserved);
        self.used += self.limit.of(spent);
    }

    /// What to tell whoever keeps the budget, when `keep` is to be in the purse for what may come. What is in it beyond
    /// that and beyond what did not fit lately is given back, and is not there any more from now on.
    pub fn ask(&mut self, keep: Amount) -> Ask {
        let keep = self.limit.of(keep).max(self.missed);
        self.missed = Amount::ZERO;
        // A little more than enough is kept, so that it is not sent to and fro.
        self.released += (self.available() - keep - keep).positive();
        Ask { target: self.released + self.used + self.reserved + keep, released: self.released }
    }

    /// Hears how much it was given in all.
    pub fn hear(&mut self, granted: Amount) {
        self.granted = self.granted.max(granted);
    }

    /// Gives everything back that is not set aside.
    pub fn close(&mut self) -> Ask {
        self.released += self.available().positive();
        Ask { target: Amount::ZERO, released: self.released }
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.reserved == Amount::ZERO
    }
}
