//! Settings of the log of events.

use serde::Deserialize;
use std::time::Duration;

/// Settings under `permissions.events`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Events {
    /// How long events are kept; zero: for ever. They go only once a checkpoint stands in for them.
    #[serde(with = "humantime_serde")]
    pub keep_for: Duration,
    /// A checkpoint is written after this many events.
    pub checkpoint_after: u32,
    /// A checkpoint is written after this time, when anything has changed.
    #[serde(with = "humantime_serde")]
    pub checkpoint_every: Duration,
    /// How often it is looked whether either is due.
    #[serde(with = "humantime_serde")]
    pub look_every: Duration,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            keep_for: Duration::from_secs(400 * 24 * 60 * 60),
            checkpoint_after: 10_000,
            checkpoint_every: Duration::from_secs(24 * 60 * 60),
            look_every: Duration::from_secs(60),
        }
    }
}

impl Events {
    pub(super) fn validate(&self, faults: &mut Vec<String>) {
        if !self.keep_for.is_zero() && self.keep_for < Duration::from_secs(60 * 60) {
            faults.push("permissions.events.keep_for: must be 0 or at least 1h".to_owned());
        }
        if self.checkpoint_after == 0 {
            faults.push("permissions.events.checkpoint_after: must be at least 1".to_owned());
        }
        if self.checkpoint_every < Duration::from_secs(60) {
            faults.push("permissions.events.checkpoint_every: must be at least 1m".to_owned());
        }
        if self.look_every < Duration::from_secs(1) {
            faults.push("permissions.events.look_every: must be at least 1s".to_owned());
        }
    }
}
