//! How a request went until it was answered: what its record says beside what was used.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// How a request went. Where nothing is known of a thing it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Course {
    /// 32 hexadecimal digits.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) trace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) priority: String,
    /// Requests that waited for the same model when it came.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) waiting: u32,
    /// Engines that gave no answer, or no whole one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) failed: Vec<Attempt>,
    /// From acceptance until the record's engine was asked; `None` where that is the last of `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) asked_after: Option<Duration>,
    /// Why it was not answered whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    /// The hard budgets of whose leases it was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) budgets: Vec<Uuid>,
}

/// One engine that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) engine: String,
    /// What came of it.
    pub(crate) ended: String,
    /// From acceptance until it was asked.
    pub(crate) asked_after: Duration,
    pub(crate) duration: Duration,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_none(count: &u32) -> bool {
    *count == 0
}
