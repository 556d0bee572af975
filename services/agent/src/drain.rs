//! Emptying the engine: every gateway is told to give it nothing new, and asked until none has anything there.

use crate::{Config, engine::Engine, observe::Reader};
use futures_util::future::join_all;
use proto::inference::v1::{
    DrainEngineRequest, Engine as Known, ListEnginesRequest, UncordonEngineRequest,
    engine_service_client::EngineServiceClient,
};
use shared::{channel::Channel, time};
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Request, Status};

/// Longest time for one question to one gateway.
const LIMIT: Duration = Duration::from_secs(2);
/// Between two looks at what is left.
const LOOK: Duration = Duration::from_millis(200);
/// What every reason begins with that an agent gives: only such a drain does an agent take back.
const MARK: &str = "agent: ";

/// Every gateway that sends requests to the engine.
#[derive(Debug)]
pub(crate) struct Gateways {
    clients: Vec<EngineServiceClient<Channel>>,
    url: String,
}

/// Why an engine is drained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Why {
    /// Whether its cloud takes it away.
    pub(crate) preempted: bool,
    /// In words.
    pub(crate) reason: String,
}

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drained {
    /// Requests in flight when it began, as far as gateways said.
    pub(crate) began_with: u32,
    /// And when it was over.
    pub(crate) left: u32,
}

impl Gateways {
    pub(crate) fn new(config: &Config, channels: Vec<Channel>) -> Self {
        let clients = channels.into_iter().map(EngineServiceClient::new).collect();
        Self { clients, url: config.engine_url.clone() }
    }

    /// Lets nothing new come, and waits until everything is finished or the time is over.
    pub(crate) async fn drain(&self, engine: &Engine, why: &Why, limit: Duration) -> Drained {
        let end = Instant::now() + limit;
        let reason = format!("{MARK}{}", why.reason).chars().take(400).collect();
        let why = Why { reason, ..*why };
        let told = join_all(self.clients.iter().map(|client| self.stop_at(client.clone(), &why, limit)));
        let began_with: u32 = told.await.into_iter().flatten().sum();
        let mut left = began_with;
        loop {
            if let Some(now) = self.left(engine).await {
                left = now;
                if now == 0 {
                    break;
                }
            }
            if Instant::now() >= end {
                break;
            }
            tokio::time::sleep(LOOK.min(end.saturating_duration_since(Instant::now()))).await;
        }
        Drained { began_with: began_with.max(left), left }
    }

    /// Takes back what an agent said of the engine before, if one did.
    pub(crate) async fn readmit(&self) {
        join_all(self.clients.iter().map(|client| self.readmit_at(client.clone()))).await;
    }

    async fn readmit_at(&self, mut client: EngineServiceClient<Channel>) {
        let Ok(Some(engine)) = self.known(&mut client).await else { return };
        if engine.cordon.is_some_and(|cordon| cordon.reason.starts_with(MARK)) {
            let reason = format!("{MARK}it is ready again");
            let request = UncordonEngineRequest { engine_id: engine.engine_id, reason };
            if let Err(status) = client.uncordon_engine(bounded(request)).await {
                tracing::warn!(%status, "a gateway still gives the engine nothing; uncordon it by hand");
            }
        }
    }

    /// Has one gateway give the engine nothing new. Returns what it has there, if it knows the engine.
    async fn stop_at(
        &self,
        mut client: EngineServiceClient<Channel>,
        why: &Why,
        limit: Duration,
    ) -> Option<u32> {
        let engine = match self.known(&mut client).await {
            Ok(engine) => engine?,
            Err(status) => {
                tracing::warn!(%status, "a gateway could not be told that the engine is drained");
                return None;
            }
        };
        let limit = Some(time::duration_to_proto(limit));
        let Why { preempted, reason } = why.clone();
        let request = DrainEngineRequest { engine_id: engine.engine_id, limit, preempted, reason };
        match client.drain_engine(bounded(request)).await {
            Ok(answer) => answer.into_inner().engine.map(|engine| engine.requests_in_flight),
            Err(status) => {
                tracing::warn!(%status, "a gateway could not be told that the engine is drained");
                Some(engine.requests_in_flight)
            }
        }
    }

    /// What is left: what gateways have there; where none of them can say, what the engine itself shows.
    async fn left(&self, engine: &Engine) -> Option<u32> {
        let asking =
            self.clients.iter().cloned().map(|mut client| async move { self.known(&mut client).await });
        let told: Vec<_> = join_all(asking).await.into_iter().filter_map(Result::ok).flatten().collect();
        if told.is_empty() {
            let page = engine.metrics().await?;
            let seen = Reader::default().read(&page, Instant::now());
            return Some((seen.running? + seen.waiting.unwrap_or(0.0)) as u32);
        }
        Some(told.iter().map(|engine| engine.requests_in_flight).sum())
    }

    async fn known(&self, client: &mut EngineServiceClient<Channel>) -> Result<Option<Known>, Status> {
        let list = client.list_engines(bounded(ListEnginesRequest::default())).await?.into_inner();
        Ok(list.engines.into_iter().find(|engine| engine.url == self.url))
    }
}

fn bounded<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(LIMIT);
    request
}
