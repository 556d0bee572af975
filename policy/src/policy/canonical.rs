//! The state written out by id and in order: as facts, to store or send it, and with everything worked out from the
//! facts, to compare two states that were reached in different ways.

use super::{Edge, GroupEntry, Links, Node, Policy, Rule, Rules};
use crate::{
    fact::{Change, Member, Membership},
    id::{GrantId, GroupId, KeyHash, KeyId, ModelId, UserId},
    time::Time,
};

type Reached = Vec<(GroupId, Option<Time>)>;

/// A state in one normal form: equal for equal facts, however they came about, as long as the engine is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canonical {
    facts: Vec<Change>,
    reach: Vec<(UserId, Reached)>,
    members: Vec<(GroupId, Vec<Member>)>,
    rules: Vec<(ModelId, Option<Member>, Vec<GrantId>)>,
    granted: Vec<(Member, Vec<GrantId>)>,
    owners: Vec<(ModelId, Member)>,
    owned: Vec<(Member, Vec<ModelId>)>,
    keys: Vec<(UserId, Vec<KeyId>)>,
    names: Vec<(String, ModelId)>,
    hashes: Vec<(KeyHash, KeyId)>,
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

impl Policy {
    /// The whole state as puts, each after what it refers to, in the order of ids.
    pub fn facts(&self) -> impl Iterator<Item = Change> {
        let users = sorted(self.users.iter().map(|entry| &entry.fact), |user| user.id);
        let groups = sorted(self.groups.iter().map(|entry| &entry.fact), |group| group.id);
        let models = sorted(self.models.iter().map(|entry| &entry.fact), |model| model.id);
        let grants = sorted(self.grants.values(), |grant| grant.id);
        let keys = sorted(self.keys.values().map(|entry| &entry.fact), |key| key.id);
        let users = users.into_iter().cloned().map(Change::PutUser);
        users
            .chain(groups.into_iter().cloned().map(Change::PutGroup))
            .chain(self.memberships().into_iter().map(Change::PutMembership))
            .chain(models.into_iter().cloned().map(Change::PutModel))
            .chain(grants.into_iter().copied().map(Change::PutGrant))
            .chain(keys.into_iter().cloned().map(Change::PutKey))
    }

    /// The state in its normal form.
    #[must_use]
    pub fn canonical(&self) -> Canonical {
        let users = self.users.iter().map(|entry| (Member::User(entry.fact.id), &*entry.links));
        let groups = self.groups.iter().map(|entry| (Member::Group(entry.fact.id), &entry.links));
        let links: Vec<(Member, &Links)> = users.chain(groups).collect();
        let granted = links.iter().map(|(member, links)| (*member, in_order(links.granted.iter().copied())));
        let owned = links.iter().map(|(member, links)| (*member, in_order(links.owned.iter().copied())));
        let keys = self.users.iter().map(|entry| (entry.fact.id, in_order(entry.links.keys.iter().copied())));
        let model = |index: &u32| self.models.at(*index).map(|entry| entry.fact.id);
        Canonical {
            facts: self.facts().collect(),
            reach: in_order(self.users.iter().map(|entry| (entry.fact.id, self.reached(&entry.reach)))),
            members: in_order(self.groups.iter().map(|entry| (entry.fact.id, self.members(entry)))),
            rules: self.rules(),
            granted: in_order(granted),
            owners: in_order(
                self.models.iter().filter_map(|entry| Some((entry.fact.id, self.member(entry.owner?)?))),
            ),
            owned: in_order(owned),
            keys: in_order(keys),
            names: in_order(
                self.names.iter().filter_map(|(name, index)| Some((name.to_string(), model(index)?))),
            ),
            hashes: in_order(self.hashes.iter().map(|(key, hash)| (*hash, *key))),
        }
    }

    /// Groups in groups first: rebuilding then finds no user below them to work out again and again.
    fn memberships(&self) -> Vec<Membership> {
        let nested = self.groups.iter().map(|entry| (Member::Group(entry.fact.id), &entry.links.up));
        let direct = self.users.iter().map(|entry| (Member::User(entry.fact.id), &entry.links.up));
        let all = nested.chain(direct).flat_map(|(member, up)| up.iter().map(move |edge| (member, edge)));
        let known = all.filter_map(|(member, edge)| {
            let group = self.groups.at(edge.group)?.fact.id;
            Some(Membership { group, member, expires_at: Time::known(edge.until) })
        });
        sorted(known, |known| (matches!(known.member, Member::User(_)), known.group, known.member))
    }

    fn reached(&self, reach: &[Edge]) -> Reached {
        let named = |edge: &Edge| Some((self.groups.at(edge.group)?.fact.id, Time::known(edge.until)));
        in_order(reach.iter().filter_map(named))
    }

    fn members(&self, group: &GroupEntry) -> Vec<Member> {
        let nodes =
            group.users.iter().copied().map(Node::User).chain(group.groups.iter().copied().map(Node::Group));
        in_order(nodes.filter_map(|node| self.member(node)))
    }

    fn member(&self, node: Node) -> Option<Member> {
        match node {
            Node::User(index) => self.users.at(index).map(|entry| Member::User(entry.fact.id)),
            Node::Group(index) => self.groups.at(index).map(|entry| Member::Group(entry.fact.id)),
        }
    }

    fn rules(&self) -> Vec<(ModelId, Option<Member>, Vec<GrantId>)> {
        let ids = |rules: &[Rule]| in_order(rules.iter().map(|rule| rule.grant));
        let mut all = Vec::new();
        for entry in self.models.iter() {
            let model = entry.fact.id;
            let users = entry.for_user.iter().map(|(index, rules)| (Node::User(*index), rules));
            let groups = entry.for_group.iter().map(|(index, rules)| (Node::Group(*index), rules));
            let named = |(node, rules): (Node, &Rules)| (model, self.member(node), ids(rules.as_slice()));
            all.extend(users.chain(groups).map(named));
            all.push((model, None, ids(&entry.for_everyone)));
        }
        in_order(all)
    }
}

fn sorted<T, K: Ord>(items: impl IntoIterator<Item = T>, key: impl FnMut(&T) -> K) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort_unstable_by_key(key);
    items
}

fn in_order<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort_unstable();
    items
}
