//! Changes that would be made, as the policy takes them.

use super::action;
use crate::{
    api::{grants::grantee, instant},
    error::Error,
    field,
};
use policy::{Change, Effect, Grant, GrantId, Member, Membership, Target};
use proto::permissions::v1::{self as pb, hypothetical_change, hypothetical_member};
use shared::wire;
use uuid::Uuid;

/// Changes of one simulation.
const MOST: usize = 100;

pub(super) fn all(changes: &[pb::HypotheticalChange]) -> Result<Vec<Change>, Error> {
    if changes.is_empty() || changes.len() > MOST {
        return Err(Error::invalid("changes", "must be 1 to 100"));
    }
    changes.iter().map(one).collect()
}

fn one(change: &pb::HypotheticalChange) -> Result<Change, Error> {
    use hypothetical_change::Change as Wire;
    match &change.change {
        Some(Wire::CreateGrant(new)) => grant(new).map(Change::PutGrant),
        Some(Wire::RevokeGrantId(id)) => field::id("changes.revoke_grant_id", id).map(Change::RemoveGrant),
        Some(Wire::AddMember(new)) => Ok(Change::PutMembership(Membership {
            group: field::id("changes.add_member.group_id", &new.group_id)?,
            member: member("changes.add_member.member", new.member.as_ref())?,
            expires_at: instant("changes.add_member.expire_time", new.expire_time.as_ref())?,
        })),
        Some(Wire::RemoveMember(old)) => Ok(Change::RemoveMembership {
            group: field::id("changes.remove_member.group_id", &old.group_id)?,
            member: member("changes.remove_member.member", old.member.as_ref())?,
        }),
        None => Err(Error::invalid("changes", "each must say what would be done")),
    }
}

fn grant(new: &pb::Grant) -> Result<Grant, Error> {
    let effect = if new.effect == 0 { Some(Effect::Allow) } else { wire::effect_from_proto(new.effect) };
    Ok(Grant {
        id: GrantId(Uuid::now_v7()),
        grantee: grantee(new.grantee.as_ref())?,
        target: Target::Model(field::id("grant.model_id", &new.model_id)?),
        action: action(new.action)?,
        effect: effect.ok_or_else(|| Error::invalid("grant.effect", "must be ALLOW or DENY"))?,
        starts_at: instant("grant.start_time", new.start_time.as_ref())?,
        expires_at: instant("grant.expire_time", new.expire_time.as_ref())?,
    })
}

fn member(field: &'static str, member: Option<&hypothetical_member::Member>) -> Result<Member, Error> {
    match member {
        Some(hypothetical_member::Member::UserId(id)) => field::id(field, id).map(Member::User),
        Some(hypothetical_member::Member::MemberGroupId(id)) => field::id(field, id).map(Member::Group),
        None => Err(Error::invalid(field, "must be a user or a group")),
    }
}
