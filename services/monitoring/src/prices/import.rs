//! Importing LiteLLM's price list: what is new becomes a version, what is the same stays, what cannot be taken is named.

use super::PriceVersion;
use crate::{error::Error, store::prices};
use policy::{Time, UserId};
use pricing::{
    History, Price,
    litellm::{Entry, Listed},
};
use serde_json::json;
use shared::{
    db::{Db, Tx},
    event::{Change, Origin, log},
};
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

/// Rows of an answer at most.
const SHOWN: usize = 1_000;

/// What is to be imported.
#[derive(Debug)]
pub(crate) struct Imports {
    pub(crate) entries: Vec<Listed>,
    pub(crate) from: Time,
    pub(crate) reason: String,
    pub(crate) by: UserId,
    pub(crate) now: Time,
    /// The caller's id of it.
    pub(crate) request: Option<Uuid>,
    pub(crate) body_hash: [u8; 32],
    pub(crate) validate_only: bool,
}

/// An entry of which something was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) model: String,
    pub(crate) problem: String,
    pub(crate) fields: Vec<String>,
}

/// What an import came to.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) imported: usize,
    pub(crate) unchanged: usize,
    pub(crate) refused: usize,
    pub(crate) left_out: Vec<LeftOut>,
    /// What would be added, where nothing was.
    pub(crate) prices: Vec<PriceVersion>,
}

/// Imports it.
///
/// # Errors
/// [`Error::RequestReused`] when its id was used for another one, or the store is away.
pub(crate) async fn import(db: &Db, imports: Imports, origin: &Origin) -> Result<Imported, Error> {
    let mut tx = db.begin().await?;
    let refused = imports.entries.iter().filter(|(_, entry)| entry.is_err()).count();
    let left_out = left_out(&imports.entries);
    let answer = |imported, unchanged, prices| Imported { imported, unchanged, refused, left_out, prices };
    let known = match imports.request {
        Some(id) => prices::import(&mut tx, id).await?,
        None => None,
    };
    if let Some((hash, imported, unchanged)) = known {
        let same = hash == imports.body_hash;
        return if same { Ok(answer(imported, unchanged, Vec::new())) } else { Err(Error::RequestReused) };
    }
    let (new, unchanged) = new(&mut tx, &imports).await?;
    if imports.validate_only {
        let count = new.len();
        return Ok(answer(count, unchanged, new.into_iter().take(SHOWN).collect()));
    }
    prices::insert(&mut tx, &new).await?;
    if let Some(id) = imports.request {
        let Imports { body_hash, now, .. } = imports;
        let import = prices::Import { id, body_hash, imported: new.len(), unchanged, created: now };
        prices::insert_import(&mut tx, &import).await?;
    }
    if !new.is_empty() {
        let id = imports.request.unwrap_or_else(Uuid::now_v7).to_string();
        let after = json!({ "source": "litellm", "imported": new.len(), "from": imports.from.0 });
        log::append(&mut tx, origin, vec![Change::created("prices", id, after).called("imported")]).await?;
    }
    tx.commit().await?;
    Ok(answer(new.len(), unchanged, Vec::new()))
}

/// The versions that say something new, and how many entries do not.
async fn new(tx: &mut Tx, imports: &Imports) -> Result<(Vec<PriceVersion>, usize), Error> {
    let entries = imports.entries.iter().filter_map(|(_, entry)| entry.as_ref().ok());
    let entries: Vec<&Entry> = entries.collect();
    let models: BTreeSet<&str> = entries.iter().map(|entry| entry.model.as_str()).collect();
    let histories: HashMap<String, History<Uuid>> = prices::histories(tx, &models).await?;
    let current = |model: &str| -> Option<Price> {
        histories.get(model).and_then(|history| history.at(imports.from.0)).map(|version| version.price)
    };
    let (same, new): (Vec<&Entry>, Vec<&Entry>) =
        entries.into_iter().partition(|entry| current(&entry.model) == Some(entry.price));
    let version = |entry: &Entry| PriceVersion {
        id: Uuid::now_v7(),
        model: entry.model.clone(),
        price: entry.price,
        from: imports.from,
        source: "litellm".into(),
        reason: imports.reason.clone(),
        by: imports.by,
        created: imports.now,
    };
    Ok((new.into_iter().map(version).collect(), same.len()))
}

fn left_out(entries: &[Listed]) -> Vec<LeftOut> {
    let row = |(model, entry): &Listed| match entry {
        Ok(entry) if entry.left_out.is_empty() => None,
        Ok(entry) => {
            Some(LeftOut { model: model.clone(), problem: String::new(), fields: entry.left_out.clone() })
        }
        Err(fault) => Some(LeftOut { model: model.clone(), problem: fault.to_string(), fields: Vec::new() }),
    };
    entries.iter().filter_map(row).take(SHOWN).collect()
}
