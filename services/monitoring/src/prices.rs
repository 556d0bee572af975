//! The price list: versions by model and date, put by hand or imported, and what a request costs by them.

mod import;

pub(crate) use import::{Imported, Imports, import};

use crate::{
    error::Error,
    place::{self, Place, is_time},
    store::{self, prices},
    usage::Charge,
    usage::charge::Prices,
};
use policy::{Time, UserId};
use pricing::{Price, Tokens};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::{
    db::Db,
    event::{Change, Origin, log},
};
use uuid::Uuid;

/// A version of a model's price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PriceVersion {
    pub(crate) id: Uuid,
    pub(crate) model: String,
    pub(crate) price: Price,
    pub(crate) from: Time,
    pub(crate) source: String,
    pub(crate) reason: String,
    pub(crate) by: UserId,
    pub(crate) created: Time,
}

impl PriceVersion {
    /// As the log of changes has it, in pico-dollars for a million tokens.
    fn logged(&self) -> Value {
        let Price { input, cache_read, output } = self.price;
        let [input, cache_read, output] = [input, cache_read, output].map(|money| money.map(|money| money.0));
        json!({ "model": self.model, "input": input, "cache_read": cache_read, "output": output, "from": self.from.0 })
    }

    /// Whether another one says the same of the same model.
    fn says(&self, other: &Self) -> bool {
        (&self.model, &self.price, self.from) == (&other.model, &other.price, other.from)
    }
}

/// Which versions to list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Query {
    pub(crate) model: Option<String>,
    /// Only those that count at this time.
    pub(crate) at: Option<Time>,
}

/// A version's place in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) model: String,
    pub(crate) from: Time,
    pub(crate) created: Time,
    pub(crate) id: Uuid,
}

impl Place for Position {
    fn is_possible(&self) -> bool {
        is_time(self.from) && is_time(self.created) && !self.model.chars().any(char::is_control)
    }
}

/// A page and the token of the next one, empty at the end.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) prices: Vec<PriceVersion>,
    pub(crate) next: String,
}

/// Adds a version. `named` says that its id is of the caller's making, who may send it again.
///
/// # Errors
/// [`Error::RequestReused`] when another price has its id, or the store is away.
pub(crate) async fn put(
    db: &Db,
    price: PriceVersion,
    named: bool,
    validate_only: bool,
    origin: &Origin,
) -> Result<PriceVersion, Error> {
    let mut tx = db.begin().await?;
    let known = if named { prices::get(&mut tx, price.id).await? } else { None };
    match known {
        // What counts "from now on" says another time when it is sent again.
        Some(known) if known.says(&PriceVersion { from: known.from, ..price.clone() }) => return Ok(known),
        Some(_) => return Err(Error::RequestReused),
        None => {}
    }
    if !validate_only {
        prices::insert(&mut tx, std::slice::from_ref(&price)).await?;
        let change = Change::created("price", price.id.to_string(), price.logged());
        log::append(&mut tx, origin, vec![change]).await?;
        tx.commit().await?;
    }
    Ok(price)
}

/// Reads one page of `size` versions.
///
/// # Errors
/// When the token belongs to another list, or the store is away.
pub(crate) async fn list(db: &Db, query: &Query, size: u32, token: &str) -> Result<Page, Error> {
    let filter = serde_json::to_string(&("prices", query)).unwrap_or_default();
    let after: Option<Position> = place::read(&filter, token)?;
    let read = prices::page(db, query, after.as_ref(), size + 1);
    let mut prices = store::timed(db, "list_prices", read).await?;
    let more = prices.len() > size as usize;
    prices.truncate(size as usize);
    let next = match prices.last() {
        Some(PriceVersion { model, from, created, id, .. }) if more => {
            let last = Position { model: model.clone(), from: *from, created: *created, id: *id };
            place::token(&filter, &last)
        }
        _ => String::new(),
    };
    Ok(Page { prices, next })
}

/// What these tokens cost at a time, and the version that says so.
///
/// # Errors
/// When the store is away.
pub(crate) async fn quote(
    db: &Db,
    model: &str,
    tokens: Tokens,
    at: Time,
) -> Result<(Charge, Option<PriceVersion>), Error> {
    let mut tx = db.begin_read().await?;
    let charge = Prices::of_models(&mut tx, std::iter::once(model)).await?.cost(model, tokens, at);
    let version = match charge.price {
        Some(id) => prices::get(&mut tx, id).await?,
        None => None,
    };
    Ok((charge, version))
}
