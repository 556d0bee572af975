//! AuditService: the log of events, and the past that is folded from it.

mod past;

use super::{Api, instant};
use crate::{
    audit::{self, Progress},
    error::Error,
    field,
    history::{self, Cursor, Facts, Moment, Point},
    list::Page,
    pump::pump,
    store::events::{self, Place, Stored},
};
use futures_util::{Stream, StreamExt};
use policy::{ModelId, Revision, UserId};
use proto::{
    common::v1 as common,
    permissions::v1::{self as pb, audit_service_server::AuditService},
};
use shared::{
    db::Db,
    event::{
        serve::{self, Asked},
        wire as events_wire,
    },
    time, wire,
};
use std::pin::Pin;
use tonic::{Request, Response, Status};

/// Longest text of a filter.
const TEXT: usize = 200;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AuditService for Api {
    type ExportEventsStream = Answers<pb::ExportEventsResponse>;
    type VerifyChainStream = Answers<pb::VerifyChainResponse>;

    async fn list_events(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        let pb::ListEventsRequest { filter, oldest_first, page_size, page_token } = request.into_inner();
        let asked =
            common::ListEventsRequest { filter, oldest_first, page_size, page_token, ..Default::default() };
        let page = list(&self.db, asked).await?;
        let earliest = events::oldest(&self.db).await.map_err(Error::from)?;
        Ok(Response::new(pb::ListEventsResponse {
            events: page.events,
            next_page_token: page.next_page_token,
            earliest_revision: earliest.map_or(0, Revision::get),
        }))
    }

    async fn get_event(
        &self,
        request: Request<pb::GetEventRequest>,
    ) -> Result<Response<pb::GetEventResponse>, Status> {
        let pb::GetEventRequest { revision, ordinal } = request.into_inner();
        let place = Place { revision: Revision(revision), ordinal };
        let stored = audit::get(&self.db, place).await?;
        Ok(Response::new(pb::GetEventResponse { event: Some(event(&stored)) }))
    }

    async fn export_events(
        &self,
        request: Request<pb::ExportEventsRequest>,
    ) -> Result<Response<Self::ExportEventsStream>, Status> {
        let request = request.into_inner();
        let revision = Revision(request.after_revision);
        let after = Place { revision, ordinal: request.after_ordinal.unwrap_or(u32::MAX) };
        let filter = serve::filter(request.filter.unwrap_or_default())?;
        let events = audit::export(self.db.clone(), filter, after).await?;
        let answer = |stored| pb::ExportEventsResponse { event: Some(event(&stored)) };
        Ok(Response::new(Box::pin(pump(events.map(move |item| item.map(answer).map_err(Status::from))))))
    }

    async fn verify_chain(
        &self,
        request: Request<pb::VerifyChainRequest>,
    ) -> Result<Response<Self::VerifyChainStream>, Status> {
        let pb::VerifyChainRequest { from_revision, to_revision } = request.into_inner();
        let (from, to) = (Revision(from_revision), Revision(to_revision));
        let progress = audit::verify(self.db.clone(), from, to).await?;
        Ok(Response::new(Box::pin(pump(progress.map(|item| item.map(Into::into).map_err(Status::from))))))
    }

    async fn get_state_at(
        &self,
        request: Request<pb::GetStateAtRequest>,
    ) -> Result<Response<pb::GetStateAtResponse>, Status> {
        let request = request.into_inner();
        let moment = self.history.moment(past::state_point(request.at)?, time::now()).await?;
        let which = Facts { kind: text("kind", request.kind)?, id: text("id", request.id)? };
        let described = format!("state {} {which:?}", moment.revision);
        let page = Page::long(described, request.page_size, &request.page_token)?;
        Ok(Response::new(past::state(&self.history, moment, which, &page).await?))
    }

    async fn check_at(
        &self,
        request: Request<pb::CheckAtRequest>,
    ) -> Result<Response<pb::CheckAtResponse>, Status> {
        let request = request.into_inner();
        let (user, model) = pair(&request.user_id, &request.model_id)?;
        let action = wire::action_from_proto(request.action);
        let action = action.ok_or_else(|| Error::invalid("action", "must be USE or MANAGE"))?;
        let moment = self.history.moment(past::check_point(request.at)?, time::now()).await?;
        let state = self.history.state(moment.revision).await?;
        Ok(Response::new(past::decision(state.policy.check(user, model, action, moment.at), moment)))
    }

    async fn diff_permissions(
        &self,
        request: Request<pb::DiffPermissionsRequest>,
    ) -> Result<Response<pb::DiffPermissionsResponse>, Status> {
        let request = request.into_inner();
        let scope = history::Scope {
            user: field::optional_id("user_id", &request.user_id)?,
            model: field::optional_id("model_id", &request.model_id)?,
        };
        let described = format!("diff {:?} {:?} {scope:?}", request.from, request.to);
        let now = time::now();
        let from = self.history.moment(past::from_point(request.from)?, now).await?;
        let to = self.history.moment(past::to_point(request.to)?, now).await?;
        in_order(from, to)?;
        let page =
            Page::long(format!("{described} {}", to.revision), request.page_size, &request.page_token)?;
        let (found, last) = history::diff(&self.history, (from, to), scope, &page).await?;
        Ok(Response::new(pb::DiffPermissionsResponse {
            differences: found.into_iter().map(Into::into).collect(),
            next_page_token: last.map(|last| page.token(&last)).unwrap_or_default(),
        }))
    }

    async fn get_access_history(
        &self,
        request: Request<pb::GetAccessHistoryRequest>,
    ) -> Result<Response<pb::GetAccessHistoryResponse>, Status> {
        let request = request.into_inner();
        let (user, model) = pair(&request.user_id, &request.model_id)?;
        let page = Page::long(format!("access {user} {model}"), 0, &request.page_token)?;
        let from = Some(page.after()).filter(|after| !after.is_empty());
        let from = from.map(Cursor::read).transpose()?;
        let (intervals, next) = history::access(&self.history, user, model, from, time::now()).await?;
        let next = next.map(|cursor| serde_json::to_string(&cursor)).transpose();
        let next = next.map_err(|error| Error::from(crate::store::StoreError::from(error)))?;
        Ok(Response::new(pb::GetAccessHistoryResponse {
            intervals: intervals.into_iter().map(Into::into).collect(),
            next_page_token: next.map(|cursor| page.token(&cursor)).unwrap_or_default(),
            earliest_revision: self.history.earliest().await?.get(),
        }))
    }
}

/// One page of the log, for whoever asks in which way.
pub(super) async fn list(
    db: &Db,
    asked: common::ListEventsRequest,
) -> Result<common::ListEventsResponse, Status> {
    let asked = Asked::read(asked)?;
    let limit = i64::from(asked.limit());
    let rows = events::list(db, &asked.filter, asked.beyond, asked.newest_first, limit).await;
    Ok(asked.answer(rows.map_err(Error::from)?.iter().map(event).collect()))
}

/// One event.
pub(super) fn event(stored: &Stored) -> common::Event {
    events_wire::to_proto("permissions", &stored.event, stored.link)
}

fn pair(user: &str, model: &str) -> Result<(UserId, ModelId), Error> {
    Ok((field::id("user_id", user)?, field::id("model_id", model)?))
}

fn in_order(from: Moment, to: Moment) -> Result<(), Error> {
    if from.revision > to.revision || from.at > to.at {
        return Err(Error::invalid("to", "must not lie before from"));
    }
    if to.revision.get() - from.revision.get() > history::SPAN {
        let problem = format!("must lie at most {} revisions after from; ask in steps", history::SPAN);
        return Err(Error::invalid("to", problem));
    }
    Ok(())
}

fn text(field: &'static str, text: String) -> Result<String, Error> {
    field::text(field, text, TEXT)
}

/// A point of a request.
fn point(
    field: &'static str,
    revision: Option<u64>,
    at: Option<prost_types::Timestamp>,
) -> Result<Option<Point>, Error> {
    if let Some(revision) = revision {
        return Ok(Some(Point::Revision(Revision(revision))));
    }
    Ok(instant(field, at.as_ref())?.map(Point::Time))
}

impl From<Progress> for pb::VerifyChainResponse {
    fn from(progress: Progress) -> Self {
        use audit::Problem;
        let fault = progress.fault.map(|fault| pb::verify_chain_response::Fault {
            revision: fault.place.revision.get(),
            ordinal: fault.place.ordinal,
            problem: i32::from(match fault.problem {
                Problem::Missing => pb::ChainProblem::Missing,
                Problem::Inserted => pb::ChainProblem::Inserted,
                Problem::Changed => pb::ChainProblem::Changed,
                Problem::LinkChanged => pb::ChainProblem::LinkChanged,
                Problem::LinkMissing => pb::ChainProblem::LinkMissing,
                Problem::HeadChanged => pb::ChainProblem::HeadChanged,
            }),
        });
        Self {
            checked: progress.checked,
            unchained: progress.unchained,
            revision: progress.last.revision.get(),
            ordinal: progress.last.ordinal,
            finished: progress.finished,
            fault,
        }
    }
}
