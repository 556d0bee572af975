//! Policy facts as the contract says them, both ways: permissions sends what inference follows.
//!
//! Reading is strict. A fact that is not understood whole is refused, because half of one (a deny without its
//! grantee, a key without its models) would open what the whole closes.

mod credential;
mod fact;

use crate::time;
use credential::{
    ended_from_proto, ended_to_proto, key_from_proto, key_to_proto, signing_key_from_proto,
    signing_key_to_proto,
};
use fact::{
    alias_from_proto, grant_from_proto, grant_to_proto, item_from_proto, item_to_proto,
    membership_from_proto, membership_to_proto, model_from_proto, model_to_proto, user_from_proto,
    user_to_proto,
};
use policy::{Action, Change, Effect, Group, Member, Membership, ModelSet, ModelState, Time};
use proto::permissions::v1 as pb;
use std::str::FromStr;

/// A message that says no fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the policy message has no valid {0}; sender and receiver may be of versions that do not fit")]
pub struct Malformed(pub &'static str);

/// An action as the contract numbers it.
#[must_use]
pub const fn action_to_proto(action: Action) -> pb::Action {
    match action {
        Action::Use => pb::Action::Use,
        Action::Manage => pb::Action::Manage,
    }
}

/// An action of the contract, or `None` for 0 and unknown numbers.
#[must_use]
pub fn action_from_proto(number: i32) -> Option<Action> {
    Action::ALL.iter().copied().find(|action| action_to_proto(*action) as i32 == number)
}

/// An effect as the contract numbers it.
#[must_use]
pub const fn effect_to_proto(effect: Effect) -> pb::Effect {
    match effect {
        Effect::Allow => pb::Effect::Allow,
        Effect::Deny => pb::Effect::Deny,
    }
}

/// An effect of the contract, or `None` for 0 and unknown numbers.
#[must_use]
pub fn effect_from_proto(number: i32) -> Option<Effect> {
    Effect::ALL.iter().copied().find(|effect| effect_to_proto(*effect) as i32 == number)
}

/// A model's state as the contract numbers it.
#[must_use]
pub const fn state_to_proto(state: ModelState) -> pb::ModelState {
    match state {
        ModelState::Active => pb::ModelState::Active,
        ModelState::Deprecated => pb::ModelState::Deprecated,
        ModelState::Disabled => pb::ModelState::Disabled,
    }
}

/// A model's state of the contract, or `None` for 0 and unknown numbers.
#[must_use]
pub fn state_from_proto(number: i32) -> Option<ModelState> {
    ModelState::ALL.iter().copied().find(|state| state_to_proto(*state) as i32 == number)
}

/// A change as it crosses the wire.
#[must_use]
pub fn change_to_proto(change: &Change) -> pb::PolicyChange {
    use pb::policy_change::Change as Wire;
    let change = match change {
        Change::PutUser(user) => Wire::PutUser(user_to_proto(user)),
        Change::RemoveUser(id) => Wire::RemoveUser(id.to_string()),
        Change::PutGroup(group) => {
            Wire::PutGroup(pb::PolicyGroup { group_id: group.id.to_string(), disabled: group.disabled })
        }
        Change::RemoveGroup(id) => Wire::RemoveGroup(id.to_string()),
        Change::PutMembership(membership) => Wire::PutMembership(membership_to_proto(membership)),
        Change::RemoveMembership { group, member } => {
            Wire::RemoveMembership(membership_to_proto(&Membership {
                group: *group,
                member: *member,
                expires_at: None,
            }))
        }
        Change::PutModel(model) => Wire::PutModel(model_to_proto(model)),
        Change::RemoveModel(id) => Wire::RemoveModel(id.to_string()),
        Change::PutGrant(grant) => Wire::PutGrant(grant_to_proto(grant)),
        Change::RemoveGrant(id) => Wire::RemoveGrant(id.to_string()),
        Change::PutKey(key) => Wire::PutKey(key_to_proto(key)),
        Change::RemoveKey(id) => Wire::RemoveKey(id.to_string()),
        Change::PutModelSet(set) => {
            Wire::PutModelSet(pb::PolicyModelSet { model_set_id: set.id.to_string(), disabled: set.disabled })
        }
        Change::RemoveModelSet(id) => Wire::RemoveModelSet(id.to_string()),
        Change::PutSetItem { set, item } => Wire::PutSetItem(item_to_proto(*set, *item)),
        Change::RemoveSetItem { set, item } => Wire::RemoveSetItem(item_to_proto(*set, *item)),
        Change::PutAlias(alias) => {
            Wire::PutAlias(pb::PolicyAlias { name: alias.name.clone(), model_id: alias.model.to_string() })
        }
        Change::RemoveAlias(name) => Wire::RemoveAlias(name.clone()),
        Change::PutSigningKey(key) => Wire::PutSigningKey(signing_key_to_proto(key)),
        Change::RemoveSigningKey(kid) => Wire::RemoveSigningKey(kid.clone()),
        Change::EndSession { session, at, until } => Wire::EndSession(ended_to_proto(*session, *at, *until)),
    };
    pb::PolicyChange { change: Some(change) }
}

/// A change from the wire.
///
/// # Errors
/// When a part is missing or not understood.
pub fn change_from_proto(change: &pb::PolicyChange) -> Result<Change, Malformed> {
    use pb::policy_change::Change as Wire;
    Ok(match change.change.as_ref().ok_or(Malformed("change"))? {
        Wire::PutUser(user) => Change::PutUser(user_from_proto(user)?),
        Wire::RemoveUser(text) => Change::RemoveUser(id(text, "user")?),
        Wire::PutGroup(group) => {
            Change::PutGroup(Group { id: id(&group.group_id, "group")?, disabled: group.disabled })
        }
        Wire::RemoveGroup(text) => Change::RemoveGroup(id(text, "group")?),
        Wire::PutMembership(membership) => Change::PutMembership(membership_from_proto(membership)?),
        Wire::RemoveMembership(membership) => {
            let Membership { group, member, .. } = membership_from_proto(membership)?;
            Change::RemoveMembership { group, member }
        }
        Wire::PutModel(model) => Change::PutModel(model_from_proto(model)?),
        Wire::RemoveModel(text) => Change::RemoveModel(id(text, "model")?),
        Wire::PutGrant(grant) => Change::PutGrant(grant_from_proto(grant)?),
        Wire::RemoveGrant(text) => Change::RemoveGrant(id(text, "grant")?),
        Wire::PutKey(key) => Change::PutKey(key_from_proto(key)?),
        Wire::RemoveKey(text) => Change::RemoveKey(id(text, "key")?),
        Wire::PutModelSet(set) => {
            Change::PutModelSet(ModelSet { id: id(&set.model_set_id, "model set")?, disabled: set.disabled })
        }
        Wire::RemoveModelSet(text) => Change::RemoveModelSet(id(text, "model set")?),
        Wire::PutSetItem(item) => {
            let (set, item) = item_from_proto(item)?;
            Change::PutSetItem { set, item }
        }
        Wire::RemoveSetItem(item) => {
            let (set, item) = item_from_proto(item)?;
            Change::RemoveSetItem { set, item }
        }
        Wire::PutAlias(alias) => Change::PutAlias(alias_from_proto(alias)?),
        Wire::RemoveAlias(name) => Change::RemoveAlias(name.clone()),
        Wire::PutSigningKey(key) => Change::PutSigningKey(signing_key_from_proto(key)?),
        Wire::RemoveSigningKey(kid) => Change::RemoveSigningKey(kid.clone()),
        Wire::EndSession(ended) => ended_from_proto(ended)?,
    })
}

/// A model's owner as it crosses the wire.
#[must_use]
pub fn owner_to_proto(owner: Member) -> pb::ModelOwner {
    use pb::model_owner::Owner as Wire;
    let owner = match owner {
        Member::User(user) => Wire::UserId(user.to_string()),
        Member::Group(group) => Wire::GroupId(group.to_string()),
    };
    pb::ModelOwner { owner: Some(owner) }
}

fn id<T: FromStr>(text: &str, what: &'static str) -> Result<T, Malformed> {
    text.parse().map_err(|_| Malformed(what))
}

fn instant(time: Option<&prost_types::Timestamp>) -> Result<Option<Time>, Malformed> {
    time.map(|time| time::from_proto(time).ok_or(Malformed("time"))).transpose()
}

#[cfg(test)]
mod tests;
