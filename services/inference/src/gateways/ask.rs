//! Asks the gateways that are doubtful whether they are still there: those whose report is too old, and all of them
//! while permissions is away.

use super::{ASK, Gateways, claims::Reach, word};
use futures_util::future::join_all;
use proto::inference::v1::{IdentifyRequest, IdentifyResponse, gateway_service_client::GatewayServiceClient};
use std::{error::Error as _, io};
use tonic::Status;
use uuid::Uuid;

impl Gateways {
    /// Asks whoever is doubtful now.
    pub(super) async fn ask_all(&self) {
        let doubtful = self.state().claims.to_ask(self.now());
        let question = self.identity();
        let asked = doubtful.into_iter().map(|(id, address)| {
            let question = IdentifyRequest {
                replica_id: question.replica_id.clone(),
                gateway: question.gateway.clone(),
                informed: question.informed,
            };
            async move { (id, self.ask(id, &address, question).await) }
        });
        let reached = join_all(asked).await;
        if reached.is_empty() {
            return;
        }
        let mut state = self.state();
        for (id, reach) in reached {
            state.claims.reached(id, reach, self.now());
        }
        self.apply(&mut state);
    }

    /// Who this is, to another that asks.
    #[must_use]
    pub fn identify(&self, asker: &IdentifyRequest) -> IdentifyResponse {
        if let (Ok(id), Some(said)) = (asker.replica_id.parse(), &asker.gateway) {
            let mut state = self.state();
            state.claims.asked_by(id, word::from_proto(said), asker.informed);
            self.apply(&mut state);
        }
        self.identity()
    }

    fn identity(&self) -> IdentifyResponse {
        let (state, now) = (self.state(), self.now());
        IdentifyResponse {
            replica_id: self.id().to_string(),
            gateway: Some(word::to_proto(&state.claims.word(now), &self.held())),
            informed: !state.claims.is_stale(now),
        }
    }

    async fn ask(&self, id: Uuid, address: &str, question: IdentifyRequest) -> Reach {
        let Some(channel) = self.channel(address) else { return Reach::Silent };
        let mut client = GatewayServiceClient::new(channel);
        match tokio::time::timeout(ASK, client.identify(question)).await {
            Ok(Ok(answer)) => heard(id, &answer.into_inner()),
            Ok(Err(status)) if is_refused(&status) => Reach::Gone,
            Ok(Err(_)) | Err(_) => Reach::Silent,
        }
    }
}

fn heard(id: Uuid, answer: &IdentifyResponse) -> Reach {
    match &answer.gateway {
        Some(said) if answer.replica_id == id.to_string() => {
            Reach::Here { word: word::from_proto(said), knows: answer.informed }
        }
        // Another process has its address.
        _ => Reach::Gone,
    }
}

/// Whether nobody listens there, as the machine says that it was on.
pub(super) fn is_refused(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}
