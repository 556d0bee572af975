//! Authentication: who calls, and may they call this method at all. Default deny.
//!
//! The [`layer`] stands before every service, in sockets and in-process channels alike. It reads the credential, asks
//! a [`Verify`] who that is, and holds the answer against the contract's access table. What a caller may do to a
//! single object is decided by the method, from the [`Caller`] that the layer leaves behind.

pub mod layer;
mod presence;
mod refusal;
pub mod replica;
pub mod secret;
pub mod token;

pub use layer::{Access, AuthLayer};
pub use refusal::{Denied, Refusal};
pub use replica::{Known, Tokens};
pub use secret::{SERVICE_PREFIX, ServiceToken, hash, validate_token};

use http::{HeaderMap, header};
use policy::{KeyHash, KeyId, Role, Scope, Scopes, SessionId, UserId};
use std::net::IpAddr;
use tonic::Status;

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A person or machine account.
    Person(Person),
    /// Another Tollgate service.
    Service,
}

/// A person, as a verified credential says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub user: UserId,
    /// With which key, when it was one.
    pub key: Option<KeyId>,
    /// In which session, when it was an access token.
    pub session: Option<SessionId>,
    /// In what office, as it is now.
    pub role: Role,
    /// What the credential may be used for.
    pub scopes: Scopes,
}

impl Caller {
    /// The person, when it is one.
    #[must_use]
    pub fn person(&self) -> Option<&Person> {
        match self {
            Self::Person(person) => Some(person),
            Self::Service => None,
        }
    }

    /// Whether the caller holds one of these offices.
    #[must_use]
    pub fn has_role(&self, roles: &[Role]) -> bool {
        self.person().is_some_and(|person| roles.contains(&person.role))
    }
}

/// What a person shows.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// The digest of an API key's secret.
    Key(KeyHash),
    /// An access token.
    Token(&'a str),
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Key(_) => "Key",
            Self::Token(_) => "Token",
        })
    }
}

impl<'a> Credential<'a> {
    /// What this text is, by its shape.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        if token::is_token(text) { Self::Token(text) } else { Self::Key(hash(text)) }
    }
}

/// Knows who holds a credential: from a replica in memory, or by asking permissions.
pub trait Verify: Clone + Send + Sync + 'static {
    /// The person who holds what was shown from `peer`.
    fn verify(
        &self,
        credential: Credential<'_>,
        peer: Option<IpAddr>,
    ) -> impl Future<Output = Result<Person, Refusal>> + Send;
}

/// The credential of a request: the bearer token, or `X-API-Key`.
#[must_use]
pub fn credential(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    bearer.or_else(|| headers.get("x-api-key")?.to_str().ok()).filter(|token| !token.is_empty())
}

/// A role as the contract numbers it.
#[must_use]
pub fn role_number(role: Role) -> i32 {
    use proto::common::v1::Role as Wire;
    (match role {
        Role::Owner => Wire::Owner,
        Role::Admin => Wire::Admin,
        Role::Operator => Wire::Operator,
        Role::Auditor => Wire::Auditor,
        Role::Developer => Wire::Developer,
        Role::Member => Wire::Member,
    }) as i32
}

/// A role of the contract, or `None` for 0 and unknown numbers.
#[must_use]
pub fn role_from_number(number: i32) -> Option<Role> {
    Role::ALL.iter().copied().find(|role| role_number(*role) == number)
}

/// A scope as the contract numbers it.
#[must_use]
pub fn scope_number(scope: Scope) -> i32 {
    use proto::common::v1::Scope as Wire;
    (match scope {
        Scope::Inference => Wire::Inference,
        Scope::Read => Wire::Read,
        Scope::Write => Wire::Write,
    }) as i32
}

/// A scope of the contract, or `None` for 0 and unknown numbers.
#[must_use]
pub fn scope_from_number(number: i32) -> Option<Scope> {
    Scope::ALL.iter().copied().find(|scope| scope_number(*scope) == number)
}

/// Reads the caller that the layer left with a request.
pub trait RequestExt {
    /// The caller.
    ///
    /// # Errors
    /// UNAUTHENTICATED when there is none: the method is public, or no authentication stood before this service.
    fn caller(&self) -> Result<Caller, Status>;
}

impl<T> RequestExt for tonic::Request<T> {
    fn caller(&self) -> Result<Caller, Status> {
        self.extensions().get::<Caller>().cloned().ok_or_else(|| Refusal::Missing.into())
    }
}

#[cfg(test)]
mod tests;
