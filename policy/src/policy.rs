//! The whole state in memory: every fact, and what the check needs worked out from them.
//!
//! Ids are interned to `u32` inside. Each user carries the groups it reaches with the instant until which it reaches
//! them; each model carries its rules by grantee. [`Policy::apply`] keeps both right, one change at a time.

mod apply;
mod canonical;
mod reach;
mod rules;
mod table;

use ahash::AHashMap;
use ahash::AHashSet;

use crate::{
    fact::{Change, Grant, Group, Key, Model, User},
    id::{GrantId, GroupId, KeyHash, KeyId, ModelId, UserId},
    time::Time,
};

pub use apply::ApplyError;
pub use canonical::Canonical;
pub(crate) use rules::{Rule, Rules};
use table::Table;

/// The facts at one revision, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    pub(crate) users: Table<UserId, UserEntry>,
    pub(crate) groups: Table<GroupId, GroupEntry>,
    pub(crate) models: Table<ModelId, ModelEntry>,
    pub(crate) keys: AHashMap<KeyHash, KeyEntry>,
    pub(crate) grants: AHashMap<GrantId, Grant>,
    pub(crate) names: AHashMap<Box<str>, u32>,
    pub(crate) hashes: AHashMap<KeyId, KeyHash>,
}

/// A way into a group that holds before `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) group: u32,
    pub(crate) until: i64,
}

/// An interned [`crate::Member`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    User(u32),
    Group(u32),
}

/// What a check reads, kept within one cache line; the rest is behind a box.
#[derive(Debug, Clone)]
pub(crate) struct UserEntry {
    pub(crate) fact: User,
    /// Every group the user is in, at any depth, sorted by group.
    pub(crate) reach: Box<[Edge]>,
    pub(crate) links: Box<Links>,
}

#[derive(Debug, Clone)]
pub(crate) struct GroupEntry {
    pub(crate) fact: Group,
    pub(crate) links: Links,
    users: AHashSet<u32>,
    groups: AHashSet<u32>,
}

/// The facts that refer to a user or a group, and go when it goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Links {
    /// The groups it is a member of.
    pub(crate) up: Vec<Edge>,
    granted: Vec<GrantId>,
    owned: Vec<ModelId>,
    /// A group has none.
    keys: Vec<KeyId>,
}

#[derive(Debug, Clone)]
pub(crate) struct ModelEntry {
    pub(crate) fact: Model,
    pub(crate) owner: Option<Node>,
    pub(crate) for_user: AHashMap<u32, Rules>,
    pub(crate) for_group: AHashMap<u32, Rules>,
    pub(crate) for_everyone: Vec<Rule>,
}

#[derive(Debug, Clone)]
pub(crate) struct KeyEntry {
    pub(crate) fact: Key,
    pub(crate) owner: u32,
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
    pub fn from_facts<'a>(facts: impl IntoIterator<Item = &'a Change>) -> Result<Self, ApplyError> {
        let mut policy = Self::new();
        policy.apply_all(facts)?;
        Ok(policy)
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

    /// The grant of this id.
    #[must_use]
    pub fn grant(&self, id: GrantId) -> Option<&Grant> {
        self.grants.get(&id)
    }

    /// The key of this id, whatever its condition.
    #[must_use]
    pub fn key(&self, id: KeyId) -> Option<&Key> {
        self.hashes.get(&id).and_then(|hash| self.keys.get(hash)).map(|entry| &entry.fact)
    }

    /// Every user, in no particular order.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.iter().map(|entry| &entry.fact)
    }

    /// Every model, in no particular order.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.models.iter().map(|entry| &entry.fact)
    }

    /// The groups that count for a user at `now`, at any depth, in no particular order.
    pub fn groups_of(&self, user: UserId, now: Time) -> impl Iterator<Item = GroupId> {
        let reach = self.users.get(&user).map_or(&[][..], |entry| &entry.reach);
        let live = reach.iter().filter(move |edge| now.0 < edge.until);
        live.filter_map(|edge| self.groups.at(edge.group)).map(|group| group.fact.id)
    }
}
