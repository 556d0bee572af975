//! OpenAI's HTTP API: routes, and the way from a request to a prompt and from an answer to a response.
//!
//! A route that is not listed here is 404 and never reaches an engine unmetered.

mod batches;
pub mod error;
mod files;
pub mod messages;
mod models;
mod responses;

use crate::{
    cache::{self, Cached},
    dispatch::Answer,
    error::Error,
    files::Files,
    infer::{Inference, Inferred},
    jobs::Jobs,
    lock::{Guard, LOCK, LockName},
    prompt::{Endpoint, IDEMPOTENCY_KEY, PRIORITY, Prompt},
};
use axum::{
    Extension, Router,
    body::Body,
    extract::{DefaultBodyLimit, Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use shared::{
    auth::{Caller, Person, Refusal},
    deadline::Deadline,
    redis::locks::Lock,
    request_id::RequestId,
};
use std::{sync::Arc, time::Duration};

/// The header that names a request in the usage ledger.
const USAGE_ID: HeaderName = HeaderName::from_static("x-tollgate-usage-id");
/// The header that names the model that answered in the place of the one that was asked.
const INSTEAD: HeaderName = HeaderName::from_static("x-tollgate-fallback-model");
/// What callers say of the cache, and what they are told of it.
const CACHE: HeaderName = HeaderName::from_static(cache::HEADER);
/// The header that makes a request one however often it is sent.
const ONCE: HeaderName = HeaderName::from_static(IDEMPOTENCY_KEY);
/// The header that says how urgent a request is.
const PRIORITY_HEADER: HeaderName = HeaderName::from_static(PRIORITY);
/// The type of a stream.
const EVENTS: &str = "text/event-stream; charset=utf-8";
/// Time a client has to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// What the routes need.
#[derive(Debug, Clone)]
pub struct OpenAi {
    /// Runs prompts.
    pub inference: Inference,
    /// Runs batches.
    pub jobs: Jobs,
    /// Keeps what they read and write.
    pub files: Files,
    /// Largest body, in bytes.
    pub max_body_bytes: usize,
}

/// The routes but those that speak otherwise, see [`messages`]; without the layers before them.
pub fn routes(openai: Arc<OpenAi>) -> Router {
    let run = |endpoint: Endpoint| {
        post(move |State(openai): State<Arc<OpenAi>>, request: Request| async move {
            openai.run(endpoint, request).await.unwrap_or_else(IntoResponse::into_response)
        })
    };
    let own = Endpoint::ALL.into_iter().filter(|endpoint| !messages::ROUTES.contains(endpoint));
    let paths = own.flat_map(|endpoint| endpoint.paths().map(move |path| (path, endpoint)));
    let asked = paths.fold(Router::new(), |router, (path, endpoint)| router.route(path, run(endpoint)));
    asked
        .route("/v1/responses/{response}", get(responses::retrieve).delete(responses::delete))
        .route("/v1/responses/{response}/cancel", post(responses::cancel))
        .route("/v1/files", get(files::list).post(files::upload))
        .route("/v1/files/{file}", get(files::retrieve).delete(files::delete))
        .route("/v1/files/{file}/content", get(files::content))
        .route("/v1/batches", get(batches::list).post(batches::create))
        .route("/v1/batches/{batch}", get(batches::retrieve))
        .route("/v1/batches/{batch}/cancel", post(batches::cancel))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*model}", get(models::retrieve))
        .fallback(error::unknown_route)
        .method_not_allowed_fallback(error::wrong_method)
        // Bodies have limits of their own, which are told apart.
        .layer(DefaultBodyLimit::disable())
        .with_state(openai)
}

impl OpenAi {
    async fn run(&self, endpoint: Endpoint, request: Request) -> Result<Response, Error> {
        let (head, body) = request.into_parts();
        let person = person(head.extensions.get::<Caller>())?;
        let id = head.extensions.get::<RequestId>().map_or("", RequestId::as_str);
        let deadline = head.extensions.get::<Deadline>().map(|deadline| deadline.0);
        let body = self.read(body).await?;
        let said = |name: &HeaderName| head.headers.get(name).map(HeaderValue::as_bytes);
        let prompt = Prompt::read(endpoint, body)?.with_priority(said(&PRIORITY_HEADER))?;
        let prompt = prompt.with_wishes(said(&header::CACHE_CONTROL), said(&CACHE))?;
        let prompt = prompt.with_idempotency_key(said(&ONCE))?;
        let named = LockName::read_optional(head.headers.get(LOCK).map(HeaderValue::as_bytes))?;
        let guard = Guard::of(&self.jobs.locks, named.as_ref().or(prompt.lock.as_ref())).await?;
        let note = head.extensions.get().cloned().unwrap_or_default();
        let inferred = self.inference.noted(&note, person, prompt, id, deadline).await?;
        Ok(response(inferred, guard))
    }

    async fn read(&self, body: Body) -> Result<Bytes, Error> {
        let limit = self.max_body_bytes;
        // A length that is announced need not be waited for.
        if body.size_hint().lower() > limit as u64 {
            return Err(Error::TooLarge { limit });
        }
        match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Error::TooLarge { limit }),
            Ok(Err(_)) => Err(Error::Malformed("the body broke off".into())),
            Err(_) => Err(Error::Malformed("the body did not arrive in time".into())),
        }
    }
}

fn response(inferred: Inferred, guard: Guard) -> Response {
    let said = guard.said();
    let (kind, body) = match inferred.answer {
        Answer::Whole(bytes, _) => ("application/json", Body::from(bytes)),
        Answer::Stream(metered) => (EVENTS, Body::new(*metered)),
        Answer::Relayed(relayed) => (EVENTS, Body::new(*relayed)),
        Answer::Replayed(replay) => (EVENTS, Body::new(*replay)),
    };
    let body = match guard {
        Guard::Held(lock) => held(body, lock),
        Guard::Unasked | Guard::Without => body,
    };
    let mut response = Response::new(body);
    if let Some(said) = said {
        response.headers_mut().insert(LOCK, HeaderValue::from_static(said));
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut text = uuid::Uuid::encode_buffer();
    if let Ok(id) = HeaderValue::from_str(inferred.usage_id.hyphenated().encode_lower(&mut text)) {
        headers.insert(USAGE_ID, id);
    }
    headers.insert(CACHE, HeaderValue::from_static(inferred.cached.as_str()));
    if let Cached::Hit(age) = inferred.cached {
        headers.insert(header::AGE, age.as_secs().into());
    }
    if let Some(model) = inferred.instead.and_then(|model| HeaderValue::from_str(&model).ok()) {
        headers.insert(INSTEAD, model);
    }
    response
}

/// A body with a lock, which is given back when all of it was sent, or nobody wants it any more.
fn held(body: Body, lock: Lock) -> Body {
    Body::new(body.map_frame(move |frame| {
        let _held = &lock;
        frame
    }))
}

/// How many of a list are asked for.
fn limit(asked: Option<u32>, default: u32, most: u32) -> Result<u32, Error> {
    let limit = asked.unwrap_or(default);
    if !(1..=most).contains(&limit) {
        return Err(Error::Invalid { param: "limit", problem: "is out of range" });
    }
    Ok(limit)
}

/// The person behind a request; the layer before lets nobody else through.
fn person(caller: Option<&Caller>) -> Result<Person, Error> {
    caller.and_then(Caller::person).copied().ok_or(Error::Unauthenticated(Refusal::Missing))
}

type Asker = Option<Extension<Caller>>;
