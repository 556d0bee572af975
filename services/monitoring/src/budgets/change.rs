//! Making, changing and deleting budgets.

use super::{Budget, gauge};
use crate::{
    error::Error,
    place::{self, Place, is_time},
    store::{self, budgets, windows},
};
use ::budgets::Limit;
use policy::{Time, UserId};
use serde::{Deserialize, Serialize};
use shared::{
    db::Db,
    event::{Change, Origin, log},
};
use uuid::Uuid;

/// What a budget is called in the log of changes.
const KIND: &str = "budget";

/// A budget's place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) created: Time,
    pub(crate) id: Uuid,
}

impl Place for Position {
    fn is_possible(&self) -> bool {
        is_time(self.created)
    }
}

/// What a budget shall be from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Update {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) limit: Limit,
    pub(crate) hard: bool,
    /// That it has to have.
    pub(crate) revision: Option<i64>,
    pub(crate) by: UserId,
    pub(crate) now: Time,
}

/// Makes a budget. What the ledger has of its window counts from the start.
///
/// # Errors
/// [`Error::RequestReused`] when another budget has its id, or the store is away.
pub(crate) async fn create(db: &Db, budget: Budget, origin: &Origin) -> Result<Budget, Error> {
    let mut tx = db.begin().await?;
    // A record is either in the ledger before the budget is there and summed up here, or comes after it and finds it.
    windows::hold_records(&mut tx).await?;
    if let Some(known) = budgets::get(&mut tx, budget.id).await? {
        return if known.says(&budget) { Ok(known) } else { Err(Error::RequestReused) };
    }
    let window = budget.calendar().map_err(|_| Error::NoBudget)?.window(budget.created.0);
    budgets::insert(&mut tx, &budget).await?;
    let spent = windows::in_ledger(&mut tx, &budget.subject, window).await?;
    windows::add(&mut tx, &[((budget.id, window.start), spent)]).await?;
    let change = Change::created(KIND, budget.id.to_string(), budget.logged());
    log::append(&mut tx, origin, vec![change]).await?;
    tx.commit().await?;
    Ok(budget)
}

/// The budget of an id.
///
/// # Errors
/// [`Error::NoBudget`], or when the store is away.
pub(crate) async fn get(db: &Db, id: Uuid) -> Result<Budget, Error> {
    let mut tx = db.begin_read().await?;
    budgets::get(&mut tx, id).await?.ok_or(Error::NoBudget)
}

/// One page of `size` budgets, and the token of the next one.
///
/// # Errors
/// When the token belongs to another list, or the store is away.
pub(crate) async fn list(db: &Db, size: u32, token: &str) -> Result<(Vec<Budget>, String), Error> {
    let after: Option<Position> = place::read("budgets", token)?;
    let read = budgets::page(db, after.as_ref(), size + 1);
    let mut page = store::timed(db, "list_budgets", read).await?;
    let more = page.len() > size as usize;
    page.truncate(size as usize);
    let next = match page.last() {
        Some(Budget { created, id, .. }) if more => {
            place::token("budgets", &Position { created: *created, id: *id })
        }
        _ => String::new(),
    };
    Ok((page, next))
}

/// Changes a budget.
///
/// # Errors
/// [`Error::NoBudget`], [`Error::BudgetChanged`], or when the store is away.
pub(crate) async fn update(db: &Db, update: Update, origin: &Origin) -> Result<Budget, Error> {
    let mut tx = db.begin().await?;
    let before = budgets::get(&mut tx, update.id).await?.ok_or(Error::NoBudget)?;
    if update.revision.is_some_and(|revision| revision != before.revision) {
        return Err(Error::BudgetChanged);
    }
    let was = before.logged();
    let Update { name, limit, hard, by, now, .. } = update;
    let after = Budget { name, limit, hard, by, updated: now, revision: before.revision + 1, ..before };
    if !budgets::replace(&mut tx, &after).await? {
        return Err(Error::BudgetChanged);
    }
    let change = Change::updated(KIND, after.id.to_string(), was, after.logged());
    log::append(&mut tx, origin, vec![change]).await?;
    tx.commit().await?;
    gauge::look();
    Ok(after)
}

/// Deletes a budget.
///
/// # Errors
/// [`Error::NoBudget`], or when the store is away.
pub(crate) async fn delete(db: &Db, id: Uuid, origin: &Origin) -> Result<(), Error> {
    let mut tx = db.begin().await?;
    let before = budgets::get(&mut tx, id).await?.ok_or(Error::NoBudget)?;
    if !budgets::delete(&mut tx, id).await? {
        return Err(Error::NoBudget);
    }
    let change = Change::deleted(KIND, id.to_string(), before.logged());
    log::append(&mut tx, origin, vec![change]).await?;
    Ok(tx.commit().await?)
}
