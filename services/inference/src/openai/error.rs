//! OpenAI's error shape, in one place: `{"error":{"message","type","param","code"}}`, always all four.

use crate::{
    error::{Error, Kept},
    gateways::forward::Refused,
};
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use serde::Serialize;
use shared::status::{self, IntoStatus};
use tonic::{Code, Status};
use tonic_types::StatusExt;

const RETRY: HeaderName = HeaderName::from_static("x-should-retry");

#[derive(Serialize)]
struct Body<'a> {
    error: Fields<'a>,
}

#[derive(Serialize)]
struct Fields<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

impl Error {
    /// The status and the `type`.
    fn shape(&self) -> (StatusCode, &'static str) {
        match self {
            Self::TooLarge { .. } | Self::Kept(Kept::LargeFile { .. }) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error")
            }
            Self::NotCached => (StatusCode::GATEWAY_TIMEOUT, "not_cached_error"),
            Self::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_error"),
            Self::Refused { status, .. } => {
                (StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_REQUEST), "invalid_request_error")
            }
            _ => kind(self.fault().code),
        }
    }

    /// The field that it is about.
    pub(crate) fn param(&self) -> Option<&str> {
        match self {
            Self::Invalid { param, .. } => Some(param),
            Self::Refused { param, .. } => param.as_deref(),
            Self::UnknownModel { .. } | Self::Denied { .. } => Some("model"),
            _ => None,
        }
    }

    /// The status in OpenAI's API.
    pub(crate) fn http_status(&self) -> StatusCode {
        self.shape().0
    }
}

/// What another gateway said.
fn forwarded(refused: &Refused) -> Response {
    let (status, kind) = kind(refused.status.code());
    let status = refused.http.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(status);
    // Whatever the engines refuse is said by them to be of this type.
    let kind =
        if status.is_client_error() && refused.param.is_some() { "invalid_request_error" } else { kind };
    let code = status::reason(&refused.status).to_ascii_lowercase();
    let retry = refused.status.get_details_retry_info().and_then(|info| info.retry_delay);
    body(status, refused.status.message(), kind, refused.param.as_deref(), &code, retry)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if let Self::Forwarded(refused) = &self {
            return forwarded(refused);
        }
        let (status, kind) = self.shape();
        let param = self.param().map(str::to_owned);
        let vain = matches!(self, Self::Withdrawn { .. } | Self::NotCached | Self::Kept(Kept::Locked { .. }));
        let fault = self.fault();
        let answered = self.into_status();
        let code = fault.reason.to_ascii_lowercase();
        let mut response = body(status, answered.message(), kind, param.as_deref(), &code, fault.retry_after);
        if vain {
            // OpenAI's clients ask again after a conflict or a server's error unless they are told not to.
            response.headers_mut().insert(RETRY, HeaderValue::from_static("false"));
        }
        response
    }
}

/// Status and body of a refusal, for where it is written instead of answered.
pub(crate) fn said(error: Error) -> (u16, String) {
    let (status, kind) = error.shape();
    let param = error.param().map(str::to_owned);
    let code = error.fault().reason.to_ascii_lowercase();
    let answered = error.into_status();
    let error = Fields { message: answered.message(), r#type: kind, param: param.as_deref(), code: &code };
    (status.as_u16(), serde_json::to_string(&Body { error }).unwrap_or_default())
}

/// A refusal of the layers before the routes.
pub fn refusal(refused: Status) -> Response {
    let (status, kind) = kind(refused.code());
    let code = match status {
        // What OpenAI's clients know a bad key by.
        StatusCode::UNAUTHORIZED => "invalid_api_key".to_owned(),
        _ => status::reason(&refused).to_ascii_lowercase(),
    };
    let retry = refused.get_details_retry_info().and_then(|info| info.retry_delay);
    let mut response = body(status, refused.message(), kind, None, &code, retry);
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// No such route. Nothing is forwarded.
pub async fn unknown_route(method: Method, uri: Uri) -> Response {
    let message = format!("there is no route {method} {}", uri.path());
    body(StatusCode::NOT_FOUND, &message, "invalid_request_error", None, "unknown_route", None)
}

/// The route exists, for another method.
pub async fn wrong_method(method: Method, uri: Uri) -> Response {
    let message = format!("{} does not take {method}", uri.path());
    body(StatusCode::METHOD_NOT_ALLOWED, &message, "invalid_request_error", None, "wrong_method", None)
}

fn kind(code: Code) -> (StatusCode, &'static str) {
    match code {
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            (StatusCode::BAD_REQUEST, "invalid_request_error")
        }
        Code::Unauthenticated => (StatusCode::UNAUTHORIZED, "authentication_error"),
        Code::PermissionDenied => (StatusCode::FORBIDDEN, "permission_error"),
        Code::NotFound => (StatusCode::NOT_FOUND, "invalid_request_error"),
        Code::Aborted | Code::AlreadyExists => (StatusCode::CONFLICT, "conflict_error"),
        Code::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error"),
        Code::DeadlineExceeded => (StatusCode::REQUEST_TIMEOUT, "timeout_error"),
        Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "service_unavailable_error"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "server_error"),
    }
}

fn body(
    status: StatusCode,
    message: &str,
    r#type: &str,
    param: Option<&str>,
    code: &str,
    retry_after: Option<std::time::Duration>,
) -> Response {
    let mut response = axum::Json(Body { error: Fields { message, r#type, param, code } }).into_response();
    *response.status_mut() = status;
    if let Some(after) = retry_after {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}
