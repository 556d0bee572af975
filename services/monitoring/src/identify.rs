//! Who holds a key, asked of permissions: this service keeps no replica of the policy.
//!
//! Every call asks. Nothing is cached or shared between calls, because a revoked key must stop at once, and the calls
//! that people make here are few: those of services prove themselves with a token and are not asked about.

use policy::KeyHash;
use proto::permissions::v1::{
    IdentifyKeyRequest, IdentifyKeyResponse, authorization_service_client::AuthorizationServiceClient,
};
use shared::{
    auth::{Person, Refusal, Verify, role_from_number},
    channel::Channel,
    status,
};
use std::time::Duration;
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
    async fn verify(&self, hash: KeyHash) -> Result<Person, Refusal> {
        let mut permissions = self.permissions.clone();
        let mut question = Request::new(IdentifyKeyRequest { key_hash: hash.as_bytes().to_vec().into() });
        question.set_timeout(PATIENCE);
        let answer = tokio::time::timeout(PATIENCE, permissions.identify_key(question)).await;
        match answer {
            Ok(Ok(answer)) => person(&answer.into_inner()).ok_or_else(|| {
                tracing::warn!("permissions named a person whom this version cannot read");
                Refusal::Unavailable
            }),
            Ok(Err(status)) => Err(refusal(&status)),
            Err(_) => {
                tracing::warn!("permissions did not say in time who holds a key");
                Err(Refusal::Unavailable)
            }
        }
    }
}

fn person(answer: &IdentifyKeyResponse) -> Option<Person> {
    Some(Person {
        user: answer.user_id.parse().ok()?,
        key: Some(answer.key_id.parse().ok()?),
        role: role_from_number(answer.role)?,
    })
}

/// Only what permissions says of the key itself refuses it for good; all else is our trouble, not the caller's.
fn refusal(status: &Status) -> Refusal {
    let reason = status::reason(status);
    match (status.code(), reason.as_str()) {
        (Code::Unauthenticated, "KEY_UNKNOWN") => Refusal::Unknown,
        (Code::Unauthenticated, "KEY_REVOKED") => Refusal::Revoked,
        (Code::Unauthenticated, "KEY_EXPIRED") => Refusal::Expired,
        (Code::Unauthenticated, "ACCOUNT_DISABLED") => Refusal::OwnerDisabled,
        (code, _) => {
            tracing::warn!(%code, reason, "permissions could not say who holds a key");
            Refusal::Unavailable
        }
    }
}
