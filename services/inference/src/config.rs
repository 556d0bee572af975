//! Settings of the gateway. Durations are written as `2s`, `150ms`.

use serde::Deserialize;
use shared::{config::Secret, tls::Trust};
use std::{path::PathBuf, time::Duration};

/// Settings of the inference service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Base URLs of the engines, such as `http://10.0.0.7:8000`.
    pub engines: Vec<String>,
    /// What the engines' `--api-key` is, when they have one.
    pub engine_key: Secret,
    /// Whom `https` engines are trusted as, and as whom the gateway shows itself to them.
    pub engine_tls: Trust,
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

/// How each engine is used.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Engine {
    /// Requests in flight at one engine. vLLM's own `--max-num-seqs` default is 256.
    pub max_in_flight: u32,
    /// Time to connect.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// From sending to the first token of a stream.
    #[serde(with = "humantime_serde")]
    pub first_token_timeout: Duration,
    /// From sending to an answer that is not streamed: engines send its head when all of it is made.
    #[serde(with = "humantime_serde")]
    pub answer_timeout: Duration,
    /// Between two pieces of an answer.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// For a whole request.
    #[serde(with = "humantime_serde")]
    pub total_timeout: Duration,
    /// Between two health checks.
    #[serde(with = "humantime_serde")]
    pub check_interval: Duration,
    /// For one health check.
    #[serde(with = "humantime_serde")]
    pub check_timeout: Duration,
    /// Engines tried for one request, before its first byte.
    pub attempts: u32,
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

impl Default for Engine {
    fn default() -> Self {
        Self {
            max_in_flight: 256,
            connect_timeout: Duration::from_secs(2),
            first_token_timeout: Duration::from_secs(120),
            answer_timeout: Duration::from_secs(10 * 60),
            idle_timeout: Duration::from_secs(60),
            total_timeout: Duration::from_secs(30 * 60),
            check_interval: Duration::from_secs(2),
            check_timeout: Duration::from_secs(2),
            attempts: 3,
        }
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
        for url in &self.engines {
            let good = url.parse::<http::Uri>().is_ok_and(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https"))
                    && uri.authority().is_some()
                    && matches!(uri.path(), "" | "/")
            });
            if !good {
                faults.push(format!(
                    "inference.engines: `{url}` is not a URL like http://10.0.0.7:8000 or https://engine:8000 (no path)"
                ));
            }
        }
        let positive = [
            ("max_body_bytes", self.max_body_bytes),
            ("max_answer_bytes", self.max_answer_bytes),
            ("max_in_flight", self.max_in_flight),
            ("engine.max_in_flight", self.engine.max_in_flight as usize),
            ("engine.attempts", self.engine.attempts as usize),
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
