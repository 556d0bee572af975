//! Pricing records again: each whose cost the price list sees differently today is superseded.

use crate::{
    error::Error,
    store::{corrections::Cause, records},
    usage::Kept,
    usage::charge::Prices,
    usage::correct::supersede,
    usage::records::{Order, Position, Query},
};
use policy::Time;
use serde_json::json;
use shared::{
    db::Db,
    event::{Change, Origin, log},
};
use uuid::Uuid;

/// Records of one transaction.
const PAGE: u32 = 1_000;
/// Records of one call, which has to end in time.
const MOST: u64 = 10_000;

/// What pricing again came to. Costs are in pico-dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rerated {
    pub(crate) examined: u64,
    pub(crate) changed: u64,
    pub(crate) before: i128,
    pub(crate) after: i128,
    pub(crate) unpriced_before: u64,
    pub(crate) unpriced_after: u64,
    /// Where to go on.
    pub(crate) next: Option<Time>,
}

/// Prices the records of `query` again, only those of the model `served` where one is named.
///
/// # Errors
/// When the store is away. What was superseded until then stays so, and going on from the start does no harm.
pub(crate) async fn rerate(
    db: &Db,
    query: &Query,
    served: Option<&str>,
    cause: &Cause,
    validate_only: bool,
    origin: &Origin,
) -> Result<Rerated, Error> {
    let (mut told, mut after): (Rerated, Option<Position>) = (Rerated::default(), None);
    loop {
        let page = records::page(db, query, Order::OldestFirst, after.as_ref(), PAGE).await?;
        let Some(last) = page.last().map(|kept| Position::of(&kept.record)) else { return Ok(told) };
        let full = page.len() == PAGE as usize;
        let own = page.into_iter().filter(|kept| served.is_none_or(|name| kept.record.priced_as() == name));
        let mut tx = db.begin().await?;
        let own: Vec<Kept> = own.collect();
        let prices = Prices::of(&mut tx, own.iter().map(|kept| &kept.record)).await?;
        let changes: Vec<_> = own.into_iter().filter_map(|before| told.look(before, &prices)).collect();
        if !validate_only {
            supersede(&mut tx, &changes, cause).await?;
            if !changes.is_empty() {
                let after = json!({ "superseded": changes.len() });
                let change = Change::created("usage_records", served.unwrap_or("*"), after).called("rerated");
                log::append(&mut tx, origin, vec![change]).await?;
            }
            tx.commit().await?;
        }
        if !full {
            return Ok(told);
        }
        if told.examined >= MOST {
            // Of those at the same instant some are looked at again.
            return Ok(Rerated { next: Some(last.start), ..told });
        }
        after = Some(last);
    }
}

impl Rerated {
    /// Counts a record, and says how it is superseded when it is.
    fn look(&mut self, before: Kept, prices: &Prices) -> Option<(Uuid, Kept, Kept)> {
        let charge = prices.charge(&before.record);
        self.examined += 1;
        self.unpriced_before += u64::from(before.charge.cost.is_none());
        self.unpriced_after += u64::from(charge.cost.is_none());
        if charge.cost == before.charge.cost {
            return None;
        }
        let pico = |cost: Option<pricing::Money>| cost.map_or(0, |cost| i128::from(cost.0));
        self.changed += 1;
        self.before += pico(before.charge.cost);
        self.after += pico(charge.cost);
        let after = Kept { charge, revision: before.revision + 1, ..before.clone() };
        Some((Uuid::now_v7(), before, after))
    }
}
