//! Users, groups, models, sets and grants, message by message.

use super::{
    Malformed, action_from_proto, action_to_proto, effect_from_proto, effect_to_proto, id, instant,
    owner_to_proto, state_from_proto, state_to_proto,
};
use crate::{auth, time};
use policy::{Alias, Grant, Grantee, Member, Membership, Model, ModelSetId, Target, User};
use proto::permissions::v1 as pb;

pub(super) fn user_to_proto(user: &User) -> pb::PolicyUser {
    pb::PolicyUser {
        user_id: user.id.to_string(),
        role: auth::role_number(user.role),
        disabled: user.disabled,
    }
}

pub(super) fn user_from_proto(user: &pb::PolicyUser) -> Result<User, Malformed> {
    let role = auth::role_from_number(user.role).ok_or(Malformed("role"))?;
    Ok(User { id: id(&user.user_id, "user")?, role, disabled: user.disabled })
}

pub(super) fn membership_to_proto(membership: &Membership) -> pb::PolicyMembership {
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

pub(super) fn membership_from_proto(membership: &pb::PolicyMembership) -> Result<Membership, Malformed> {
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

pub(super) fn model_to_proto(model: &Model) -> pb::PolicyModel {
    pb::PolicyModel {
        model_id: model.id.to_string(),
        name: model.name.clone(),
        owner: model.owner.map(owner_to_proto),
        state: state_to_proto(model.state).into(),
    }
}

pub(super) fn model_from_proto(model: &pb::PolicyModel) -> Result<Model, Malformed> {
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

pub(super) fn grant_to_proto(grant: &Grant) -> pb::PolicyGrant {
    use pb::policy_grant::Grantee as Wire;
    let (model_id, model_set_id) = match grant.target {
        Target::Model(model) => (model.to_string(), String::new()),
        Target::Set(set) => (String::new(), set.to_string()),
    };
    pb::PolicyGrant {
        grant_id: grant.id.to_string(),
        model_id,
        model_set_id,
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

pub(super) fn grant_from_proto(grant: &pb::PolicyGrant) -> Result<Grant, Malformed> {
    use pb::policy_grant::Grantee as Wire;
    Ok(Grant {
        id: id(&grant.grant_id, "grant")?,
        grantee: match grant.grantee.as_ref() {
            Some(Wire::UserId(text)) => Grantee::User(id(text, "grantee")?),
            Some(Wire::GroupId(text)) => Grantee::Group(id(text, "grantee")?),
            Some(Wire::Everyone(true)) => Grantee::Everyone,
            Some(Wire::Everyone(false)) | None => return Err(Malformed("grantee")),
        },
        target: match (grant.model_id.as_str(), grant.model_set_id.as_str()) {
            (model, "") => Target::Model(id(model, "model")?),
            ("", set) => Target::Set(id(set, "model set")?),
            _ => return Err(Malformed("target")),
        },
        action: action_from_proto(grant.action).ok_or(Malformed("action"))?,
        effect: effect_from_proto(grant.effect).ok_or(Malformed("effect"))?,
        starts_at: instant(grant.start_time.as_ref())?,
        expires_at: instant(grant.expire_time.as_ref())?,
    })
}

pub(super) fn item_to_proto(set: ModelSetId, item: Target) -> pb::PolicySetItem {
    use pb::policy_set_item::Item as Wire;
    let item = match item {
        Target::Model(model) => Wire::ModelId(model.to_string()),
        Target::Set(set) => Wire::ItemSetId(set.to_string()),
    };
    pb::PolicySetItem { model_set_id: set.to_string(), item: Some(item) }
}

pub(super) fn item_from_proto(item: &pb::PolicySetItem) -> Result<(ModelSetId, Target), Malformed> {
    use pb::policy_set_item::Item as Wire;
    let target = match item.item.as_ref().ok_or(Malformed("item"))? {
        Wire::ModelId(text) => Target::Model(id(text, "item")?),
        Wire::ItemSetId(text) => Target::Set(id(text, "item")?),
    };
    Ok((id(&item.model_set_id, "model set")?, target))
}

pub(super) fn alias_from_proto(alias: &pb::PolicyAlias) -> Result<Alias, Malformed> {
    if alias.name.is_empty() {
        return Err(Malformed("name"));
    }
    Ok(Alias { name: alias.name.clone(), model: id(&alias.model_id, "model")? })
}
