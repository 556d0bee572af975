//! What the engine is told: the facts about users, groups, models, grants and keys, and the changes to them.
//!
//! A [`Change`] is the payload of a stored event, so the names here are as stable as a table's columns: add, never
//! rename. A put replaces the whole fact of that id.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    id::{GrantId, GroupId, KeyHash, KeyId, ModelId, UserId},
    time::Time,
};

/// A text that is none of the words a field allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {}", .allowed.join(", "))]
pub struct UnknownWord {
    /// The words the field allows.
    pub allowed: &'static [&'static str],
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The stored word for this value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { allowed: &[$($word),+] }),
                }
            }
        }
    };
}

words! {
    /// What a user may administer; no role lets anyone use a model.
    Role {
        /// Holds the installation; there is always at least one.
        Owner = "owner",
        /// Administers users, groups, models and grants.
        Admin = "admin",
        /// Runs engines, limits and scaling.
        Operator = "operator",
        /// Reads everything, changes nothing.
        Auditor = "auditor",
        /// Holds keys and calls models it was granted.
        Developer = "developer",
        /// Calls models it was granted.
        Member = "member",
    }
}

words! {
    /// Whether a model takes requests.
    ModelState {
        /// In service.
        Active = "active",
        /// In service, and announced to go.
        Deprecated = "deprecated",
        /// Out of service: every check on it is denied.
        Disabled = "disabled",
    }
}

words! {
    /// What is asked of a model.
    Action {
        /// Send it requests.
        Use = "use",
        /// Change it and its grants; implies use.
        Manage = "manage",
    }
}

words! {
    /// Which way a grant decides.
    Effect {
        /// The action is allowed, unless a deny says otherwise.
        Allow = "allow",
        /// The action is denied, whatever else allows it.
        Deny = "deny",
    }
}

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

/// One allow or deny of one action on one model, in force in `[starts_at, expires_at)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The grant's id.
    pub id: GrantId,
    /// Whom it is for.
    pub grantee: Grantee,
    /// The model it is on.
    pub model: ModelId,
    /// What it is about.
    pub action: Action,
    /// Which way it decides.
    pub effect: Effect,
    /// The instant from which it is in force; none means it always was.
    pub starts_at: Option<Time>,
    /// The instant from which it is no longer in force; none means never.
    pub expires_at: Option<Time>,
}

/// An API key: it acts as its owner, on no more models than it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The key's id.
    pub id: KeyId,
    /// The digest of its secret.
    pub hash: KeyHash,
    /// The user it acts as.
    pub owner: UserId,
    /// The only models it may be used for; none means whatever its owner may use. Ids of models that are gone may
    /// stay in the list: dropping them could empty it, and an empty list must keep meaning "no model".
    pub models: Option<Vec<ModelId>>,
    /// The instant from which it is refused.
    pub expires_at: Option<Time>,
    /// A disabled key is refused.
    pub disabled: bool,
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
    /// A model is gone, with its grants.
    RemoveModel(ModelId),
    /// A grant is new or different.
    PutGrant(Grant),
    /// A grant is revoked.
    RemoveGrant(GrantId),
    /// A key is new or different.
    PutKey(Key),
    /// A key is gone.
    RemoveKey(KeyId),
}
