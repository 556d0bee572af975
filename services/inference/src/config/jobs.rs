//! Settings of what runs in the background: jobs, batches, and their files.

use serde::Deserialize;
use shared::claims::{BackOff, Pace};
use std::time::Duration;

const MIB: u64 = 1024 * 1024;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Jobs and their workers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jobs {
    /// Single requests to models that run at once in this gateway.
    pub ai_tasks: usize,
    /// Batches that run at once in this gateway.
    pub bulk_tasks: usize,
    /// Reports and forecasts that run at once.
    pub analytics_tasks: usize,
    /// Messages that are sent at once.
    pub notification_tasks: usize,
    /// Jobs of one user that are not over; more are refused.
    pub waiting: u32,
    /// After so long without a word from its worker a job is taken by another.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// Between two looks at a queue when nothing is heard of it.
    #[serde(with = "humantime_serde")]
    pub look: Duration,
    /// Before the second attempt; twice as long before each further one.
    #[serde(with = "humantime_serde")]
    pub back_off: Duration,
    /// And at most.
    #[serde(with = "humantime_serde")]
    pub max_back_off: Duration,
    /// How long what came of jobs and batches is kept.
    #[serde(with = "humantime_serde")]
    pub keep_for: Duration,
}

/// Files of requests.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Batches {
    /// Lines of all batches of this gateway that are under way beyond what its engines hold just now.
    pub lines_waiting: usize,
    /// Lines of one file.
    pub max_lines: u32,
    /// How often a line is tried before it counts as failed; one that only waits for its turn is tried on.
    pub attempts: u32,
}

/// What callers upload, and what batches write.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Files {
    /// Largest file, in bytes.
    pub max_bytes: u64,
    /// All files of one user, in bytes.
    pub max_bytes_per_user: u64,
    /// How long a file is kept whose owner names no end.
    #[serde(with = "humantime_serde")]
    pub keep_for: Duration,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            ai_tasks: 16,
            bulk_tasks: 20,
            analytics_tasks: 4,
            notification_tasks: 4,
            waiting: 10_000,
            lease: Duration::from_secs(15),
            look: Duration::from_secs(1),
            back_off: Duration::from_secs(1),
            max_back_off: Duration::from_secs(60),
            keep_for: 7 * DAY,
        }
    }
}

impl Default for Batches {
    fn default() -> Self {
        Self { lines_waiting: 256, max_lines: 50_000, attempts: 5 }
    }
}

impl Default for Files {
    fn default() -> Self {
        Self { max_bytes: 200 * MIB, max_bytes_per_user: 2048 * MIB, keep_for: 30 * DAY }
    }
}

impl Jobs {
    /// The same for workers.
    #[must_use]
    pub const fn pace(&self) -> Pace {
        let back_off = BackOff { first: self.back_off, most: self.max_back_off };
        Pace { lease: self.lease, look: self.look, back_off, keep: self.keep_for }
    }

    pub(super) fn validate(&self, faults: &mut Vec<String>) {
        let places = [
            ("ai_tasks", self.ai_tasks),
            ("bulk_tasks", self.bulk_tasks),
            ("analytics_tasks", self.analytics_tasks),
            ("notification_tasks", self.notification_tasks),
        ];
        for (key, _) in places.into_iter().filter(|(_, places)| *places > 1_000) {
            faults.push(format!("inference.jobs.{key}: must be at most 1000"));
        }
        // What takes longer to be missed is not taken up within the 30 s that are promised.
        if !(Duration::from_secs(1)..=Duration::from_secs(25)).contains(&self.lease) {
            faults.push("inference.jobs.lease: must be from 1s to 25s".to_owned());
        }
        if !(Duration::from_millis(10)..=Duration::from_secs(5)).contains(&self.look) {
            faults.push("inference.jobs.look: must be from 10ms to 5s".to_owned());
        }
        if self.back_off.is_zero() || self.max_back_off < self.back_off {
            faults.push("inference.jobs.back_off: must be above 0s and at most max_back_off".to_owned());
        }
    }
}

impl Batches {
    pub(super) fn validate(&self, faults: &mut Vec<String>) {
        let positive = [
            ("lines_waiting", self.lines_waiting as u64),
            ("max_lines", self.max_lines.into()),
            ("attempts", self.attempts.into()),
        ];
        for (key, _) in positive.into_iter().filter(|(_, value)| *value == 0) {
            faults.push(format!("inference.batches.{key}: must be at least 1"));
        }
    }
}

impl Files {
    pub(super) fn validate(&self, faults: &mut Vec<String>) {
        if self.max_bytes == 0 || self.max_bytes > self.max_bytes_per_user {
            faults.push(
                "inference.files.max_bytes: must be at least 1 and at most max_bytes_per_user".to_owned(),
            );
        }
        if self.keep_for.is_zero() {
            faults.push("inference.files.keep_for: must be above 0s".to_owned());
        }
    }
}
