//! The state written out by id and in order: as facts, to store or send it, and with everything worked out from the
//! facts, to compare two states that were reached in different ways.

use super::{Edge, GroupEntry, Links, Node, Place, Policy, Ruleset};
use crate::{
    fact::{Alias, Change, Member, Membership, Target},
    id::{GrantId, GroupId, KeyHash, KeyId, ModelId, ModelSetId, UserId},
    time::Time,
};

type Reached = Vec<(GroupId, Option<Time>)>;

/// A state in one normal form: equal for equal facts, however they came about, as long as the engine is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canonical {
    facts: Vec<Change>,
    reach: Vec<(UserId, Reached)>,
    members: Vec<(GroupId, Vec<Member>)>,
    within: Vec<(ModelId, Vec<ModelSetId>)>,
    items: Vec<(ModelSetId, Vec<Target>)>,
    rules: Vec<(Target, Option<Member>, Vec<GrantId>)>,
    granted: Vec<(Member, Vec<GrantId>)>,
    common: Vec<GrantId>,
    /// What can be found by id, against what is there to be listed.
    counts: [usize; 5],
    owners: Vec<(ModelId, Member)>,
    owned: Vec<(Member, Vec<ModelId>)>,
    keys: Vec<(UserId, Vec<KeyId>)>,
    names: Vec<(String, bool, ModelId)>,
    aliases: Vec<(ModelId, Vec<String>)>,
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
        let grants = sorted(self.grants.iter().filter_map(|rule| self.fact_of(rule)), |grant| grant.id);
        let keys = sorted(self.keys.iter().map(|entry| &entry.fact), |key| key.id);
        let sets = sorted(self.sets.iter().map(|entry| &entry.fact), |set| set.id);
        let signing = sorted(self.signing.values(), |key| key.id.clone());
        let users = users.into_iter().cloned().map(Change::PutUser);
        users
            .chain(groups.into_iter().cloned().map(Change::PutGroup))
            .chain(self.memberships().into_iter().map(Change::PutMembership))
            .chain(models.into_iter().cloned().map(Change::PutModel))
            .chain(self.further_names().into_iter().map(Change::PutAlias))
            .chain(sets.into_iter().copied().map(Change::PutModelSet))
            .chain(self.items().into_iter().map(|(set, item)| Change::PutSetItem { set, item }))
            .chain(grants.into_iter().map(Change::PutGrant))
            .chain(keys.into_iter().cloned().map(Change::PutKey))
            .chain(signing.into_iter().cloned().map(Change::PutSigningKey))
            .chain(self.ended())
    }

    /// The facts that begin or end by themselves, in no particular order.
    pub fn timed(&self) -> impl Iterator<Item = Change> {
        let grants =
            self.grants.iter().filter(|rule| rule.start != Time::ALWAYS || Time::known(rule.end).is_some());
        let grants = grants.filter_map(|rule| self.fact_of(rule)).map(Change::PutGrant);
        let keys = self.keys.iter().map(|entry| &entry.fact).filter(|key| key.expires_at.is_some());
        let ended = self.unsorted_memberships().filter(|known| known.expires_at.is_some());
        ended.map(Change::PutMembership).chain(grants).chain(keys.cloned().map(Change::PutKey))
    }

    /// The state in its normal form.
    #[must_use]
    pub fn canonical(&self) -> Canonical {
        let users = self.users.iter().map(|entry| (Member::User(entry.fact.id), &*entry.links));
        let groups = self.groups.iter().map(|entry| (Member::Group(entry.fact.id), &entry.links));
        let links: Vec<(Member, &Links)> = users.chain(groups).collect();
        let grant = |index: &u32| self.grants.at(*index).map(|rule| rule.id);
        let granted =
            links.iter().map(|(member, links)| (*member, in_order(links.granted.iter().filter_map(grant))));
        let owned = links.iter().map(|(member, links)| (*member, in_order(links.owned.iter().copied())));
        let keys = self.users.iter().map(|entry| (entry.fact.id, in_order(entry.links.keys.iter().copied())));
        let model = |index: u32| self.models.at(index).map(|entry| entry.fact.id);
        let set = |index: &u32| self.sets.at(*index).map(|entry| entry.fact.id);
        let within =
            self.models.iter().map(|entry| (entry.fact.id, in_order(entry.within.iter().filter_map(set))));
        Canonical {
            facts: self.facts().collect(),
            reach: in_order(self.users.iter().map(|entry| (entry.fact.id, self.reached(&entry.reach)))),
            members: in_order(self.groups.iter().map(|entry| (entry.fact.id, self.members(entry)))),
            within: in_order(within),
            items: self.items_by_set(),
            rules: self.rules(),
            granted: in_order(granted),
            common: in_order(self.common.iter().filter_map(grant)),
            counts: [
                self.users.len(),
                self.groups.len(),
                self.models.len(),
                self.sets.len(),
                self.grants.len(),
            ],
            owners: in_order(
                self.models.iter().filter_map(|entry| Some((entry.fact.id, self.member(entry.owner?)?))),
            ),
            owned: in_order(owned),
            keys: in_order(keys),
            names: in_order(
                self.names
                    .iter()
                    .filter_map(|(name, known)| Some((name.to_string(), known.alias, model(known.model)?))),
            ),
            aliases: in_order(
                self.models
                    .iter()
                    .map(|entry| (entry.fact.id, in_order(entry.aliases.iter().map(ToString::to_string)))),
            ),
            hashes: in_order(
                self.hashes.iter().filter_map(|(hash, key)| Some((*hash, self.keys.at(*key)?.fact.id))),
            ),
        }
    }

    /// Groups in groups first: rebuilding then finds no user below them to work out again and again.
    fn memberships(&self) -> Vec<Membership> {
        let known = self.unsorted_memberships();
        sorted(known, |known| (matches!(known.member, Member::User(_)), known.group, known.member))
    }

    fn unsorted_memberships(&self) -> impl Iterator<Item = Membership> {
        let nested = self.groups.iter().map(|entry| (Member::Group(entry.fact.id), &entry.links.up));
        let direct = self.users.iter().map(|entry| (Member::User(entry.fact.id), &entry.links.up));
        let all = nested.chain(direct).flat_map(|(member, up)| up.iter().map(move |edge| (member, edge)));
        all.filter_map(|(member, edge)| {
            let group = self.groups.at(edge.group)?.fact.id;
            Some(Membership { group, member, expires_at: Time::known(edge.until) })
        })
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

    fn rules(&self) -> Vec<(Target, Option<Member>, Vec<GrantId>)> {
        let models = self.models.iter().map(|entry| (Target::Model(entry.fact.id), &entry.rules));
        let sets = self.sets.iter().map(|entry| (Target::Set(entry.fact.id), &entry.rules));
        in_order(models.chain(sets).flat_map(|(target, rules)| self.written(target, rules)))
    }

    fn written(&self, target: Target, rules: &Ruleset) -> Vec<(Target, Option<Member>, Vec<GrantId>)> {
        let ids = |first: u32| in_order(self.grants.chain(first).map(|rule| rule.id));
        let users = rules.for_user.iter().map(|(index, first)| (Node::User(*index), *first));
        let groups = rules.for_group.iter().map(|(index, first)| (Node::Group(*index), *first));
        let named = |(node, first): (Node, u32)| (target, self.member(node), ids(first));
        let mut all: Vec<_> = users.chain(groups).map(named).collect();
        all.push((target, None, ids(rules.for_everyone)));
        all
    }

    fn further_names(&self) -> Vec<Alias> {
        let of = |index: u32| self.models.at(index).map(|entry| entry.fact.id);
        let aliases = self.names.iter().filter(|(_, known)| known.alias);
        let named = aliases
            .filter_map(|(name, known)| Some(Alias { name: name.to_string(), model: of(known.model)? }));
        sorted(named, |alias| alias.name.clone())
    }

    /// Sets in sets first, as [`Self::memberships`]. Read from the items' side, which names them on their own.
    fn items(&self) -> Vec<(ModelSetId, Target)> {
        let nested = self.sets.iter().map(|entry| (Target::Set(entry.fact.id), &entry.up));
        let direct = self.models.iter().map(|entry| (Target::Model(entry.fact.id), &entry.up));
        let all = nested.chain(direct).flat_map(|(item, up)| up.iter().map(move |set| (set, item)));
        let known = all.filter_map(|(set, item)| Some((self.sets.at(*set)?.fact.id, item)));
        sorted(known, |(set, item)| (matches!(item, Target::Model(_)), *set, *item))
    }

    /// The items read from the sets' side.
    fn items_by_set(&self) -> Vec<(ModelSetId, Vec<Target>)> {
        in_order(self.sets.iter().map(|entry| {
            let models = entry.models.iter().copied().map(Place::Model);
            let places = models.chain(entry.sets.iter().copied().map(Place::Set));
            (entry.fact.id, in_order(places.filter_map(|place| self.target(place))))
        }))
    }

    fn ended(&self) -> Vec<Change> {
        let ends = sorted(&self.sessions, |(session, _)| **session);
        ends.into_iter()
            .map(|(session, end)| Change::EndSession { session: *session, at: end.at, until: end.until })
            .collect()
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
