//! What a gateway may spend of a budget in one window, as whoever keeps the budget sees it.

use crate::{Amount, Limit};

/// The totals of one gateway, budget and window. None of them ever shrinks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lease {
    /// Given to the gateway.
    pub granted: Amount,
    /// Given back by it.
    pub released: Amount,
    /// Spent by it, as far as the ledger has its records.
    pub recorded: Amount,
}

/// What a gateway asks for: totals again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ask {
    /// It wants to have been given so much in all.
    pub target: Amount,
    /// It gave back so much in all.
    pub released: Amount,
}

/// How a budget stands in a window without one gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stand {
    /// What it allows.
    pub limit: Limit,
    /// The cost of all records in the ledger, that gateway's own among them.
    pub spent: Amount,
    /// What the other gateways hold.
    pub others: Amount,
}

impl Lease {
    /// What the gateway may still spend, or spent without the ledger knowing: it counts as spent.
    #[must_use]
    pub fn outstanding(&self) -> Amount {
        (self.granted - self.released - self.recorded).positive()
    }

    /// Hears a gateway, and gives it what it wants as far as that is left.
    pub fn hear(&mut self, ask: Ask, stand: &Stand) {
        // A gateway cannot give back what it was not given.
        self.released = self.released.max(ask.released.min(self.granted));
        let wanted = (stand.limit.of(ask.target) - self.granted).positive();
        let left = stand.limit.less(stand.spent + stand.others + self.outstanding()).positive();
        self.granted += wanted.min(left);
    }

    /// Its gateway is gone, and all that it did is in the ledger: what it had left is free.
    pub fn close(&mut self) {
        self.released += self.outstanding();
    }
}
