//! What can go wrong here, and what a caller is told of it. Reasons are listed in `docs/errors.md`.

use scaling::State;
use shared::{
    db::retry_after,
    status::{Fault, IntoStatus},
};
use std::time::Duration;
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
    /// Nothing is known of such a request.
    #[error(
        "nothing is known of a request with this id: it has not ended yet, was refused longer than a day ago, or is \
         somebody else's"
    )]
    NoRequest,
    /// There is no such budget.
    #[error("there is no such budget; ListBudgets shows those there are")]
    NoBudget,
    /// The budget is not as it was read.
    #[error("the budget was changed since it was read: read it again, and decide again")]
    BudgetChanged,
    /// The leases of this gateway were ended for good.
    #[error(
        "the leases of this process were ended: restart the gateway, and it will lease under another name"
    )]
    GatewayEnded,
    /// A line could not be written.
    #[error("a record could not be written as a line; nothing is wrong with the ledger")]
    Unwritable,
    /// An instance that is not what the call takes it for.
    #[error("instance `{0}` {1}")]
    Instance(String, Ended),
    /// A move whose number is not the next one.
    #[error("the instance has made {version} moves of this epoch; the next one has the number {}", version + 1)]
    OutOfTurn {
        /// How many moves were made.
        version: u64,
    },
    /// A move that is never made.
    #[error("an instance that is {from} does not become {to}")]
    IllegalMove {
        /// Where it is.
        from: State,
        /// Where it should have gone.
        to: State,
    },
    /// Others changed the same thing again and again meanwhile.
    #[error("others change the same at this moment; send it again")]
    Busy,
    /// Nobody has said anything of a pool of late.
    #[error("nothing is known of the pool `{pool}` at the moment: {problem}")]
    Stale {
        /// The pool.
        pool: String,
        /// Who is missing.
        problem: &'static str,
    },
    /// It has changed since it was read.
    #[error("it has changed since it was read; read it again and decide again")]
    Etag,
    /// A name that services measure, or that is known for another kind.
    #[error(
        "this name is measured by services, or is known for another kind of value: record it under another name"
    )]
    Measured,
    /// Everything was looked at a moment ago.
    #[error("everything was looked at just now; wait a moment, or ask how it is without a check")]
    CheckedJustNow(Duration),
    /// There is no room for another series.
    #[error("there are as many series as may be; record fewer different labels")]
    Full,
    /// Too many numbers would have to be looked at.
    #[error("this is too much at once: pick fewer series, a shorter time or a longer step")]
    TooMuch,
    /// Something that cannot be computed of such series.
    #[error("{}", unfit(.0))]
    Unfit(series::Unfit),
    /// What the request names is not there.
    #[error("there is no {what} {id}")]
    Missing {
        /// What it would be.
        what: &'static str,
        /// Its name.
        id: String,
    },
    /// Nobody can know of what is not so.
    #[error("the alert does not fire: there is nothing to acknowledge")]
    NotFiring,
    /// It has ended.
    #[error("the silence is over")]
    SilenceOver,
    /// The database is away, busy or refuses.
    #[error("the usage ledger cannot be reached; send the request again in a moment")]
    Store(#[source] sqlx::Error),
    /// A row holds something that this version does not understand.
    #[error("the usage ledger holds something that this version does not understand; upgrade or repair it")]
    Corrupt(#[source] sqlx::Error),
}

/// Why an instance is not what a call takes it for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ended {
    /// Nobody knows it.
    #[error("is not registered")]
    Unknown,
    /// It was registered again since.
    #[error("was registered again since; whoever did that reports for it now")]
    Replaced,
    /// It is terminated.
    #[error("is terminated; register it again when it lives")]
    Over,
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => Self::Corrupt(error),
            error => Self::Store(error),
        }
    }
}

impl From<series::Unfit> for Error {
    fn from(unfit: series::Unfit) -> Self {
        Self::Unfit(unfit)
    }
}

fn unfit(unfit: &series::Unfit) -> String {
    let (what, such) = match unfit.kind {
        series::Kind::Gauge => ("a gauge", "last, min, max or mean"),
        series::Kind::Counter => ("a counter", "rate or increase"),
        series::Kind::Histogram => ("a histogram", "quantile, mean, rate or increase"),
    };
    format!("this is {what}: ask for its {such}")
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
            Self::NoRequest => Fault::new(Code::NotFound, "REQUEST_NOT_FOUND"),
            Self::NoBudget => Fault::new(Code::NotFound, "BUDGET_NOT_FOUND"),
            Self::BudgetChanged => Fault::new(Code::Aborted, "BUDGET_CHANGED"),
            Self::GatewayEnded => Fault::new(Code::FailedPrecondition, "GATEWAY_ENDED"),
            Self::Unwritable => Fault::new(Code::Internal, "EXPORT_FAILED"),
            Self::Instance(_, Ended::Unknown) => Fault::new(Code::NotFound, "INSTANCE_NOT_FOUND"),
            Self::Instance(_, Ended::Replaced) => Fault::new(Code::Aborted, "INSTANCE_REPLACED"),
            Self::Instance(_, Ended::Over) => Fault::new(Code::FailedPrecondition, "INSTANCE_ENDED"),
            Self::OutOfTurn { .. } => Fault::new(Code::Aborted, "MOVE_OUT_OF_TURN"),
            Self::IllegalMove { .. } => Fault::new(Code::FailedPrecondition, "ILLEGAL_MOVE"),
            Self::Busy => Fault::retry(Code::Aborted, "CHANGED_MEANWHILE", Duration::from_millis(100)),
            Self::Stale { .. } => Fault::retry(Code::Unavailable, "SCALING_STALE", Duration::from_secs(15)),
            Self::Etag => Fault::new(Code::Aborted, "ETAG_MISMATCH"),
            Self::Measured => Fault::new(Code::FailedPrecondition, "METRIC_IS_MEASURED"),
            Self::Full => Fault::new(Code::ResourceExhausted, "TOO_MANY_SERIES"),
            Self::CheckedJustNow(wait) => Fault::retry(Code::ResourceExhausted, "CHECKED_JUST_NOW", *wait),
            Self::TooMuch => Fault::new(Code::InvalidArgument, "QUERY_TOO_LARGE"),
            Self::Unfit(_) => Fault::new(Code::InvalidArgument, "METRIC_OF_OTHER_KIND"),
            Self::Missing { .. } => Fault::new(Code::NotFound, "NOT_FOUND"),
            Self::NotFiring => Fault::new(Code::FailedPrecondition, "ALERT_NOT_FIRING"),
            Self::SilenceOver => Fault::new(Code::FailedPrecondition, "SILENCE_OVER"),
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

impl From<Violation> for Status {
    fn from(violation: Violation) -> Self {
        Error::from(violation).into()
    }
}
