//! Superseding records: the record stays, its counts and cost are those of the last correction, and the hourly sums change
//! by the difference in the same transaction.

use crate::{
    budgets::spend::{Change, Spent, spend},
    error::Error,
    store::{
        corrections::{self, Cause, Known},
        records, rollup,
    },
    usage::charge::Prices,
    usage::{HourKey, Kept, Record, RecordKey, Sums},
};
use serde_json::{Value, json};
use shared::{
    db::{Db, Tx},
    event::{self, Origin, log},
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What a record used in truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Truth {
    pub(crate) key: RecordKey,
    pub(crate) prompt_tokens: i64,
    pub(crate) cached_prompt_tokens: i64,
    pub(crate) completion_tokens: i64,
}

/// Supersedes a record under an id, once.
///
/// # Errors
/// [`Error::NoRecord`], [`Error::RequestReused`], or when the store is away.
pub(crate) async fn correct(
    db: &Db,
    id: Uuid,
    truth: Truth,
    cause: &Cause,
    origin: &Origin,
) -> Result<Kept, Error> {
    let mut tx = db.begin().await?;
    let before = records::locked(&mut tx, truth.key).await?.ok_or(Error::NoRecord)?;
    if let Some(known) = corrections::get(&mut tx, id).await? {
        return if truth.is(&known) { Ok(before) } else { Err(Error::RequestReused) };
    }
    let record = Record {
        prompt_tokens: truth.prompt_tokens,
        cached_prompt_tokens: truth.cached_prompt_tokens,
        completion_tokens: truth.completion_tokens,
        estimated: false,
        ..before.record.clone()
    };
    let prices = Prices::of(&mut tx, std::iter::once(&record)).await?;
    let after = Kept { charge: prices.charge(&record), record, revision: before.revision + 1 };
    let what = format!("{}/{}", truth.key.usage_id, truth.key.attempt);
    let change =
        event::Change::updated("usage_record", what, logged(&before), logged(&after)).called("corrected");
    supersede(&mut tx, &[(id, before, after.clone())], cause).await?;
    log::append(&mut tx, origin, vec![change]).await?;
    tx.commit().await?;
    Ok(after)
}

/// As the log of changes has a record; its cost is in pico-dollars.
fn logged(kept: &Kept) -> Value {
    let Record { prompt_tokens, cached_prompt_tokens, completion_tokens, .. } = kept.record;
    json!({
        "prompt_tokens": prompt_tokens, "cached_prompt_tokens": cached_prompt_tokens,
        "completion_tokens": completion_tokens, "cost": kept.charge.cost.map(|cost| cost.0),
        "revision": kept.revision,
    })
}

/// Supersedes records: of each the id of the correction, what counted, and what counts from now on.
pub(crate) async fn supersede(
    tx: &mut Tx,
    changes: &[(Uuid, Kept, Kept)],
    cause: &Cause,
) -> Result<(), sqlx::Error> {
    let states: Vec<(Uuid, Kept)> = changes.iter().map(|(id, _, after)| (*id, after.clone())).collect();
    corrections::insert(tx, &states, cause).await?;
    let prices = Prices::of(tx, changes.iter().map(|(_, _, after)| &after.record)).await?;
    let costed = |kept: &Kept| prices.parts(&kept.record, kept.charge);
    let mut hours: BTreeMap<HourKey, Sums> = BTreeMap::new();
    for (_, before, after) in changes {
        let (from, to) = ((&before.record, costed(before)), (&after.record, costed(after)));
        *hours.entry(before.record.hour_key()).or_default() += Sums::difference(from, to);
    }
    rollup::add(tx, &hours.into_iter().collect::<Vec<_>>()).await?;
    let spent = changes.iter().map(|(_, before, after)| Change {
        record: &after.record,
        spent: Spent::difference(before, after),
        leased: None,
    });
    spend(tx, &spent.collect::<Vec<_>>(), cause.at).await.map(drop)
}

impl Truth {
    fn is(&self, known: &Known) -> bool {
        (self.key.usage_id, i64::from(self.key.attempt)) == (known.usage_id, known.attempt)
            && [self.prompt_tokens, self.cached_prompt_tokens, self.completion_tokens]
                == [known.prompt_tokens, known.cached_prompt_tokens, known.completion_tokens]
    }
}
