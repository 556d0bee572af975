//! Settings of calls to engines that several callers share.

use serde::Deserialize;
use std::time::Duration;

/// How texts of several callers share one call for their vectors.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Joint {
    /// Whether they do.
    pub enabled: bool,
    /// Shared calls at once in this gateway. While there are so many, more gather for each.
    pub at_once: usize,
    /// Texts of one call at most: as many as vLLM computes side by side unless told otherwise.
    pub texts: usize,
    /// A call is to take no longer than this, by what its engine took of late: whoever comes while it is under way waits
    /// for it.
    #[serde(with = "humantime_serde")]
    pub span: Duration,
    /// Whether engines are asked how many tokens a text has (`/tokenize`) while it waits for others.
    pub count: bool,
}

impl Default for Joint {
    fn default() -> Self {
        Self { enabled: true, at_once: 20, texts: 256, span: Duration::from_millis(100), count: true }
    }
}

impl Joint {
    pub(super) fn validate(&self, faults: &mut Vec<String>) {
        for (key, value) in [("at_once", self.at_once), ("texts", self.texts)] {
            if !(1..=10_000).contains(&value) {
                faults.push(format!("inference.joint.{key}: must be from 1 to 10000"));
            }
        }
        if !(Duration::from_millis(1)..=Duration::from_secs(10)).contains(&self.span) {
            faults.push("inference.joint.span: must be from 1ms to 10s".to_owned());
        }
    }
}
