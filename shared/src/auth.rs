//! Authentication: who calls, and may they call this method at all. Default deny.
//!
//! The layer stands before every service, in sockets and in-process channels alike. It reads the credential,
//! asks a [`Verify`] who that is, and holds the answer against the contract's access table. What a caller may do
//! to a single object is decided by the method, from the [`Caller`] that this layer leaves behind.

use crate::status::{self, Fault};
use http::{HeaderMap, Request, Response, header};
use policy::{KeyHash, KeyId, Role, UserId};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
};
use subtle::ConstantTimeEq;
use tonic::{Code, Status};
use tower::{Layer, Service};

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
    /// In what office.
    pub role: Role,
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

/// Why a credential was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No credential came with the request.
    #[error("no credential: send `Authorization: Bearer <key>` or `X-API-Key: <key>`")]
    Missing,
    /// Nobody holds it.
    #[error("the API key is not valid")]
    Unknown,
    /// It was revoked.
    #[error("the API key was revoked")]
    Revoked,
    /// It is past its time.
    #[error("the API key has expired")]
    Expired,
    /// Its owner is switched off.
    #[error("the account of this API key is disabled")]
    OwnerDisabled,
    /// A service's token that is not ours.
    #[error("the service token is not valid; every service of an installation needs the same one")]
    ServiceToken,
    /// Nobody can say now.
    #[error("credentials cannot be verified at the moment")]
    Unavailable,
}

impl Refusal {
    /// What a caller is told.
    #[must_use]
    pub const fn fault(self) -> Fault {
        let reason = match self {
            Self::Missing => "CREDENTIAL_MISSING",
            Self::Unknown => "KEY_UNKNOWN",
            Self::Revoked => "KEY_REVOKED",
            Self::Expired => "KEY_EXPIRED",
            Self::OwnerDisabled => "ACCOUNT_DISABLED",
            Self::ServiceToken => "SERVICE_TOKEN_WRONG",
            Self::Unavailable => {
                let after = std::time::Duration::from_secs(1);
                return Fault::retry(Code::Unavailable, "AUTHENTICATION_UNAVAILABLE", after);
            }
        };
        Fault::new(Code::Unauthenticated, reason)
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        status::status(refusal.fault(), refusal.to_string())
    }
}

/// Knows who holds a credential: from a replica in memory, or by asking permissions.
pub trait Verify: Clone + Send + Sync + 'static {
    /// The person who holds the secret with this hash.
    fn verify(&self, hash: KeyHash) -> impl Future<Output = Result<Person, Refusal>> + Send;
}

/// The SHA-256 of a secret. Secrets have 256 random bits, so no slow hash is needed.
#[must_use]
pub fn hash(secret: &str) -> KeyHash {
    KeyHash::new(Sha256::digest(secret).into())
}

/// Prefix of service tokens.
pub const SERVICE_PREFIX: &str = "tgs_";

/// What services prove themselves with to each other.
#[derive(Clone)]
pub struct ServiceToken([u8; 32]);

impl std::fmt::Debug for ServiceToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ServiceToken")
    }
}

impl ServiceToken {
    /// Keeps the hash of the token.
    #[must_use]
    pub fn new(token: &SecretString) -> Self {
        Self(Sha256::digest(token.expose_secret()).into())
    }

    fn matches(&self, presented: &str) -> bool {
        let hash: [u8; 32] = Sha256::digest(presented).into();
        self.0.ct_eq(&hash).into()
    }
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

/// What the layer holds a caller against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The contract's table, by method. What is not in it is refused.
    Methods,
    /// Any person; for HTTP routes that decide by model.
    Persons,
}

/// Puts authentication before a service. `refuse` turns a status into that service's kind of answer.
#[derive(Debug, Clone)]
pub struct AuthLayer<V, F> {
    verify: V,
    service_token: Option<Arc<ServiceToken>>,
    access: Access,
    refuse: F,
}

impl<V, F> AuthLayer<V, F> {
    /// A layer that asks `verify`, accepts `service_token` from services, and refuses by `refuse`.
    pub fn new(verify: V, service_token: Option<ServiceToken>, access: Access, refuse: F) -> Self {
        Self { verify, service_token: service_token.map(Arc::new), access, refuse }
    }

    /// How a refusal is said to this service's callers.
    pub const fn refuse(&self) -> &F {
        &self.refuse
    }
}

impl<S, V: Clone, F: Clone> Layer<S> for AuthLayer<V, F> {
    type Service = Auth<S, V, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Auth { inner, layer: self.clone() }
    }
}

/// The service that [`AuthLayer`] makes.
#[derive(Debug, Clone)]
pub struct Auth<S, V, F> {
    inner: S,
    layer: AuthLayer<V, F>,
}

impl<S, V, F, B, R> Service<Request<B>> for Auth<S, V, F>
where
    V: Verify,
    F: Fn(Status) -> Response<R> + Clone + Send + Sync + 'static,
    B: Send + 'static,
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = futures_util::future::BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let spare = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, spare);
        let layer = self.layer.clone();
        Box::pin(async move {
            let caller = match layer.identify(request.headers()).await {
                Ok(caller) => caller,
                Err(refusal) => return Ok((layer.refuse)(refusal.into())),
            };
            if let Err(status) = layer.admit(&caller, request.uri().path()) {
                return Ok((layer.refuse)(status));
            }
            request.extensions_mut().insert(caller);
            inner.call(request).await
        })
    }
}

impl<V: Verify, F> AuthLayer<V, F> {
    async fn identify(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let secret = credential(headers).ok_or(Refusal::Missing)?;
        if secret.starts_with(SERVICE_PREFIX) {
            let known = self.service_token.as_ref().is_some_and(|token| token.matches(secret));
            return known.then_some(Caller::Service).ok_or(Refusal::ServiceToken);
        }
        self.verify.verify(hash(secret)).await.map(Caller::Person)
    }

    fn admit(&self, caller: &Caller, path: &str) -> Result<(), Status> {
        let may = match (self.access, caller) {
            (Access::Persons, Caller::Person(_)) => true,
            (Access::Persons, Caller::Service) => false,
            (Access::Methods, Caller::Service) => row(path).is_some_and(|row| row.service),
            (Access::Methods, Caller::Person(person)) => {
                row(path).is_some_and(|row| row.roles.contains(&role_number(person.role)))
            }
        };
        may.then_some(()).ok_or_else(|| {
            status::status(
                Fault::new(Code::PermissionDenied, "ROLE_NOT_ALLOWED"),
                "your role may not call this method; ask an owner or admin",
            )
        })
    }
}

fn row(path: &str) -> Option<&'static proto::Row> {
    static ROWS: LazyLock<HashMap<&'static str, &'static proto::Row>> =
        LazyLock::new(|| proto::ACCESS.iter().map(|row| (row.path, row)).collect());
    ROWS.get(path).copied()
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

/// Reads the caller that the layer left with a request.
pub trait RequestExt {
    /// The caller.
    ///
    /// # Errors
    /// UNAUTHENTICATED when no authentication stood before this service.
    fn caller(&self) -> Result<Caller, Status>;
}

impl<T> RequestExt for tonic::Request<T> {
    fn caller(&self) -> Result<Caller, Status> {
        self.extensions().get::<Caller>().cloned().ok_or_else(|| Refusal::Missing.into())
    }
}
