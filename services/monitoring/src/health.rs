//! How everything is: the last word of each process, its age, and what is measured of engines' machines.
//!
//! A report is taken into memory at once and written by [`sync`] within two seconds, which also reads what other replicas
//! were told; while the database is away, each replica goes by what it heard itself. Nothing is judged ahead: [`look`] does,
//! when somebody asks.

mod calls;
mod look;
mod sync;
pub(crate) mod watch;

pub(crate) use look::{Dependency, Picture};

use crate::{config, error::Error, instances::Instance, signals::Signals};
use policy::Time;
use serde::{Deserialize, Serialize};
use shared::{
    db::{Db, Figures},
    limits::Gate,
    server::Tasks,
    time,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch as channel, time::Instant};
use vitals::Kind;

/// What was said longer ago says nothing of now: three reports are missing.
pub(crate) const STALE: Duration = Duration::from_secs(30);
/// A process that has said nothing for so long is forgotten.
pub(crate) const FORGOTTEN: Duration = Duration::from_secs(600);
/// Between two checks.
const BETWEEN_CHECKS: Duration = Duration::from_secs(5);
/// How long a check waits for what processes say.
const CHECK: Duration = Duration::from_secs(5);

/// What a process said of one of its components, or of what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Component {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) condition: Condition,
    pub(crate) reason: String,
    pub(crate) critical: bool,
    pub(crate) latency: Option<Duration>,
    pub(crate) last_success: Option<Time>,
    pub(crate) failures: u32,
    pub(crate) database: Option<Figures>,
}

/// How a component says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Condition {
    Starting,
    Up,
    Degraded,
    Down,
}

/// The last word of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) instance: String,
    pub(crate) service: String,
    /// The services of ours that run in it.
    pub(crate) apis: Vec<String>,
    pub(crate) components: Vec<Component>,
    /// Nothing more is expected of it.
    pub(crate) stopping: bool,
    /// When it was heard.
    pub(crate) at: Time,
}

/// What became of a check.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) picture: Picture,
    pub(crate) processes: u32,
    pub(crate) missing: Vec<String>,
}

/// How everything is. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Board(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    db: Db,
    signals: Signals,
    bounds: config::Health,
    limits: Gate,
    state: Mutex<State>,
    /// Something was heard.
    news: channel::Sender<()>,
    /// Somebody wants everything looked at.
    checks: channel::Sender<()>,
    /// When that was last.
    checked: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct State {
    told: BTreeMap<String, Told>,
    /// Who said something that the database does not have yet.
    unwritten: BTreeSet<String>,
    /// What agents said last.
    instances: Vec<Instance>,
}

impl Board {
    /// Knows of nothing yet, and keeps up with other replicas until the process ends.
    pub(crate) fn start(
        db: &Db,
        signals: &Signals,
        bounds: &config::Health,
        limits: &Gate,
        tasks: &Tasks,
    ) -> Self {
        let board = Self(Arc::new(Inner {
            db: db.clone(),
            signals: signals.clone(),
            bounds: bounds.clone(),
            limits: limits.clone(),
            state: Mutex::default(),
            news: channel::Sender::new(()),
            checks: channel::Sender::new(()),
            checked: Mutex::default(),
        }));
        sync::start(&board, tasks);
        board
    }

    /// Takes the last word of a process. Returns what says so when somebody wants it to look.
    pub(crate) fn take(&self, told: Told) -> channel::Receiver<()> {
        let mut state = self.state();
        state.unwritten.insert(told.instance.clone());
        state.told.insert(told.instance.clone(), told);
        drop(state);
        self.0.news.send_replace(());
        self.0.checks.subscribe()
    }

    /// How everything is now.
    pub(crate) fn picture(&self, now: Time) -> Picture {
        let state = self.state();
        let seen =
            look::Seen { told: state.told.values().cloned().collect(), instances: state.instances.clone() };
        drop(state);
        let thresholds = self.0.limits.thresholds();
        let measured = look::Measured::of(&self.0.signals, &thresholds, now);
        look::picture(&seen, &measured, &self.0.bounds, &thresholds, now)
    }

    /// Has everybody look who reports to this replica, and waits for what they say.
    ///
    /// # Errors
    /// When the last check was just now.
    pub(crate) async fn check(&self) -> Result<Checked, Error> {
        {
            let mut checked = self.0.checked.lock().unwrap_or_else(PoisonError::into_inner);
            let since = checked.map_or(BETWEEN_CHECKS, |checked| checked.elapsed());
            if since < BETWEEN_CHECKS {
                return Err(Error::CheckedJustNow(BETWEEN_CHECKS - since));
            }
            *checked = Some(Instant::now());
        }
        let (began, mut news) = (time::now(), self.0.news.subscribe());
        let asked = self.0.checks.receiver_count();
        self.0.checks.send_replace(());
        let expected = self.expected(began);
        let missing = || {
            let state = self.state();
            let answered = |instance: &&String| {
                state.told.get(*instance).is_none_or(|told| told.stopping || told.at > began)
            };
            expected.iter().filter(|instance| !answered(instance)).cloned().collect::<Vec<_>>()
        };
        let everybody = async { while !missing().is_empty() && news.changed().await.is_ok() {} };
        if asked > 0 {
            let _ = tokio::time::timeout(CHECK, everybody).await;
        }
        let missing = missing();
        let processes = u32::try_from(expected.len() - missing.len()).unwrap_or(u32::MAX);
        Ok(Checked { picture: self.picture(time::now()), processes, missing })
    }

    /// Processes that said something of late and go on.
    fn expected(&self, now: Time) -> Vec<String> {
        let state = self.state();
        let live = state.told.values().filter(|told| !told.stopping && age(told.at, now) < STALE);
        live.map(|told| told.instance.clone()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long ago something was.
pub(crate) fn age(at: Time, now: Time) -> Duration {
    Duration::from_micros(u64::try_from(now.0.saturating_sub(at.0)).unwrap_or(0))
}
