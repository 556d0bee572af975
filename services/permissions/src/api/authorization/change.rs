//! Changes that would be made, as the policy takes them.

use super::action;
use crate::{
    api::{
        grants::{grantee, target},
        instant,
    },
    error::Error,
    field,
};
use policy::{Change, Effect, Grant, GrantId, GroupId, Member, Membership, ModelSetId, Target};
use proto::permissions::v1::{self as pb, hypothetical_change, hypothetical_item, hypothetical_member};
use shared::wire;
use uuid::Uuid;

/// Changes of one simulation.
const MOST: usize = 100;

pub(super) fn all(changes: &[pb::HypotheticalChange]) -> Result<Vec<Change>, Error> {
    if changes.is_empty() || changes.len() > MOST {
        return Err(Error::invalid("changes", "must be 1 to 100"));
    }
    let numbered = changes.iter().enumerate();
    numbered
        .map(|(place, change)| one(change).map_err(|error| error.within(format!("changes[{place}]"))))
        .collect()
}

fn one(change: &pb::HypotheticalChange) -> Result<Change, Error> {
    use hypothetical_change::Change as Wire;
    match &change.change {
        Some(Wire::CreateGrant(new)) => grant(new).map(Change::PutGrant),
        Some(Wire::RevokeGrantId(id)) => field::id("revoke_grant_id", id).map(Change::RemoveGrant),
        Some(Wire::AddMember(new)) => membership(new).map_err(|error| error.within("add_member")),
        Some(Wire::RemoveMember(old)) => {
            let ended = membership_of(old).map_err(|error| error.within("remove_member"));
            ended.map(|(group, member)| Change::RemoveMembership { group, member })
        }
        Some(Wire::AddItem(new)) => {
            let put = item(new).map_err(|error| error.within("add_item"));
            put.map(|(set, item)| Change::PutSetItem { set, item })
        }
        Some(Wire::RemoveItem(old)) => {
            let taken = item(old).map_err(|error| error.within("remove_item"));
            taken.map(|(set, item)| Change::RemoveSetItem { set, item })
        }
        None => Err(Error::invalid("change", "must say what would be done")),
    }
}

fn membership(new: &pb::HypotheticalMember) -> Result<Change, Error> {
    let (group, member) = membership_of(new)?;
    let expires_at = instant("expire_time", new.expire_time.as_ref())?;
    Ok(Change::PutMembership(Membership { group, member, expires_at }))
}

fn membership_of(old: &pb::HypotheticalMember) -> Result<(GroupId, Member), Error> {
    Ok((field::id("group_id", &old.group_id)?, member(old.member.as_ref())?))
}

fn item(named: &pb::HypotheticalItem) -> Result<(ModelSetId, Target), Error> {
    let set = field::id("model_set_id", &named.model_set_id)?;
    let item = match &named.item {
        Some(hypothetical_item::Item::ModelId(id)) => Target::Model(field::id("model_id", id)?),
        Some(hypothetical_item::Item::ItemSetId(id)) => Target::Set(field::id("item_set_id", id)?),
        None => return Err(Error::invalid("item", "must be a model or a set")),
    };
    Ok((set, item))
}

fn grant(new: &pb::Grant) -> Result<Grant, Error> {
    let effect = if new.effect == 0 { Some(Effect::Allow) } else { wire::effect_from_proto(new.effect) };
    Ok(Grant {
        id: GrantId(Uuid::now_v7()),
        grantee: grantee(new.grantee.as_ref())?,
        target: target(new)?,
        action: action(new.action)?,
        effect: effect.ok_or_else(|| Error::invalid("grant.effect", "must be ALLOW or DENY"))?,
        starts_at: instant("grant.start_time", new.start_time.as_ref())?,
        expires_at: instant("grant.expire_time", new.expire_time.as_ref())?,
    })
}

fn member(member: Option<&hypothetical_member::Member>) -> Result<Member, Error> {
    match member {
        Some(hypothetical_member::Member::UserId(id)) => field::id("user_id", id).map(Member::User),
        Some(hypothetical_member::Member::MemberGroupId(id)) => {
            field::id("member_group_id", id).map(Member::Group)
        }
        None => Err(Error::invalid("member", "must be a user or a group")),
    }
}
