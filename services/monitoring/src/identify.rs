//! Who holds a credential, asked of permissions: this service keeps no replica of the policy.
//!
//! Every call asks. Nothing is cached or shared between calls, because a revoked key must stop at once, and the calls
//! that people make here are few: those of services prove themselves with a token and are not asked about.

use proto::permissions::v1::{
    IdentifyRequest, IdentifyResponse, authorization_service_client::AuthorizationServiceClient,
    identify_request::Credential as Wire,
};
use shared::{
    auth::{Credential, Person, Refusal, Verify, role_from_number, scope_from_number},
    channel::Channel,
    status,
};
use std::{net::IpAddr, str::FromStr, time::Duration};
use tonic::{Code, Request, Status};

/// How long permissions may take to say who holds a key.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks permissions who holds a key.
#[derive(Debug, Clone)]
pub struct AskPermissions {
    permissions: AuthorizationServiceClient<Channel>,
}

impl AskPermissions {
    /// Asks over `permissions`, a channel that already carries this service's token.
    #[must_use]
    pub fn new(permissions: Channel) -> Self {
        Self { permissions: AuthorizationServiceClient::new(permissions) }
    }
}

impl Verify for AskPermissions {
    async fn verify(&self, credential: Credential<'_>, peer: Option<IpAddr>) -> Result<Person, Refusal> {
        let mut permissions = self.permissions.clone();
        let mut question = Request::new(IdentifyRequest {
            credential: Some(match credential {
                Credential::Key(hash) => Wire::KeyHash(hash.as_bytes().to_vec().into()),
                Credential::Token(token) => Wire::AccessToken(token.to_owned()),
            }),
            peer_address: peer.map(|peer| peer.to_string()).unwrap_or_default(),
        });
        question.set_timeout(PATIENCE);
        match tokio::time::timeout(PATIENCE, permissions.identify(question)).await {
            Ok(Ok(answer)) => person(&answer.into_inner()).ok_or_else(|| {
                tracing::warn!("permissions named a person whom this version cannot read");
                Refusal::Unavailable
            }),
            Ok(Err(status)) => Err(refusal(&status)),
            Err(_) => {
                tracing::warn!("permissions did not say in time who holds a credential");
                Err(Refusal::Unavailable)
            }
        }
    }
}

fn person(answer: &IdentifyResponse) -> Option<Person> {
    let scopes: Vec<_> = answer.scopes.iter().filter_map(|scope| scope_from_number(*scope)).collect();
    // A person without any scope that is known here would be one with all of them.
    let scopes = Some(scopes).filter(|scopes| !scopes.is_empty())?.into_iter().collect();
    let (key, session) = (optional(&answer.key_id)?, optional(&answer.session_id)?);
    let (user, role) = (answer.user_id.parse().ok()?, role_from_number(answer.role)?);
    (key.is_some() || session.is_some()).then_some(Person { user, key, session, role, scopes })
}

/// An id that may be left out; `None` for what is no id.
fn optional<T: FromStr>(id: &str) -> Option<Option<T>> {
    if id.is_empty() { Some(None) } else { id.parse().ok().map(Some) }
}

/// Only what permissions says of the credential itself refuses it for good; all else is our trouble, not the caller's.
fn refusal(status: &Status) -> Refusal {
    let reason = status::reason(status);
    // That we lack a credential, or the right one, is said of this service's own.
    let ours = |refusal: &Refusal| matches!(refusal, Refusal::Missing | Refusal::ServiceToken);
    match Refusal::of(&reason).filter(|refusal| !ours(refusal)) {
        Some(refusal) if status.code() == Code::Unauthenticated => refusal,
        _ => {
            tracing::warn!(code = %status.code(), reason, "permissions could not say who holds a credential");
            Refusal::Unavailable
        }
    }
}
