//! What is kept per fact: the fact itself, what was worked out for it, and who refers to it.

use ahash::AHashSet;

use super::{Entry, Ruleset};
use crate::{
    fact::{Group, Key, Model, ModelSet, User},
    id::{GroupId, KeyId, ModelId, ModelSetId, UserId},
    time::Time,
};

macro_rules! entries {
    ($($entry:ident by $id:ident),+) => {
        $(impl Entry for $entry {
            type Id = $id;

            #[inline]
            fn id(&self) -> $id {
                self.fact.id
            }
        })+
    };
}

entries!(
    UserEntry by UserId,
    GroupEntry by GroupId,
    ModelEntry by ModelId,
    SetEntry by ModelSetId,
    KeyEntry by KeyId
);

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

/// An interned [`crate::Target`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Model(u32),
    Set(u32),
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
    /// Its direct members.
    pub(crate) users: AHashSet<u32>,
    pub(crate) groups: AHashSet<u32>,
}

/// The facts that refer to a user or a group, and go when it goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Links {
    /// The groups it is a member of.
    pub(crate) up: Vec<Edge>,
    /// The grants to it.
    pub(crate) granted: Vec<u32>,
    pub(crate) owned: Vec<ModelId>,
    /// A group has none.
    pub(crate) keys: Vec<KeyId>,
}

#[derive(Debug, Clone)]
pub(crate) struct ModelEntry {
    pub(crate) fact: Model,
    pub(crate) owner: Option<Node>,
    pub(crate) rules: Ruleset,
    /// Every set the model is in, at any depth, sorted.
    pub(crate) within: Box<[u32]>,
    /// The sets that name it as an item.
    pub(crate) up: Vec<u32>,
    pub(crate) aliases: Vec<Box<str>>,
}

#[derive(Debug, Clone)]
pub(crate) struct SetEntry {
    pub(crate) fact: ModelSet,
    pub(crate) rules: Ruleset,
    /// The sets that name it as an item.
    pub(crate) up: Vec<u32>,
    /// Its own items.
    pub(crate) models: AHashSet<u32>,
    pub(crate) sets: AHashSet<u32>,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name {
    pub(crate) model: u32,
    /// Whether it is a further name, not the model's own.
    pub(crate) alias: bool,
}

/// When a session was ended, and from when on that may be forgotten.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) at: Time,
    pub(crate) until: Time,
}

#[derive(Debug, Clone)]
pub(crate) struct KeyEntry {
    pub(crate) fact: Key,
    pub(crate) owner: u32,
}
