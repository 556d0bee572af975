//! Points, states and differences of the past, from and to the contract.

use super::point;
use crate::{
    error::Error,
    history::{self, Cause, Difference, Facts, History, Interval, Moment, Point},
    list::Page,
};
use policy::{Change, Decision, GrantId};
use proto::permissions::v1 as pb;
use shared::{page::PageError, time, wire};

pub(super) fn state_point(at: Option<pb::get_state_at_request::At>) -> Result<Option<Point>, Error> {
    use pb::get_state_at_request::At;
    match at {
        Some(At::Revision(revision)) => point("revision", Some(revision), None),
        Some(At::Time(time)) => point("time", None, Some(time)),
        None => Ok(None),
    }
}

pub(super) fn check_point(at: Option<pb::check_at_request::At>) -> Result<Option<Point>, Error> {
    use pb::check_at_request::At;
    match at {
        Some(At::Revision(revision)) => point("revision", Some(revision), None),
        Some(At::Time(time)) => point("time", None, Some(time)),
        None => Ok(None),
    }
}

pub(super) fn from_point(from: Option<pb::diff_permissions_request::From>) -> Result<Option<Point>, Error> {
    use pb::diff_permissions_request::From;
    match from {
        Some(From::FromRevision(revision)) => point("from_revision", Some(revision), None),
        Some(From::FromTime(time)) => point("from_time", None, Some(time)),
        None => Err(Error::invalid("from", "is needed: a revision or a time")),
    }
}

pub(super) fn to_point(to: Option<pb::diff_permissions_request::To>) -> Result<Option<Point>, Error> {
    use pb::diff_permissions_request::To;
    match to {
        Some(To::ToRevision(revision)) => point("to_revision", Some(revision), None),
        Some(To::ToTime(time)) => point("to_time", None, Some(time)),
        None => Ok(None),
    }
}

/// The counts, and one page of the facts of a kind.
pub(super) async fn state(
    history: &History,
    moment: Moment,
    which: Facts,
    page: &Page,
) -> Result<pb::GetStateAtResponse, Error> {
    let state = history.state(moment.revision).await?;
    let first: usize = match page.after() {
        "" => 0,
        after => after.parse().map_err(|_| Error::page(PageError::Token))?,
    };
    let (counts, found) = history::beside(move || history::facts(&state.policy, &which)).await?;
    let size = usize::try_from(page.limit() - 1).unwrap_or(usize::MAX);
    let end = first.saturating_add(size).min(found.len());
    let next = (end < found.len()).then(|| page.token(&end.to_string()));
    Ok(pb::GetStateAtResponse {
        revision: moment.revision.get(),
        time: Some(time::to_proto(moment.at)),
        counts: counts.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect(),
        facts: found.get(first..end).unwrap_or_default().iter().map(fact).collect(),
        next_page_token: next.unwrap_or_default(),
    })
}

/// A fact without what a key is found by.
fn fact(change: &Change) -> pb::PolicyChange {
    let mut fact = wire::change_to_proto(change);
    if let Some(pb::policy_change::Change::PutKey(key)) = &mut fact.change {
        key.key_hash.clear();
        key.previous.iter_mut().for_each(|old| old.key_hash.clear());
    }
    fact
}

pub(super) fn decision(decision: Decision, moment: Moment) -> pb::CheckAtResponse {
    pb::CheckAtResponse {
        verdict: verdict(decision.allowed),
        reason: decision.reason.as_str().to_owned(),
        grant_id: decision.grant.as_ref().map(GrantId::to_string).unwrap_or_default(),
        valid_until: decision.valid_until.map(time::to_proto),
        revision: moment.revision.get(),
        time: Some(time::to_proto(moment.at)),
    }
}

fn verdict(allowed: bool) -> i32 {
    if allowed { pb::Verdict::Allowed.into() } else { pb::Verdict::Denied.into() }
}

impl From<Cause> for pb::PermissionCause {
    fn from(cause: Cause) -> Self {
        let (revision, ordinal) = cause.event.unwrap_or_default();
        Self { time: Some(time::to_proto(cause.at)), revision, ordinal }
    }
}

impl From<Difference> for pb::PermissionDifference {
    fn from(difference: Difference) -> Self {
        Self {
            user_id: difference.question.user.to_string(),
            model_id: difference.question.model.to_string(),
            action: wire::action_to_proto(difference.question.action).into(),
            verdict: verdict(difference.gained),
            cause: difference.cause.map(Into::into),
        }
    }
}

impl From<Interval> for pb::AccessInterval {
    fn from(interval: Interval) -> Self {
        Self {
            action: wire::action_to_proto(interval.action).into(),
            begin: interval.begin.map(Into::into),
            end: interval.end.map(Into::into),
        }
    }
}
