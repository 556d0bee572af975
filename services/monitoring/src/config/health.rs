//! From where on what everything depends on counts as slow or full.

use serde::Deserialize;
use std::time::Duration;
use vitals::Bounds;

/// Settings under `monitoring.health`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// A database that takes so long to answer is degraded.
    #[serde(with = "humantime_serde")]
    pub database_slow: Duration,
    /// The same of Redis.
    #[serde(with = "humantime_serde")]
    pub redis_slow: Duration,
    /// Busy processors, in percent.
    pub cpu: Bounds,
    /// Used memory, in percent.
    pub memory: Bounds,
    /// Used part of the fullest disk, in percent.
    pub disk: Bounds,
}

impl Default for Health {
    fn default() -> Self {
        let full = Bounds { degraded: 80.0, critical: 95.0 };
        Self {
            database_slow: Duration::from_secs(1),
            redis_slow: Duration::from_millis(100),
            cpu: full,
            memory: full,
            disk: full,
        }
    }
}

impl Health {
    pub(super) fn validate(&self, faults: &mut Vec<String>) {
        for (name, bounds) in [("cpu", self.cpu), ("memory", self.memory), ("disk", self.disk)] {
            if !bounds.are_possible() {
                faults.push(format!(
                    "monitoring.health.{name}: degraded must be above 0, and critical not below it"
                ));
            }
        }
    }
}
