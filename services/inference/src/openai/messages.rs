//! `/v1/messages`: the same engines in Anthropic's words, errors included: `{"type":"error","error":{"type","message"}}`.

use super::{
    OpenAi,
    error::{self, Told},
};
use crate::{error::Error, prompt::Endpoint};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use http::{Method, StatusCode, Uri};
use serde::Serialize;
use std::sync::Arc;
use tonic::Status;

/// What is asked in these words.
pub(super) const ROUTES: [Endpoint; 2] = [Endpoint::Messages, Endpoint::CountTokens];

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    error: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    r#type: &'static str,
    message: &'a str,
}

/// The routes, without the layers before them.
pub fn routes(openai: Arc<OpenAi>) -> Router {
    let run = |endpoint: Endpoint| {
        post(move |State(openai): State<Arc<OpenAi>>, request: Request| async move {
            openai.run(endpoint, request).await.unwrap_or_else(refused)
        })
    };
    let all = ROUTES.into_iter();
    all.fold(Router::new(), |router, endpoint| router.route(endpoint.path(), run(endpoint)))
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::disable())
        .with_state(openai)
}

/// A refusal of the layers before the routes.
pub fn refusal(refused: Status) -> Response {
    respond(&Told::refusal(&refused))
}

fn refused(error: Error) -> Response {
    respond(&error.into())
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    respond(&error::misled(&method, &uri))
}

fn respond(told: &Told) -> Response {
    let error = Fields { r#type: kind(told.status), message: &told.message };
    let mut response = axum::Json(Body { r#type: "error", error }).into_response();
    *response.status_mut() = told.status;
    told.dress(response.headers_mut());
    response.extensions_mut().insert(told.kept());
    response
}

fn kind(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::NOT_FOUND => "not_found_error",
        StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => "timeout_error",
        StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
        status if status.is_client_error() => "invalid_request_error",
        _ => "api_error",
    }
}
