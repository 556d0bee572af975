//! Why a caller is turned away, and what they are told.

use super::{Role, Scope};
use crate::status::{self, Fault};
use std::time::Duration;
use tonic::{Code, Status};

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $reason:literal,)+) => {
        /// Why a credential was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
        pub enum Refusal { $($(#[$doc])* $name,)+ }

        impl Refusal {
            /// Every refusal.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The stable reason that a caller is told.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason),+ }
            }
        }
    };
}

refusals! {
    /// No credential came with the request.
    #[error("no credential: send `Authorization: Bearer <key or access token>` or `X-API-Key: <key>`")]
    Missing = "CREDENTIAL_MISSING",
    /// Nobody holds it.
    #[error("the API key is not valid")]
    Unknown = "KEY_UNKNOWN",
    /// It was revoked.
    #[error("the API key was revoked")]
    Revoked = "KEY_REVOKED",
    /// It is past its time.
    #[error("the API key has expired")]
    Expired = "KEY_EXPIRED",
    /// It is for other networks.
    #[error("the API key may not be used from this network address")]
    Network = "KEY_NETWORK",
    /// Its owner is switched off.
    #[error("the account of this credential is disabled")]
    OwnerDisabled = "ACCOUNT_DISABLED",
    /// Not signed by a key that counts, not for us, or no token at all.
    #[error("the access token is not valid; refresh the session, or sign in again")]
    Token = "TOKEN_INVALID",
    /// The token is past its time.
    #[error("the access token has expired; refresh the session")]
    TokenExpired = "TOKEN_EXPIRED",
    /// The token's session was ended.
    #[error("the session was ended; sign in again")]
    SessionEnded = "SESSION_ENDED",
    /// A service's token that is not ours.
    #[error("the service token is not valid; every service of an installation needs the same one")]
    ServiceToken = "SERVICE_TOKEN_WRONG",
    /// Nobody can say now.
    #[error("credentials cannot be verified at the moment")]
    Unavailable = "AUTHENTICATION_UNAVAILABLE",
}

impl Refusal {
    /// The refusal of this reason, as another service said it.
    #[must_use]
    pub fn of(reason: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|refusal| refusal.reason() == reason)
    }

    /// What a caller is told.
    #[must_use]
    pub const fn fault(self) -> Fault {
        match self {
            Self::Unavailable => Fault::retry(Code::Unavailable, self.reason(), Duration::from_secs(1)),
            _ => Fault::new(Code::Unauthenticated, self.reason()),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        status::status(refusal.fault(), refusal.to_string())
    }
}

/// Why a caller may not call this method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The credential does not count.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The access table does not name this office, or does not let services in.
    #[error("your role may not call this method; ask an owner or admin")]
    Role(Option<Role>),
    /// The credential is for other uses.
    #[error("the credential is not for this: it lacks the scope `{0}`; use one that has it")]
    Scope(Scope),
}

impl Denied {
    /// What a caller is told.
    #[must_use]
    pub const fn fault(self) -> Fault {
        match self {
            Self::Refused(refusal) => refusal.fault(),
            Self::Role(_) => Fault::new(Code::PermissionDenied, "ROLE_NOT_ALLOWED"),
            Self::Scope(_) => Fault::new(Code::PermissionDenied, "SCOPE_MISSING"),
        }
    }
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        status::status(denied.fault(), denied.to_string())
    }
}
