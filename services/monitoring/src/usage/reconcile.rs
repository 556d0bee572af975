//! Holding the ledger against its sums, and against what engines count themselves.

use crate::{
    error::Error,
    store::{self, totals},
};
use policy::Time;
use shared::db::Db;
use std::collections::BTreeMap;

/// Totals of a way to count. Cost is in pico-dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) requests: i64,
    pub(crate) prompt_tokens: i64,
    pub(crate) completion_tokens: i64,
    pub(crate) cost: i128,
    pub(crate) unpriced: i64,
}

/// Both counts of a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reconciled {
    pub(crate) ledger: Totals,
    pub(crate) sums: Totals,
    /// The ledger's by engine.
    pub(crate) engines: BTreeMap<String, Totals>,
}

/// Adds up both, as they were at one moment.
///
/// # Errors
/// When the store is away.
pub(crate) async fn reconcile(db: &Db, start: Time, end: Time) -> Result<Reconciled, Error> {
    let read = async {
        let mut tx = db.begin_read().await?;
        let engines = totals::of_records(&mut tx, start, end).await?;
        let sums = totals::of_hours(&mut tx, start, end).await?;
        Ok((engines, sums))
    };
    let (engines, sums) = store::timed(db, "reconcile_usage", read).await?;
    let ledger = engines.values().fold(Totals::default(), |total, engine| total + *engine);
    Ok(Reconciled { ledger, sums, engines })
}

impl std::ops::Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            prompt_tokens: self.prompt_tokens + other.prompt_tokens,
            completion_tokens: self.completion_tokens + other.completion_tokens,
            cost: self.cost + other.cost,
            unpriced: self.unpriced + other.unpriced,
        }
    }
}
