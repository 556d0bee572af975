//! How a pool is used, and what was slow of late.

use super::Db;
use crate::{on, time};
use policy::Time;
use proto::monitoring::v1::DatabaseFigures;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A pool and its slow statements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Connections that are open.
    pub open: u32,
    /// Those of them that nobody uses.
    pub idle: u32,
    /// Connections that there may be.
    pub limit: u32,
    /// Different statements that were slow of late.
    pub slow_statements: u32,
    /// The longest of their last runs.
    pub slowest: Option<Duration>,
}

impl From<Figures> for DatabaseFigures {
    fn from(figures: Figures) -> Self {
        Self {
            connections_open: figures.open,
            connections_idle: figures.idle,
            connections_limit: figures.limit,
            slow_statements: figures.slow_statements,
            slowest: figures.slowest.map(time::duration_to_proto),
        }
    }
}

impl Figures {
    /// As they are now; what was slow longer ago than `lately` does not count.
    #[must_use]
    pub fn of(db: &Db, lately: Duration, now: Time) -> Self {
        let (open, idle, limit) = on!(db, |pool| {
            let pool = pool.unwatched();
            (pool.size(), pool.num_idle(), pool.options().get_max_connections())
        });
        let since = now.0.saturating_sub(i64::try_from(lately.as_micros()).unwrap_or(i64::MAX));
        let slow = db.slow_queries().into_iter().filter(|query| query.last_at.0 >= since);
        let slow: Vec<Duration> = slow.map(|query| query.last).collect();
        Self {
            open,
            idle: u32::try_from(idle).unwrap_or(u32::MAX),
            limit,
            slow_statements: u32::try_from(slow.len()).unwrap_or(u32::MAX),
            slowest: slow.into_iter().max(),
        }
    }
}
