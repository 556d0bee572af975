//! Changes that could not really be made one after the other: the state itself would take them, whoever changes it
//! would not be let.

use crate::{
    fact::{Change, Grant, Member, Membership, Target},
    id::{GrantId, GroupId, ModelSetId},
    policy::Policy,
};

/// Why a change could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// No such grant could be revoked.
    NoGrant(GrantId),
    /// One of the same grantee, target, action and effect is there.
    GrantExists,
    /// It is no member that could leave.
    NoMember(Member),
    /// It is no item that could be taken out.
    NoItem(Target),
    /// A group would be in itself.
    GroupCycle,
    /// A set would be in itself.
    SetCycle,
}

/// The state after some of the changes, as far as one asks for it.
struct Then<'a> {
    policy: &'a Policy,
    made: &'a [Change],
}

impl Policy {
    /// The first of these changes that could not be made after those before it. What a change names is not looked
    /// for: applying it does that.
    #[must_use]
    pub fn misfit(&self, changes: &[Change]) -> Option<Misfit> {
        changes.iter().enumerate().find_map(|(number, change)| {
            let made = changes.get(..number).unwrap_or_default();
            Then { policy: self, made }.misfit(change)
        })
    }
}

impl Then<'_> {
    fn misfit(&self, change: &Change) -> Option<Misfit> {
        match change {
            Change::RemoveGrant(id) => (!self.has_grant(*id)).then_some(Misfit::NoGrant(*id)),
            Change::PutGrant(grant) => self.has_like(grant).then_some(Misfit::GrantExists),
            Change::RemoveMembership { group, member } => {
                (!self.groups(*member).contains(group)).then_some(Misfit::NoMember(*member))
            }
            Change::RemoveSetItem { set, item } => {
                (!self.sets(*item).contains(set)).then_some(Misfit::NoItem(*item))
            }
            Change::PutMembership(Membership { group, member: Member::Group(inner), .. }) => {
                let above = |group: &GroupId| self.groups(Member::Group(*group));
                leads(*group, *inner, above).then_some(Misfit::GroupCycle)
            }
            Change::PutSetItem { set, item: Target::Set(inner) } => {
                let above = |set: &ModelSetId| self.sets(Target::Set(*set));
                leads(*set, *inner, above).then_some(Misfit::SetCycle)
            }
            _ => None,
        }
    }

    fn has_grant(&self, id: GrantId) -> bool {
        self.made.iter().fold(self.policy.grant(id).is_some(), |there, change| match change {
            Change::PutGrant(grant) if grant.id == id => true,
            Change::RemoveGrant(gone) if *gone == id => false,
            _ => there,
        })
    }

    fn has_like(&self, new: &Grant) -> bool {
        let rules = self.policy.rules_on(new.target);
        let chains = rules.into_iter().flat_map(|rules| rules.chains());
        let known = chains.flat_map(|first| self.policy.grants.chain(first));
        let known = known.filter_map(|rule| self.policy.fact_of(rule));
        let put = self.made.iter().filter_map(|change| match change {
            Change::PutGrant(grant) => Some(*grant),
            _ => None,
        });
        let what = |grant: &Grant| (grant.grantee, grant.target, grant.action, grant.effect);
        known.chain(put).any(|grant| what(&grant) == what(new) && self.has_grant(grant.id))
    }

    /// The groups that a member is in directly.
    fn groups(&self, member: Member) -> Vec<GroupId> {
        let edges = self.policy.links(member).into_iter().flat_map(|links| &links.up);
        let known = edges.filter_map(|edge| self.policy.groups.at(edge.group)).map(|group| group.fact.id);
        self.made.iter().fold(known.collect(), |groups, change| match change {
            Change::PutMembership(put) if put.member == member => with(groups, put.group),
            Change::RemoveMembership { group, member: gone } if *gone == member => without(groups, *group),
            _ => groups,
        })
    }

    /// The sets that an item is in directly.
    fn sets(&self, item: Target) -> Vec<ModelSetId> {
        let known = self.policy.sets_naming(item).iter().filter_map(|set| self.policy.sets.at(*set));
        self.made.iter().fold(known.map(|set| set.fact.id).collect(), |sets, change| match change {
            Change::PutSetItem { set, item: put } if *put == item => with(sets, *set),
            Change::RemoveSetItem { set, item: gone } if *gone == item => without(sets, *set),
            _ => sets,
        })
    }
}

fn with<T: PartialEq>(mut all: Vec<T>, one: T) -> Vec<T> {
    if !all.contains(&one) {
        all.push(one);
    }
    all
}

fn without<T: PartialEq>(mut all: Vec<T>, one: T) -> Vec<T> {
    all.retain(|known| *known != one);
    all
}

/// Whether a way up leads from one to the other, in no step or in some.
fn leads<T: Copy + PartialEq>(from: T, to: T, above: impl Fn(&T) -> Vec<T>) -> bool {
    let (mut seen, mut next) = (vec![from], 0);
    while let Some(one) = seen.get(next).copied() {
        if one == to {
            return true;
        }
        next += 1;
        for up in above(&one) {
            seen = with(seen, up);
        }
    }
    false
}
