//! What streams of imports have in common: how they begin, who they are of, and how far they have come.

use super::batches::item_status;
use crate::{
    error::Error,
    field,
    imports::{Failure, MOST, Progress},
    write::{Actor, Origin},
};
use proto::permissions::v1 as pb;
use shared::{
    auth::{Caller, RequestExt},
    time,
};
use tonic::{Request, Status};
use tonic_types::{ErrorDetails, StatusExt};
use uuid::Uuid;

/// An import that somebody sends.
pub(super) struct Import {
    caller: Caller,
    request_id: String,
    pub(super) id: Uuid,
    reason: String,
    pub(super) validate_only: bool,
}

impl Import {
    /// Of the caller and request; `id`, `reason` and `validate_only` are what its first message says.
    pub(super) fn new(
        (caller, request_id): (Caller, String),
        id: &str,
        reason: String,
        validate_only: bool,
    ) -> Result<Self, Error> {
        let id = field::id("begin.import_id", id)?;
        Ok(Self { caller, request_id, id, reason: field::reason(reason)?, validate_only })
    }

    /// Who takes the next part in, and when.
    pub(super) fn origin(&self) -> Origin {
        let own = Origin::own(Actor::Caller(self.caller.clone()), &self.reason, time::now());
        Origin { request_id: self.request_id.clone(), validate_only: self.validate_only, ..own }
    }
}

/// Who sends a stream, and in which request.
pub(super) fn sender<T>(request: &Request<T>) -> Result<(Caller, String), Status> {
    Ok((request.caller()?, super::request_id(request).to_owned()))
}

/// Refuses a part of no or too many rows.
pub(super) fn fits<T>(field: &'static str, rows: &[T]) -> Result<(), Error> {
    if rows.is_empty() || rows.len() > MOST {
        return Err(Error::invalid(field, format!("must be 1 to {MOST} in a part")));
    }
    Ok(())
}

impl From<Progress> for pb::ImportProgress {
    fn from(progress: Progress) -> Self {
        Self {
            import_id: progress.id.to_string(),
            next_offset: progress.next,
            created: progress.created,
            existing: progress.existing,
            failed: progress.failed,
            failures: progress.failures.into_iter().map(pb::ImportFailure::from).collect(),
            update_time: Some(time::to_proto(progress.at)),
        }
    }
}

impl From<Failure> for pb::ImportFailure {
    fn from(failure: Failure) -> Self {
        let mut details = ErrorDetails::with_error_info(failure.reason, "tollgate", []);
        if let Some((field, problem)) = failure.violation {
            details.add_bad_request_violation(field, problem);
        }
        let status = Status::with_error_details(failure.code.into(), failure.message, details);
        Self { offset: failure.offset, error: Some(item_status(&status)) }
    }
}
