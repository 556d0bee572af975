//! What the service keeps, in relational tables and an append-only log of events. Nothing else here speaks SQL.
//!
//! One file per noun; every query is one text for both engines. Functions that take a [`shared::db::Tx`] belong to
//! a write and run while the head is locked, so what they read stays true until the commit.

pub(crate) mod access_requests;
pub(crate) mod aliases;
pub(crate) mod answers;
pub(crate) mod approval_policies;
pub(crate) mod checkpoints;
pub(crate) mod deletion;
pub(crate) mod erasure;
pub(crate) mod events;
pub(crate) mod facts;
pub(crate) mod grants;
pub(crate) mod groups;
pub(crate) mod identities;
pub(crate) mod imports;
pub(crate) mod incidents;
pub(crate) mod keys;
pub(crate) mod me;
pub(crate) mod models;
pub(crate) mod notifications;
pub(crate) mod passwords;
pub(crate) mod replicas;
pub(crate) mod seals;
pub(crate) mod sessions;
pub(crate) mod sets;
pub(crate) mod signing;
pub(crate) mod users;

use policy::{GroupId, Member, UnknownWord, UserId};
use shared::{db::Tx, on_tx};
use sqlx::QueryBuilder;
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// The store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away, busy or refuses.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A row holds something that this version does not understand.
    #[error("the {0} table holds a row that this version does not understand")]
    Corrupt(&'static str),
    /// What is to be stored has no stored form.
    #[error("a value cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
    /// An encrypted value cannot be read.
    #[error(transparent)]
    Sealed(#[from] shared::seal::SealError),
    /// One fault that several callers ran into together.
    #[error(transparent)]
    Shared(Arc<StoreError>),
}

impl StoreError {
    /// When asking again may help.
    pub(crate) fn retry_after(&self) -> Duration {
        match self {
            Self::Database(error) => shared::db::retry_after(error),
            Self::Shared(error) => error.retry_after(),
            Self::Corrupt(_) | Self::Unwritable(_) | Self::Sealed(_) => Duration::ZERO,
        }
    }

    /// Whether the row is there already.
    pub(crate) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Database(error) if shared::db::violation(error) == Some(shared::db::Violation::Unique))
    }
}

impl From<UnknownWord> for StoreError {
    fn from(_: UnknownWord) -> Self {
        Self::Corrupt("word")
    }
}

/// Values in one list of a query, or rows in one statement; SQLite takes 32,766 parameters.
const LIST: usize = 1_000;

/// A pattern for what contains `text` in lower case; `!` stands before what is meant literally.
fn contains(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in text.to_lowercase().chars() {
        if matches!(letter, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

/// Which of these ids a table has that are not deleted. Its name is ours, never a caller's.
pub(crate) async fn known(table: &'static str, tx: &mut Tx, ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
    let mut found = Vec::new();
    for ids in ids.chunks(LIST) {
        found.extend(on_tx!(tx, |on| {
            let mut query = QueryBuilder::new("SELECT id FROM ");
            query.push(table).push(" WHERE deleted_at IS NULL AND id IN (");
            let mut list = query.separated(", ");
            for id in ids {
                list.push_bind(*id);
            }
            query.push(")");
            query.build_query_scalar::<Uuid>().fetch_all(on).await
        })?);
    }
    Ok(found)
}

/// A user or a group as two columns.
fn columns(member: Member) -> (&'static str, Uuid) {
    match member {
        Member::User(id) => ("user", id.uuid()),
        Member::Group(id) => ("group", id.uuid()),
    }
}

/// A user or a group from two columns.
fn member(kind: &str, id: Uuid) -> Result<Member, StoreError> {
    match kind {
        "user" => Ok(Member::User(UserId(id))),
        "group" => Ok(Member::Group(GroupId(id))),
        _ => Err(StoreError::Corrupt("member")),
    }
}
