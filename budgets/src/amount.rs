//! What a budget counts.

use std::ops::{Add, AddAssign, Sub};

/// Money in pico-dollars, and tokens. Both are counted for every budget, whichever it limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Pico-dollars.
    pub money: i64,
    /// Tokens of prompts and answers.
    pub tokens: i64,
}

/// What a budget allows; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limit {
    /// Pico-dollars.
    pub money: Option<i64>,
    /// Tokens of prompts and answers.
    pub tokens: Option<i64>,
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self { money: 0, tokens: 0 };

    /// The larger of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { money: self.money.max(other.money), tokens: self.tokens.max(other.tokens) }
    }

    /// The smaller of each.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self { money: self.money.min(other.money), tokens: self.tokens.min(other.tokens) }
    }

    /// The same, and nothing where it is below zero.
    #[must_use]
    pub fn positive(self) -> Self {
        self.max(Self::ZERO)
    }
}

impl Limit {
    /// What is left of it after so much. Where there is no limit, it is as much as can be counted.
    #[must_use]
    pub fn less(self, committed: Amount) -> Amount {
        let left = |limit: Option<i64>, used: i64| limit.map_or(i64::MAX, |limit| limit.saturating_sub(used));
        Amount { money: left(self.money, committed.money), tokens: left(self.tokens, committed.tokens) }
    }

    /// Whether so much fits into what is there. Only what is limited counts.
    #[must_use]
    pub const fn fits(self, wanted: Amount, there: Amount) -> bool {
        (self.money.is_none() || wanted.money <= there.money)
            && (self.tokens.is_none() || wanted.tokens <= there.tokens)
    }

    /// The part of an amount that it limits.
    #[must_use]
    pub fn of(self, amount: Amount) -> Amount {
        let part = |limit: Option<i64>, amount| if limit.is_some() { amount } else { 0 };
        Amount { money: part(self.money, amount.money), tokens: part(self.tokens, amount.tokens) }
    }
}

impl Add for Amount {
    type Output = Self;

    /// At the ends of 64 bits it stays there.
    fn add(self, other: Self) -> Self {
        Self {
            money: self.money.saturating_add(other.money),
            tokens: self.tokens.saturating_add(other.tokens),
        }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Amount {
    type Output = Self;

    /// At the ends of 64 bits it stays there.
    fn sub(self, other: Self) -> Self {
        Self {
            money: self.money.saturating_sub(other.money),
            tokens: self.tokens.saturating_sub(other.tokens),
        }
    }
}
