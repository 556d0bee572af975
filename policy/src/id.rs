//! Names of things: one newtype per kind, so a user's id can never stand where a group's is meant.
//!
//! Also the two marks of the change log ([`Revision`], [`Epoch`]) and the only form in which a key's secret is ever
//! held, [`KeyHash`].

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that should have been an id and is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {kind} id must be a UUID, like 01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct InvalidId {
    /// What the id was meant to name.
    pub kind: &'static str,
}

macro_rules! id {
    ($name:ident, $kind:literal) => {
        #[doc = concat!("The id of one ", $kind, ".")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The id as a plain UUID, for storage and the wire.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId { kind: $kind })
            }
        }
    };
}

id!(UserId, "user");
id!(GroupId, "group");
id!(ModelId, "model");
id!(ModelSetId, "model set");
id!(GrantId, "grant");
id!(KeyId, "key");
id!(SessionId, "session");
id!(Epoch, "epoch");

/// The number of one committed transaction; consecutive within an [`Epoch`], starting after zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision as a plain number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The revision that must follow this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The SHA-256 of a key's secret; written as hex in events, shown in logs only by its first four digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyHash(#[serde(with = "crate::hex")] [u8; 32]);

impl KeyHash {
    /// Wraps a digest computed elsewhere.
    #[must_use]
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest, for storage.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}
