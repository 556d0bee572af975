//! How full a budget is.

use crate::{Amount, Limit};

/// Percent of a budget that are noted, once in each window.
pub const THRESHOLDS: [u8; 4] = [50, 80, 90, 100];

/// The part of a budget that is spent, of whichever it limits more tightly; 0 where it limits nothing. A budget of
/// nothing is always full.
#[must_use]
pub fn used_ratio(limit: Limit, spent: Amount) -> f64 {
    let ratio = |limit: Option<i64>, spent: i128| match limit {
        Some(limit) if limit > 0 => spent as f64 / limit as f64,
        Some(_) => 1.0,
        None => 0.0,
    };
    ratio(limit.money, spent.money).max(ratio(limit.tokens, spent.tokens.into()))
}

/// The thresholds that are reached.
pub fn crossed(limit: Limit, spent: Amount) -> impl Iterator<Item = u8> {
    let reached = move |percent: u8, limit: Option<i64>, spent: i128| {
        limit.is_some_and(|limit| spent * 100 >= i128::from(limit) * i128::from(percent))
    };
    THRESHOLDS.into_iter().filter(move |&percent| {
        reached(percent, limit.money, spent.money) || reached(percent, limit.tokens, spent.tokens.into())
    })
}
