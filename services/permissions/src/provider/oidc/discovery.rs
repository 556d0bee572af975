//! What a provider says of itself: its discovery document and its keys.
//!
//! Both are kept for an hour. A token signed with a key that is not among them makes them be fetched again, once, so a
//! provider may rotate its keys whenever it likes.

use super::super::{Http, ProviderError};
use openidconnect::{
    DiscoveryError, IssuerUrl,
    core::{CoreJwsSigningAlgorithm, CoreProviderMetadata},
};
use policy::Time;
use std::time::Duration;
use tokio::sync::Mutex;

/// How long the discovery document and the keys are kept.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// The documents of one provider.
#[derive(Debug)]
pub(super) struct Discovery {
    issuer: IssuerUrl,
    http: Http,
    known: Mutex<Option<(CoreProviderMetadata, Time)>>,
}

impl Discovery {
    pub(super) fn new(issuer: IssuerUrl, http: Http) -> Self {
        Self { issuer, http, known: Mutex::new(None) }
    }

    /// What is known of the provider, which is asked when that is nothing or too old.
    pub(super) async fn known(&self, now: Time) -> Result<CoreProviderMetadata, ProviderError> {
        // Held while asking: whoever comes meanwhile waits for the same answer.
        let mut known = self.known.lock().await;
        match &*known {
            Some((metadata, at)) if now.since(*at) < KEPT => Ok(metadata.clone()),
            _ => Ok(known.insert((self.ask().await?, now)).0.clone()),
        }
    }

    /// What the provider says now.
    pub(super) async fn renewed(&self, now: Time) -> Result<CoreProviderMetadata, ProviderError> {
        let mut known = self.known.lock().await;
        Ok(known.insert((self.ask().await?, now)).0.clone())
    }

    async fn ask(&self) -> Result<CoreProviderMetadata, ProviderError> {
        let found = CoreProviderMetadata::discover_async(self.issuer.clone(), &self.http).await;
        let metadata = found.map_err(|error| match error {
            DiscoveryError::Request(error) => error.into(),
            DiscoveryError::Response(status, _, _) if !status.is_success() => {
                ProviderError::Failed(status.as_u16())
            }
            DiscoveryError::Validation(_) => {
                ProviderError::Malformed("its discovery document is of another issuer")
            }
            _ => ProviderError::Malformed("its discovery document or keys are not the JSON expected"),
        })?;
        Ok(signed(metadata))
    }
}

/// Only signatures by a key of the provider count: one by the client secret could be made here just as well.
fn signed(metadata: CoreProviderMetadata) -> CoreProviderMetadata {
    use CoreJwsSigningAlgorithm::{HmacSha256, HmacSha384, HmacSha512, None as Unsigned};
    let shared = [HmacSha256, HmacSha384, HmacSha512, Unsigned];
    let offered = metadata.id_token_signing_alg_values_supported().iter();
    let asymmetric = offered.filter(|algorithm| !shared.contains(algorithm)).cloned().collect();
    metadata.set_id_token_signing_alg_values_supported(asymmetric)
}
