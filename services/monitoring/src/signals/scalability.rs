//! How far the installation is from its limits, and how much goes on at once, from what services measure.

use super::{STANDING, Signals, score::Load, system};
use policy::Time;
use series::{Across, Labels, Over, Query, Selector};
use shared::limits::Thresholds;
use std::collections::BTreeMap;

/// Requests of one engine at once.
#[derive(Debug, Default)]
pub(crate) struct EngineHolds {
    /// Its URL.
    pub(crate) engine: String,
    /// Requests that gateways have there.
    pub(crate) in_flight: Option<f64>,
    /// The most that they may have there.
    pub(crate) limit: Option<f64>,
}

/// Everything that goes on at once. What was not measured is `None`, or not there.
#[derive(Debug)]
pub(crate) struct Concurrency {
    /// By URL.
    pub(crate) engines: Vec<EngineHolds>,
    /// Requests that wait, by class.
    pub(crate) waiting: BTreeMap<String, f64>,
}

/// What the score is made of.
pub(crate) fn load(signals: &Signals, thresholds: &Thresholds, now: Time) -> Load {
    let machines = system::readings(signals, thresholds, now).into_iter().map(|reading| reading.level).max();
    // A session that calls several services is one; replicas of a service share its sessions among them.
    let sessions = last(signals, "tollgate_sessions_active", Across::Sum, &["service"], now);
    // Every gateway counts all jobs.
    let jobs = last(signals, "tollgate_jobs_open", Across::Max, &["state"], now);
    Load {
        sessions: sessions.into_values().reduce(f64::max).map(whole),
        machines,
        jobs: jobs.into_values().reduce(|sum, more| sum + more).map(whole),
    }
}

/// What goes on at once, as services said it last.
pub(crate) fn concurrency(signals: &Signals, now: Time) -> Concurrency {
    let by = |name: &str, label: &str| -> BTreeMap<String, f64> {
        let found = last(signals, name, Across::Sum, &[label], now);
        let named = |labels: &Labels| labels.get(label).unwrap_or_default().to_owned();
        found.iter().map(|(labels, value)| (named(labels), *value)).collect()
    };
    let mut engines: BTreeMap<String, EngineHolds> = BTreeMap::new();
    for (engine, requests) in by("tollgate_engine_in_flight", "engine") {
        engines.entry(engine).or_default().in_flight = Some(requests);
    }
    for (engine, most) in by("tollgate_engine_in_flight_limit", "engine") {
        engines.entry(engine).or_default().limit = Some(most);
    }
    let engines = engines.into_iter().map(|(engine, holds)| EngineHolds { engine, ..holds });
    Concurrency { engines: engines.collect(), waiting: by("tollgate_queue_requests", "tollgate_class") }
}

/// What gauges said last, by these labels.
fn last(signals: &Signals, name: &str, across: Across, by: &[&str], now: Time) -> BTreeMap<Labels, f64> {
    let series = signals.recent(&Selector::named(name), now, STANDING);
    let by = by.iter().map(|label| (*label).into()).collect();
    let query = Query { over: Over::Last, across, by, window: STANDING };
    // What is of another kind than it should be says nothing.
    let answers = query.at(&series, signals.until(now)).unwrap_or_default();
    answers.into_iter().filter_map(|(labels, value)| Some((labels, value?))).collect()
}

fn whole(number: f64) -> u64 {
    number.round().max(0.0) as u64
}
