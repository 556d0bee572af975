//! What a budget counts.

use std::ops::{Add, AddAssign, Sub};

/// As much money as can be counted in 64 bits.
const UNLIMITED: i128 = i64::MAX as i128;

/// Money in pico-dollars, and tokens. Both are counted for every budget, whichever it limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Pico-dollars: a sum of any size.
    pub money: i128,
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
        let money = self.money.map_or(UNLIMITED, |limit| i128::from(limit) - committed.money);
        let tokens = self.tokens.map_or(i64::MAX, |limit| limit.saturating_sub(committed.tokens));
        Amount { money, tokens }
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
        let money = if self.money.is_some() { amount.money } else { 0 };
        let tokens = if self.tokens.is_some() { amount.tokens } else { 0 };
        Amount { money, tokens }
    }
}

impl Add for Amount {
    type Output = Self;

    /// Tokens stay at the ends of 64 bits.
    fn add(self, other: Self) -> Self {
        Self { money: self.money + other.money, tokens: self.tokens.saturating_add(other.tokens) }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Amount {
    type Output = Self;

    /// Tokens stay at the ends of 64 bits.
    fn sub(self, other: Self) -> Self {
        Self { money: self.money - other.money, tokens: self.tokens.saturating_sub(other.tokens) }
    }
}
