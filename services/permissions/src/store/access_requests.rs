//! The tables of access requests, of what was decided and said about them.

use super::StoreError;
use crate::{
    access_requests::{AccessRequest, Comment, View},
    approval::{Case, Decision, Review, State, Wish},
};
use policy::{GrantId, GroupId, ModelId, UserId};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use std::{collections::HashMap, time::Duration};
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct RequestRow {
    id: Uuid,
    requester: Uuid,
    model_id: Uuid,
    action: String,
    justification: String,
    duration: Option<i64>,
    break_glass: bool,
    state: String,
    review: Option<String>,
    quorum: i32,
    approver_group: Option<Uuid>,
    grant_id: Option<Uuid>,
    created_at: Time,
    deadline_at: Time,
    decided_at: Option<Time>,
}

#[derive(sqlx::FromRow)]
struct DecisionRow {
    request_id: Uuid,
    approver: Option<Uuid>,
    approved: bool,
    comment: String,
    duration: Option<i64>,
    use_only: bool,
    created_at: Time,
}

#[derive(sqlx::FromRow)]
struct CommentRow {
    author: Uuid,
    text: String,
    created_at: Time,
}

const SELECT: &str = "SELECT id, requester, model_id, action, justification, duration, break_glass, state, review, \
    quorum, approver_group, grant_id, created_at, deadline_at, decided_at FROM access_requests WHERE ";
const INSERT: &str = "INSERT INTO access_requests (id, requester, model_id, action, justification, duration, \
    break_glass, state, review, quorum, approver_group, grant_id, created_at, deadline_at, decided_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
const UPDATE: &str =
    "UPDATE access_requests SET state = $2, review = $3, grant_id = $4, decided_at = $5 WHERE id = $1";
const DECISIONS: &str = "SELECT request_id, approver, approved, comment, duration, use_only, created_at FROM access_decisions WHERE ";
const DECIDE: &str = "INSERT INTO access_decisions (request_id, ordinal, approver, approved, comment, duration, \
    use_only, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const COMMENTS: &str =
    "SELECT author, text, created_at FROM access_comments WHERE request_id = $1 ORDER BY ordinal";
const COMMENT: &str = "INSERT INTO access_comments (request_id, ordinal, author, text, created_at) \
    VALUES ($1, (SELECT count(*) FROM access_comments WHERE request_id = $1), $2, $3, $4)";

/// One request with everything that was decided and said about it.
pub(crate) async fn find(tx: &mut Tx, id: Uuid) -> Result<Option<AccessRequest>, StoreError> {
    let row = on_tx!(tx, |on| {
        let mut query = QueryBuilder::new(SELECT);
        query.push("id = ").push_bind(id);
        query.build_query_as::<RequestRow>().fetch_optional(on).await
    })?;
    let Some(row) = row else { return Ok(None) };
    let decisions = on_tx!(tx, |on| {
        let mut query = QueryBuilder::new(DECISIONS);
        query.push("request_id = ").push_bind(id).push(" ORDER BY ordinal");
        query.build_query_as::<DecisionRow>().fetch_all(on).await
    })?;
    let comments = on_tx!(tx, |on| sqlx::query_as::<_, CommentRow>(COMMENTS).bind(id).fetch_all(on).await)?;
    let mut request = row.with(decisions)?;
    request.comments = comments.into_iter().map(Comment::from).collect();
    Ok(Some(request))
}

/// The requests before the id `before`, newest first, without their comments.
pub(crate) async fn list(
    db: &Db,
    view: &View,
    state: Option<State>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<AccessRequest>, StoreError> {
    let rows = on!(db, |pool| {
        let mut query = QueryBuilder::new(SELECT);
        match view {
            View::Of(user) => query.push("requester = ").push_bind(user.uuid()),
            View::Open => query.push("(state = 'pending' OR review = 'pending')"),
            View::All => query.push("1 = 1"),
        };
        if let Some(state) = state {
            query.push(" AND state = ").push_bind(state.as_str());
        }
        if let Some(before) = before {
            query.push(" AND id < ").push_bind(before);
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(limit);
        query.build_query_as::<RequestRow>().fetch_all(pool).await
    })?;
    let mut decisions = decisions(db, rows.iter().map(|row| row.id)).await?;
    rows.into_iter()
        .map(|row| {
            let decisions = decisions.remove(&row.id).unwrap_or_default();
            row.with(decisions)
        })
        .collect()
}

async fn decisions(
    db: &Db,
    ids: impl ExactSizeIterator<Item = Uuid>,
) -> Result<HashMap<Uuid, Vec<DecisionRow>>, StoreError> {
    let mut by_request: HashMap<Uuid, Vec<DecisionRow>> = HashMap::new();
    if ids.len() == 0 {
        return Ok(by_request);
    }
    let rows = on!(db, |pool| {
        let mut query = QueryBuilder::new(DECISIONS);
        query.push("request_id IN (");
        let mut list = query.separated(", ");
        for id in ids {
            list.push_bind(id);
        }
        query.push(") ORDER BY request_id, ordinal");
        query.build_query_as::<DecisionRow>().fetch_all(pool).await
    })?;
    rows.into_iter().for_each(|row| by_request.entry(row.request_id).or_default().push(row));
    Ok(by_request)
}

/// Whether somebody has broken the glass and it was not reviewed yet.
pub(crate) async fn owes_review(tx: &mut Tx, user: UserId) -> Result<bool, StoreError> {
    const OWES: &str =
        "SELECT EXISTS (SELECT 1 FROM access_requests WHERE requester = $1 AND review = 'pending')";
    Ok(on_tx!(tx, |on| sqlx::query_scalar::<_, bool>(OWES).bind(user.uuid()).fetch_one(on).await)?)
}

/// Pending requests whose time is over.
pub(crate) async fn due(db: &Db, now: policy::Time) -> Result<Vec<Uuid>, StoreError> {
    const DUE: &str = "SELECT id FROM access_requests WHERE state = 'pending' AND deadline_at <= $1 ORDER BY deadline_at LIMIT 100";
    Ok(on!(db, |pool| sqlx::query_scalar::<_, Uuid>(DUE).bind(Time(now)).fetch_all(pool).await)?)
}

/// A new request, with the decisions that were made at once.
pub(crate) async fn insert(tx: &mut Tx, request: &AccessRequest) -> Result<(), StoreError> {
    let case = &request.case;
    on_tx!(tx, |on| sqlx::query(INSERT)
        .bind(request.id)
        .bind(case.requester.uuid())
        .bind(request.model.uuid())
        .bind(case.wish.action.as_str())
        .bind(&request.justification)
        .bind(case.wish.duration.map(micros))
        .bind(case.break_glass)
        .bind(case.state.as_str())
        .bind(case.review.map(Review::as_str))
        .bind(i32::try_from(case.quorum).unwrap_or(i32::MAX))
        .bind(request.approvers.map(GroupId::uuid))
        .bind(request.grant.map(GrantId::uuid))
        .bind(Time(request.created_at))
        .bind(Time(case.deadline))
        .bind(case.decided_at.map(Time))
        .execute(on)
        .await
        .map(drop))?;
    decide(tx, request, 0).await
}

/// What a request has become; its decisions from the number `known` on are new.
pub(crate) async fn update(tx: &mut Tx, request: &AccessRequest, known: usize) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(UPDATE)
        .bind(request.id)
        .bind(request.case.state.as_str())
        .bind(request.case.review.map(Review::as_str))
        .bind(request.grant.map(GrantId::uuid))
        .bind(request.case.decided_at.map(Time))
        .execute(on)
        .await
        .map(drop))?;
    decide(tx, request, known).await
}

async fn decide(tx: &mut Tx, request: &AccessRequest, known: usize) -> Result<(), StoreError> {
    for (ordinal, decision) in (0_i32..).zip(&request.case.decisions).skip(known) {
        on_tx!(tx, |on| sqlx::query(DECIDE)
            .bind(request.id)
            .bind(ordinal)
            .bind(decision.approver.map(UserId::uuid))
            .bind(decision.approved)
            .bind(&decision.comment)
            .bind(decision.duration.map(micros))
            .bind(decision.use_only)
            .bind(Time(decision.at))
            .execute(on)
            .await
            .map(drop))?;
    }
    Ok(())
}

pub(crate) async fn comment(tx: &mut Tx, request: Uuid, comment: &Comment) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(COMMENT)
        .bind(request)
        .bind(comment.author.uuid())
        .bind(&comment.text)
        .bind(Time(comment.at))
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

impl RequestRow {
    fn with(self, decisions: Vec<DecisionRow>) -> Result<AccessRequest, StoreError> {
        let case = Case {
            requester: UserId(self.requester),
            wish: Wish { action: self.action.parse()?, duration: self.duration.map(duration) },
            break_glass: self.break_glass,
            quorum: u32::try_from(self.quorum).map_err(|_| StoreError::Corrupt("access_requests"))?,
            deadline: self.deadline_at.0,
            state: State::read(&self.state).ok_or(StoreError::Corrupt("access_requests"))?,
            review: self.review.as_deref().and_then(Review::read),
            decided_at: self.decided_at.map(policy::Time::from),
            decisions: decisions.into_iter().map(Decision::from).collect(),
        };
        Ok(AccessRequest {
            id: self.id,
            model: ModelId(self.model_id),
            justification: self.justification,
            approvers: self.approver_group.map(GroupId),
            grant: self.grant_id.map(GrantId),
            created_at: self.created_at.0,
            case,
            comments: Vec::new(),
        })
    }
}

impl From<DecisionRow> for Decision {
    fn from(row: DecisionRow) -> Self {
        Self {
            approver: row.approver.map(UserId),
            approved: row.approved,
            comment: row.comment,
            duration: row.duration.map(duration),
            use_only: row.use_only,
            at: row.created_at.0,
        }
    }
}

impl From<CommentRow> for Comment {
    fn from(row: CommentRow) -> Self {
        Self { author: UserId(row.author), text: row.text, at: row.created_at.0 }
    }
}

impl State {
    const ALL: [Self; 5] = [Self::Pending, Self::Approved, Self::Denied, Self::Cancelled, Self::Expired];

    /// The stored word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

impl Review {
    /// The stored word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }

    fn read(word: &str) -> Option<Self> {
        [Self::Pending, Self::Accepted, Self::Rejected].into_iter().find(|review| review.as_str() == word)
    }
}

/// A duration as it is stored.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A duration that was stored.
pub(super) fn duration(micros: i64) -> Duration {
    Duration::from_micros(micros.unsigned_abs())
}
