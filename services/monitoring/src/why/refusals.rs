//! What gateways refused: taken in as it is reported, and kept for a day.

use crate::{
    error::Error,
    moment::{at, since},
    store::{self, refusals as rows},
    usage::{Outcome, Record},
};
use policy::{KeyId, Time, UserId};
use shared::db::Db;
use std::time::Duration;
use uuid::Uuid;

/// How often what is over is forgotten.
pub(crate) const EVERY: Duration = Duration::from_secs(10 * 60);
/// How long a refusal is kept.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);
/// How many are kept at most, the newest: more than an hour of all that one gateway reports.
const MOST: i64 = 4_000_000;

/// A request that was answered with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) id: Uuid,
    pub(crate) request_id: String,
    pub(crate) user: UserId,
    pub(crate) api_key: Option<KeyId>,
    pub(crate) route: String,
    pub(crate) model: String,
    pub(crate) priority: String,
    pub(crate) waiting: u32,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) start: Time,
    pub(crate) duration: Duration,
    pub(crate) trace: String,
}

impl Refusal {
    /// Whether it is what the caller of this record was told.
    pub(super) fn is_of(&self, record: &Record) -> bool {
        let end = at(since(self.start).saturating_add(self.duration));
        record.outcome != Outcome::Finished
            && record.request_id == self.request_id
            && record.user == self.user
            && (self.start..=end).contains(&record.start)
    }
}

/// Keeps what is new, and says how many were.
///
/// # Errors
/// When the store is away; then none is kept.
pub(crate) async fn record(db: &Db, refusals: &[Refusal]) -> Result<usize, Error> {
    Ok(store::timed(db, "record_refusals", rows::insert(db, refusals)).await?)
}

/// Forgets those that are old, and those that are too many. Every replica does.
///
/// # Errors
/// When the store is away.
pub(crate) async fn sweep(db: &Db, now: Time) -> Result<(), sqlx::Error> {
    let old = at(since(now).saturating_sub(KEEP));
    store::timed(db, "forget_refusals", rows::forget(db, old, MOST)).await
}
