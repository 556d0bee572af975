//! What GPUs cost: prices of pools by date, who used the time of their GPUs, and what should be done about the rest.

pub(crate) mod advise;
pub(crate) mod cost;
pub(crate) mod fleet;

use crate::{
    error::Error,
    place::{self, Place, is_time},
    store::{self, gpus},
};
use policy::{Time, UserId};
use pricing::{History, gpu::GpuPrice};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::{
    db::Db,
    event::{Change, Origin, log},
};
use std::collections::HashMap;
use uuid::Uuid;

/// A version of the price of a pool's GPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GpuPriceVersion {
    pub(crate) id: Uuid,
    pub(crate) pool: String,
    pub(crate) price: GpuPrice,
    pub(crate) from: Time,
    pub(crate) reason: String,
    pub(crate) by: UserId,
    pub(crate) created: Time,
}

impl GpuPriceVersion {
    /// As the log of changes has it, in pico-dollars for an hour.
    fn logged(&self) -> Value {
        let GpuPrice { hour, spot_hour, capacity } = self.price;
        let [hour, spot_hour] = [hour, spot_hour].map(|money| money.map(|money| money.0));
        json!({ "pool": self.pool, "hour": hour, "spot_hour": spot_hour, "capacity": capacity, "from": self.from.0 })
    }
}

/// The prices of pools over time.
pub(crate) type GpuPrices = HashMap<String, History<Uuid, GpuPrice>>;

/// A version's place in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) pool: String,
    pub(crate) from: Time,
    pub(crate) created: Time,
    pub(crate) id: Uuid,
}

impl Place for Position {
    fn is_possible(&self) -> bool {
        is_time(self.from) && is_time(self.created) && !self.pool.chars().any(char::is_control)
    }
}

/// Adds a version. `named` says that its id is of the caller's making, who may send it again.
///
/// # Errors
/// [`Error::RequestReused`] when another price has its id, or the store is away.
pub(crate) async fn put(
    db: &Db,
    price: GpuPriceVersion,
    named: bool,
    origin: &Origin,
) -> Result<GpuPriceVersion, Error> {
    let mut tx = db.begin().await?;
    let known = if named { gpus::get(&mut tx, price.id).await? } else { None };
    match known {
        // What counts "from now on" says another time when it is sent again.
        Some(known) if (&known.pool, known.price) == (&price.pool, price.price) => return Ok(known),
        Some(_) => return Err(Error::RequestReused),
        None => {}
    }
    gpus::insert(&mut tx, &price).await?;
    let change = Change::created("gpu_price", price.id.to_string(), price.logged());
    log::append(&mut tx, origin, vec![change]).await?;
    tx.commit().await?;
    Ok(price)
}

/// Reads one page of `size` versions and the token of the next: by pool, the newest of each first.
///
/// # Errors
/// When the token belongs to another list, or the store is away.
pub(crate) async fn list(
    db: &Db,
    pool: Option<&str>,
    size: u32,
    token: &str,
) -> Result<(Vec<GpuPriceVersion>, String), Error> {
    let filter = serde_json::to_string(&("gpu_prices", pool)).unwrap_or_default();
    let after: Option<Position> = place::read(&filter, token)?;
    let read = gpus::page(db, pool, after.as_ref(), size + 1);
    let mut page = store::timed(db, "list_gpu_prices", read).await?;
    let position = |last: &GpuPriceVersion| Position {
        pool: last.pool.clone(),
        from: last.from,
        created: last.created,
        id: last.id,
    };
    let next = place::next(&filter, &mut page, size, position);
    Ok((page, next))
}
