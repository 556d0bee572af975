//! Settings of the gateway. Durations are written as `2s`, `150ms`.

mod cache;
mod engine;
mod gateways;
mod jobs;
mod joint;

pub use cache::{Cache, Model, Warm};
pub use engine::{Breaker, Ejection, Engine, Kubernetes, Probe, Retry};
pub use gateways::Gateways;
pub use jobs::{Batches, Files, Jobs};
pub use joint::Joint;

use crate::engines::Source;
use schedule::{Class, Objective, Settings};
use serde::Deserialize;
use shared::{
    config::{ExposeSecret, Secret, SecretString},
    limits::Gate,
    seal::Sealer,
    tls::Trust,
};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use uuid::Uuid;

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
    /// The other gateways over the same engines.
    pub gateways: Gateways,
    /// Answers that are kept.
    pub cache: Cache,
    /// Calls for vectors that several callers share.
    pub joint: Joint,
    /// When only what is urgent is served.
    pub degraded: Degraded,
    /// What limits calls; whoever starts the service fills it in.
    #[serde(skip)]
    pub limits: Gate,
    /// Where jobs and files are: `postgres://…` or `sqlite:PATH`. Empty: a file in the data folder.
    #[serde(deserialize_with = "shared::config::secret")]
    pub database: SecretString,
    /// Keys that encrypt what is kept of jobs, batches and files, each 32 random bytes in base64 or `file:` and the path of
    /// a file that holds them: the first one encrypts, all of them decrypt. Gateways that share a database share them.
    /// Empty: whoever starts the service keeps one in its data directory.
    pub encryption_keys: Vec<SecretString>,
    /// What runs in the background.
    pub jobs: Jobs,
    /// Files of requests.
    pub batches: Batches,
    /// What callers upload, and what batches write.
    pub files: Files,
    /// What processes of several machines share; set for all services at once.
    #[serde(skip)]
    pub redis: shared::redis::Config,
}

/// The queue of each model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// Requests that may wait per model; more are refused with 429.
    pub length: usize,
    /// Longest wait of any request.
    #[serde(with = "humantime_serde")]
    pub wait: Duration,
    /// What requests of each priority are promised.
    pub promises: Promises,
    /// Whether users take turns by the tokens that they had; without it, whoever sends more gets more.
    pub fair: bool,
    /// Time that answers under way have to have left, beside what a prompt takes, for a line of a batch to be let in.
    #[serde(with = "humantime_serde")]
    pub spare: Duration,
    /// Part of the engines' work that is kept for a class while it has requests waiting, 0 to 1.
    pub reserved: BTreeMap<String, f64>,
    /// Who gets more than others do.
    pub weights: Weights,
}

/// How many times as much as others of their kind somebody gets while all of them wait, by id; 1 when nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    /// Groups, among the groups through whose grants requests come.
    pub groups: BTreeMap<Uuid, u32>,
    /// Users, within each group.
    pub users: BTreeMap<Uuid, u32>,
    /// API keys, among those of their user.
    pub keys: BTreeMap<Uuid, u32>,
}

/// The largest weight: more would let the others starve.
const MAX_WEIGHT: u32 = 1_000;

impl Weights {
    fn validate(&self, faults: &mut Vec<String>) {
        for (kind, weights) in [("groups", &self.groups), ("users", &self.users), ("keys", &self.keys)] {
            for (id, _) in weights.iter().filter(|(_, weight)| !(1..=MAX_WEIGHT).contains(*weight)) {
                faults.push(format!("inference.queue.weights.{kind}.{id}: must be from 1 to {MAX_WEIGHT}"));
            }
        }
    }
}

/// What requests of each priority are promised: a first token within a time, and the further ones at a pace.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Promises {
    /// Until the first token of an interactive request.
    #[serde(with = "humantime_serde")]
    pub interactive_first_token: Duration,
    /// Between its tokens, on the whole.
    #[serde(with = "humantime_serde")]
    pub interactive_per_token: Duration,
    /// Until the first token of a request that says nothing.
    #[serde(with = "humantime_serde")]
    pub default_first_token: Duration,
    /// Between its tokens, on the whole.
    #[serde(with = "humantime_serde")]
    pub default_per_token: Duration,
    /// Until the last token of a batch request.
    #[serde(with = "humantime_serde")]
    pub batch_whole: Duration,
}

impl Default for Promises {
    fn default() -> Self {
        Self {
            interactive_first_token: Duration::from_secs(1),
            interactive_per_token: Duration::from_millis(50),
            default_first_token: Duration::from_secs(5),
            default_per_token: Duration::from_millis(100),
            batch_whole: Duration::from_secs(600),
        }
    }
}

impl Queue {
    /// The same for the scheduler.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let base = if self.fair { Settings::fair() } else { Settings::unfair() };
        let said = &self.promises;
        let interactive = Objective::Stream {
            first_token: said.interactive_first_token,
            per_token: said.interactive_per_token,
        };
        let ordinary =
            Objective::Stream { first_token: said.default_first_token, per_token: said.default_per_token };
        let shares = Class::ALL.map(|class| self.reserved.get(class.as_str()).copied().unwrap_or(0.0));
        Settings {
            objectives: [interactive, interactive, ordinary, Objective::Whole(said.batch_whole)],
            shares,
            spare: self.spare,
            length: self.length,
            ..base
        }
    }

    fn validate(&self, faults: &mut Vec<String>) {
        for (class, part) in &self.reserved {
            if Class::from_word(class).is_none() {
                faults.push(format!("inference.queue.reserved.{class}: is no class; there are system, interactive, default, batch"));
            }
            if !(0.0..=1.0).contains(part) {
                faults.push(format!("inference.queue.reserved.{class}: must be from 0 to 1"));
            }
        }
        self.weights.validate(faults);
        if self.reserved.values().sum::<f64>() > 1.0 {
            faults.push("inference.queue.reserved: is more than 1 in all".to_owned());
        }
    }
}

/// When only what is urgent is served.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Degraded {
    /// How long that lasts at least.
    #[serde(with = "humantime_serde")]
    pub dwell: Duration,
    /// Usage records that monitoring has not taken for so long are a reason.
    #[serde(with = "humantime_serde")]
    pub journal_behind: Duration,
}

impl Default for Degraded {
    fn default() -> Self {
        Self { dwell: vitals::DWELL, journal_behind: Duration::from_secs(300) }
    }
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
            gateways: Gateways::default(),
            cache: Cache::default(),
            joint: Joint::default(),
            degraded: Degraded::default(),
            limits: Gate::default(),
            database: SecretString::default(),
            encryption_keys: Vec::new(),
            jobs: Jobs::default(),
            batches: Batches::default(),
            files: Files::default(),
            redis: shared::redis::Config::default(),
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            length: 1_000,
            wait: Duration::from_secs(600),
            promises: Promises::default(),
            fair: true,
            spare: Settings::fair().spare,
            reserved: BTreeMap::new(),
            weights: Weights::default(),
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
        self.queue.validate(faults);
        self.gateways.validate(faults);
        self.cache.validate(faults);
        self.joint.validate(faults);
        self.jobs.validate(faults);
        self.batches.validate(faults);
        self.files.validate(faults);
        let url = self.database.expose_secret();
        let schemes = ["postgres://", "postgresql://", "sqlite:"];
        if !url.is_empty() && !schemes.iter().any(|scheme| url.starts_with(scheme)) {
            faults.push("inference.database: must begin with postgres:// or sqlite:".to_owned());
        }
        if self.encryption_keys.is_empty() && self.gateways.is_one_of_several() && url.starts_with("postgres")
        {
            faults.push(
                "inference.encryption_keys: is needed where several gateways share a database; give all of them the same"
                    .to_owned(),
            );
        }
        let sealer = Sealer::new(&self.encryption_keys);
        if let Some(fault) = sealer.err().filter(|_| !self.encryption_keys.is_empty()) {
            faults.push(format!("inference.encryption_keys: {fault}"));
        }
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
