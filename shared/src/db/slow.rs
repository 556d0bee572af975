//! Statements that took too long: each is logged with its plan, counted, and kept in a list of bounded length.
//!
//! Only texts are kept, never values. The plan is asked for once per text, in a task of its own: the request that
//! was slow already does not wait for it.

use super::plan::{Explain, Plan};
use crate::{telemetry, time};
use opentelemetry::{KeyValue, metrics::Counter};
use policy::Time;
use sqlx::{Pool, SqlStr};
use std::{
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{runtime::Handle, task::JoinSet};

/// Different statements that are remembered.
const KEPT: usize = 100;
/// Plans asked for at once.
const EXPLAINED: usize = 2;
/// Longest time that asking for a plan may take, the wait for a connection included.
const PATIENCE: Duration = Duration::from_secs(5);

static COUNT: LazyLock<Counter<u64>> = LazyLock::new(|| {
    telemetry::meter()
        .u64_counter("tollgate.db.slow_queries")
        .with_description("Statements that took longer than the threshold")
        .build()
});

/// A statement that was slow at least once.
#[derive(Debug, Clone)]
pub struct SlowQuery {
    /// Its text, with placeholders for values.
    pub statement: String,
    /// Times that it was slow.
    pub count: u64,
    /// Its longest run.
    pub slowest: Duration,
    /// Its last slow run.
    pub last: Duration,
    /// When that was.
    pub last_at: Time,
    /// How the database finds its rows, once that is known.
    pub plan: Option<Plan>,
}

/// The slow statements of one database.
#[derive(Debug)]
pub(super) struct Slow {
    service: &'static str,
    after: Duration,
    list: Arc<List>,
    explaining: Mutex<JoinSet<()>>,
}

#[derive(Debug, Default)]
struct List(Mutex<Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    query: SlowQuery,
    asked: bool,
}

impl Slow {
    pub(super) fn new(service: &'static str, after: Duration) -> Self {
        Self { service, after, list: Arc::default(), explaining: Mutex::default() }
    }

    /// All of them, the slowest first.
    pub(super) fn list(&self) -> Vec<SlowQuery> {
        let mut queries: Vec<_> = self.list.entries().iter().map(|entry| entry.query.clone()).collect();
        queries.sort_by_key(|query| std::cmp::Reverse(query.slowest));
        queries
    }

    /// Notes a run that may have been slow.
    pub(super) fn note<D: Explain>(&self, pool: &Pool<D>, sql: &SqlStr, took: Duration) {
        if took < self.after {
            return;
        }
        COUNT.add(1, &[KeyValue::new("service", self.service)]);
        self.list.add(sql.as_str(), took, time::now());
        let explaining = self.list.wants_plan(sql.as_str()) && self.explain(pool, sql, took);
        if !explaining {
            self.list.log(sql.as_str(), took);
        }
    }

    /// Asks for the plan in the background and logs with it. Returns whether somebody does.
    fn explain<D: Explain>(&self, pool: &Pool<D>, sql: &SqlStr, took: Duration) -> bool {
        let Ok(runtime) = Handle::try_current() else { return false };
        let mut tasks = self.explaining.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        if tasks.len() >= EXPLAINED {
            return false;
        }
        let (pool, sql, list) = (pool.clone(), sql.clone(), Arc::clone(&self.list));
        list.asked(sql.as_str(), true);
        let task = async move {
            match tokio::time::timeout(PATIENCE, D::explain(&pool, sql.as_str())).await {
                Ok(Ok(plan)) => list.explained(sql.as_str(), plan),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the plan of a slow statement is not known");
                    list.asked(sql.as_str(), false);
                }
                Err(_) => list.asked(sql.as_str(), false),
            }
            list.log(sql.as_str(), took);
        };
        tasks.spawn_on(task, &runtime);
        true
    }
}

impl List {
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, sql: &str, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.entries().iter_mut().find(|entry| entry.query.statement == sql).map(change)
    }

    fn add(&self, sql: &str, took: Duration, now: Time) {
        let known = self.with(sql, |Entry { query, .. }| {
            query.count += 1;
            query.slowest = query.slowest.max(took);
            (query.last, query.last_at) = (took, now);
        });
        if known.is_some() {
            return;
        }
        let statement = sql.to_owned();
        let query = SlowQuery { statement, count: 1, slowest: took, last: took, last_at: now, plan: None };
        let mut entries = self.entries();
        if entries.len() >= KEPT {
            let oldest = entries.iter().enumerate().min_by_key(|(_, entry)| entry.query.last_at);
            if let Some((oldest, _)) = oldest {
                entries.swap_remove(oldest);
            }
        }
        entries.push(Entry { query, asked: false });
    }

    fn wants_plan(&self, sql: &str) -> bool {
        self.with(sql, |entry| !entry.asked && entry.query.plan.is_none()).unwrap_or(false)
    }

    fn asked(&self, sql: &str, asked: bool) {
        self.with(sql, |entry| entry.asked = asked);
    }

    fn explained(&self, sql: &str, plan: Plan) {
        self.with(sql, |entry| entry.query.plan = Some(plan));
    }

    fn log(&self, sql: &str, took: Duration) {
        let plan = self.with(sql, |entry| entry.query.plan.clone()).flatten().unwrap_or_default();
        let (hint, plan) = (plan.hint().unwrap_or_default(), plan.to_string());
        tracing::warn!(statement = sql, ?took, plan, hint, "slow statement");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_keeps_the_latest_hundred() {
        let list = List::default();
        for number in 0..150 {
            list.add(&format!("SELECT {number}"), Duration::from_secs(2), Time(number));
        }
        list.add("SELECT 149", Duration::from_secs(1), Time(150));
        let entries = list.entries();
        assert_eq!(entries.len(), KEPT);
        assert!(entries.iter().all(|entry| entry.query.last_at >= Time(50)));
        let twice = entries.iter().find(|entry| entry.query.statement == "SELECT 149").unwrap();
        let query = &twice.query;
        let expected = (2, Duration::from_secs(2), Duration::from_secs(1), Time(150));
        assert_eq!((query.count, query.slowest, query.last, query.last_at), expected);
    }
}
