//! AuthorizationService: answered from memory.

mod answers;
mod change;
mod item;
mod shapes;

use super::{Api, asked, consistency, left};
use crate::{
    error::Error,
    field,
    freshness::{View, seal},
    list::Page,
    questions::{self, Place},
};
use futures_util::{Stream, StreamExt};
use policy::{Action, KeyHash, ModelId};
use proto::permissions::v1::{
    self as pb, authorization_service_server::AuthorizationService, batch_check_response::Result as Outcome,
};
use shared::{
    auth::{self, Caller, Credential, RequestExt},
    time, wire,
};
use std::{net::IpAddr, pin::Pin, time::Duration};
use tonic::{Request, Response, Status, Streaming};

/// Checks of one request.
const BATCH: usize = 1_000;
/// Checks of one stream that are under way at once.
const UNDERWAY: usize = 128;

#[tonic::async_trait]
impl AuthorizationService for Api {
    async fn check(&self, request: Request<pb::CheckRequest>) -> Result<Response<pb::CheckResponse>, Status> {
        let (caller, left, request) = (request.caller()?, left(&request), request.into_inner());
        let question = item::question(&caller, &item::of(&request))?;
        let moment = self.settle(request.consistency.as_ref(), left).await?;
        let view = moment.view(&self.tail)?;
        let answer = item::answer(&view, &caller, &question)?;
        Ok(sealed(&view, answers::check(answer, &view)))
    }

    async fn batch_check(
        &self,
        request: Request<pb::BatchCheckRequest>,
    ) -> Result<Response<pb::BatchCheckResponse>, Status> {
        let (caller, left, request) = (request.caller()?, left(&request), request.into_inner());
        if request.items.is_empty() || request.items.len() > BATCH {
            return Err(Error::invalid("items", "must be 1 to 1,000").into());
        }
        let moment = self.settle(request.consistency.as_ref(), left).await?;
        let view = moment.view(&self.tail)?;
        let results = request.items.into_iter().map(|item| result(&view, &caller, item)).collect();
        let answer = pb::BatchCheckResponse { results, token: view.token(), stale: view.stale };
        Ok(sealed(&view, answer))
    }

    type CheckStreamStream = Pin<Box<dyn Stream<Item = Result<pb::CheckStreamResponse, Status>> + Send>>;

    async fn check_stream(
        &self,
        request: Request<Streaming<pb::CheckStreamRequest>>,
    ) -> Result<Response<Self::CheckStreamStream>, Status> {
        let (caller, api) = (request.caller()?, self.clone());
        let answers = request.into_inner().map(move |asked| {
            let (api, caller) = (api.clone(), caller.clone());
            async move { api.one_of_stream(&caller, asked?).await }
        });
        // What ends the stream is told once, and nothing after it.
        let answers = answers.buffered(UNDERWAY).scan(false, |ended, answer| {
            let answer = (!std::mem::replace(ended, answer.is_err())).then_some(answer);
            std::future::ready(answer)
        });
        let stop = self.stop.clone();
        Ok(Response::new(Box::pin(answers.take_until(stop.cancelled_owned()))))
    }

    async fn list_accessible_models(
        &self,
        request: Request<pb::ListAccessibleModelsRequest>,
    ) -> Result<Response<pb::ListAccessibleModelsResponse>, Status> {
        let (caller, left, request) = (request.caller()?, left(&request), request.into_inner());
        let (user, action) = (asked(&caller, &request.user_id)?, use_or(request.action)?);
        let page = Page::long(format!("accessible {user} {action}"), request.page_size, &request.page_token)?;
        let place = Place::of(&self.tail, &page)?;
        let wanted = consistency(&self.tail, request.consistency.as_ref())?;
        let moment = place.settle(&self.history, wanted, left).await?;
        let view = moment.view(&self.tail)?;
        questions::may_ask(view.policy(), &caller, Some(user), None, view.now)?;
        let rows = questions::accessible(&view, user, action, place.row(), &page);
        let listed = page.cut(rows, |(_, name)| place.next(&view, name));
        let model = |(id, name): (ModelId, String)| pb::AccessibleModel { model_id: id.to_string(), name };
        let answer = pb::ListAccessibleModelsResponse {
            models: listed.rows.into_iter().map(model).collect(),
            next_page_token: listed.next,
            token: view.token(),
            stale: view.stale,
            drifted: place.drifted(&view),
        };
        Ok(sealed(&view, answer))
    }

    async fn list_subjects(
        &self,
        request: Request<pb::ListSubjectsRequest>,
    ) -> Result<Response<pb::ListSubjectsResponse>, Status> {
        let (caller, left, request) = (request.caller()?, left(&request), request.into_inner());
        let (model, action) = (field::id("model_id", &request.model_id)?, use_or(request.action)?);
        let filter = format!("subjects {model} {action} {}", request.groups);
        let page = Page::long(filter, request.page_size, &request.page_token)?;
        let place = Place::of(&self.tail, &page)?;
        let wanted = consistency(&self.tail, request.consistency.as_ref())?;
        let moment = place.settle(&self.history, wanted, left).await?;
        let view = moment.view(&self.tail)?;
        questions::may_ask(view.policy(), &caller, None, Some(model), view.now)?;
        let rows = questions::subjects(&view, model, action, request.groups, place.row(), &page)?;
        let listed = page.cut(rows, |subject| place.next(&view, &subject.key()));
        let answer = pb::ListSubjectsResponse {
            subjects: listed.rows.into_iter().map(pb::Subject::from).collect(),
            next_page_token: listed.next,
            token: view.token(),
            stale: view.stale,
            drifted: place.drifted(&view),
        };
        Ok(sealed(&view, answer))
    }

    async fn get_effective_permissions(
        &self,
        request: Request<pb::GetEffectivePermissionsRequest>,
    ) -> Result<Response<pb::GetEffectivePermissionsResponse>, Status> {
        let (caller, left, request) = (request.caller()?, left(&request), request.into_inner());
        let user = asked(&caller, &request.user_id)?;
        let page = Page::long(format!("effective {user}"), request.page_size, &request.page_token)?;
        let place = Place::of(&self.tail, &page)?;
        let wanted = consistency(&self.tail, request.consistency.as_ref())?;
        let moment = place.settle(&self.history, wanted, left).await?;
        let view = moment.view(&self.tail)?;
        questions::may_ask(view.policy(), &caller, Some(user), None, view.now)?;
        let after = field::optional_id("page_token", place.row())?;
        let found = view.policy().effective(user, view.now, after, page.size());
        let last = found.items.last().filter(|_| found.more).map(|last| last.model.to_string());
        let answer = pb::GetEffectivePermissionsResponse {
            permissions: found.items.into_iter().map(|one| shapes::holding(one, view.policy())).collect(),
            next_page_token: last.map(|last| page.next(&place.next(&view, &last))).unwrap_or_default(),
            token: view.token(),
            stale: view.stale,
            drifted: place.drifted(&view),
        };
        Ok(sealed(&view, answer))
    }

    async fn expand(
        &self,
        request: Request<pb::ExpandRequest>,
    ) -> Result<Response<pb::ExpandResponse>, Status> {
        let (caller, left, request) = (request.caller()?, left(&request), request.into_inner());
        let (model, action) = (field::id("model_id", &request.model_id)?, use_or(request.action)?);
        let limit = limit(request.limit)?;
        let moment = self.settle(request.consistency.as_ref(), left).await?;
        let view = moment.view(&self.tail)?;
        questions::may_ask(view.policy(), &caller, None, Some(model), view.now)?;
        questions::must_know(view.policy(), model)?;
        let expansion = view.policy().expand(model, action, view.now, limit);
        Ok(sealed(&view, shapes::expansion(expansion, &view)))
    }

    async fn explain(
        &self,
        request: Request<pb::ExplainRequest>,
    ) -> Result<Response<pb::ExplainResponse>, Status> {
        let (caller, left, request) = (request.caller()?, left(&request), request.into_inner());
        let (user, action) = (asked(&caller, &request.user_id)?, action(request.action)?);
        let model = item::model(request.model.map(shapes::model).as_ref())?;
        let moment = self.settle(request.consistency.as_ref(), left).await?;
        let view = moment.view(&self.tail)?;
        let model = model.find(view.policy());
        questions::may_ask(view.policy(), &caller, Some(user), Some(model), view.now)?;
        let question = ::policy::Question { user, model, action };
        let explanation = view.policy().explain(&question, view.now);
        Ok(sealed(&view, shapes::explanation(explanation, &view)))
    }

    async fn simulate(
        &self,
        request: Request<pb::SimulateRequest>,
    ) -> Result<Response<pb::SimulateResponse>, Status> {
        let (left, request) = (left(&request), request.into_inner());
        let (changes, limit) = (change::all(&request.changes)?, limit(request.limit)?);
        let moment = self.settle(request.consistency.as_ref(), left).await?;
        // A large simulation takes a while, and must not hold up what the replica is told meanwhile.
        let moment = moment.apart(&self.history).await?;
        let simulation = questions::simulate(&moment, &self.tail, changes, limit).await?;
        let view = moment.view(&self.tail)?;
        Ok(sealed(&view, shapes::simulation(simulation, &view)))
    }

    async fn identify(
        &self,
        request: Request<pb::IdentifyRequest>,
    ) -> Result<Response<pb::IdentifyResponse>, Status> {
        let request = request.get_ref();
        let person = self.verifier.identify(
            credential(request)?,
            peer("peer_address", &request.peer_address)?,
            time::now(),
        )?;
        Ok(Response::new(pb::IdentifyResponse {
            user_id: person.user.to_string(),
            key_id: person.key.map(|key| key.to_string()).unwrap_or_default(),
            role: auth::role_number(person.role),
            session_id: person.session.map(|session| session.to_string()).unwrap_or_default(),
            scopes: person.scopes.iter().map(auth::scope_number).collect(),
        }))
    }
}

impl Api {
    /// One check of a stream. What is wrong with it is part of the answer; what is wrong with the caller is not.
    async fn one_of_stream(
        &self,
        caller: &Caller,
        request: pb::CheckStreamRequest,
    ) -> Result<pb::CheckStreamResponse, Status> {
        let moment = match self.settle(request.consistency.as_ref(), Duration::MAX).await {
            Ok(moment) => moment,
            Err(error) => return Ok(answers::failed(request.item.unwrap_or_default(), error)),
        };
        let now = time::now();
        let current = crate::freshness::serving(&self.tail, now)?;
        questions::still_there(current.policy(), caller, now)?;
        drop(current);
        let view = moment.view(&self.tail)?;
        let result = result(&view, caller, request.item.unwrap_or_default());
        Ok(answers::of_stream(result, &view))
    }
}

/// What becomes of one check of several.
fn result(view: &View<'_>, caller: &Caller, item: pb::CheckItem) -> Outcome {
    let answered = item::question(caller, &item).and_then(|question| item::answer(view, caller, &question));
    answers::outcome(item.correlation_id, answered)
}

/// An answer, with what it was made from in its metadata.
fn sealed<T>(view: &View<'_>, answer: T) -> Response<T> {
    let mut response = Response::new(answer);
    seal(view, response.metadata_mut());
    response
}

fn action(number: i32) -> Result<Action, Error> {
    wire::action_from_proto(number).ok_or_else(|| Error::invalid("action", "must be USE or MANAGE"))
}

fn use_or(number: i32) -> Result<Action, Error> {
    if number == 0 { Ok(Action::Use) } else { action(number) }
}

fn credential(request: &pb::IdentifyRequest) -> Result<Credential<'_>, Error> {
    use pb::identify_request::Credential as Wire;
    match &request.credential {
        Some(Wire::KeyHash(digest)) => key_hash(digest).map(Credential::Key),
        Some(Wire::AccessToken(token)) => Ok(Credential::Token(token)),
        None => Err(Error::invalid("credential", "must be a key_hash or an access_token")),
    }
}

fn peer(field: &'static str, text: &str) -> Result<Option<IpAddr>, Error> {
    let peer = Some(text).filter(|text| !text.is_empty()).map(str::parse).transpose();
    peer.map_err(|_| Error::invalid(field, "must be an IP address"))
}

/// How much of a tree or a difference to show.
fn limit(number: i32) -> Result<usize, Error> {
    match usize::try_from(number) {
        Ok(0) => Ok(1_000),
        Ok(limit) if limit <= 10_000 => Ok(limit),
        _ => Err(Error::invalid("limit", "must be between 0 and 10,000")),
    }
}

fn key_hash(bytes: &[u8]) -> Result<KeyHash, Error> {
    let digest: Result<[u8; 32], _> = bytes.try_into();
    digest.map(KeyHash::new).map_err(|_| Error::invalid("key_hash", "must be a SHA-256: 32 bytes"))
}
