//! Dollars without rounding.

use std::{fmt, ops::Add, str::FromStr};

/// Pico-dollars of a dollar: 10^12.
const DOLLAR: u128 = 1_000_000_000_000;
/// Digits after the point that an amount can have.
const DIGITS: usize = 12;

/// An amount in pico-dollars (10^-12 USD): exact to a twelfth decimal, up to about 9.2 million dollars either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(pub i64);

/// A text that is no amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotMoney {
    /// Not a decimal number.
    #[error("must be a decimal number of dollars, like 0.15 or 6e-08")]
    Malformed,
    /// More decimals than are kept.
    #[error("must have at most {0} decimals")]
    TooFine(usize),
    /// More than 64 bits of pico-dollars.
    #[error("must be less than 9,223,372 dollars")]
    TooLarge,
}

impl Money {
    /// Reads a decimal number of dollars times 10^`shift`: with a shift of 6, a price per token is one per million.
    ///
    /// The digits are read as they stand, never as a binary fraction, so that `0.1` is a tenth.
    ///
    /// # Errors
    /// When it is no decimal number, is finer than a pico-dollar, or larger than 64 bits.
    pub fn shifted(text: &str, shift: i32) -> Result<Self, NotMoney> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                // Any real exponent is two digits; a longer one would only make work.
                let exponent = Some(exponent).filter(|text| text.len() <= 4).ok_or(NotMoney::Malformed)?;
                (mantissa, exponent.parse::<i32>().map_err(|_| NotMoney::Malformed)?)
            }
            None => (text, 0),
        };
        let (negative, digits) = match mantissa.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, mantissa),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !is_number(whole) || !is_number(fraction) {
            return Err(NotMoney::Malformed);
        }
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return Ok(Self(0));
        }
        // The value is `digits` × 10^`scale` pico-dollars.
        let decimals = i32::try_from(fraction.len()).map_err(|_| NotMoney::TooFine(DIGITS))?;
        let (digits, scale) = (digits.trim_end_matches('0'), {
            let zeros = digits.len() - digits.trim_end_matches('0').len();
            i32::try_from(zeros).map_err(|_| NotMoney::TooLarge)? + exponent + shift + DIGITS as i32
                - decimals
        });
        let scale = u32::try_from(scale).map_err(|_| NotMoney::TooFine(DIGITS))?;
        let amount: i128 = digits.parse().map_err(|_| NotMoney::TooLarge)?;
        let amount = 10i128.checked_pow(scale).and_then(|power| amount.checked_mul(power));
        let amount = amount.map(|amount| if negative { -amount } else { amount });
        amount.and_then(|amount| i64::try_from(amount).ok()).map(Self).ok_or(NotMoney::TooLarge)
    }

    /// The sum, or nothing when it is larger than 64 bits.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// A sum of any size as dollars: the amount of `pico` pico-dollars.
    #[must_use]
    pub fn dollars(pico: i128) -> String {
        let (sign, pico) = (if pico < 0 { "-" } else { "" }, pico.unsigned_abs());
        let (whole, fraction) = (pico / DOLLAR, pico % DOLLAR);
        let fraction = format!("{fraction:012}");
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
    }
}

impl FromStr for Money {
    type Err = NotMoney;

    /// Reads a decimal number of dollars.
    fn from_str(text: &str) -> Result<Self, NotMoney> {
        Self::shifted(text, 0)
    }
}

impl fmt::Display for Money {
    /// As dollars, with no more decimals than are needed.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&Self::dollars(self.0.into()))
    }
}

impl Add for Money {
    type Output = Self;

    /// The sum; at the ends of 64 bits it stays there.
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}
