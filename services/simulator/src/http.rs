//! The HTTP interface: a path is looked up once, its method checked, its key asked for, and then one file answers it.

mod chat;
mod completions;
mod embeddings;
mod generate;
mod logprobs;
mod messages;
mod models;
mod plain;
mod reply;
mod responses;
mod scoring;
mod stream;
mod tokenize;
mod voice;

use axum::extract::Request;
use axum::response::Response;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Method, StatusCode};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Task};
use crate::engine::Engine;
use crate::errors::ApiError;
use crate::request::{self, Body};

/// The longest body that is read.
const LONGEST_BODY: usize = 64 * 1024 * 1024;

/// The connection a request came by; cancelling it resets the connection.
#[derive(Debug, Clone)]
pub(crate) struct Line(pub(crate) CancellationToken);

/// Everything that can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Health,
    Ping,
    Version,
    Load,
    Metrics,
    Models,
    Chat,
    Completions,
    Embeddings,
    Responses,
    Stored,
    Messages,
    CountTokens,
    Rerank,
    Score,
    Tokenize,
    Detokenize,
    Fault,
    Most,
}

/// Answers one request.
pub(crate) async fn answer(engine: &Engine, request: Request) -> Response {
    let (path, config) = (request.uri().path(), engine.config());
    if path.starts_with("/v1") && !has_key(request.headers(), config) {
        return reply::unauthorized();
    }
    let Some(route) = Route::of(path, config) else {
        return not_found(&request, config);
    };
    if !route.methods().contains(request.method()) {
        return reply::wrong_method(route.methods().first().unwrap_or(&Method::GET).as_str());
    }
    match route {
        Route::Health => plain::health(engine),
        Route::Ping => reply::empty(StatusCode::OK),
        Route::Version => plain::version(config),
        Route::Load => reply::json(StatusCode::OK, r#"{"server_load":0}"#),
        Route::Metrics => plain::metrics(engine),
        Route::Models => models::list(config),
        Route::Most => plain::most(engine),
        Route::Fault => plain::fault(engine, request).await,
        Route::Tokenize => settle(tokenize::tokenize(config, request).await),
        Route::Detokenize => settle(tokenize::detokenize(config, request).await),
        Route::Chat => settle(chat::chat(engine, request).await),
        Route::Completions => settle(completions::completions(engine, request).await),
        Route::Responses => settle(responses::responses(engine, request).await),
        Route::Stored => match responses::Named::of(request.uri().path()) {
            Some(named) => responses::stored(engine, request.method(), named),
            None => not_found(&request, config),
        },
        Route::Messages => messages::settle(messages::messages(engine, request).await),
        Route::CountTokens => messages::settle(messages::count(config, request).await),
        Route::Rerank => settle(scoring::rerank(engine, request).await),
        Route::Score => settle(scoring::score(engine, request).await),
        Route::Embeddings => settle(embeddings::embeddings(engine, request).await),
    }
}

impl Route {
    fn of(path: &str, config: &Config) -> Option<Self> {
        let (generates, embeds) = (config.task != Task::Embed, config.task != Task::Generate);
        Some(match path {
            "/health" => Self::Health,
            "/ping" => Self::Ping,
            "/version" => Self::Version,
            "/load" => Self::Load,
            "/metrics" => Self::Metrics,
            "/v1/models" => Self::Models,
            "/tokenize" => Self::Tokenize,
            "/detokenize" => Self::Detokenize,
            "/v1/chat/completions" if generates => Self::Chat,
            "/v1/completions" if generates => Self::Completions,
            "/v1/embeddings" if embeds => Self::Embeddings,
            "/v1/responses" if generates => Self::Responses,
            "/v1/messages" if generates => Self::Messages,
            "/v1/messages/count_tokens" if generates => Self::CountTokens,
            "/rerank" | "/v1/rerank" | "/v2/rerank" if embeds => Self::Rerank,
            "/score" | "/v1/score" if embeds => Self::Score,
            path if generates && responses::Named::of(path).is_some() => Self::Stored,
            "/simulator/fault" if config.faults => Self::Fault,
            "/simulator/most" if config.faults => Self::Most,
            _ => return None,
        })
    }

    /// The methods a route takes; the first one is named to those who come with another.
    fn methods(self) -> &'static [Method] {
        match self {
            Self::Ping => &[Method::GET, Method::POST],
            Self::Health | Self::Version | Self::Load | Self::Metrics | Self::Models | Self::Most => {
                &[Method::GET]
            }
            Self::Chat | Self::Completions | Self::Embeddings | Self::Responses => &[Method::POST],
            Self::Messages | Self::CountTokens | Self::Rerank | Self::Score => &[Method::POST],
            // Each path looks at its own.
            Self::Stored => &[Method::GET, Method::POST, Method::DELETE],
            Self::Tokenize | Self::Detokenize | Self::Fault => &[Method::POST],
        }
    }
}

/// A path that only has a slash too many is pointed to the right one.
fn not_found(request: &Request, config: &Config) -> Response {
    let bare = request.uri().path().trim_end_matches('/');
    if bare.len() + 1 == request.uri().path().len() && Route::of(bare, config).is_some() {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        return reply::redirect(&format!("http://{host}{bare}"));
    }
    reply::detail(StatusCode::NOT_FOUND, "Not Found")
}

fn has_key(headers: &HeaderMap, config: &Config) -> bool {
    let Some(key) = &config.api_key else { return true };
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    given == Some(key.expose_secret())
}

fn settle(answer: Result<Response, ApiError>) -> Response {
    answer.unwrap_or_else(|error| reply::error(&error))
}

/// The parts of a request that its handler needs.
struct Call {
    body: Body,
    line: Option<Line>,
    /// The caller's name for the request, when it gave one.
    request_id: Option<String>,
}

async fn read(request: Request) -> Result<Call, ApiError> {
    let (mut parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, LONGEST_BODY).await.map_err(|error| {
        let message = format!("the body could not be read: {error}");
        ApiError::invalid_body(None, message)
    })?;
    let body = request::parse(&parts.headers, &bytes)?;
    let named = parts.headers.get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let request_id = named.or_else(|| body.get("request_id").and_then(Value::as_str).map(str::to_owned));
    Ok(Call { body, line: parts.extensions.remove(), request_id })
}

/// The caller's name for a request, or one made up.
fn id(prefix: &str, named: Option<&str>) -> String {
    match named {
        Some(name) => format!("{prefix}{name}"),
        None => format!("{prefix}{:016x}", uuid::Uuid::new_v4().as_u64_pair().0),
    }
}
