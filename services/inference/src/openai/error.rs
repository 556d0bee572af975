//! OpenAI's error shape, in one place: `{"error":{"message","type","param","code"}}`, always all four.

use crate::{
    error::{Error, Kept},
    gateways::forward::Refused,
};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use serde::Serialize;
use shared::{
    status::{self, IntoStatus},
    telemetry,
};
use std::time::Duration;
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
            Self::UnknownModel { .. } | Self::Denied { .. } | Self::NotServed { .. } => Some("model"),
            _ => None,
        }
    }

    /// The status in OpenAI's API.
    pub(crate) fn http_status(&self) -> StatusCode {
        self.shape().0
    }
}

/// What a caller is told of a refusal, in whichever shape.
pub(super) struct Told {
    pub(super) status: StatusCode,
    pub(super) message: String,
    r#type: &'static str,
    param: Option<String>,
    code: String,
    pub(super) retry_after: Option<Duration>,
    /// Whether asking again is of no use though the status looks otherwise.
    pub(super) vain: bool,
}

impl Told {
    /// What another gateway said.
    fn forwarded(refused: &Refused) -> Self {
        let (status, kind) = kind(refused.status.code());
        let status = refused.http.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(status);
        // Whatever the engines refuse is said by them to be of this type.
        let of_a_field = status.is_client_error() && refused.param.is_some();
        Self {
            status,
            message: refused.status.message().to_owned(),
            r#type: if of_a_field { "invalid_request_error" } else { kind },
            param: refused.param.clone(),
            code: status::reason(&refused.status).to_ascii_lowercase(),
            retry_after: refused.status.get_details_retry_info().and_then(|info| info.retry_delay),
            vain: false,
        }
    }

    /// What a layer before the routes says.
    pub(super) fn refusal(refused: &Status) -> Self {
        let (status, r#type) = kind(refused.code());
        let code = match status {
            // What OpenAI's clients know a bad key by.
            StatusCode::UNAUTHORIZED => "invalid_api_key".to_owned(),
            _ => status::reason(refused).to_ascii_lowercase(),
        };
        Self {
            status,
            message: refused.message().to_owned(),
            r#type,
            param: None,
            code,
            retry_after: refused.get_details_retry_info().and_then(|info| info.retry_delay),
            vain: false,
        }
    }

    /// The headers that go with it.
    pub(super) fn dress(&self, headers: &mut HeaderMap) {
        if self.vain {
            // Clients ask again after a conflict or a server's error unless they are told not to.
            headers.insert(RETRY, HeaderValue::from_static("false"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
    }

    /// The same for whoever asks later why.
    pub(super) fn kept(&self) -> telemetry::Told {
        telemetry::Told { reason: self.code.to_ascii_uppercase(), message: self.message.clone() }
    }

    fn fields(&self) -> Fields<'_> {
        Fields { message: &self.message, r#type: self.r#type, param: self.param.as_deref(), code: &self.code }
    }
}

impl From<Error> for Told {
    fn from(error: Error) -> Self {
        if let Error::Forwarded(refused) = &error {
            return Self::forwarded(refused);
        }
        let (status, r#type) = error.shape();
        let param = error.param().map(str::to_owned);
        let vain =
            matches!(error, Error::Withdrawn { .. } | Error::NotCached | Error::Kept(Kept::Locked { .. }));
        let fault = error.fault();
        let message = error.into_status().message().to_owned();
        let code = fault.reason.to_ascii_lowercase();
        Self { status, message, r#type, param, code, retry_after: fault.retry_after, vain }
    }
}

impl IntoResponse for Told {
    fn into_response(self) -> Response {
        let mut response = axum::Json(Body { error: self.fields() }).into_response();
        *response.status_mut() = self.status;
        self.dress(response.headers_mut());
        response.extensions_mut().insert(self.kept());
        response
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Told::from(self).into_response()
    }
}

/// Status and body of a refusal, for where it is written instead of answered.
pub(crate) fn said(error: Error) -> (u16, String) {
    let told = Told::from(error);
    (told.status.as_u16(), serde_json::to_string(&Body { error: told.fields() }).unwrap_or_default())
}

/// A refusal of the layers before the routes.
pub fn refusal(refused: Status) -> Response {
    Told::refusal(&refused).into_response()
}

/// No such route. Nothing is forwarded.
pub async fn unknown_route(method: Method, uri: Uri) -> Response {
    let message = format!("there is no route {method} {}", uri.path());
    misrouted(StatusCode::NOT_FOUND, message, "unknown_route").into_response()
}

/// The route exists, for another method.
pub async fn wrong_method(method: Method, uri: Uri) -> Response {
    misled(&method, &uri).into_response()
}

pub(super) fn misled(method: &Method, uri: &Uri) -> Told {
    let message = format!("{} does not take {method}", uri.path());
    misrouted(StatusCode::METHOD_NOT_ALLOWED, message, "wrong_method")
}

fn misrouted(status: StatusCode, message: String, code: &str) -> Told {
    let (r#type, code) = ("invalid_request_error", code.to_owned());
    Told { status, message, r#type, param: None, code, retry_after: None, vain: false }
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
