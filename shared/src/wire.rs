//! Policy facts as the contract says them, both ways: permissions sends what inference follows.
//!
//! Reading is strict. A fact that is not understood whole is refused, because half of one (a deny without its
//! grantee, a key without its models) would open what the whole closes.

use crate::{auth, time};
use policy::{
    Action, Change, Effect, Grant, Grantee, Group, Key, KeyHash, Member, Membership, Model, ModelId,
    ModelState, Time, User,
};
use proto::permissions::v1 as pb;
use std::str::FromStr;
use uuid::Uuid;

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
    })
}

fn user_to_proto(user: &User) -> pb::PolicyUser {
    pb::PolicyUser {
        user_id: user.id.to_string(),
        role: auth::role_number(user.role),
        disabled: user.disabled,
    }
}

fn user_from_proto(user: &pb::PolicyUser) -> Result<User, Malformed> {
    let role = auth::role_from_number(user.role).ok_or(Malformed("role"))?;
    Ok(User { id: id(&user.user_id, "user")?, role, disabled: user.disabled })
}

fn membership_to_proto(membership: &Membership) -> pb::PolicyMembership {
    use pb::policy_membership::Member as Wire;
    pb::PolicyMembership {
        group_id: membership.group.to_string(),
        member: Some(match membership.member {
            Member::User(user) => Wire::UserId(user.to_string()),
            Member::Group(group) => Wire::MemberGroupId(group.to_string()),
        }),
        expire_time: membership.expires_at.map(time::to_proto),
    }
}

fn membership_from_proto(membership: &pb::PolicyMembership) -> Result<Membership, Malformed> {
    use pb::policy_membership::Member as Wire;
    Ok(Membership {
        group: id(&membership.group_id, "group")?,
        member: match membership.member.as_ref().ok_or(Malformed("member"))? {
            Wire::UserId(text) => Member::User(id(text, "member")?),
            Wire::MemberGroupId(text) => Member::Group(id(text, "member")?),
        },
        expires_at: instant(membership.expire_time.as_ref())?,
    })
}

fn model_to_proto(model: &Model) -> pb::PolicyModel {
    pb::PolicyModel {
        model_id: model.id.to_string(),
        name: model.name.clone(),
        owner: model.owner.map(owner_to_proto),
        state: state_to_proto(model.state).into(),
    }
}

fn model_from_proto(model: &pb::PolicyModel) -> Result<Model, Malformed> {
    use pb::model_owner::Owner as Wire;
    let owner = match model.owner.as_ref().and_then(|owner| owner.owner.as_ref()) {
        Some(Wire::UserId(text)) => Some(Member::User(id(text, "owner")?)),
        Some(Wire::GroupId(text)) => Some(Member::Group(id(text, "owner")?)),
        None => None,
    };
    Ok(Model {
        id: id(&model.model_id, "model")?,
        name: model.name.clone(),
        owner,
        state: state_from_proto(model.state).ok_or(Malformed("state"))?,
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

fn grant_to_proto(grant: &Grant) -> pb::PolicyGrant {
    use pb::policy_grant::Grantee as Wire;
    pb::PolicyGrant {
        grant_id: grant.id.to_string(),
        model_id: grant.model.to_string(),
        grantee: Some(match grant.grantee {
            Grantee::User(user) => Wire::UserId(user.to_string()),
            Grantee::Group(group) => Wire::GroupId(group.to_string()),
            Grantee::Everyone => Wire::Everyone(true),
        }),
        action: action_to_proto(grant.action).into(),
        effect: effect_to_proto(grant.effect).into(),
        start_time: grant.starts_at.map(time::to_proto),
        expire_time: grant.expires_at.map(time::to_proto),
    }
}

fn grant_from_proto(grant: &pb::PolicyGrant) -> Result<Grant, Malformed> {
    use pb::policy_grant::Grantee as Wire;
    Ok(Grant {
        id: id(&grant.grant_id, "grant")?,
        grantee: match grant.grantee.as_ref() {
            Some(Wire::UserId(text)) => Grantee::User(id(text, "grantee")?),
            Some(Wire::GroupId(text)) => Grantee::Group(id(text, "grantee")?),
            Some(Wire::Everyone(true)) => Grantee::Everyone,
            Some(Wire::Everyone(false)) | None => return Err(Malformed("grantee")),
        },
        model: id(&grant.model_id, "model")?,
        action: action_from_proto(grant.action).ok_or(Malformed("action"))?,
        effect: effect_from_proto(grant.effect).ok_or(Malformed("effect"))?,
        starts_at: instant(grant.start_time.as_ref())?,
        expires_at: instant(grant.expire_time.as_ref())?,
    })
}

fn key_to_proto(key: &Key) -> pb::PolicyKey {
    // An empty list means "every model" on the wire and "no model" in memory: the nil id is no model's.
    let nobody = || vec![Uuid::nil().to_string()];
    let model_ids = match &key.models {
        None => Vec::new(),
        Some(models) if models.is_empty() => nobody(),
        Some(models) => models.iter().map(ModelId::to_string).collect(),
    };
    pb::PolicyKey {
        key_id: key.id.to_string(),
        key_hash: key.hash.as_bytes().to_vec().into(),
        user_id: key.owner.to_string(),
        model_ids,
        expire_time: key.expires_at.map(time::to_proto),
        disabled: key.disabled,
    }
}

fn key_from_proto(key: &pb::PolicyKey) -> Result<Key, Malformed> {
    let models: Result<Vec<ModelId>, Malformed> =
        key.model_ids.iter().map(|text| id(text, "model")).collect();
    let digest: [u8; 32] = key.key_hash.as_ref().try_into().map_err(|_| Malformed("key hash"))?;
    Ok(Key {
        id: id(&key.key_id, "key")?,
        hash: KeyHash::new(digest),
        owner: id(&key.user_id, "user")?,
        models: Some(models?).filter(|models| !models.is_empty()),
        expires_at: instant(key.expire_time.as_ref())?,
        disabled: key.disabled,
    })
}

fn id<T: FromStr>(text: &str, what: &'static str) -> Result<T, Malformed> {
    text.parse().map_err(|_| Malformed(what))
}

fn instant(time: Option<&prost_types::Timestamp>) -> Result<Option<Time>, Malformed> {
    time.map(|time| time::from_proto(time).ok_or(Malformed("time"))).transpose()
}

#[cfg(test)]
mod tests;
