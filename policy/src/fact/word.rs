//! The words that facts are made of: one enum per field that allows only a few.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

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

words! {
    /// What an API key may be used for.
    Scope {
        /// Send requests to models.
        Inference = "inference",
        /// Read what the service manages.
        Read = "read",
        /// Change what the service manages.
        Write = "write",
    }
}
