//! Corrections, pricing again and reconciliation between the contract and the ledger.

use super::{
    field,
    prices::MAX_REASON,
    record::{MAX_MODEL, key},
};
use crate::{
    error::{Error, Violation},
    store::corrections::Cause,
    usage::correct::Truth,
    usage::reconcile::{Counted, Reconciled, Totals},
    usage::records::Query,
    usage::rerate::Rerated,
    usage::{hour_ceil, hour_floor},
};
use policy::{Time, UserId};
use pricing::Money;
use proto::monitoring::v1 as pb;
use shared::time;
use uuid::Uuid;

/// The longest time that is reconciled in one call, and what is when no start is named, in microseconds.
const LONGEST: i64 = 31 * DAY;
const DAY: i64 = 86_400_000_000;
/// Engines of one call.
const MAX_ENGINES: usize = 1_000;

/// A correction as it is asked for: its id, what was used in truth, and why.
pub(super) fn correction(
    asked: pb::CorrectUsageRequest,
    by: UserId,
    at: Time,
) -> Result<(Uuid, Truth, Cause), Error> {
    let prompt_tokens = field::tokens("prompt_tokens", asked.prompt_tokens)?;
    let cached_prompt_tokens = field::tokens("cached_prompt_tokens", asked.cached_prompt_tokens)?;
    if cached_prompt_tokens > prompt_tokens {
        return Err(Violation::new("cached_prompt_tokens", "must be at most prompt_tokens").into());
    }
    let truth = Truth {
        key: key(&asked.usage_id, asked.attempt)?,
        prompt_tokens,
        cached_prompt_tokens,
        completion_tokens: field::tokens("completion_tokens", asked.completion_tokens)?,
    };
    let reason = field::optional_text("reason", asked.reason, MAX_REASON)?
        .ok_or_else(|| Violation::new("reason", "is required"))?;
    let id = field::optional_id("request_id", &asked.request_id)?;
    Ok((id.unwrap_or_else(Uuid::now_v7), truth, Cause { reason, by, at }))
}

/// The records that are to be priced again, the model they are priced as, and why.
pub(super) fn rerating(
    asked: pb::RerateUsageRequest,
    by: UserId,
    now: Time,
) -> Result<(Query, Option<String>, Cause), Error> {
    let start = asked.start_time.as_ref().ok_or_else(|| Violation::new("start_time", "is required"))?;
    let start = field::instant("start_time", start)?;
    let end = field::optional_instant("end_time", asked.end_time.as_ref())?.unwrap_or(now);
    if end < start {
        return Err(Violation::new("end_time", "must not be before start_time").into());
    }
    let query = Query { start: Some(start), end: Some(end), ..Query::default() };
    let model = field::optional_text("model", asked.model, MAX_MODEL)?;
    let reason = field::text("reason", asked.reason, MAX_REASON)?;
    Ok((query, model, Cause { reason, by, at: now }))
}

impl From<Rerated> for pb::RerateUsageResponse {
    fn from(told: Rerated) -> Self {
        Self {
            examined: told.examined,
            changed: told.changed,
            before_usd: Money::dollars(told.before),
            after_usd: Money::dollars(told.after),
            unpriced_before: told.unpriced_before,
            unpriced_after: told.unpriced_after,
            next_start_time: told.next.map(time::to_proto),
        }
    }
}

/// The whole hours to reconcile.
pub(super) fn reconciling(asked: &pb::ReconcileUsageRequest, now: Time) -> Result<(Time, Time), Error> {
    let end = hour_ceil(field::optional_instant("end_time", asked.end_time.as_ref())?.unwrap_or(now));
    let start = field::optional_instant("start_time", asked.start_time.as_ref())?;
    let start = hour_floor(start.unwrap_or_else(|| Time((end.0 - DAY).max(0))));
    if end < start || end.0 - start.0 > LONGEST {
        return Err(Violation::new("end_time", "must be after start_time, by at most 31 days").into());
    }
    if asked.engines.len() > MAX_ENGINES {
        return Err(Violation::new("engines", format!("must be at most {MAX_ENGINES}")).into());
    }
    for (index, engine) in asked.engines.iter().enumerate() {
        for (name, count) in
            [("prompt_tokens", engine.prompt_tokens), ("completion_tokens", engine.completion_tokens)]
        {
            i64::try_from(count).map_err(|_| {
                Violation::new(format!("engines[{index}].{name}"), "must be at most 2^63 - 1")
            })?;
        }
    }
    Ok((start, end))
}

/// Both counts, and those of the engines that were given beside the ledger's.
pub(super) fn reconciled(told: &Reconciled, engines: Vec<pb::EngineCount>) -> pb::ReconcileUsageResponse {
    let difference = |theirs: u64, ours: i64| i64::try_from(theirs).unwrap_or(i64::MAX).saturating_sub(ours);
    let engines = engines.into_iter().map(|count| {
        let ours = told.engines.get(&count.engine).copied().unwrap_or_default();
        pb::EngineDifference {
            ledger_prompt_tokens: ours.prompt_tokens.unsigned_abs(),
            ledger_completion_tokens: ours.completion_tokens.unsigned_abs(),
            prompt_difference: difference(count.prompt_tokens, ours.prompt_tokens),
            completion_difference: difference(count.completion_tokens, ours.completion_tokens),
            engine: count.engine,
        }
    });
    pb::ReconcileUsageResponse {
        ledger: Some(totals(&told.ledger)),
        sums: Some(totals(&told.sums)),
        equal: told.ledger == told.sums,
        engines: engines.collect(),
    }
}

impl From<Counted> for pb::EngineCount {
    fn from(counted: Counted) -> Self {
        let Counted { engine, prompt_tokens, completion_tokens } = counted;
        Self { engine, prompt_tokens, completion_tokens }
    }
}

fn totals(totals: &Totals) -> pb::UsageTotals {
    pb::UsageTotals {
        requests: totals.requests.unsigned_abs(),
        prompt_tokens: totals.prompt_tokens.unsigned_abs(),
        completion_tokens: totals.completion_tokens.unsigned_abs(),
        cost_usd: Money::dollars(totals.cost),
        unpriced: totals.unpriced.unsigned_abs(),
    }
}
