//! Health that tells the truth: components report, probes and `grpc.health.v1` read.
//!
//! Live: the process turns. Startup: everything critical was up once. Ready: everything critical is up now.

use crate::{report, telemetry};
use futures_util::{Stream, StreamExt};
use opentelemetry::{KeyValue, metrics::Gauge};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server,
};

static UP: LazyLock<Gauge<u64>> = LazyLock::new(|| {
    let meter = telemetry::meter();
    let up = meter.u64_gauge("tollgate.component.up");
    up.with_description("Whether a component of the process works, well or less well").build()
});

/// How a component is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "status", content = "reason", rename_all = "snake_case")]
pub enum Condition {
    /// Not known yet.
    Starting,
    /// Works.
    Up,
    /// Works, less well; the reason says how.
    Degraded(String),
    /// Does not work; the reason says why. No secrets, no addresses with credentials.
    Down(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Component {
    critical: bool,
    #[serde(flatten)]
    condition: Condition,
}

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
        critical.all(|component| matches!(component.condition, Condition::Up | Condition::Degraded(_)))
    }
}

/// The health of one process.
#[derive(Debug, Clone)]
pub struct Health {
    state: Arc<watch::Sender<State>>,
    services: Arc<Mutex<Vec<&'static str>>>,
}

impl Default for Health {
    fn default() -> Self {
        Self { state: Arc::new(watch::Sender::new(State::default())), services: Arc::default() }
    }
}

/// Where a component says how it is.
#[derive(Debug, Clone)]
pub struct Reporter {
    name: &'static str,
    state: Arc<watch::Sender<State>>,
}

impl Reporter {
    /// Says how the component is from now on.
    pub fn set(&self, condition: Condition) {
        self.state.send_if_modified(|state| {
            let Some(component) = state.components.get_mut(self.name) else { return false };
            if component.condition == condition {
                return false;
            }
            tracing::info!(component = self.name, ?condition, "health changed");
            if condition != Condition::Starting {
                let up = !matches!(condition, Condition::Down(_));
                UP.record(up.into(), &[KeyValue::new("component", self.name)]);
                if up != matches!(component.condition, Condition::Up | Condition::Degraded(_)) {
                    report::turned();
                }
            }
            component.condition = condition;
            state.started |= state.critical_up();
            true
        });
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
        let component = Component { critical, condition: Condition::Starting };
        self.state.send_modify(|state| {
            state.components.insert(name, component);
        });
        Reporter { name, state: Arc::clone(&self.state) }
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

fn serving(service: &str, state: &State) -> HealthCheckResponse {
    let ok = match service {
        "liveness" => true,
        "startup" => state.up_once(),
        _ => state.ready(),
    };
    let status = if ok { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !self.knows(&service) {
            return Err(Status::not_found("no such service here"));
        }
        Ok(Response::new(serving(&service, &self.state.borrow())))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        if !self.knows(&service) {
            let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
            let forever = futures_util::stream::iter([Ok(unknown)]).chain(futures_util::stream::pending());
            return Ok(Response::new(Box::pin(forever)));
        }
        let mut last = None;
        let states = WatchStream::new(self.state.subscribe()).filter_map(move |state| {
            let now = serving(&service, &state);
            let changed = last.as_ref() != Some(&now);
            last = Some(now);
            std::future::ready(changed.then_some(Ok(now)))
        });
        Ok(Response::new(Box::pin(states)))
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
}
