//! What can go wrong: [`Error`] when the door is built, [`Rejection`] when a request is refused.
//!
//! The one table from gRPC codes to HTTP statuses is here, and the one place where a refusal becomes an answer.

use crate::envelope::{self, Details, Failure};
use crate::rest::call::limits_of;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use shared::{request_id::RequestId, status};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Why the edge could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The descriptors of the contract do not decode.
    #[error("the descriptors of the contract are broken: {0}")]
    Descriptors(#[from] prost_reflect::DescriptorError),
    /// An annotation asks for what the edge does not serve.
    #[error("{method}: {problem}")]
    Annotation {
        /// Full name of the method.
        method: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A configured origin is none.
    #[error(
        "cors_origins: `{0}` is not an origin; write scheme, host and port alone, such as https://console.example.org"
    )]
    Origin(String),
}

/// Why a request got no answer from a service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejection {
    #[error("there is nothing at this path; GET /api/openapi.json lists what there is")]
    NoRoute,
    #[error("this path takes {allow}")]
    Method { allow: String },
    #[error("pages of this origin may not call; add it to cors_origins")]
    Origin,
    #[error("the URL is not valid: {0}")]
    Url(&'static str),
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the body must be sent as application/json")]
    ContentType,
    #[error("this method takes no body; give its fields in the query")]
    BodyNotTaken,
    #[error("the body did not arrive in time")]
    Slow,
    #[error("the body broke off")]
    BrokenOff,
    #[error("the body is not valid JSON: {0}")]
    Json(String),
    #[error("{field}: {problem}")]
    Field { field: String, problem: String },
    #[error("{0}")]
    Status(Box<Status>),
}

impl From<Status> for Rejection {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl Rejection {
    pub(crate) fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Field { field: field.into(), problem: problem.into() }
    }

    /// The refusal as an answer in the envelope.
    pub(crate) fn into_response(self, id: &RequestId) -> Response {
        let failure = self.failure();
        let mut answer = envelope::failure(&failure, id);
        if let Some(after) = failure.details.retry_after {
            let seconds = after.ceil().max(1.0);
            if let Ok(value) = HeaderValue::from_str(&format!("{seconds:.0}")) {
                answer.headers_mut().insert(header::RETRY_AFTER, value);
            }
        }
        if let Self::Status(status) = &self {
            answer.headers_mut().extend(limits_of(status.metadata().as_ref()));
        }
        if failure.status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Self::Method { allow } = &self
            && let Ok(value) = HeaderValue::from_str(allow)
        {
            answer.headers_mut().insert(header::ALLOW, value);
        }
        answer
    }

    /// Everything that a caller is told.
    pub(crate) fn failure(&self) -> Failure {
        let (status, reason) = match self {
            Self::NoRoute => (StatusCode::NOT_FOUND, "ROUTE_NOT_FOUND"),
            Self::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
            Self::Origin => (StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED"),
            Self::Url(_) => (StatusCode::BAD_REQUEST, "INVALID_URL"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE"),
            Self::ContentType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_CONTENT_TYPE"),
            Self::BodyNotTaken => (StatusCode::BAD_REQUEST, "BODY_NOT_TAKEN"),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "BODY_TIMEOUT"),
            Self::BrokenOff => (StatusCode::BAD_REQUEST, "BODY_BROKEN_OFF"),
            Self::Json(_) => (StatusCode::BAD_REQUEST, "INVALID_JSON"),
            Self::Field { .. } => (StatusCode::BAD_REQUEST, "INVALID_FIELD"),
            Self::Status(status) => return from_status(status),
        };
        let details = match self {
            Self::Field { field, problem } => Details::of_field(field, problem),
            _ => Details::default(),
        };
        Failure { status, reason: reason.to_owned(), message: self.to_string(), details }
    }
}

fn from_status(status: &Status) -> Failure {
    let code = status.code();
    let reason = status::reason(status);
    let details = Details::of_status(&status.get_error_details());
    let message = if reason.is_empty() && is_ours(code) {
        tracing::warn!(%status, "a service answered without a reason");
        match code {
            Code::Unavailable => "a service that this request needs cannot be reached; try again",
            _ => "something went wrong on our side; the log has it under the request id",
        }
        .to_owned()
    } else {
        status.message().to_owned()
    };
    let reason = if reason.is_empty() { code_name(code).to_owned() } else { reason };
    Failure { status: http_status(code), reason, message, details }
}

/// Codes whose text comes from libraries unless a service gave a reason with it.
fn is_ours(code: Code) -> bool {
    matches!(code, Code::Unknown | Code::Internal | Code::DataLoss | Code::Unavailable)
}

/// The one table from gRPC to HTTP.
pub(crate) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::DeadlineExceeded => StatusCode::REQUEST_TIMEOUT,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        // 499, as proxies have it: the caller closed the request.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal | Code::DataLoss | Code::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
