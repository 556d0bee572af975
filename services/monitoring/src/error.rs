//! What can go wrong here, and what a caller is told of it. Reasons are listed in `docs/errors.md`.

use shared::{
    db::retry_after,
    status::{Fault, IntoStatus},
};
use tonic::{Code, Status};
use tonic_types::ErrorDetails;

/// A field that is not as the contract wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The path of the field, such as `records[3].usage_id`.
    pub(crate) field: String,
    /// What it must be.
    pub(crate) problem: String,
}

impl Violation {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }

    /// The same, where the field is part of `outer`.
    pub(crate) fn within(self, outer: &str) -> Self {
        Self { field: format!("{outer}.{}", self.field), ..self }
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The request is malformed.
    #[error("{}", .0.first().map(|first| format!("{}: {}", first.field, first.problem)).unwrap_or_default())]
    Invalid(Vec<Violation>),
    /// The caller's role shows it its own usage alone.
    #[error("your role shows you your own usage alone: leave user_id out, or ask an owner, admin or auditor")]
    OthersUsage,
    /// The id that the caller gave the request was given to another one before.
    #[error("this request_id was used for another request; use a new one for each")]
    RequestReused,
    /// There is no such record.
    #[error("the ledger has no record of this usage_id and attempt")]
    NoRecord,
    /// A line could not be written.
    #[error("a record could not be written as a line; nothing is wrong with the ledger")]
    Unwritable,
    /// The database is away, busy or refuses.
    #[error("the usage ledger cannot be reached; send the request again in a moment")]
    Store(#[source] sqlx::Error),
    /// A row holds something that this version does not understand.
    #[error("the usage ledger holds something that this version does not understand; upgrade or repair it")]
    Corrupt(#[source] sqlx::Error),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => Self::Corrupt(error),
            error => Self::Store(error),
        }
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Invalid(vec![violation])
    }
}

impl IntoStatus for Error {
    fn fault(&self) -> Fault {
        match self {
            Self::Invalid(_) => Fault::new(Code::InvalidArgument, "INVALID_FIELD"),
            Self::OthersUsage => Fault::new(Code::PermissionDenied, "USAGE_OF_OTHERS"),
            Self::RequestReused => Fault::new(Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED"),
            Self::NoRecord => Fault::new(Code::NotFound, "USAGE_RECORD_NOT_FOUND"),
            Self::Unwritable => Fault::new(Code::Internal, "EXPORT_FAILED"),
            Self::Store(error) => Fault::retry(Code::Unavailable, "STORE_UNAVAILABLE", retry_after(error)),
            Self::Corrupt(_) => Fault::new(Code::Internal, "STORE_CORRUPT"),
        }
    }

    fn describe(&self, details: &mut ErrorDetails) {
        if let Self::Invalid(violations) = self {
            for violation in violations {
                details.add_bad_request_violation(&violation.field, &violation.problem);
            }
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        error.into_status()
    }
}
