//! The fleet: which engines there are, what they serve, and whether they are well.
//!
//! Every engine is asked for its models at an interval; a failed connection counts at once. What changes is told to
//! the [`Queue`], which hands out places at healthy engines only. `/health` is not asked: it stays 200 while an
//! engine hangs or drains.

use crate::{config, metrics, queue::Queue, schedule::EngineId};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header, uri::PathAndQuery};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use serde::Deserialize;
use shared::{
    config::{ExposeSecret, SecretString},
    health::{Condition, Reporter},
    server::Tasks,
    tls::{Connector, Dialer, Protocol},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Checks that must fail in a row before an engine counts as unhealthy.
const FAILURES: u32 = 3;
/// A model list larger than this is not one.
const MAX_MODELS_BYTES: usize = 1024 * 1024;
/// uvicorn closes idle connections after 5 s; ours must be gone before.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);

/// An engine's state, as last seen.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    /// `None` until the first check ended.
    pub healthy: Option<bool>,
    /// Longest context by model name, in tokens; 0 when the engine does not say.
    pub models: BTreeMap<String, u32>,
    /// When a check last succeeded.
    pub last_success: Option<policy::Time>,
    /// How long that took.
    pub latency: Duration,
    /// Failures in a row.
    pub failures: u32,
}

/// One engine.
#[derive(Debug)]
pub struct Engine {
    /// Its place in the fleet.
    pub id: EngineId,
    /// Its base URL as configured, without a slash at the end.
    pub url: String,
    base: Uri,
    key: Option<HeaderValue>,
    sight: Mutex<Sight>,
}

/// All engines of a gateway.
#[derive(Debug, Clone)]
pub struct Fleet {
    engines: Arc<[Engine]>,
    client: Client<Connector, Full<Bytes>>,
    queue: Queue,
    limit: u32,
}

#[derive(Deserialize)]
struct ModelList {
    data: Vec<ModelEntry>,
}

#[derive(Deserialize)]
struct ModelEntry {
    id: String,
    #[serde(default)]
    max_model_len: Option<u32>,
}

impl Fleet {
    /// The configured engines, none of them seen yet.
    #[must_use]
    pub fn new(
        urls: &[String],
        key: Option<&SecretString>,
        config: &config::Engine,
        dialer: &Dialer,
        queue: Queue,
    ) -> Self {
        let connector = dialer.connector(Protocol::Http1, config.connect_timeout);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .build(connector);
        let key = key.and_then(|key| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let engines = urls.iter().enumerate().filter_map(|(id, url)| {
            let url = url.trim_end_matches('/').to_owned();
            let base = url.parse().ok()?;
            Some(Engine { id, url, base, key: key.clone(), sight: Mutex::default() })
        });
        Self { engines: engines.collect(), client, queue, limit: config.max_in_flight }
    }

    /// Checks every engine at an interval until the process ends.
    pub fn watch(&self, config: &config::Engine, health: Reporter, tasks: &Tasks) {
        let (fleet, timeout) = (self.clone(), config.check_timeout);
        tasks.repeat(config.check_interval, move || {
            let (fleet, health) = (fleet.clone(), health.clone());
            async move {
                fleet.check_all(timeout).await;
                health.set(fleet.condition());
            }
        });
    }

    /// Checks every engine once.
    pub async fn check_all(&self, timeout: Duration) {
        futures_util::future::join_all(self.engines.iter().map(|engine| self.check(engine, timeout))).await;
    }

    fn condition(&self) -> Condition {
        let well = self.engines.iter().filter(|engine| engine.sight().healthy == Some(true)).count();
        match (well, self.engines.len()) {
            (well, all) if well == all && all > 0 => Condition::Up,
            (0, all) => Condition::Degraded(format!("none of {all} engines is healthy")),
            (well, all) => Condition::Degraded(format!("{well} of {all} engines are healthy")),
        }
    }

    async fn check(&self, engine: &Engine, timeout: Duration) {
        let started = Instant::now();
        match tokio::time::timeout(timeout, self.models(engine)).await {
            Ok(Ok(models)) => self.seen(engine, models, started.elapsed()),
            Ok(Err(error)) => self.failed(engine, &error, 1),
            Err(_) => self.failed(engine, "no answer in time", 1),
        }
    }

    async fn models(&self, engine: &Engine) -> Result<BTreeMap<String, u32>, String> {
        let request = engine.request(http::Method::GET, "/v1/models", Bytes::new());
        let answer = self.client.request(request).await.map_err(|error| root(&error))?;
        if answer.status() != http::StatusCode::OK {
            return Err(format!("/v1/models answered {}", answer.status().as_u16()));
        }
        let body = Limited::new(answer.into_body(), MAX_MODELS_BYTES).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        let list: ModelList =
            serde_json::from_slice(&body).map_err(|_| "/v1/models is not a model list".to_owned())?;
        Ok(list.data.into_iter().map(|model| (model.id, model.max_model_len.unwrap_or(0))).collect())
    }

    fn seen(&self, engine: &Engine, models: BTreeMap<String, u32>, latency: Duration) {
        let names = models.keys().cloned().collect();
        let mut sight = engine.sight();
        let was = sight.healthy.replace(true);
        *sight = Sight {
            healthy: Some(true),
            models,
            last_success: Some(shared::time::now()),
            latency,
            failures: 0,
        };
        if was != Some(true) {
            tracing::info!(engine = engine.url, models = ?sight.models.keys(), "engine is healthy");
            metrics::engine_health(1);
        }
        drop(sight);
        self.queue.engine(engine.id, names, true, self.limit);
    }

    /// An engine failed. `weight` of [`FAILURES`] or more makes it unhealthy at once.
    fn failed(&self, engine: &Engine, cause: &str, weight: u32) {
        let mut sight = engine.sight();
        sight.failures += weight;
        if sight.healthy == Some(true) && sight.failures < FAILURES {
            return;
        }
        if sight.healthy != Some(false) {
            tracing::warn!(engine = engine.url, cause, "engine is unhealthy");
        }
        if sight.healthy.replace(false) == Some(true) {
            metrics::engine_health(-1);
        }
        let names = sight.models.keys().cloned().collect();
        drop(sight);
        self.queue.engine(engine.id, names, false, self.limit);
    }

    /// A connection to an engine could not be made: it is gone until a check succeeds.
    pub fn unreachable(&self, engine: EngineId) {
        if let Some(engine) = self.engines.get(engine) {
            self.failed(engine, "connection refused", FAILURES);
        }
    }

    /// Sends a request to an engine; the answer's head, or why there is none.
    ///
    /// # Errors
    /// When the engine cannot be reached or hangs up.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, SendError> {
        self.client.request(request).await.map_err(|error| {
            tracing::debug!(error = root(&error), "engine did not answer");
            if error.is_connect() { SendError::Connect } else { SendError::Broken }
        })
    }

    /// One engine.
    #[must_use]
    pub fn get(&self, engine: EngineId) -> Option<&Engine> {
        self.engines.get(engine)
    }

    /// Every engine.
    #[must_use]
    pub fn all(&self) -> &[Engine] {
        &self.engines
    }

    /// Longest context that any engine offers for a model, where one says so.
    #[must_use]
    pub fn max_model_len(&self, model: &str) -> Option<u32> {
        let lengths = self.engines.iter().filter_map(|engine| engine.sight().models.get(model).copied());
        lengths.max().filter(|&length| length > 0)
    }
}

/// Why an engine gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// No connection.
    Connect,
    /// The connection ended before the answer's head.
    Broken,
}

impl Engine {
    /// How it was last seen.
    pub fn sight(&self) -> MutexGuard<'_, Sight> {
        self.sight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request to this engine.
    #[must_use]
    pub fn request(&self, method: http::Method, path: &'static str, body: Bytes) -> Request<Full<Bytes>> {
        let mut parts = self.base.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::from_static(path));
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = &self.key {
            headers.insert(header::AUTHORIZATION, key.clone());
        }
        request
    }
}

/// The innermost cause, which names the fault; the outer ones only say that a request failed.
fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
