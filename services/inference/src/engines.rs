//! The fleet: which engines there are, what they serve, and whether new requests may go to them.
//!
//! [`source`] says where engines come from, [`roster`] keeps who is there, [`engine`] what is known of each. What an
//! engine is judged by comes from three sides: [`check`] asks it, [`attempt`] is what its requests met, and [`probe`]
//! decides when these look odd. [`health`], [`breaker`], [`outlier`] and [`budget`] are the judges, pure and told the
//! time. What follows is told to the [`Queue`], which hands out places at accepting engines only.

pub mod attempt;
pub mod breaker;
pub mod budget;
pub mod engine;
pub mod gauges;
pub mod health;
pub mod outlier;
pub mod source;

mod check;
mod cordon;
mod dns;
mod figures;
mod kubernetes;
mod probe;
mod pulse;
mod roster;
mod share;
mod strength;
mod told;
mod watch;

pub use crate::queue::EngineId;
pub use attempt::{Attempt, Fault};
pub use cordon::Drain;
pub use engine::{Cordon, Engine, Standing};
pub use share::Share;
pub use source::Source;
pub use strength::Strength;

use crate::{Config, config, queue::Queue};
use budget::Budget;
use bytes::Bytes;
use cordon::Cordons;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use kubernetes::ApiServer;
use roster::Roster;
use shared::{
    config::ExposeSecret,
    health::Condition,
    server::Tasks,
    tls::{Connector, Dialer, Protocol},
};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// uvicorn closes idle connections after 5 s; ours must be gone before.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);
/// Bytes of an answer that are read before somebody takes them. A client that hardly reads would otherwise have 400 KB
/// lying here; more than this is no faster for one that does.
const READ_AHEAD: usize = 64 * 1024;

/// All engines of a gateway.
#[derive(Debug, Clone)]
pub struct Fleet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Arc<Settings>,
    client: Client<Connector, Full<Bytes>>,
    roster: Mutex<Roster>,
    budget: Mutex<Budget>,
    cordons: Cordons,
    api_server: ApiServer,
    /// An engine was found.
    news: Notify,
    tasks: Tasks,
}

/// What every engine needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    engine: RwLock<Arc<config::Engine>>,
    key: Option<HeaderValue>,
    queue: Queue,
    /// Whether other gateways use the engines too.
    several: bool,
}

impl Settings {
    fn engine(&self) -> Arc<config::Engine> {
        Arc::clone(&self.engine.read().unwrap_or_else(PoisonError::into_inner))
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

impl Fleet {
    /// The configured fleet. Engines are found and watched until the tasks end.
    ///
    /// # Errors
    /// When a file that the configuration names cannot be read.
    pub fn open(config: &Config, queue: Queue, tasks: &Tasks) -> io::Result<Self> {
        let dialer = Dialer::open(&config.engine_tls, "inference.engine_tls").map_err(io::Error::other)?;
        dialer.watch(tasks);
        let key = config.engine_key.read().map_err(io::Error::other)?;
        let key = key.and_then(|key| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let connector = dialer.connector(Protocol::Http1, config.engine.connect_timeout);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .http1_max_buf_size(READ_AHEAD)
            .build(connector);
        let fleet = Self(Arc::new(Inner {
            settings: Arc::new(Settings {
                engine: RwLock::new(Arc::new(config.engine.clone())),
                key,
                queue,
                several: config.gateways.is_one_of_several(),
            }),
            client,
            roster: Mutex::default(),
            budget: Mutex::new(Budget::new(Instant::now())),
            cordons: Cordons::open(&config.data_dir.join("cordons.json")),
            api_server: ApiServer::new(&config.kubernetes),
            news: Notify::new(),
            tasks: tasks.clone(),
        }));
        fleet.configure(config);
        Ok(fleet)
    }

    /// Takes over what may change while it runs: where engines are, and how they are used and judged.
    pub fn configure(&self, config: &Config) {
        let mut engine = self.0.settings.engine.write().unwrap_or_else(PoisonError::into_inner);
        *engine = Arc::new(config.engine.clone());
        drop(engine);
        self.follow(&config.engines);
        for engine in self.all() {
            // A limit may have changed.
            engine.update(|_, _| ());
        }
    }

    /// How engines are used and judged now.
    #[must_use]
    pub fn settings(&self) -> Arc<config::Engine> {
        self.0.settings.engine()
    }

    /// One engine, unless it has left.
    #[must_use]
    pub fn get(&self, engine: EngineId) -> Option<Arc<Engine>> {
        self.roster().get(engine)
    }

    /// The engine of a name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Arc<Engine>> {
        self.roster().all().find(|engine| engine.name == name).cloned()
    }

    /// Every engine, in the order in which they came.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Engine>> {
        self.roster().all().cloned().collect()
    }

    /// Longest context that any engine offers for a model, where one says so.
    #[must_use]
    pub fn max_model_len(&self, model: &str) -> Option<u32> {
        let roster = self.roster();
        let lengths = roster.all().filter_map(|engine| engine.state().sight.models.get(model).copied());
        lengths.max().filter(|&length| length > 0)
    }

    /// Sends a request to an engine; the answer's head, or why there is none.
    ///
    /// # Errors
    /// When the engine cannot be reached or hangs up.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, SendError> {
        self.0.client.request(request).await.map_err(|error| {
            tracing::debug!(error = root(&error), "engine did not answer");
            if error.is_connect() { SendError::Connect } else { SendError::Broken }
        })
    }

    /// A request came: the budget of retries grows with them.
    pub fn came(&self) {
        let config = self.settings();
        self.budget().request(Instant::now(), &config.retry);
    }

    /// Whether a request may be tried again now; if so it is counted.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        let config = self.settings();
        self.budget().retry(Instant::now(), &config.retry)
    }

    /// A handle that does not keep it.
    pub(crate) fn downgrade(&self) -> WeakFleet {
        WeakFleet(Arc::downgrade(&self.0))
    }

    fn condition(&self) -> Condition {
        let all = self.all();
        let staying = all.iter().filter(|engine| engine.state().leaving.is_none()).count();
        match (all.iter().filter(|engine| engine.accepting()).count(), staying) {
            (_, 0) => Condition::Degraded("no engines were found".into()),
            (well, all) if well == all => Condition::Up,
            (0, all) => Condition::Degraded(format!("none of {all} engines is healthy")),
            (well, all) => Condition::Degraded(format!("{well} of {all} engines are healthy")),
        }
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.0.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.0.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fleet, as long as somebody keeps it.
#[derive(Debug, Clone)]
pub(crate) struct WeakFleet(Weak<Inner>);

impl WeakFleet {
    pub(crate) fn upgrade(&self) -> Option<Fleet> {
        self.0.upgrade().map(Fleet)
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
