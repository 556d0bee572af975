//! One part of a process, or something that it needs: how it is, and what looks at it saw.

use crate::{db::Figures, report, telemetry, time};
use opentelemetry::{KeyValue, metrics::Gauge};
use policy::Time;
use serde::{Serialize, Serializer};
use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::sync::watch;
use vitals::{Kind, Standing, Steady};

use super::State;

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

/// What is known of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    /// Whether the process is not ready while this is down.
    pub critical: bool,
    /// What kind of thing it is.
    pub kind: Kind,
    /// How it is.
    #[serde(flatten)]
    pub condition: Condition,
    /// How long it took to answer, when it was asked last.
    #[serde(rename = "latency_ms", serialize_with = "millis", skip_serializing_if = "Option::is_none")]
    pub latency: Option<Duration>,
    /// When it was well last, in microseconds since 1970.
    #[serde(
        rename = "last_success_micros",
        serialize_with = "micros",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_success: Option<Time>,
    /// Looks in a row that found it not to answer.
    pub consecutive_failures: u32,
    /// Of a database: its pool and what was slow.
    #[serde(skip)]
    pub database: Option<Figures>,
    #[serde(skip)]
    steady: Steady,
}

fn millis<S: Serializer>(latency: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    latency.map(|latency| latency.as_secs_f64() * 1_000.0).serialize(to)
}

fn micros<S: Serializer>(time: &Option<Time>, to: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.0).serialize(to)
}

impl Component {
    pub(super) const fn new(critical: bool) -> Self {
        Self {
            critical,
            kind: Kind::Part,
            condition: Condition::Starting,
            latency: None,
            last_success: None,
            consecutive_failures: 0,
            database: None,
            steady: Steady::NEW,
        }
    }

    /// Something beside the components of the process, as it is known now.
    #[must_use]
    pub fn beside(kind: Kind, critical: bool, condition: Condition) -> Self {
        Self { kind, condition, ..Self::new(critical) }
    }

    pub(super) const fn is_up(&self) -> bool {
        matches!(self.condition, Condition::Up | Condition::Degraded(_))
    }

    /// What a look found, as steady as three failures and two answers make it.
    fn look(&mut self, now: Time, answer: Result<(), String>) -> Condition {
        let standing = self.steady.look(answer.is_ok());
        self.consecutive_failures = self.steady.failures();
        if answer.is_ok() {
            self.last_success = Some(now);
        }
        match (standing, answer) {
            (Standing::Down, Err(why)) => Condition::Down(why),
            // What never answered has not failed just now.
            (_, Err(why)) if self.last_success.is_none() => Condition::Down(why),
            (_, Err(why)) => Condition::Degraded(why),
            (Standing::Recovering, Ok(())) => Condition::Down("has only begun to answer again".to_owned()),
            (_, Ok(())) => Condition::Up,
        }
    }

    /// What a component says of itself.
    fn say(&mut self, now: Time, condition: &Condition) {
        match condition {
            Condition::Up => (self.last_success, self.consecutive_failures) = (Some(now), 0),
            Condition::Degraded(_) | Condition::Down(_) => {
                self.consecutive_failures = self.consecutive_failures.max(1);
            }
            Condition::Starting => {}
        }
    }
}

/// Where a component says how it is.
#[derive(Debug, Clone)]
pub struct Reporter {
    name: &'static str,
    state: Arc<watch::Sender<State>>,
    wanted: Arc<watch::Sender<()>>,
    looks: Arc<watch::Sender<u64>>,
}

impl Reporter {
    pub(super) const fn new(
        name: &'static str,
        state: Arc<watch::Sender<State>>,
        wanted: Arc<watch::Sender<()>>,
        looks: Arc<watch::Sender<u64>>,
    ) -> Self {
        Self { name, state, wanted, looks }
    }

    /// The same of something of this kind.
    #[must_use]
    pub fn of(self, kind: Kind) -> Self {
        self.note(|component| component.kind = kind);
        self
    }

    /// Says how the component is from now on: for what knows that of itself.
    pub fn set(&self, condition: Condition) {
        let now = time::now();
        self.turn(|component| {
            component.say(now, &condition);
            condition
        });
    }

    /// Says what one look at it found, and how long that took: for what is asked again and again. Three failures in a row
    /// mean that it is down, two answers that it is up again.
    pub fn looked(&self, took: Duration, answer: Result<(), String>) {
        let now = time::now();
        self.turn(|component| {
            component.latency = Some(took);
            component.look(now, answer)
        });
        self.looks.send_modify(|looks| *looks += 1);
    }

    /// Says how long it took to answer just now, or that it did not, which is gone on without.
    pub fn answers(&self, took: Option<Duration>, without: &str) {
        match took {
            Some(took) => {
                self.took(took);
                self.set(Condition::Up);
            }
            None => self.set(Condition::Degraded(without.to_owned())),
        }
    }

    /// Says how long it took to answer just now.
    pub fn took(&self, latency: Duration) {
        self.note(|component| component.latency = Some(latency));
    }

    /// Says how the pool of a database is, and what was slow.
    pub fn figures(&self, figures: Figures) {
        self.note(|component| component.database = Some(figures));
    }

    /// Waits until somebody wants a look at once.
    pub async fn wanted(&self) {
        // The sender is kept here, so this ends only when somebody does.
        let _ = self.wanted.subscribe().changed().await;
    }

    /// Changes what nobody waits for.
    fn note(&self, change: impl FnOnce(&mut Component)) {
        self.state.send_if_modified(|state| {
            if let Some(component) = state.components.get_mut(self.name) {
                change(component);
            }
            false
        });
    }

    /// Changes how it is, and says so where it is another condition than before.
    fn turn(&self, change: impl FnOnce(&mut Component) -> Condition) {
        self.state.send_if_modified(|state| {
            let Some(component) = state.components.get_mut(self.name) else { return false };
            let condition = change(component);
            if component.condition == condition {
                return false;
            }
            tracing::info!(component = self.name, ?condition, "health changed");
            if condition != Condition::Starting {
                let up = !matches!(condition, Condition::Down(_));
                UP.record(up.into(), &[KeyValue::new("component", self.name)]);
                if up != component.is_up() {
                    report::turned();
                }
            }
            component.condition = condition;
            state.started |= state.critical_up();
            true
        });
    }
}
