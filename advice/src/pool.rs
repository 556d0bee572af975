//! What was seen of a pool, hour by hour.

use crate::{Confidence, FEWEST_HOURS, TARGET, WEEK};
use std::collections::BTreeMap;

/// One hour of a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Hour {
    /// Instances that were up, and those of them on spot: parts of the hour count as parts.
    pub instances: f64,
    /// Of those, the ones that the cloud may take away.
    pub spot: f64,
    /// Weighted tokens that were done.
    pub work: f64,
}

/// A pool over some time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// GPUs of an instance, on the mean.
    pub gpus: f64,
    /// Dollars for a GPU and hour; on spot.
    pub price: Option<f64>,
    /// The same on spot.
    pub spot_price: Option<f64>,
    /// Weighted tokens that a GPU does in an hour when it is full.
    pub capacity: f64,
    /// Whether somebody said so; otherwise it is what its best hour came to.
    pub capacity_said: bool,
    /// The hours in which it had instances.
    pub hours: Vec<Hour>,
    /// What its cloud took away, and requests that were cut off by that.
    pub preemptions: u64,
    /// Requests that this cut off.
    pub cut_off: u64,
    /// Requests that it served.
    pub requests: u64,
    /// Weighted tokens by model.
    pub models: BTreeMap<String, f64>,
}

impl Pool {
    /// Instance-hours.
    pub(crate) fn instance_hours(&self) -> f64 {
        self.hours.iter().map(|hour| hour.instances).sum()
    }

    /// Instances that an hour needed: at least one, and so many that none was given more than [`TARGET`] of what it can do.
    pub(crate) fn needed(&self, hour: &Hour) -> f64 {
        let each = self.capacity * self.gpus * TARGET;
        if each > 0.0 { (hour.work / each).ceil().max(1.0) } else { hour.instances }
    }

    /// Why there is too little to advise anything, if so.
    pub(crate) fn lacks(&self) -> Option<String> {
        let seen = self.hours.len();
        if seen < FEWEST_HOURS {
            return Some(format!("it was seen for {seen} hours, and {FEWEST_HOURS} are needed"));
        }
        if self.gpus <= 0.0 {
            return Some("its agents report no GPUs".into());
        }
        if self.hours.iter().all(|hour| hour.work <= 0.0) {
            return Some("no request of the ledger was served by its engines".into());
        }
        None
    }

    /// How sure what follows from its hours is, and why.
    pub(crate) fn confidence(&self) -> (Confidence, String) {
        let seen = self.hours.len();
        let basis = match self.capacity_said {
            true => "what a GPU can do was said with its price",
            false => {
                "what a GPU can do is taken from the best hour of the pool, which may be less than it can"
            }
        };
        match (seen >= WEEK, self.capacity_said) {
            (true, true) => (Confidence::High, format!("{seen} hours were seen; {basis}")),
            (true, false) | (false, true) => (Confidence::Medium, format!("{seen} hours were seen; {basis}")),
            (false, false) => (Confidence::Low, format!("only {seen} hours were seen; {basis}")),
        }
    }
}
