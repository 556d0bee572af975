//! The table of approval policies.

use super::{
    StoreError,
    access_requests::{duration, micros},
};
use crate::{
    approval::{Auto, Rules},
    approval_policies::{ApprovalPolicy, For},
};
use policy::{GroupId, ModelId, ModelSetId};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct PolicyRow {
    id: Uuid,
    target_kind: String,
    target_id: Option<Uuid>,
    approver_group: Option<Uuid>,
    quorum: i32,
    timeout: i64,
    max_duration: Option<i64>,
    auto_approve: bool,
    auto_group: Option<Uuid>,
    auto_duration: Option<i64>,
    break_glass: Option<i64>,
    created_at: Time,
}

const SELECT: &str = "SELECT id, target_kind, target_id, approver_group, quorum, timeout, max_duration, \
    auto_approve, auto_group, auto_duration, break_glass, created_at FROM approval_policies WHERE ";
const INSERT: &str = "INSERT INTO approval_policies (id, target_kind, target_id, approver_group, quorum, timeout, \
    max_duration, auto_approve, auto_group, auto_duration, break_glass, created_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
const UPDATE: &str = "UPDATE approval_policies SET approver_group = $2, quorum = $3, timeout = $4, \
    max_duration = $5, auto_approve = $6, auto_group = $7, auto_duration = $8, break_glass = $9 WHERE id = $1";
const DELETE: &str = "DELETE FROM approval_policies WHERE id = $1";

pub(crate) async fn find(tx: &mut Tx, id: Uuid) -> Result<Option<ApprovalPolicy>, StoreError> {
    let row = on_tx!(tx, |on| {
        let mut query = QueryBuilder::new(SELECT);
        query.push("id = ").push_bind(id);
        query.build_query_as::<PolicyRow>().fetch_optional(on).await
    })?;
    row.map(ApprovalPolicy::try_from).transpose()
}

/// The policies that may apply to a model in these sets: its own, its sets', the default.
pub(crate) async fn applying(
    tx: &mut Tx,
    model: ModelId,
    sets: &[ModelSetId],
) -> Result<Vec<ApprovalPolicy>, StoreError> {
    let rows = on_tx!(tx, |on| {
        let mut query = QueryBuilder::new(SELECT);
        query.push("target_kind = 'default' OR (target_kind = 'model' AND target_id = ");
        query.push_bind(model.uuid()).push(")");
        if !sets.is_empty() {
            query.push(" OR (target_kind = 'set' AND target_id IN (");
            let mut list = query.separated(", ");
            for set in sets {
                list.push_bind(set.uuid());
            }
            query.push("))");
        }
        query.push(" ORDER BY id");
        query.build_query_as::<PolicyRow>().fetch_all(on).await
    })?;
    rows.into_iter().map(ApprovalPolicy::try_from).collect()
}

pub(crate) async fn list(db: &Db, after: Uuid, limit: i64) -> Result<Vec<ApprovalPolicy>, StoreError> {
    let rows = on!(db, |pool| {
        let mut query = QueryBuilder::new(SELECT);
        query.push("id > ").push_bind(after).push(" ORDER BY id LIMIT ").push_bind(limit);
        query.build_query_as::<PolicyRow>().fetch_all(pool).await
    })?;
    rows.into_iter().map(ApprovalPolicy::try_from).collect()
}

pub(crate) async fn insert(tx: &mut Tx, policy: &ApprovalPolicy) -> Result<(), StoreError> {
    let (kind, target) = policy.target.columns();
    let Rules { approvers, quorum, timeout, max_duration, auto, break_glass } = &policy.rules;
    on_tx!(tx, |on| sqlx::query(INSERT)
        .bind(policy.id)
        .bind(kind)
        .bind(target)
        .bind(approvers.map(GroupId::uuid))
        .bind(i32::try_from(*quorum).unwrap_or(i32::MAX))
        .bind(micros(*timeout))
        .bind(max_duration.map(micros))
        .bind(auto.is_some())
        .bind(auto.and_then(|auto| auto.group).map(GroupId::uuid))
        .bind(auto.and_then(|auto| auto.max_duration).map(micros))
        .bind(break_glass.map(micros))
        .bind(Time(policy.created_at))
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

pub(crate) async fn update(tx: &mut Tx, policy: &ApprovalPolicy) -> Result<(), StoreError> {
    let Rules { approvers, quorum, timeout, max_duration, auto, break_glass } = &policy.rules;
    on_tx!(tx, |on| sqlx::query(UPDATE)
        .bind(policy.id)
        .bind(approvers.map(GroupId::uuid))
        .bind(i32::try_from(*quorum).unwrap_or(i32::MAX))
        .bind(micros(*timeout))
        .bind(max_duration.map(micros))
        .bind(auto.is_some())
        .bind(auto.and_then(|auto| auto.group).map(GroupId::uuid))
        .bind(auto.and_then(|auto| auto.max_duration).map(micros))
        .bind(break_glass.map(micros))
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

pub(crate) async fn delete(tx: &mut Tx, id: Uuid) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(DELETE).bind(id).execute(on).await.map(drop))?;
    Ok(())
}

impl For {
    const fn columns(self) -> (&'static str, Option<Uuid>) {
        match self {
            Self::Model(id) => ("model", Some(id.uuid())),
            Self::Set(id) => ("set", Some(id.uuid())),
            Self::Others => ("default", None),
        }
    }
}

impl TryFrom<PolicyRow> for ApprovalPolicy {
    type Error = StoreError;

    fn try_from(row: PolicyRow) -> Result<Self, StoreError> {
        let target = match (row.target_kind.as_str(), row.target_id) {
            ("model", Some(id)) => For::Model(ModelId(id)),
            ("set", Some(id)) => For::Set(ModelSetId(id)),
            ("default", None) => For::Others,
            _ => return Err(StoreError::Corrupt("approval_policies")),
        };
        let auto = Auto { group: row.auto_group.map(GroupId), max_duration: row.auto_duration.map(duration) };
        let rules = Rules {
            approvers: row.approver_group.map(GroupId),
            quorum: u32::try_from(row.quorum).map_err(|_| StoreError::Corrupt("approval_policies"))?,
            timeout: duration(row.timeout),
            max_duration: row.max_duration.map(duration),
            auto: row.auto_approve.then_some(auto),
            break_glass: row.break_glass.map(duration),
        };
        Ok(Self { id: row.id, target, rules, created_at: row.created_at.0 })
    }
}
