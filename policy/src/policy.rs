//! The whole state in memory: every fact, and what the check needs worked out from them.
//!
//! Ids are interned to `u32` inside. Each user carries the groups it reaches with the instant until which it reaches
//! them; each model carries the sets it is in; models and sets carry their rules by grantee. [`Policy::apply`] keeps
//! all of it right, one change at a time.

mod apply;
mod bits;
mod canonical;
mod entry;
mod loader;
mod reach;
mod rules;
mod table;

use std::borrow::Borrow;

use ahash::AHashMap;

use crate::{
    fact::{Change, Grant, Grantee, Group, Key, Member, Model, ModelSet, SigningKey, Target, User},
    id::{GrantId, GroupId, KeyHash, KeyId, ModelId, ModelSetId, SessionId, UserId},
    time::Time,
};

pub use apply::ApplyError;
pub use canonical::Canonical;
pub(crate) use entry::{
    Edge, Ended, GroupEntry, KeyEntry, Links, ModelEntry, Name, Node, Place, SetEntry, UserEntry,
};
pub use loader::Loader;
pub(crate) use rules::{Rule, Ruleset};
pub(crate) use table::{Entry, Table};

/// The facts at one revision, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    pub(crate) users: Table<UserEntry>,
    pub(crate) groups: Table<GroupEntry>,
    pub(crate) models: Table<ModelEntry>,
    pub(crate) sets: Table<SetEntry>,
    pub(crate) keys: Table<KeyEntry>,
    pub(crate) grants: Table<Rule>,
    /// The grants to everyone.
    pub(crate) common: Vec<u32>,
    pub(crate) names: AHashMap<Box<str>, Name>,
    pub(crate) hashes: AHashMap<KeyHash, u32>,
    signing: AHashMap<Box<str>, SigningKey>,
    sessions: AHashMap<SessionId, Ended>,
    recomputed: u64,
}

impl Policy {
    /// A state without any fact.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The state that these facts make.
    ///
    /// # Errors
    /// When a fact refers to one that has not come before it; see [`Policy::apply`].
    pub fn from_facts<C: Borrow<Change>>(facts: impl IntoIterator<Item = C>) -> Result<Self, ApplyError> {
        let mut policy = Self::new();
        policy.apply_all(facts)?;
        Ok(policy)
    }

    /// How many facts with an id there are: what the memory that the state takes goes with.
    #[must_use]
    pub fn size(&self) -> usize {
        self.users.len()
            + self.groups.len()
            + self.models.len()
            + self.sets.len()
            + self.keys.len()
            + self.grants.len()
    }

    /// The user of this id.
    #[must_use]
    pub fn user(&self, id: UserId) -> Option<&User> {
        self.users.get(&id).map(|entry| &entry.fact)
    }

    /// The group of this id.
    #[must_use]
    pub fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(&id).map(|entry| &entry.fact)
    }

    /// The model of this id.
    #[must_use]
    pub fn model(&self, id: ModelId) -> Option<&Model> {
        self.models.get(&id).map(|entry| &entry.fact)
    }

    /// The model set of this id.
    #[must_use]
    pub fn model_set(&self, id: ModelSetId) -> Option<&ModelSet> {
        self.sets.get(&id).map(|entry| &entry.fact)
    }

    /// The grant of this id.
    #[must_use]
    pub fn grant(&self, id: GrantId) -> Option<Grant> {
        self.grants.get(&id).and_then(|rule| self.fact_of(rule))
    }

    /// The key of this id, whatever its condition.
    #[must_use]
    pub fn key(&self, id: KeyId) -> Option<&Key> {
        self.keys.get(&id).map(|entry| &entry.fact)
    }

    /// Every user, in no particular order.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.iter().map(|entry| &entry.fact)
    }

    /// Every model, in no particular order.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.models.iter().map(|entry| &entry.fact)
    }

    /// Every set of models, in no particular order.
    pub fn model_sets(&self) -> impl Iterator<Item = &ModelSet> {
        self.sets.iter().map(|entry| &entry.fact)
    }

    /// The further names of a model, in no particular order.
    pub fn aliases_of(&self, model: ModelId) -> impl Iterator<Item = &str> {
        self.models.get(&model).into_iter().flat_map(|entry| &entry.aliases).map(|name| &**name)
    }

    /// The key with this `kid`, unless its signatures count for nothing at `now`.
    #[must_use]
    pub fn signing_key(&self, kid: &str, now: Time) -> Option<&SigningKey> {
        self.signing.get(kid).filter(|key| key.until.is_none_or(|until| now < until))
    }

    /// Every key whose signatures count at `now`, in no particular order.
    pub fn signing_keys(&self, now: Time) -> impl Iterator<Item = &SigningKey> {
        self.signing.values().filter(move |key| key.until.is_none_or(|until| now < until))
    }

    /// Whether the tokens of a session are void at `now`; not told of tokens that have run out by themselves.
    #[must_use]
    pub fn session_ended(&self, session: SessionId, now: Time) -> bool {
        self.sessions.get(&session).is_some_and(|ended| now < ended.until)
    }

    /// The sets that count for a model, at any depth, in no particular order.
    pub fn sets_of(&self, model: ModelId) -> impl Iterator<Item = ModelSetId> {
        let within = self.models.get(&model).map_or(&[][..], |entry| &entry.within);
        within.iter().filter_map(|set| self.sets.at(*set)).map(|set| set.fact.id)
    }

    /// How often it was worked out where a user or a model belongs, since this state was new. A change that moves
    /// nobody must leave it as it is.
    #[must_use]
    pub const fn recomputed(&self) -> u64 {
        self.recomputed
    }

    /// The groups that count for a user at `now`, at any depth, in no particular order.
    pub fn groups_of(&self, user: UserId, now: Time) -> impl Iterator<Item = GroupId> {
        let reach = self.users.get(&user).map_or(&[][..], |entry| &entry.reach);
        let live = reach.iter().filter(move |edge| now.0 < edge.until);
        live.filter_map(|edge| self.groups.at(edge.group)).map(|group| group.fact.id)
    }

    /// A grant as it was put.
    pub(crate) fn fact_of(&self, rule: &Rule) -> Option<Grant> {
        let grantee = match rule.grantee {
            Some(Node::User(index)) => Grantee::User(self.users.at(index)?.fact.id),
            Some(Node::Group(index)) => Grantee::Group(self.groups.at(index)?.fact.id),
            None => Grantee::Everyone,
        };
        Some(Grant {
            id: rule.id,
            grantee,
            target: self.target(rule.place)?,
            action: rule.action,
            effect: rule.effect,
            starts_at: (rule.start != Time::ALWAYS).then_some(Time(rule.start)),
            expires_at: Time::known(rule.end),
        })
    }

    pub(crate) fn target(&self, place: Place) -> Option<Target> {
        match place {
            Place::Model(index) => self.models.at(index).map(|entry| Target::Model(entry.fact.id)),
            Place::Set(index) => self.sets.at(index).map(|entry| Target::Set(entry.fact.id)),
        }
    }

    pub(crate) fn member(&self, node: Node) -> Option<Member> {
        match node {
            Node::User(index) => self.users.at(index).map(|entry| Member::User(entry.fact.id)),
            Node::Group(index) => self.groups.at(index).map(|entry| Member::Group(entry.fact.id)),
        }
    }

    pub(crate) fn links(&self, member: Member) -> Option<&Links> {
        match member {
            Member::User(id) => self.users.get(&id).map(|entry| &*entry.links),
            Member::Group(id) => self.groups.get(&id).map(|entry| &entry.links),
        }
    }

    pub(crate) fn rules_on(&self, target: Target) -> Option<&Ruleset> {
        match target {
            Target::Model(id) => self.models.get(&id).map(|entry| &entry.rules),
            Target::Set(id) => self.sets.get(&id).map(|entry| &entry.rules),
        }
    }

    /// The sets that name this target as an item.
    pub(crate) fn sets_naming(&self, target: Target) -> &[u32] {
        let up = match target {
            Target::Model(id) => self.models.get(&id).map(|entry| &entry.up),
            Target::Set(id) => self.sets.get(&id).map(|entry| &entry.up),
        };
        up.map_or(&[], Vec::as_slice)
    }
}
