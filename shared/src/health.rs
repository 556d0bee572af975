//! Health that tells the truth: components report, probes and `grpc.health.v1` read.
//!
//! Live: the process turns. Startup: everything critical was up once. Ready: everything critical is up now.

mod component;
pub mod database;
pub mod report;
mod serve;

pub use component::{Component, Condition, Reporter};
pub use report::Beside;
pub use vitals::Kind;

use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    components: BTreeMap<&'static str, Component>,
    started: bool,
    stopping: bool,
}

impl State {
    fn ready(&self) -> bool {
        !self.stopping && self.critical_up()
    }

    fn up_once(&self) -> bool {
        self.started || self.critical_up()
    }

    fn critical_up(&self) -> bool {
        let mut critical = self.components.values().filter(|component| component.critical);
        critical.all(Component::is_up)
    }
}

/// How long a look may take that somebody waits for.
const LOOK: Duration = Duration::from_secs(4);

/// What comes and goes beside the components.
#[derive(Default)]
struct Others(Vec<Box<dyn Fn() -> Vec<Beside> + Send + Sync>>);

impl std::fmt::Debug for Others {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Others").field(&self.0.len()).finish()
    }
}

/// The health of one process.
#[derive(Debug, Clone)]
pub struct Health {
    state: Arc<watch::Sender<State>>,
    /// Told when somebody wants everything looked at.
    wanted: Arc<watch::Sender<()>>,
    /// Looks so far.
    looks: Arc<watch::Sender<u64>>,
    others: Arc<Mutex<Others>>,
    services: Arc<Mutex<Vec<&'static str>>>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(State::default())),
            wanted: Arc::new(watch::Sender::new(())),
            looks: Arc::new(watch::Sender::new(0)),
            others: Arc::default(),
            services: Arc::default(),
        }
    }
}

/// What a probe is told.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether the probe passes.
    pub ok: bool,
    /// Every component, by name.
    components: BTreeMap<&'static str, Component>,
}

impl Health {
    /// Adds a component that starts as [`Condition::Starting`]. While a critical one is down the process is not ready.
    #[must_use]
    pub fn component(&self, name: &'static str, critical: bool) -> Reporter {
        self.state.send_modify(|state| {
            state.components.insert(name, Component::new(critical));
        });
        let (state, wanted, looks) = (&self.state, &self.wanted, &self.looks);
        Reporter::new(name, Arc::clone(state), Arc::clone(wanted), Arc::clone(looks))
    }

    /// Has reports tell of what comes and goes, too; it is asked whenever one is made.
    pub fn also(&self, others: impl Fn() -> Vec<Beside> + Send + Sync + 'static) {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).0.push(Box::new(others));
    }

    fn beside(&self) -> Vec<Beside> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.0.iter().flat_map(|other| other()).collect()
    }

    /// Has everything looked at that is asked again and again, and waits until it was, for 4 s at most.
    pub async fn look(&self) {
        let (asked, mut looks) = (self.wanted.receiver_count(), self.looks.subscribe());
        let all = *looks.borrow_and_update() + u64::try_from(asked).unwrap_or(0);
        self.wanted.send_replace(());
        let looked = looks.wait_for(|looks| *looks >= all);
        let _ = tokio::time::timeout(LOOK, looked).await;
    }

    /// Names a gRPC service that `grpc.health.v1` answers for.
    pub fn serves(&self, service: &'static str) {
        self.services.lock().unwrap_or_else(PoisonError::into_inner).push(service);
    }

    /// Not ready from now on: the process is going to stop.
    pub fn stopping(&self) {
        self.state.send_modify(|state| state.stopping = true);
    }

    /// Whether it is about to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.state.borrow().stopping
    }

    /// The process turns.
    #[must_use]
    pub fn live(&self) -> Report {
        self.report(|_| true)
    }

    /// Everything critical is up now.
    #[must_use]
    pub fn ready(&self) -> Report {
        self.report(State::ready)
    }

    /// Everything critical was up once.
    #[must_use]
    pub fn startup(&self) -> Report {
        self.report(State::up_once)
    }

    /// Waits until the process is ready.
    pub async fn until_ready(&self) {
        let mut state = self.state.subscribe();
        // The sender lives as long as `self`, so this ends only when ready.
        let _ = state.wait_for(|state| state.critical_up() && !state.stopping).await;
    }

    fn report(&self, ok: impl Fn(&State) -> bool) -> Report {
        let state = self.state.borrow();
        Report { ok: ok(&state), components: state.components.clone() }
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty()
            || matches!(service, "liveness" | "readiness" | "startup")
            || self.services.lock().unwrap_or_else(PoisonError::into_inner).contains(&service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_needs_every_critical_component_and_startup_needs_it_once() {
        let health = Health::default();
        let database = health.component("database", true);
        let cache = health.component("cache", false);
        assert!(health.live().ok && !health.ready().ok && !health.startup().ok);
        cache.set(Condition::Down("gone".into()));
        database.set(Condition::Up);
        assert!(health.ready().ok && health.startup().ok);
        database.set(Condition::Down("gone".into()));
        assert!(!health.ready().ok && health.startup().ok && health.live().ok);
        database.set(Condition::Degraded("slow".into()));
        assert!(health.ready().ok);
        health.stopping();
        assert!(!health.ready().ok && health.live().ok);
    }

    #[test]
    fn one_bad_look_takes_nothing_away_and_what_never_answered_is_down() {
        let health = Health::default();
        let database = health.component("database", true);
        let look = |well: bool| {
            database.looked(Duration::from_millis(3), if well { Ok(()) } else { Err("gone".into()) });
            health.ready().ok
        };
        assert!(!look(false), "it never answered");
        assert!(look(true) && look(false) && look(false), "failed, though not often enough");
        assert!(!look(false), "three times");
        assert!(!look(true), "has only begun");
        assert!(look(true));
        assert!(look(false));
        let report = serde_json::to_value(health.live()).unwrap();
        let component = &report["components"]["database"];
        assert_eq!((&component["consecutive_failures"], &component["latency_ms"]), (&1.into(), &3.0.into()));
        assert!(component["last_success_micros"].is_i64() && component["status"] == "degraded", "{report}");
    }
}
