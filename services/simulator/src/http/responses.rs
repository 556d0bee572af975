//! `/v1/responses`: a chat that is answered as a response, and kept where the engine was told to keep them.

use axum::extract::Request;
use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::Value;

use super::generate::{self, Job, Order};
use super::voice::{Responder, Voice};
use super::{id, read, reply};
use crate::clock;
use crate::engine::Engine;
use crate::errors::ApiError;
use crate::request;
use crate::responses::Kept;
use crate::sse::{Kind, Responding};

/// What a path under `/v1/responses/` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub(super) id: &'a str,
    pub(super) cancel: bool,
}

impl<'a> Named<'a> {
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix("/v1/responses/")?;
        let (id, cancel) = rest.strip_suffix("/cancel").map_or((rest, false), |id| (id, true));
        (!id.is_empty() && !id.contains('/')).then_some(Self { id, cancel })
    }
}

pub(super) async fn responses(engine: &Engine, request: Request) -> Result<Response, ApiError> {
    let call = read(request).await?;
    let kept = |id: &str| engine.responses().get(id);
    let asked = request::Response::read(&call.body, engine.config(), kept)?;
    let order = Order {
        kind: Kind::Chat,
        sampling: &asked.sampling,
        streaming: asked.streaming,
        logprobs: None,
        echo: false,
        default_length: u32::MAX,
    };
    // Only the body names a response.
    let named = call.body.get("request_id").and_then(Value::as_str);
    let name = named.map_or_else(|| id("resp_", None), str::to_owned);
    let mut job = Job::prepare(engine, &order, std::slice::from_ref(&asked.prompt), name.clone())?;
    job.line = call.line;
    let model = engine.config().served_name();
    let response = Responding::new(name, id("msg_", None), clock::unix_seconds(), model, asked.told);
    let keeping = asked.store.then(|| (engine.clone(), asked.messages));
    job.voice = Voice::Response(Box::new(Responder { response, keeping }));
    generate::run(engine, job, |job, mut written| {
        let (usage, cached) = (job.usage_of(&written), job.cached());
        let Voice::Response(responder) = &mut job.voice else { return reply::empty(StatusCode::OK) };
        let Some(one) = written.pop() else { return reply::empty(StatusCode::OK) };
        responder.response.text = one.text;
        reply::json(StatusCode::OK, responder.whole(&one.telling.answer.finish, usage, cached))
    })
    .await
}

pub(super) fn stored(engine: &Engine, method: &Method, named: Named<'_>) -> Response {
    let allowed = if named.cancel { Method::POST } else { Method::GET };
    if *method != allowed {
        return reply::wrong_method(allowed.as_str());
    }
    match engine.responses().get(named.id) {
        None => reply::error(&ApiError::unknown_response(named.id)),
        Some(_) if named.cancel => {
            let problem = "Cannot cancel a synchronous response.";
            let error = ApiError::bad_request(Some("response_id"), problem);
            reply::error(&ApiError { kind: "invalid_request_error", ..error })
        }
        Some(Kept { json, .. }) => reply::json(StatusCode::OK, json),
    }
}
