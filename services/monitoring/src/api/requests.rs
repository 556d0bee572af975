//! `RequestService`, call by call.

use super::{Api, course, field, record};
use crate::{
    error::{Error, Violation},
    usage::restrict::restrict,
    why::{
        Story,
        refusals::{self, Refusal},
        why,
    },
};
use policy::UserId;
use proto::monitoring::v1 as pb;
use shared::{auth::RequestExt, time};
use std::time::Duration;
use tonic::{Request, Response, Status};

/// Refusals in one call.
const MAX_REFUSALS: usize = 1_000;
/// Longest texts of a refusal, in characters.
const MAX_ROUTE: usize = 200;
const MAX_MESSAGE: usize = 1_000;

#[tonic::async_trait]
impl pb::request_service_server::RequestService for Api {
    async fn why_request(
        &self,
        request: Request<pb::WhyRequestRequest>,
    ) -> Result<Response<pb::WhyRequestResponse>, Status> {
        let user = restrict(&request.caller()?, None)?;
        let id = named(request.into_inner().request_id)?;
        let stories = why(&self.db, &id, user).await?;
        Ok(Response::new(pb::WhyRequestResponse { stories: stories.into_iter().map(Into::into).collect() }))
    }

    async fn record_refusals(
        &self,
        request: Request<pb::RecordRefusalsRequest>,
    ) -> Result<Response<pb::RecordRefusalsResponse>, Status> {
        let refusals = read(request.into_inner().refusals)?;
        let recorded = refusals::record(&self.db, &refusals).await?;
        let recorded = u32::try_from(recorded).unwrap_or(u32::MAX);
        Ok(Response::new(pb::RecordRefusalsResponse { recorded }))
    }
}

fn named(id: String) -> Result<String, Violation> {
    if id.is_empty() {
        return Err(Violation::new("request_id", "is required"));
    }
    field::text("request_id", id, record::MAX_REQUEST_ID)
}

fn read(refusals: Vec<pb::Refusal>) -> Result<Vec<Refusal>, Error> {
    if !(1..=MAX_REFUSALS).contains(&refusals.len()) {
        return Err(Violation::new("refusals", format!("must be 1 to {MAX_REFUSALS}")).into());
    }
    let read = |(index, refusal): (usize, pb::Refusal)| {
        Refusal::try_from(refusal).map_err(|violation| violation.within(&format!("refusals[{index}]")))
    };
    Ok(refusals.into_iter().enumerate().map(read).collect::<Result<_, _>>()?)
}

impl TryFrom<pb::Refusal> for Refusal {
    type Error = Violation;

    fn try_from(message: pb::Refusal) -> Result<Self, Violation> {
        let start = message.start_time.as_ref().ok_or_else(|| Violation::new("start_time", "is required"))?;
        Ok(Self {
            id: field::id("refusal_id", &message.refusal_id)?,
            request_id: named(message.request_id)?,
            user: UserId(field::id("user_id", &message.user_id)?),
            api_key: field::optional_id("key_id", &message.key_id)?,
            route: field::text("route", message.route, MAX_ROUTE)?,
            model: field::text("model", message.model, record::MAX_MODEL)?,
            priority: field::text("priority", message.priority, course::MAX_WORD)?,
            waiting: message.waiting,
            reason: field::text("reason", message.reason, course::MAX_WORD)?,
            message: field::text("message", message.message, MAX_MESSAGE)?,
            start: field::instant("start_time", start)?,
            duration: field::duration("duration", message.duration.as_ref())?.unwrap_or(Duration::ZERO),
            trace: field::text("trace_id", message.trace_id, course::MAX_WORD)?,
        })
    }
}

impl From<&Refusal> for pb::Refusal {
    fn from(refusal: &Refusal) -> Self {
        Self {
            refusal_id: refusal.id.to_string(),
            request_id: refusal.request_id.clone(),
            user_id: refusal.user.to_string(),
            key_id: refusal.api_key.map(|key| key.to_string()).unwrap_or_default(),
            route: refusal.route.clone(),
            model: refusal.model.clone(),
            priority: refusal.priority.clone(),
            waiting: refusal.waiting,
            reason: refusal.reason.clone(),
            message: refusal.message.clone(),
            start_time: Some(time::to_proto(refusal.start)),
            duration: Some(time::duration_to_proto(refusal.duration)),
            trace_id: refusal.trace.clone(),
        }
    }
}

impl From<Story> for pb::RequestStory {
    fn from(story: Story) -> Self {
        Self {
            summary: story.summary(),
            record: story.told.kept().map(Into::into),
            refusal: story.told.refusal().map(Into::into),
            attempts: story.attempts().iter().map(Into::into).collect(),
            cost_unknown: story.cost_unknown().unwrap_or_default(),
            price: story.price.map(Into::into),
        }
    }
}
