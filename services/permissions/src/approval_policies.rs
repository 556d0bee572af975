//! Approval policies: how requests for a model, a set's models or anything else are decided.

use crate::{
    approval::Rules,
    error::Error,
    groups::must_exist,
    list::{Listed, Page},
    store,
    write::{Record, Thing, Write},
};
use policy::{Member, ModelId, ModelSetId, Time};
use serde_json::{Value, json};
use shared::db::Db;
use uuid::Uuid;

/// What a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    Model(ModelId),
    /// Models of a set that have no policy of their own.
    Set(ModelSetId),
    /// Everything else.
    Others,
}

/// One policy.
#[derive(Debug, Clone)]
pub(crate) struct ApprovalPolicy {
    pub(crate) id: Uuid,
    pub(crate) target: For,
    pub(crate) rules: Rules,
    pub(crate) created_at: Time,
}

impl ApprovalPolicy {
    fn thing(&self) -> Thing {
        Thing::new("approval_policy", self.id)
    }

    fn image(&self) -> Value {
        let (model, set) = match self.target {
            For::Model(id) => (Some(id), None),
            For::Set(id) => (None, Some(id)),
            For::Others => (None, None),
        };
        json!({
            "model": model,
            "model_set": set,
            "approvers": self.rules.approvers,
            "quorum": self.rules.quorum,
            "timeout_seconds": self.rules.timeout.as_secs(),
            "max_seconds": self.rules.max_duration.map(|duration| duration.as_secs()),
            "auto_approve": self.rules.auto.map(|auto| json!({
                "group": auto.group,
                "max_seconds": auto.max_duration.map(|duration| duration.as_secs()),
            })),
            "break_glass_seconds": self.rules.break_glass.map(|duration| duration.as_secs()),
        })
    }
}

/// The rules for a model: its own policy's; else of its sets' policies the one that wants most approvals, the oldest of
/// equals; else the default policy's; else one approval within seven days.
pub(crate) async fn rules_for(write: &mut Write, model: ModelId) -> Result<Rules, Error> {
    let sets: Vec<ModelSetId> = write.policy()?.replica().policy().sets_of(model).collect();
    let applying = store::approval_policies::applying(&mut write.tx, model, &sets).await?;
    let rank = |policy: &ApprovalPolicy| match policy.target {
        For::Model(_) => (2, policy.rules.quorum),
        For::Set(_) => (1, policy.rules.quorum),
        For::Others => (0, 0),
    };
    // The last of equals wins a maximum, and they come oldest first.
    Ok(applying.into_iter().rev().max_by_key(rank).map(|policy| policy.rules).unwrap_or_default())
}

pub(crate) async fn create(write: &mut Write, target: For, rules: Rules) -> Result<ApprovalPolicy, Error> {
    match target {
        For::Model(id) if store::models::find(&mut write.tx, id).await?.is_none() => {
            return Err(Error::not_found("model", id));
        }
        For::Set(id) if write.policy()?.replica().policy().model_set(id).is_none() => {
            return Err(Error::not_found("model set", id));
        }
        For::Model(_) | For::Set(_) | For::Others => {}
    }
    groups_exist(write, &rules).await?;
    let policy = ApprovalPolicy { id: Uuid::now_v7(), target, rules, created_at: write.now() };
    store::approval_policies::insert(&mut write.tx, &policy).await.map_err(taken)?;
    write.record(Record::created(policy.thing(), policy.image()));
    Ok(policy)
}

pub(crate) async fn update(write: &mut Write, id: Uuid, rules: Rules) -> Result<ApprovalPolicy, Error> {
    groups_exist(write, &rules).await?;
    let before = find(write, id).await?;
    let after = ApprovalPolicy { rules, ..before.clone() };
    if after.rules != before.rules {
        store::approval_policies::update(&mut write.tx, &after).await?;
        write.record(Record::updated(after.thing(), before.image(), after.image()));
    }
    Ok(after)
}

pub(crate) async fn delete(write: &mut Write, id: Uuid) -> Result<(), Error> {
    let before = find(write, id).await?;
    store::approval_policies::delete(&mut write.tx, id).await?;
    write.record(Record::deleted(before.thing(), before.image()));
    Ok(())
}

pub(crate) async fn list(db: &Db, page: &Page) -> Result<Listed<ApprovalPolicy>, Error> {
    let rows = store::approval_policies::list(db, page.after_id()?, page.limit()).await?;
    Ok(page.cut(rows, |policy| policy.id.to_string()))
}

async fn find(write: &mut Write, id: Uuid) -> Result<ApprovalPolicy, Error> {
    let found = store::approval_policies::find(&mut write.tx, id).await?;
    found.ok_or_else(|| Error::not_found("approval policy", id))
}

async fn groups_exist(write: &mut Write, rules: &Rules) -> Result<(), Error> {
    for group in rules.approvers.into_iter().chain(rules.auto.and_then(|auto| auto.group)) {
        must_exist(&mut write.tx, Member::Group(group)).await?;
    }
    Ok(())
}

fn taken(error: store::StoreError) -> Error {
    if error.is_duplicate() {
        return Error::Exists { kind: "approval policy", with: "for the same model, set or rest" };
    }
    error.into()
}
