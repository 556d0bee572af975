//! A state that holds of the real one only what some users, some models and some changes need: it answers about those
//! users and models as the real one does, and takes or refuses the changes as the real one would.

use std::collections::BTreeSet;

use super::scope::Scope;
use crate::{
    fact::{Alias, Change, Grantee, Key, Member, Membership, Model, Target},
    id::{GrantId, GroupId, KeyId, ModelId, ModelSetId, UserId},
    policy::{Policy, Rule},
    time::Time,
};

/// What the small state holds.
#[derive(Default)]
struct Part {
    users: BTreeSet<UserId>,
    groups: BTreeSet<GroupId>,
    models: BTreeSet<ModelId>,
    sets: BTreeSet<ModelSetId>,
    grants: BTreeSet<GrantId>,
    keys: BTreeSet<KeyId>,
}

pub(super) fn carve(scope: &Scope<'_>, pairs: &[(UserId, ModelId)]) -> Policy {
    let mut part = Part::default();
    for (user, model) in pairs {
        part.users.insert(*user);
        part.models.insert(*model);
    }
    scope.changes.iter().for_each(|change| part.mention(scope.policy, change));
    let people = part.users.iter().copied().map(Member::User);
    let people = people.chain(part.groups.iter().copied().map(Member::Group));
    part.groups.append(&mut scope.groups_above(people));
    let things = part.models.iter().copied().map(Target::Model);
    let things = things.chain(part.sets.iter().copied().map(Target::Set));
    part.sets.append(&mut scope.sets_above(things));
    let mut carved = Policy::new();
    // Each fact comes after what it refers to, and what would refer to something left out is left out itself.
    carved.apply_fitting(part.facts(scope.policy));
    carved
}

impl Part {
    /// Takes in whatever the change names, and what could stand against it.
    fn mention(&mut self, policy: &Policy, change: &Change) {
        match change {
            Change::PutUser(user) => {
                self.users.insert(user.id);
            }
            Change::RemoveUser(id) => {
                self.users.insert(*id);
            }
            Change::PutGroup(group) => {
                self.groups.insert(group.id);
            }
            Change::RemoveGroup(id) => {
                self.groups.insert(*id);
            }
            Change::PutMembership(Membership { group, member, .. })
            | Change::RemoveMembership { group, member } => {
                self.groups.insert(*group);
                self.member(*member);
            }
            Change::PutModel(model) => {
                self.models.insert(model.id);
                model.owner.into_iter().for_each(|owner| self.member(owner));
                self.name(policy, &model.name);
            }
            Change::RemoveModel(id) => {
                self.models.insert(*id);
            }
            Change::PutGrant(grant) => {
                self.grants.insert(grant.id);
                self.target(grant.target);
                match grant.grantee {
                    Grantee::User(id) => self.member(Member::User(id)),
                    Grantee::Group(id) => self.member(Member::Group(id)),
                    Grantee::Everyone => {}
                }
            }
            Change::RemoveGrant(id) => {
                self.grants.insert(*id);
            }
            Change::PutKey(key) => self.key(policy, key),
            Change::RemoveKey(id) => {
                self.keys.insert(*id);
            }
            Change::PutModelSet(set) => {
                self.sets.insert(set.id);
            }
            Change::RemoveModelSet(id) => {
                self.sets.insert(*id);
            }
            Change::PutSetItem { set, item } | Change::RemoveSetItem { set, item } => {
                self.sets.insert(*set);
                self.target(*item);
            }
            Change::PutAlias(Alias { name, model }) => {
                self.models.insert(*model);
                self.name(policy, name);
            }
            Change::RemoveAlias(name) => self.name(policy, name),
            Change::PutSigningKey(_) | Change::RemoveSigningKey(_) | Change::EndSession { .. } => {}
        }
    }

    fn member(&mut self, member: Member) {
        match member {
            Member::User(id) => {
                self.users.insert(id);
            }
            Member::Group(id) => {
                self.groups.insert(id);
            }
        }
    }

    fn target(&mut self, target: Target) {
        match target {
            Target::Model(id) => {
                self.models.insert(id);
            }
            Target::Set(id) => {
                self.sets.insert(id);
            }
        }
    }

    fn name(&mut self, policy: &Policy, name: &str) {
        self.models.extend(policy.model_by_name(name).map(|model| model.id));
    }

    fn key(&mut self, policy: &Policy, key: &Key) {
        self.users.insert(key.owner);
        let holders = key.hashes().filter_map(|hash| policy.keys.at(*policy.hashes.get(&hash)?));
        let holders: Vec<&Key> = holders.map(|entry| &entry.fact).chain(policy.key(key.id)).collect();
        self.users.extend(holders.iter().map(|holder| holder.owner));
        self.keys.extend(holders.iter().map(|holder| holder.id));
    }

    fn facts(&self, policy: &Policy) -> Vec<Change> {
        let mut facts: Vec<Change> = Vec::new();
        facts.extend(self.users.iter().filter_map(|id| policy.user(*id)).copied().map(Change::PutUser));
        facts.extend(self.groups.iter().filter_map(|id| policy.group(*id)).copied().map(Change::PutGroup));
        self.memberships(policy, &mut facts);
        for model in self.models.iter().filter_map(|id| policy.model(*id)) {
            let owner = model.owner.filter(|owner| self.has(*owner));
            facts.push(Change::PutModel(Model { owner, ..model.clone() }));
            let names = policy.aliases_of(model.id).map(ToOwned::to_owned);
            facts.extend(names.map(|name| Change::PutAlias(Alias { name, model: model.id })));
        }
        facts.extend(
            self.sets.iter().filter_map(|id| policy.model_set(*id)).copied().map(Change::PutModelSet),
        );
        for item in self.targets() {
            let up = policy.sets_naming(item).iter().filter_map(|set| policy.sets.at(*set));
            facts.extend(up.map(|set| Change::PutSetItem { set: set.fact.id, item }));
        }
        let rules = self.targets().flat_map(|target| self.rules_on(policy, target));
        facts.extend(rules.filter_map(|rule| policy.fact_of(rule)).map(Change::PutGrant));
        facts.extend(self.grants.iter().filter_map(|id| policy.grant(*id)).map(Change::PutGrant));
        facts.extend(self.keys.iter().filter_map(|id| policy.key(*id)).cloned().map(Change::PutKey));
        facts
    }

    fn memberships(&self, policy: &Policy, facts: &mut Vec<Change>) {
        let people = self.groups.iter().copied().map(Member::Group);
        for member in people.chain(self.users.iter().copied().map(Member::User)) {
            let up = policy.links(member).into_iter().flat_map(|links| &links.up);
            facts.extend(up.filter_map(|edge| {
                let group = policy.groups.at(edge.group)?.fact.id;
                Some(Change::PutMembership(Membership { group, member, expires_at: Time::known(edge.until) }))
            }));
        }
    }

    /// Of "the rules on the target" and "the people here" it walks the fewer.
    fn rules_on<'a>(&self, policy: &'a Policy, target: Target) -> Vec<&'a Rule> {
        let Some(rules) = policy.rules_on(target) else { return Vec::new() };
        let all = rules.for_user.len() + rules.for_group.len();
        let chains: Vec<u32> = if all <= self.users.len() + self.groups.len() {
            rules.chains().collect()
        } else {
            let users = self.users.iter().filter_map(|id| rules.for_user.get(&policy.users.find(id)?));
            let groups = self.groups.iter().filter_map(|id| rules.for_group.get(&policy.groups.find(id)?));
            users.chain(groups).copied().chain([rules.for_everyone]).collect()
        };
        chains.into_iter().flat_map(|first| policy.grants.chain(first)).collect()
    }

    fn targets(&self) -> impl Iterator<Item = Target> {
        let models = self.models.iter().copied().map(Target::Model);
        models.chain(self.sets.iter().copied().map(Target::Set))
    }

    fn has(&self, member: Member) -> bool {
        match member {
            Member::User(id) => self.users.contains(&id),
            Member::Group(id) => self.groups.contains(&id),
        }
    }
}
