//! What supersedes records. Rows are added and read, never changed.

use crate::usage::Kept;
use policy::UserId;
use shared::{
    db::{Time, Tx},
    on_tx,
};
use sqlx::QueryBuilder;
use uuid::Uuid;

/// Why a record is superseded, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) reason: String,
    pub(crate) by: UserId,
    pub(crate) at: policy::Time,
}

/// A correction that is there already.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Known {
    pub(crate) usage_id: Uuid,
    pub(crate) attempt: i64,
    pub(crate) prompt_tokens: i64,
    pub(crate) cached_prompt_tokens: i64,
    pub(crate) completion_tokens: i64,
}

/// The correction with this id.
pub(crate) async fn get(tx: &mut Tx, id: Uuid) -> Result<Option<Known>, sqlx::Error> {
    on_tx!(tx, |connection| {
        let mut select = QueryBuilder::new(
            "SELECT usage_id, attempt, prompt_tokens, cached_prompt_tokens, completion_tokens \
             FROM usage_corrections WHERE correction_id = ",
        );
        select.push_bind(id);
        select.build_query_as().fetch_optional(connection).await
    })
}

/// Supersedes records by these states of them, each under an id.
pub(crate) async fn insert(tx: &mut Tx, states: &[(Uuid, Kept)], cause: &Cause) -> Result<(), sqlx::Error> {
    if states.is_empty() {
        return Ok(());
    }
    on_tx!(tx, |connection| {
        let mut query = QueryBuilder::new(
            "INSERT INTO usage_corrections (usage_id, attempt, revision, correction_id, prompt_tokens, \
             cached_prompt_tokens, completion_tokens, cost, price_id, reason, created_by, created_time) ",
        );
        query.push_values(states, |mut row, (id, Kept { record, charge, revision })| {
            row.push_bind(record.key.usage_id)
                .push_bind(i64::from(record.key.attempt))
                .push_bind(i64::from(*revision))
                .push_bind(*id)
                .push_bind(record.prompt_tokens)
                .push_bind(record.cached_prompt_tokens)
                .push_bind(record.completion_tokens)
                .push_bind(charge.cost.map(|cost| cost.0))
                .push_bind(charge.price)
                .push_bind(cause.reason.as_str())
                .push_bind(cause.by.uuid())
                .push_bind(Time(cause.at));
        });
        // Two that supersede the same record at once are told apart by its revision: the second fails and is sent again.
        query.build().persistent(false).execute(connection).await.map(drop)
    })
}
