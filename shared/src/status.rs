//! From a service's error to a gRPC status with google.rpc details.
//!
//! Each service has one error enum; what a caller may know of a variant is said once, in its
//! [`IntoStatus`] implementation. Reasons are stable and listed in `docs/errors.md`.

use crate::db;
use std::{collections::HashMap, time::Duration};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The `domain` of every ErrorInfo.
pub const DOMAIN: &str = "tollgate";

/// What a caller is told about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// gRPC code.
    pub code: Code,
    /// Stable reason in SCREAMING_CASE.
    pub reason: &'static str,
    /// When asking again may help.
    pub retry_after: Option<Duration>,
}

impl Fault {
    /// A fault that does not go away by asking again.
    #[must_use]
    pub const fn new(code: Code, reason: &'static str) -> Self {
        Self { code, reason, retry_after: None }
    }

    /// A fault that may be gone after a while.
    #[must_use]
    pub const fn retry(code: Code, reason: &'static str, after: Duration) -> Self {
        Self { code, reason, retry_after: Some(after) }
    }
}

/// An error that knows its status.
pub trait IntoStatus: std::error::Error + Sized {
    /// Code, reason and retry hint of this error.
    fn fault(&self) -> Fault;

    /// Adds what a caller can act on: fields, quotas, resources. Never driver text.
    fn describe(&self, _details: &mut ErrorDetails) {}

    /// What the log says of it: less than the message where that repeats what a caller sent.
    fn logged(&self) -> String {
        chain(self)
    }

    /// The status, with ErrorInfo always and RetryInfo where there is a hint.
    /// Ours are logged at `warn`, theirs at `debug`; so is what a database is spared, which said so when it failed.
    fn into_status(self) -> Status {
        let fault = self.fault();
        let mut details = ErrorDetails::with_error_info(fault.reason, DOMAIN, HashMap::new());
        if let Some(after) = fault.retry_after {
            details.set_retry_info(Some(after));
        }
        self.describe(&mut details);
        let spared = self.source().is_some_and(db::is_refusal);
        match fault.code {
            Code::Internal | Code::Unavailable | Code::DataLoss | Code::Unknown if !spared => {
                tracing::warn!(reason = fault.reason, error = self.logged(), "request failed");
            }
            _ => tracing::debug!(reason = fault.reason, error = self.logged(), "request refused"),
        }
        Status::with_error_details(fault.code, self.to_string(), details)
    }
}

/// A status of a layer, which has no error enum of its own.
#[must_use]
pub fn status(fault: Fault, message: impl Into<String>) -> Status {
    let mut details = ErrorDetails::with_error_info(fault.reason, DOMAIN, HashMap::new());
    if let Some(after) = fault.retry_after {
        details.set_retry_info(Some(after));
    }
    Status::with_error_details(fault.code, message, details)
}

/// The reason that a status carries, or the empty string.
#[must_use]
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// An error with its causes, for the log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
