//! Whom and what some changes could touch at all: too much rather than too little.
//!
//! Worked out over the memberships and set items of now together with those that the changes put, whatever is
//! expired, disabled or removed: a way that exists neither now nor at any time during the changes is in neither.

use std::collections::BTreeSet;

use ahash::AHashSet;

use crate::{
    fact::{Change, Grant, Grantee, Member, Target},
    id::{GroupId, ModelId, ModelSetId, UserId},
    list::Page,
    policy::{Node, Place, Policy},
};

pub(super) struct Scope<'a> {
    pub(super) policy: &'a Policy,
    pub(super) changes: &'a [Change],
}

/// Some users, or all.
#[derive(Default)]
struct Who {
    members: Vec<Member>,
    everyone: bool,
}

impl Who {
    fn add(&mut self, grantee: Grantee) {
        match grantee {
            Grantee::User(id) => self.members.push(Member::User(id)),
            Grantee::Group(id) => self.members.push(Member::Group(id)),
            Grantee::Everyone => self.everyone = true,
        }
    }
}

impl<'a> Scope<'a> {
    pub(super) const fn new(policy: &'a Policy, changes: &'a [Change]) -> Self {
        Self { policy, changes }
    }

    /// Every user and model between whom something could change, in order; at most about `limit`.
    pub(super) fn pairs(&self, limit: usize) -> Page<(UserId, ModelId)> {
        let mut pairs = BTreeSet::new();
        for (who, what) in self.changes.iter().flat_map(|change| self.touched(change)) {
            let (users, models) = (self.users(&who), self.models_below(what));
            for pair in users.iter().flat_map(|user| models.iter().map(move |model| (*user, *model))) {
                if pairs.len() == limit && !pairs.contains(&pair) {
                    return Page { items: pairs.into_iter().collect(), more: true };
                }
                pairs.insert(pair);
            }
        }
        Page { items: pairs.into_iter().collect(), more: false }
    }

    /// Whom a change touches, and on what.
    fn touched(&self, change: &Change) -> Vec<(Who, Vec<Target>)> {
        let one = |member: Member, targets| (Who { members: vec![member], everyone: false }, targets);
        match change {
            Change::PutUser(user) => {
                vec![one(Member::User(user.id), self.targets_for(Member::User(user.id)))]
            }
            Change::RemoveUser(id) => vec![one(Member::User(*id), self.targets_for(Member::User(*id)))],
            Change::PutGroup(group) => {
                vec![one(Member::Group(group.id), self.targets_for(Member::Group(group.id)))]
            }
            Change::RemoveGroup(id) => vec![one(Member::Group(*id), self.targets_for(Member::Group(*id)))],
            Change::PutMembership(put) => vec![one(put.member, self.targets_for(Member::Group(put.group)))],
            Change::RemoveMembership { group, member } => {
                vec![one(*member, self.targets_for(Member::Group(*group)))]
            }
            Change::PutModel(model) => vec![self.whole_model(model.id)],
            Change::RemoveModel(id) => vec![self.whole_model(*id)],
            Change::PutModelSet(set) => {
                vec![(self.grantees_on(Target::Set(set.id)), vec![Target::Set(set.id)])]
            }
            Change::RemoveModelSet(id) => vec![(self.grantees_on(Target::Set(*id)), vec![Target::Set(*id)])],
            Change::PutSetItem { set, item } | Change::RemoveSetItem { set, item } => {
                vec![(self.grantees_on(Target::Set(*set)), vec![*item])]
            }
            Change::PutGrant(grant) => {
                self.policy.grant(grant.id).iter().chain([grant]).map(meant_by).collect()
            }
            Change::RemoveGrant(id) => self.policy.grant(*id).iter().map(meant_by).collect(),
            Change::PutKey(_)
            | Change::RemoveKey(_)
            | Change::PutAlias(_)
            | Change::RemoveAlias(_)
            | Change::PutSigningKey(_)
            | Change::RemoveSigningKey(_)
            | Change::EndSession { .. } => Vec::new(),
        }
    }

    fn whole_model(&self, id: ModelId) -> (Who, Vec<Target>) {
        let mut who = self.grantees_on(Target::Model(id));
        who.members.extend(self.policy.model(id).and_then(|model| model.owner));
        who.members.extend(self.changes.iter().filter_map(|change| match change {
            Change::PutModel(model) if model.id == id => model.owner,
            _ => None,
        }));
        (who, vec![Target::Model(id)])
    }

    /// What grants and ownership connect with this member or with a group above it.
    fn targets_for(&self, member: Member) -> Vec<Target> {
        let groups = self.groups_above([member]);
        let meant = |one: &Member| match one {
            Member::User(_) => *one == member,
            Member::Group(id) => *one == member || groups.contains(id),
        };
        let people = groups.iter().map(|group| Member::Group(*group)).chain([member]);
        let links: Vec<_> = people.filter_map(|one| self.policy.links(one)).collect();
        let common = if matches!(member, Member::User(_)) { &self.policy.common[..] } else { &[] };
        let granted = links.iter().flat_map(|links| &links.granted).chain(common);
        let places = granted.filter_map(|grant| self.policy.grants.at(*grant)).map(|rule| rule.place);
        let mut targets: Vec<Target> = places.filter_map(|place| self.policy.target(place)).collect();
        targets.extend(links.iter().flat_map(|links| &links.owned).map(|model| Target::Model(*model)));
        targets.extend(self.changes.iter().filter_map(|change| match change {
            Change::PutGrant(grant) => {
                let to = Who::from(grant.grantee);
                let reached = to.everyone || to.members.iter().any(meant);
                reached.then_some(grant.target)
            }
            Change::PutModel(model) => {
                model.owner.as_ref().is_some_and(meant).then_some(Target::Model(model.id))
            }
            _ => None,
        }));
        targets.sort_unstable();
        targets.dedup();
        targets
    }

    /// Whom grants on this target, or on a set above it, are for.
    fn grantees_on(&self, target: Target) -> Who {
        let sets = self.sets_above([target]);
        let mut who = Who::default();
        for place in sets.iter().map(|set| Target::Set(*set)).chain([target]) {
            let rules = self.policy.rules_on(place);
            let chains = rules.iter().flat_map(|rules| rules.chains());
            let rules = chains.filter_map(|first| self.policy.grants.at(first));
            rules.filter_map(|rule| self.policy.fact_of(rule)).for_each(|grant| who.add(grant.grantee));
        }
        for change in self.changes {
            if let Change::PutGrant(grant) = change
                && (grant.target == target || matches!(grant.target, Target::Set(id) if sets.contains(&id)))
            {
                who.add(grant.grantee);
            }
        }
        who
    }

    fn users(&self, who: &Who) -> BTreeSet<UserId> {
        let mut users = BTreeSet::new();
        if who.everyone {
            users.extend(self.policy.users().map(|user| user.id));
            users.extend(self.changes.iter().filter_map(|change| match change {
                Change::PutUser(user) => Some(user.id),
                _ => None,
            }));
            return users;
        }
        let mut seen = AHashSet::new();
        let mut open = who.members.clone();
        while let Some(member) = open.pop() {
            match member {
                Member::User(id) => {
                    users.insert(id);
                }
                Member::Group(id) if seen.insert(id) => {
                    if let Some(entry) = self.policy.groups.get(&id) {
                        let nodes = entry.users.iter().copied().map(Node::User);
                        let nodes = nodes.chain(entry.groups.iter().copied().map(Node::Group));
                        open.extend(nodes.filter_map(|node| self.policy.member(node)));
                    }
                    open.extend(self.joins().filter(|(_, group)| *group == id).map(|(member, _)| member));
                }
                Member::Group(_) => {}
            }
        }
        users
    }

    fn models_below(&self, targets: Vec<Target>) -> BTreeSet<ModelId> {
        let (mut models, mut seen) = (BTreeSet::new(), AHashSet::new());
        let mut open = targets;
        while let Some(target) = open.pop() {
            match target {
                Target::Model(id) => {
                    models.insert(id);
                }
                Target::Set(id) if seen.insert(id) => {
                    if let Some(entry) = self.policy.sets.get(&id) {
                        let places = entry.models.iter().copied().map(Place::Model);
                        let places = places.chain(entry.sets.iter().copied().map(Place::Set));
                        open.extend(places.filter_map(|place| self.policy.target(place)));
                    }
                    open.extend(self.additions().filter(|(_, set)| *set == id).map(|(item, _)| item));
                }
                Target::Set(_) => {}
            }
        }
        models
    }

    /// The groups above these members, now or by the changes.
    pub(super) fn groups_above(&self, members: impl IntoIterator<Item = Member>) -> BTreeSet<GroupId> {
        let mut found = BTreeSet::new();
        let mut open: Vec<Member> = members.into_iter().collect();
        while let Some(member) = open.pop() {
            let up = self.policy.links(member).into_iter().flat_map(|links| &links.up);
            let known = up.filter_map(|edge| self.policy.groups.at(edge.group)).map(|group| group.fact.id);
            let put = self.joins().filter(|(one, _)| *one == member).map(|(_, group)| group);
            for group in known.chain(put) {
                if found.insert(group) {
                    open.push(Member::Group(group));
                }
            }
        }
        found
    }

    /// The sets above these targets, now or by the changes.
    pub(super) fn sets_above(&self, targets: impl IntoIterator<Item = Target>) -> BTreeSet<ModelSetId> {
        let mut found = BTreeSet::new();
        let mut open: Vec<Target> = targets.into_iter().collect();
        while let Some(target) = open.pop() {
            let up = self.policy.sets_naming(target).iter();
            let known = up.filter_map(|set| self.policy.sets.at(*set)).map(|set| set.fact.id);
            let put = self.additions().filter(|(one, _)| *one == target).map(|(_, set)| set);
            for set in known.chain(put) {
                if found.insert(set) {
                    open.push(Target::Set(set));
                }
            }
        }
        found
    }

    fn joins(&self) -> impl Iterator<Item = (Member, GroupId)> {
        self.changes.iter().filter_map(|change| match change {
            Change::PutMembership(put) => Some((put.member, put.group)),
            _ => None,
        })
    }

    fn additions(&self) -> impl Iterator<Item = (Target, ModelSetId)> {
        self.changes.iter().filter_map(|change| match change {
            Change::PutSetItem { set, item } => Some((*item, *set)),
            _ => None,
        })
    }
}

impl From<Grantee> for Who {
    fn from(grantee: Grantee) -> Self {
        let mut who = Self::default();
        who.add(grantee);
        who
    }
}

fn meant_by(grant: &Grant) -> (Who, Vec<Target>) {
    (Who::from(grant.grantee), vec![grant.target])
}
