//! Answers to checks as they cross the wire.

use super::Outcome;
use crate::{check::Answer, error::Error, freshness::View};
use policy::GrantId;
use proto::permissions::v1::{self as pb, batch_check_response, check_stream_response};
use shared::time;
use tonic::Status;
use tonic_types::pb::Status as RpcStatus;

pub(super) fn check(answer: Answer, view: &View<'_>) -> pb::CheckResponse {
    let pb::CheckAnswer { verdict, reason, grant_id, valid_until } = answer.into();
    pb::CheckResponse { verdict, reason, grant_id, valid_until, token: view.token(), stale: view.stale }
}

pub(super) fn outcome(correlation_id: String, answered: Result<Answer, Error>) -> Outcome {
    use batch_check_response::result::Outcome as Wire;
    let outcome = match answered {
        Ok(answer) => Wire::Answer(answer.into()),
        Err(error) => Wire::Error(rpc_status(error)),
    };
    Outcome { correlation_id, outcome: Some(outcome) }
}

pub(super) fn of_stream(result: Outcome, view: &View<'_>) -> pb::CheckStreamResponse {
    use batch_check_response::result::Outcome as Wire;
    let outcome = result.outcome.map(|outcome| match outcome {
        Wire::Answer(answer) => check_stream_response::Outcome::Answer(answer),
        Wire::Error(status) => check_stream_response::Outcome::Error(status),
    });
    let (token, stale) = (view.token(), view.stale);
    pb::CheckStreamResponse { correlation_id: result.correlation_id, outcome, token, stale }
}

/// A check of a stream for which there was no state to answer from.
pub(super) fn failed(item: pb::CheckItem, error: Error) -> pb::CheckStreamResponse {
    pb::CheckStreamResponse {
        correlation_id: item.correlation_id,
        outcome: Some(check_stream_response::Outcome::Error(rpc_status(error))),
        ..Default::default()
    }
}

/// An error as a part of an answer: the status that it would have been, with its details.
fn rpc_status(error: Error) -> RpcStatus {
    use prost::Message;
    let status = Status::from(error);
    RpcStatus::decode(status.details()).unwrap_or_else(|_| RpcStatus {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

impl From<Answer> for pb::CheckAnswer {
    fn from(answer: Answer) -> Self {
        let Answer { decision, reason } = answer;
        let verdict = if decision.allowed { pb::Verdict::Allowed } else { pb::Verdict::Denied };
        Self {
            verdict: verdict.into(),
            reason: reason.to_owned(),
            grant_id: decision.grant.as_ref().map(GrantId::to_string).unwrap_or_default(),
            valid_until: decision.valid_until.map(time::to_proto),
        }
    }
}
