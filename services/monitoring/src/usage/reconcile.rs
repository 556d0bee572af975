//! Holding the ledger against its sums, and against what engines count themselves.

use crate::{
    error::Error,
    signals::{Asked, Signals, Span},
    store::{self, totals},
};
use policy::Time;
use series::{Across, At, Over, Query, Selector};
use shared::db::Db;
use std::collections::BTreeMap;

/// What engines count of themselves, as gateways read it off their pages: tokens that were read, and those that were made.
const COUNTERS: [&str; 2] = ["vllm:prompt_tokens_total", "vllm:generation_tokens_total"];
/// Microseconds of a second.
const SECOND: i64 = 1_000_000;

/// Tokens that an engine says it has read and made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) engine: String,
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
}

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

/// By how much the counters of engines rose in a time, as far as they were measured.
///
/// # Errors
/// When it would be too much, or the store is away.
pub(crate) async fn counted(
    signals: &Signals,
    start: Time,
    end: Time,
    now: Time,
) -> Result<Vec<Counted>, Error> {
    let span = if end < now { Span::At(Some(At(end.0 / SECOND))) } else { Span::At(None) };
    let window = ((end.0.min(now.0) - start.0) / SECOND).max(1);
    let mut engines: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    for (at, name) in COUNTERS.into_iter().enumerate() {
        let query = Query { over: Over::Increase, across: Across::Sum, by: vec!["engine".into()], window };
        let found = signals.ask(&Asked { selector: Selector::named(name), query, span }, now).await?;
        for answer in found.answers {
            let rose = answer.values.first().copied().flatten();
            if let (Some(engine), Some(rose)) = (answer.labels.get("engine"), rose) {
                engines.entry(engine.to_owned()).or_default()[at] = rose.max(0.0).round() as u64;
            }
        }
    }
    let counted = |(engine, [prompt_tokens, completion_tokens]): (String, [u64; 2])| Counted {
        engine,
        prompt_tokens,
        completion_tokens,
    };
    Ok(engines.into_iter().map(counted).collect())
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
