//! What the engine is told: the facts about users, groups, models, sets, grants and keys, and the changes to them.
//!
//! A [`Change`] is the payload of a stored event, so the names here are as stable as a table's columns: add, never
//! rename. A put replaces the whole fact of that id.

mod key;
mod word;

use serde::{Deserialize, Serialize};

use crate::{
    id::{GrantId, GroupId, KeyId, ModelId, ModelSetId, SessionId, UserId},
    time::Time,
};

pub use key::{Key, OldSecret, Scopes, SigningKey};
pub use word::{Action, Effect, ModelState, Role, Scope, UnknownWord};

/// A person or a service account. Names and e-mail addresses live apart, so that they can be erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user's id.
    pub id: UserId,
    /// What the user may administer.
    pub role: Role,
    /// A disabled user is denied everything.
    pub disabled: bool,
}

/// A set of users and further groups. Its name lives apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The group's id.
    pub id: GroupId,
    /// A disabled group counts for nothing, neither itself nor as a way to further groups.
    pub disabled: bool,
}

/// What can be in a group or own a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    /// One user.
    User(UserId),
    /// Everyone in a group.
    Group(GroupId),
}

/// One member of one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The group that has the member.
    pub group: GroupId,
    /// The member.
    pub member: Member,
    /// The instant from which the membership counts for nothing.
    pub expires_at: Option<Time>,
}

/// A model that requests name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// The model's id.
    pub id: ModelId,
    /// The name in requests; unique, case-sensitive.
    pub name: String,
    /// Who manages it without a grant.
    pub owner: Option<Member>,
    /// Whether it takes requests.
    pub state: ModelState,
}

/// Whom a grant is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grantee {
    /// One user.
    User(UserId),
    /// Everyone in a group, at any depth.
    Group(GroupId),
    /// Every known user.
    Everyone,
}

/// A set of models and further sets. Its name lives apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSet {
    /// The set's id.
    pub id: ModelSetId,
    /// A disabled set counts for nothing, neither itself nor as a way to further models.
    pub disabled: bool,
}

/// What a grant can be on, and what can be in a set: written as the plain id of a model, or as `{"set": id}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum Target {
    /// One model.
    Model(ModelId),
    /// Every model in a set, at any depth.
    Set(ModelSetId),
}

impl Target {
    /// The model, when it is one.
    #[must_use]
    pub const fn model(self) -> Option<ModelId> {
        match self {
            Self::Model(id) => Some(id),
            Self::Set(_) => None,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Model(ModelId),
    Set { set: ModelSetId },
}

impl From<Written> for Target {
    fn from(written: Written) -> Self {
        match written {
            Written::Model(id) => Self::Model(id),
            Written::Set { set } => Self::Set(set),
        }
    }
}

impl From<Target> for Written {
    fn from(target: Target) -> Self {
        match target {
            Target::Model(id) => Self::Model(id),
            Target::Set(set) => Self::Set { set },
        }
    }
}

/// A further name of a model, from the same name space as the models' own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The name; unique, case-sensitive.
    pub name: String,
    /// The model it stands for.
    pub model: ModelId,
}

/// One allow or deny of one action on one model or set, in force in `[starts_at, expires_at)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The grant's id.
    pub id: GrantId,
    /// Whom it is for.
    pub grantee: Grantee,
    /// What it is on; a set stands for every model in it.
    #[serde(rename = "model")]
    pub target: Target,
    /// What it is about.
    pub action: Action,
    /// Which way it decides.
    pub effect: Effect,
    /// The instant from which it is in force; none means it always was.
    pub starts_at: Option<Time>,
    /// The instant from which it is no longer in force; none means never.
    pub expires_at: Option<Time>,
}

/// One step from one state of the facts to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A user is new or different.
    PutUser(User),
    /// A user is gone, with its memberships, grants and keys; models it owned have no owner.
    RemoveUser(UserId),
    /// A group is new or different.
    PutGroup(Group),
    /// A group is gone, with its memberships and grants; models it owned have no owner.
    RemoveGroup(GroupId),
    /// A member is new in a group, or its expiry is different.
    PutMembership(Membership),
    /// A member is no longer in a group.
    RemoveMembership {
        /// The group that had the member.
        group: GroupId,
        /// The member.
        member: Member,
    },
    /// A model is new or different.
    PutModel(Model),
    /// A model is gone, with its grants and aliases, and from the sets it was in.
    RemoveModel(ModelId),
    /// A grant is new or different.
    PutGrant(Grant),
    /// A grant is revoked.
    RemoveGrant(GrantId),
    /// A key is new or different.
    PutKey(Key),
    /// A key is gone.
    RemoveKey(KeyId),
    /// A set of models is new or different.
    PutModelSet(ModelSet),
    /// A set is gone, with its grants, and from the sets it was in; what was in it stays.
    RemoveModelSet(ModelSetId),
    /// A model or a set is in a set.
    PutSetItem {
        /// The set that has the item.
        set: ModelSetId,
        /// The item.
        item: Target,
    },
    /// A model or a set is no longer in a set.
    RemoveSetItem {
        /// The set that had the item.
        set: ModelSetId,
        /// The item.
        item: Target,
    },
    /// A model has a further name, or the name stands for another model.
    PutAlias(Alias),
    /// A further name of a model is gone.
    RemoveAlias(String),
    /// A key that signs tokens is new or different.
    PutSigningKey(SigningKey),
    /// The signing key of this `kid` is gone.
    RemoveSigningKey(String),
    /// The tokens of a session are void.
    EndSession {
        /// The session.
        session: SessionId,
        /// When it was ended. Whatever may be forgotten by then, is.
        at: Time,
        /// The instant from which none of its tokens would be good anyway, so that its end may be forgotten.
        until: Time,
    },
}
