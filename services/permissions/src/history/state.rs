//! One state of the past: loaded from a checkpoint, counted and listed.

use crate::{
    error::Error,
    history::{beside, unfit},
    store::checkpoints::{self, Checkpoint},
};
use policy::{Change, Membership, Policy, Revision, Time};
use shared::db::Db;
use std::collections::BTreeMap;

/// The policy after a revision.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) revision: Revision,
    /// When the revision was made.
    pub(crate) at: Time,
    pub(crate) policy: Policy,
}

/// Which facts of a state to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) kind: String,
    pub(crate) id: String,
}

impl State {
    /// The state of a checkpoint, or the one before every event.
    pub(super) async fn load(db: &Db, checkpoint: Option<&Checkpoint>) -> Result<Self, Error> {
        let mut state = Self { revision: Revision(0), at: Time(0), policy: Policy::new() };
        let Some(checkpoint) = checkpoint else { return Ok(state) };
        for number in 0..checkpoint.parts {
            let part = checkpoints::part(db, checkpoint.revision, number).await?;
            state = state.with(part.into_iter()).await?;
        }
        (state.revision, state.at) = (checkpoint.revision, checkpoint.at);
        Ok(state)
    }

    /// The state with some changes more, worked in beside the requests.
    pub(super) async fn with(
        mut self,
        changes: impl Iterator<Item = Change> + Send + 'static,
    ) -> Result<Self, Error> {
        beside(move || self.policy.apply_all(changes).map(|()| self).map_err(|error| unfit(&error))).await?
    }
}

/// How many facts of each kind there are, and those of one kind in the order of their ids.
pub(crate) fn facts(policy: &Policy, which: &Facts) -> (BTreeMap<&'static str, u64>, Vec<Change>) {
    let (mut counts, mut found) = (BTreeMap::new(), Vec::new());
    for fact in policy.facts() {
        let kind = kind(&fact);
        *counts.entry(kind).or_default() += 1;
        if kind == which.kind && (which.id.is_empty() || id(&fact) == which.id) {
            found.push(fact);
        }
    }
    (counts, found)
}

/// The kind of thing that a change is about.
const fn kind(change: &Change) -> &'static str {
    match change {
        Change::PutUser(_) | Change::RemoveUser(_) => "user",
        Change::PutGroup(_) | Change::RemoveGroup(_) => "group",
        Change::PutMembership(_) | Change::RemoveMembership { .. } => "membership",
        Change::PutModel(_) | Change::RemoveModel(_) => "model",
        Change::PutGrant(_) | Change::RemoveGrant(_) => "grant",
        Change::PutKey(_) | Change::RemoveKey(_) => "key",
        Change::PutModelSet(_) | Change::RemoveModelSet(_) => "model_set",
        Change::PutSetItem { .. } | Change::RemoveSetItem { .. } => "set_item",
        Change::PutAlias(_) | Change::RemoveAlias(_) => "alias",
        Change::PutSigningKey(_) | Change::RemoveSigningKey(_) => "signing_key",
        Change::EndSession { .. } => "ended_session",
    }
}

/// Which one: its id, or that of the group or set that it is in.
fn id(change: &Change) -> String {
    match change {
        Change::PutUser(user) => user.id.to_string(),
        Change::RemoveUser(id) => id.to_string(),
        Change::PutGroup(group) => group.id.to_string(),
        Change::PutMembership(Membership { group, .. })
        | Change::RemoveMembership { group, .. }
        | Change::RemoveGroup(group) => group.to_string(),
        Change::PutModel(model) => model.id.to_string(),
        Change::RemoveModel(id) => id.to_string(),
        Change::PutGrant(grant) => grant.id.to_string(),
        Change::RemoveGrant(id) => id.to_string(),
        Change::PutKey(key) => key.id.to_string(),
        Change::RemoveKey(id) => id.to_string(),
        Change::PutModelSet(set) => set.id.to_string(),
        Change::PutSetItem { set, .. } | Change::RemoveSetItem { set, .. } | Change::RemoveModelSet(set) => {
            set.to_string()
        }
        Change::PutAlias(alias) => alias.name.clone(),
        Change::RemoveAlias(name) => name.clone(),
        Change::PutSigningKey(key) => key.id.clone(),
        Change::RemoveSigningKey(kid) => kid.clone(),
        Change::EndSession { session, .. } => session.to_string(),
    }
}
