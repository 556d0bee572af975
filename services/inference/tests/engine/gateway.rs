//! The gateway as it runs: `inference::open` behind a listener, with its peers behind channels.

use crate::{
    PATIENCE,
    client::{self, Answer},
    engine::Engine,
    peers::{KEY, Permissions, Records},
    soon, until,
};
use http::{Request, header};
use inference::{Config, Upstreams};
use proto::{
    inference::v1::{
        self as pb, EngineState, cache_service_client::CacheServiceClient,
        engine_service_client::EngineServiceClient, inference_service_client::InferenceServiceClient,
        queue_service_client::QueueServiceClient,
    },
    monitoring::v1::{UsageRecord, usage_service_server::UsageServiceServer},
    permissions::v1::policy_service_server::PolicyServiceServer,
};
use serde_json::Value;
use shared::{
    channel::{self, Channel},
    health::Health,
    server::{self, Limits, Tasks},
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tempfile::TempDir;
use tokio::sync::watch;

/// A model that the one person may use and no engine serves.
pub(crate) const UNSERVED: &str = "granted-but-not-served";

/// A running gateway before some engines, with nobody else at it.
#[derive(Debug)]
pub(crate) struct Gateway {
    url: String,
    pub(crate) model: String,
    grpc: Channel,
    records: Records,
    tasks: Tasks,
    opened: inference::Gateway,
    config: Config,
    folder: TempDir,
    health: Health,
    /// Whether everything is taken back from the one person.
    pub(crate) taken_back: watch::Sender<bool>,
}

/// What is kept is encrypted with.
const ENCRYPTION_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

impl Gateway {
    /// As it comes.
    pub(crate) async fn open(engines: &[&Engine]) -> Self {
        Self::with(engines, |_| {}).await
    }

    /// With other settings.
    pub(crate) async fn with(engines: &[&Engine], set: impl FnOnce(&mut Config)) -> Self {
        Self::within(tempfile::tempdir().unwrap(), engines, set).await
    }

    /// The same in a folder that another has left.
    pub(crate) async fn within(folder: TempDir, engines: &[&Engine], set: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            engines: engines.iter().map(|engine| engine.url.clone()).collect(),
            data_dir: folder.path().to_owned(),
            encryption_keys: vec![ENCRYPTION_KEY.into()],
            ..Config::default()
        };
        // After the first look at the engines, only what happens to requests says how they are.
        config.engine.check_interval = Duration::from_secs(3600);
        config.engine.check_timeout = PATIENCE;
        // Most cases ask the same again and again, and are about what engines make of it.
        config.cache.enabled = false;
        set(&mut config);
        let model = engines.first().map_or_else(|| "tiny".to_owned(), |engine| engine.model.clone());
        let (tasks, health, records) = (Tasks::default(), Health::default(), Records::default());
        let policy = Permissions::new(&[&model, UNSERVED]);
        let taken_back = policy.taker();
        let upstreams = Upstreams {
            permissions: channel::in_process(PolicyServiceServer::new(policy)),
            monitoring: channel::in_process(UsageServiceServer::new(records.clone())),
            peers: None,
        };
        let opening = inference::open(config.clone(), upstreams, None, &health, &tasks);
        let opened = Box::pin(opening).await.unwrap();
        soon("the policy", health.until_ready()).await;
        let listener = server::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let grpc = channel::with_service_token(channel::in_process(opened.grpc.clone()), &KEY.into());
        tasks.spawn(server::serve(listener, opened.routes(), Limits::default(), tasks.stopping()));
        Self { url, model, grpc, records, tasks, opened, config, folder, health, taken_back }
    }

    /// Has the ledger be away, or there again.
    pub(crate) fn set_ledger_away(&self, away: bool) {
        self.records.set_away(away);
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.url.trim_start_matches("http://").parse().unwrap()
    }

    /// The same as a URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request as the person who may.
    pub(crate) async fn send(&self, mut request: Request<String>) -> Answer {
        let credential = format!("Bearer {KEY}").parse().unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, credential);
        client::send(&self.url, request).await
    }

    /// Posts a body, which need not name the model.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(client::post(path, &named(body, &self.model))).await
    }

    /// Asks for a chat.
    pub(crate) async fn chat(&self, body: &Value) -> Answer {
        self.post("/v1/chat/completions", body).await
    }

    /// The gRPC API, as the person who may.
    pub(crate) fn inference(&self) -> InferenceServiceClient<Channel> {
        InferenceServiceClient::new(self.grpc.clone())
    }

    /// The gRPC API, as the person who may.
    pub(crate) fn channel(&self) -> Channel {
        self.grpc.clone()
    }

    /// What operators ask of the engines, as the owner.
    pub(crate) fn operator(&self) -> EngineServiceClient<Channel> {
        EngineServiceClient::new(self.grpc.clone())
    }

    /// What operators ask of the queue, as the owner.
    pub(crate) fn queue(&self) -> QueueServiceClient<Channel> {
        QueueServiceClient::new(self.grpc.clone())
    }

    /// What operators ask of the cache, as the owner.
    pub(crate) fn cache(&self) -> CacheServiceClient<Channel> {
        CacheServiceClient::new(self.grpc.clone())
    }

    /// How a part of it says that it is: `up`, `degraded`.
    pub(crate) fn says(&self, component: &str) -> String {
        let report = serde_json::to_value(self.health.live()).unwrap();
        report["components"][component]["status"].as_str().unwrap().to_owned()
    }

    /// Waits until parts of it are well.
    pub(crate) async fn until_up(&self, components: &[&str]) {
        for component in components {
            until(component, async || (self.says(component) == "up").then_some(())).await;
        }
    }

    /// Every engine as the gateway sees it.
    pub(crate) async fn engines(&self) -> Vec<pb::Engine> {
        let listed = self.operator().list_engines(pb::ListEnginesRequest::default()).await;
        listed.unwrap().into_inner().engines
    }

    /// One engine as the gateway sees it, unless it is gone.
    pub(crate) async fn find(&self, engine: &Engine) -> Option<pb::Engine> {
        self.engines().await.into_iter().find(|listed| listed.url == engine.url)
    }

    /// Waits until an engine stands so.
    pub(crate) async fn until(&self, engine: &Engine, state: EngineState) -> pb::Engine {
        let what = format!("{} to be {state:?}", engine.url);
        until(&what, async || self.find(engine).await.filter(|engine| engine.state() == state)).await
    }

    /// Requests that the gateway says it has at an engine.
    pub(crate) async fn in_flight(&self, engine: &Engine) -> u32 {
        self.find(engine).await.expect("the engine is listed").requests_in_flight
    }

    /// Takes over other settings while it runs.
    pub(crate) fn configure(&mut self, set: impl FnOnce(&mut Config)) {
        set(&mut self.config);
        self.opened.configure(&self.config);
    }

    /// What the ledger says so far; the newest records may still be on their way.
    pub(crate) fn records(&self) -> Vec<UsageRecord> {
        self.records.all()
    }

    /// What the ledger says once it has so many records.
    pub(crate) async fn records_soon(&self, many: usize) -> Vec<UsageRecord> {
        until("the records", async || Some(self.records()).filter(|records| records.len() >= many)).await
    }

    /// Waits until every request has ended, then ends the gateway. Returns the whole ledger.
    pub(crate) async fn close(self) -> Vec<UsageRecord> {
        self.end().await.0
    }

    /// The same, and leaves its folder to another.
    pub(crate) async fn end(self) -> (Vec<UsageRecord>, TempDir) {
        until("the gateway to be idle", async || {
            self.engines().await.iter().all(|engine| engine.requests_in_flight == 0).then_some(())
        })
        .await;
        assert!(self.tasks.end(PATIENCE).await, "the gateway did not end");
        (self.records.all(), self.folder)
    }
}

/// The body with the model's name in it, unless it names one.
pub(crate) fn named(body: &Value, model: &str) -> Value {
    let mut body = body.clone();
    if body.get("model").is_none() {
        body["model"] = model.into();
    }
    body
}
