//! What a provider says of itself: its discovery document and its keys.
//!
//! Both are kept for an hour. A token signed with a key that is not among them makes them be fetched again, once, so a
//! provider may rotate its keys whenever it likes.

use super::super::{Http, HttpError, ProviderError};
use openidconnect::{
    DiscoveryError, IssuerUrl,
    core::{CoreJwsSigningAlgorithm, CoreProviderMetadata},
};
use policy::Time;
use std::time::Duration;
use tokio::sync::Mutex;

/// How long the discovery document and the keys are kept.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// How long a provider that did not answer is left alone, so that those who wait for it do not pile up.
const REST: Duration = Duration::from_secs(2);

/// The documents of one provider.
#[derive(Debug)]
pub(super) struct Discovery {
    issuer: IssuerUrl,
    http: Http,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: Option<(CoreProviderMetadata, Time)>,
    failed_at: Option<Time>,
}

impl Discovery {
    pub(super) fn new(issuer: IssuerUrl, http: Http) -> Self {
        Self { issuer, http, state: Mutex::default() }
    }

    /// What is known of the provider, which is asked when that is nothing or too old.
    pub(super) async fn known(&self, now: Time) -> Result<CoreProviderMetadata, ProviderError> {
        // Held while asking: whoever comes meanwhile waits for the same answer.
        let mut state = self.state.lock().await;
        match &state.known {
            Some((metadata, at)) if now.since(*at) < KEPT => Ok(metadata.clone()),
            _ => self.renew(&mut state, now).await,
        }
    }

    /// What the provider says now.
    pub(super) async fn renewed(&self, now: Time) -> Result<CoreProviderMetadata, ProviderError> {
        let mut state = self.state.lock().await;
        self.renew(&mut state, now).await
    }

    async fn renew(&self, state: &mut State, now: Time) -> Result<CoreProviderMetadata, ProviderError> {
        if state.failed_at.is_some_and(|at| now.since(at) < REST) {
            return Err(HttpError::JustFailed.into());
        }
        let answer = self.ask().await;
        let away = matches!(answer, Err(ProviderError::Unavailable(_) | ProviderError::Failed(_)));
        state.failed_at = away.then_some(now);
        let metadata = answer?;
        state.known = Some((metadata.clone(), now));
        Ok(metadata)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };
    use tokio::{net::TcpListener, task::JoinSet};

    #[tokio::test]
    async fn a_provider_that_is_away_is_left_alone_for_a_moment() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = IssuerUrl::new(format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let (asked, mut server) = (Arc::new(AtomicU32::new(0)), JoinSet::new());
        let count = Arc::clone(&asked);
        server.spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let discovery = Discovery::new(issuer, Http::new(None, true).unwrap());
        let start = Time(1_000_000_000);
        for (after, expected) in [(0, 1), (1, 1), (3, 2)] {
            let now = start.plus(Duration::from_secs(after));
            let answer = discovery.known(now).await;
            assert!(matches!(answer, Err(ProviderError::Unavailable(_))), "{answer:?}");
            assert_eq!(asked.load(Ordering::Relaxed), expected, "{after} s later");
        }
    }
}
