//! How requests went, between the contract and the ledger.

use super::field;
use crate::{
    error::Violation,
    usage::course::{Attempt, Course},
};
use proto::monitoring::v1 as pb;
use shared::time;
use std::time::Duration;

/// Longest words, in characters: classes, reasons, ids of traces.
pub(super) const MAX_WORD: usize = 100;
/// Longest texts of an attempt, in characters.
const MAX_TEXT: usize = 500;
/// Engines that one request may have been tried at.
const MAX_ATTEMPTS: usize = 100;

impl TryFrom<pb::RequestCourse> for Course {
    type Error = Violation;

    fn try_from(message: pb::RequestCourse) -> Result<Self, Violation> {
        if message.failed.len() > MAX_ATTEMPTS {
            return Err(Violation::new("failed", format!("must be at most {MAX_ATTEMPTS}")));
        }
        Ok(Self {
            trace: field::text("trace_id", message.trace_id, MAX_WORD)?,
            priority: field::text("priority", message.priority, MAX_WORD)?,
            waiting: message.waiting,
            failed: message.failed.into_iter().map(Attempt::try_from).collect::<Result<_, _>>()?,
            asked_after: field::duration("asked_after", message.asked_after.as_ref())?,
            reason: field::text("reason", message.reason, MAX_WORD)?,
            budgets: Vec::new(),
        })
    }
}

impl TryFrom<pb::EngineAttempt> for Attempt {
    type Error = Violation;

    fn try_from(message: pb::EngineAttempt) -> Result<Self, Violation> {
        let duration =
            |field, given: Option<_>| Ok(field::duration(field, given.as_ref())?.unwrap_or(Duration::ZERO));
        Ok(Self {
            engine: field::text("engine", message.engine, MAX_TEXT)?,
            ended: field::text("ended", message.ended, MAX_TEXT)?,
            asked_after: duration("asked_after", message.asked_after)?,
            duration: duration("duration", message.duration)?,
        })
    }
}

impl From<&Course> for pb::RequestCourse {
    fn from(course: &Course) -> Self {
        Self {
            trace_id: course.trace.clone(),
            priority: course.priority.clone(),
            waiting: course.waiting,
            failed: course.failed.iter().map(Into::into).collect(),
            asked_after: course.asked_after.map(time::duration_to_proto),
            reason: course.reason.clone(),
            budget_ids: course.budgets.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<&Attempt> for pb::EngineAttempt {
    fn from(attempt: &Attempt) -> Self {
        Self {
            engine: attempt.engine.clone(),
            ended: attempt.ended.clone(),
            asked_after: Some(time::duration_to_proto(attempt.asked_after)),
            duration: Some(time::duration_to_proto(attempt.duration)),
        }
    }
}
