//! Asking an engine how it is: for its models, which it must answer, and for its metrics, which it may.

use super::{Engine, Fleet, gauges::Gauges, root};
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use serde::Deserialize;
use series::{Sample, text};
use std::{
    collections::BTreeMap,
    error::Error,
    io,
    time::{Duration, Instant},
};

/// A model list larger than this is not one.
const MAX_MODELS_BYTES: usize = 1024 * 1024;
/// What lies beyond this of a page of metrics is not read.
const MAX_METRICS_BYTES: usize = 8 * 1024 * 1024;

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

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody listens there.
    NoConnection(String),
    /// Anything else, which may pass.
    Poor(String),
}

fn refused(error: &(dyn Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    let mut faults = causes.filter_map(|error| error.downcast_ref::<io::Error>());
    faults.any(|fault| fault.kind() == io::ErrorKind::ConnectionRefused)
}

impl Fleet {
    /// Asks every engine for its models, once.
    pub async fn check_all(&self) {
        self.check_those(|_| true).await;
    }

    /// Asks the engines that were not asked yet.
    pub(super) async fn check_new(&self) {
        self.check_those(|engine| engine.state().sight.last_success.is_none()).await;
    }

    async fn check_those(&self, which: impl Fn(&Engine) -> bool) {
        let timeout = self.settings().check_timeout;
        let all = self.all();
        let checks = all.iter().filter(|engine| which(engine)).map(|engine| self.check(engine, timeout));
        futures_util::future::join_all(checks).await;
    }

    async fn check(&self, engine: &Engine, timeout: Duration) {
        let began = Instant::now();
        let models = match tokio::time::timeout(timeout, self.models(engine)).await {
            Ok(models) => models,
            Err(_) => Err(Failure::Poor("its model list did not come in time".into())),
        };
        engine.update(|state, _| match models {
            Ok(models) => {
                let was = state.health.answers();
                state.health.listed();
                if !was && state.health.answers() {
                    state.breaker.renewed(Instant::now());
                }
                state.sight.models = models;
                state.sight.last_success = Some(shared::time::now());
                state.sight.latency = began.elapsed();
            }
            Err(Failure::Poor(why)) => state.health.not_listed(&why),
            Err(Failure::NoConnection(why)) => state.health.unreachable(&why),
        });
    }

    async fn models(&self, engine: &Engine) -> Result<BTreeMap<String, u32>, Failure> {
        let body = self.get_whole(engine, "/v1/models", MAX_MODELS_BYTES).await?;
        let list: ModelList = serde_json::from_slice(&body)
            .map_err(|_| Failure::Poor("/v1/models is not a model list".into()))?;
        Ok(list.data.into_iter().map(|model| (model.id, model.max_model_len.unwrap_or(0))).collect())
    }

    /// Reads every engine's metrics, once. Those that do not come, or say nothing known, are unknown.
    pub async fn scrape_all(&self) {
        let timeout = self.settings().check_timeout;
        let all = self.all();
        let scrapes = all.iter().filter(|engine| engine.state().health.answers()).map(|engine| async move {
            let page = self.get_whole(engine, "/metrics", MAX_METRICS_BYTES);
            let page = tokio::time::timeout(timeout, page).await;
            let page = page.ok().and_then(Result::ok);
            let page = page.map(|page| text::samples(&String::from_utf8_lossy(&page))).unwrap_or_default();
            let ours = {
                let mut state = engine.state();
                let gauges = Some(Gauges::of(&page)).filter(Gauges::any);
                state.gauges = gauges.map(|gauges| (gauges, shared::time::now()));
                !state.is_elsewhere()
            };
            if !page.is_empty() {
                engine.figures().read(&engine.url, page, ours);
            }
        });
        futures_util::future::join_all(scrapes).await;
    }

    /// What engines showed of themselves since this was asked last, for monitoring. Nothing once the gateway is gone.
    pub fn figures(&self) -> impl Fn() -> Vec<Sample> + Send + use<> {
        let fleet = self.downgrade();
        move || {
            let engines = fleet.upgrade().map(|fleet| fleet.all()).unwrap_or_default();
            engines.iter().flat_map(|engine| engine.figures().take()).collect()
        }
    }

    async fn get_whole(&self, engine: &Engine, path: &'static str, limit: usize) -> Result<Bytes, Failure> {
        let request = engine.request(Method::GET, path, Bytes::new());
        self.whole(request, path, limit).await.and_then(|(status, body)| match status {
            StatusCode::OK => Ok(body),
            status => Err(Failure::Poor(format!("{path} answered {}", status.as_u16()))),
        })
    }

    /// A whole answer of an engine.
    pub(crate) async fn whole(
        &self,
        request: http::Request<Full<Bytes>>,
        path: &str,
        limit: usize,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let answer = self.0.client.request(request).await.map_err(|error| {
            let why = root(&error);
            if refused(&error) { Failure::NoConnection(why) } else { Failure::Poor(why) }
        })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), limit).collect().await;
        let poor = |_| Failure::Poor(format!("{path} broke off, or is larger than {limit} bytes"));
        let body = body.map_err(poor)?;
        Ok((status, body.to_bytes()))
    }
}
