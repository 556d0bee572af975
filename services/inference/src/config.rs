//! Settings of the gateway. Durations are written as `2s`, `150ms`.

mod engine;

pub use engine::{Breaker, Ejection, Engine, Kubernetes, Probe, Retry};

use crate::engines::Source;
use serde::Deserialize;
use shared::{config::Secret, tls::Trust};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// Settings of the inference service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the engines are: base URLs such as `http://10.0.0.7:8000`, `dns://name:8000`, `k8s://namespace/service:8000`.
    pub engines: Vec<String>,
    /// What the engines' `--api-key` is, when they have one.
    pub engine_key: Secret,
    /// Whom `https` engines are trusted as, and as whom the gateway shows itself to them.
    pub engine_tls: Trust,
    /// Where `k8s://` engines are found.
    pub kubernetes: Kubernetes,
    /// By the name of a model that cannot be served: the model that answers in its place.
    pub fallback: BTreeMap<String, String>,
    /// Folder of the journal and the kept policy snapshot.
    pub data_dir: PathBuf,
    /// Largest request body, in bytes. 20 MiB holds a prompt of five million tokens.
    pub max_body_bytes: usize,
    /// Largest answer of an engine that is not a stream, in bytes.
    pub max_answer_bytes: usize,
    /// Requests in progress at once, queued ones included, over all models.
    pub max_in_flight: usize,
    /// The queue before the engines.
    pub queue: Queue,
    /// How engines are used.
    pub engine: Engine,
    /// How old the policy may be.
    pub policy: Policy,
}

/// The queue of each model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// Requests that may wait per model; more are refused with 429.
    pub length: usize,
    /// Longest wait of a request that names no deadline.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
}

/// How old the local policy may be.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Up to this age it is as good as the truth.
    #[serde(with = "humantime_serde")]
    pub fresh_within: Duration,
    /// Up to this age it decides, marked as stale; beyond, requests are refused. 0s is strict.
    #[serde(with = "humantime_serde")]
    pub serve_stale_for: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            engines: Vec::new(),
            engine_key: Secret::default(),
            engine_tls: Trust::default(),
            kubernetes: Kubernetes::default(),
            fallback: BTreeMap::new(),
            data_dir: PathBuf::from(".tollgate"),
            max_body_bytes: 20 * 1024 * 1024,
            max_answer_bytes: 256 * 1024 * 1024,
            max_in_flight: 20_000,
            queue: Queue::default(),
            engine: Engine::default(),
            policy: Policy::default(),
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self { length: 1_000, wait: Duration::from_secs(60) }
    }
}

impl Default for Policy {
    fn default() -> Self {
        let bounds = policy::Bounds::default();
        Self { fresh_within: bounds.fresh_within, serve_stale_for: bounds.serve_stale_for }
    }
}

impl Config {
    /// Adds one sentence per fault.
    pub fn validate(&self, faults: &mut Vec<String>) {
        for entry in &self.engines {
            match entry.parse() {
                Ok(Source::Kubernetes { .. }) => self.kubernetes.validate(faults),
                Ok(_) => {}
                Err(fault) => faults.push(format!("inference.engines: `{entry}` {fault}")),
            }
        }
        for (model, instead) in self.fallback.iter().filter(|(model, instead)| model == instead) {
            faults.push(format!("inference.fallback.{model}: `{instead}` cannot stand in for itself"));
        }
        self.engine.validate(faults);
        let positive = [
            ("max_body_bytes", self.max_body_bytes),
            ("max_answer_bytes", self.max_answer_bytes),
            ("max_in_flight", self.max_in_flight),
        ];
        for (key, _) in positive.into_iter().filter(|(_, value)| *value == 0) {
            faults.push(format!("inference.{key}: must be at least 1"));
        }
        if let Err(fault) = self.engine_key.read() {
            faults.push(format!("inference.engine_key.file: {fault}"));
        }
        self.engine_tls.validate("inference.engine_tls", faults);
    }
}
