//! What a request costs at a price, and what it can cost at most.

use crate::Money;
use std::ops::{AddAssign, Sub};

/// Tokens of a price: prices are quoted for so many.
const PER: u128 = 1_000_000;

/// Tokens by kind. The kinds are disjoint: none is counted in another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Read, and not found in a cache.
    pub input: u64,
    /// Read from the engine's prefix cache.
    pub cache_read: u64,
    /// Made.
    pub output: u64,
}

/// Pico-dollars for a million tokens of each kind, none of them negative. `None` is not known, which is not zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Price {
    /// Of input that is not cached.
    pub input: Option<Money>,
    /// Of input that is; as other input when it is not said.
    pub cache_read: Option<Money>,
    /// Of output.
    pub output: Option<Money>,
}

/// What requests cost, by kind of token, in pico-dollars. The kinds add up to the total.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Of input that was not cached.
    pub input: i128,
    /// Of input that was.
    pub cache_read: i128,
    /// Of output.
    pub output: i128,
}

impl Cost {
    /// All of it.
    #[must_use]
    pub const fn total(&self) -> i128 {
        self.input + self.cache_read + self.output
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.input += other.input;
        self.cache_read += other.cache_read;
        self.output += other.output;
    }
}

impl Sub for Cost {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            input: self.input - other.input,
            cache_read: self.cache_read - other.cache_read,
            output: self.output - other.output,
        }
    }
}

impl Tokens {
    /// From the counts of OpenAI's API, whose `prompt_tokens` include the cached ones.
    #[must_use]
    pub const fn of_openai(prompt: u64, cached: u64, completion: u64) -> Self {
        Self { input: prompt.saturating_sub(cached), cache_read: cached, output: completion }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.input == 0 && self.cache_read == 0 && self.output == 0
    }
}

impl Price {
    /// Whether it says nothing: from then on the cost is unknown.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        self.input.is_none() && self.cache_read.is_none() && self.output.is_none()
    }

    /// What these tokens cost: the sum over the kinds of tokens × price ÷ 1,000,000, rounded once, half a pico-dollar up.
    /// `None` when there are tokens of a kind whose price is not known, or it is more than 64 bits hold.
    #[must_use]
    pub fn cost(&self, tokens: Tokens) -> Option<Money> {
        self.product(tokens).and_then(|product| rounded(product + PER / 2))
    }

    /// The same by kind. Cached input and output are rounded down, and what they leave of the cost is that of the input.
    #[must_use]
    pub fn parts(&self, tokens: Tokens) -> Option<Cost> {
        let total = i128::from(self.cost(tokens)?.0);
        let part = |tokens| self.product(tokens).and_then(|product| i128::try_from(product / PER).ok());
        let cache_read = part(Tokens { cache_read: tokens.cache_read, ..Tokens::default() })?;
        let output = part(Tokens { output: tokens.output, ..Tokens::default() })?;
        Some(Cost { input: total - cache_read - output, cache_read, output })
    }

    /// What `prompt` tokens of input and at most `most` of output cost at most, however much of the input is cached,
    /// rounded up; `None` when it is not known.
    #[must_use]
    pub fn largest(&self, prompt: u64, most: u64) -> Option<Money> {
        let one = |tokens| self.product(tokens);
        let fresh = one(Tokens { input: prompt, cache_read: 0, output: most })?;
        let cached = one(Tokens { input: 0, cache_read: prompt, output: most })?;
        rounded(fresh.max(cached) + PER - 1)
    }

    /// The most tokens of output that `left` pays for beside `prompt` tokens of input; `None` when not even the input is
    /// paid for, or the price is not known. Output that costs nothing is not bounded.
    #[must_use]
    pub fn affords(&self, left: Money, prompt: u64) -> Option<u64> {
        let input = self.largest(prompt, 0)?;
        let each = u128::from(self.output?.0.unsigned_abs());
        let over = u128::try_from(left.0.checked_sub(input.0)?).ok()?;
        let most = (over * PER).checked_div(each).unwrap_or(u128::MAX);
        Some(u64::try_from(most).unwrap_or(u64::MAX))
    }

    /// Pico-dollars times a million.
    fn product(&self, tokens: Tokens) -> Option<u128> {
        let cached = self.cache_read.or(self.input);
        let kinds = [(tokens.input, self.input), (tokens.cache_read, cached), (tokens.output, self.output)];
        kinds.into_iter().filter(|(count, _)| *count > 0).try_fold(0u128, |sum, (count, price)| {
            let price = u128::try_from(price?.0).ok()?;
            sum.checked_add(u128::from(count) * price)
        })
    }
}

fn rounded(product: u128) -> Option<Money> {
    i64::try_from(product / PER).ok().map(Money)
}
