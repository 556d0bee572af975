//! Responses with the headers of the real engine, in its order.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, DATE, LOCATION, SERVER, VARY};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::clock;
use crate::errors::ApiError;

const JSON: &str = "application/json";

/// A response under construction; headers leave in the order in which they are added.
struct Draft(Response);

impl Draft {
    fn new(status: StatusCode) -> Self {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        Self(response).with(DATE, clock::http_date()).with(SERVER, HeaderValue::from_static("uvicorn"))
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers_mut().append(name, value);
        self
    }

    fn with_text(self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::try_from(value) {
            Ok(value) => self.with(name, value),
            Err(_) => self,
        }
    }

    fn body(self, kind: &'static str, body: Bytes) -> Self {
        let mut draft = self.with(CONTENT_LENGTH, HeaderValue::from(body.len()));
        draft = draft.with(CONTENT_TYPE, HeaderValue::from_static(kind));
        *draft.0.body_mut() = Body::from(body);
        draft
    }

    fn vary(self) -> Response {
        self.with(VARY, HeaderValue::from_static("Origin")).0
    }
}

/// A status without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    Draft::new(status).with(CONTENT_LENGTH, HeaderValue::from_static("0")).vary()
}

pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response {
    Draft::new(status).body(JSON, body.into()).vary()
}

/// Text of a kind of its own.
pub(super) fn text(kind: &'static str, body: String) -> Response {
    Draft::new(StatusCode::OK).body(kind, body.into()).vary()
}

/// A stream of events; what follows the headers comes when it comes.
pub(super) fn events(body: Body) -> Response {
    let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
    let mut response = Draft::new(StatusCode::OK).with(CONTENT_TYPE, kind).vary();
    *response.body_mut() = body;
    response
}

pub(super) fn error(error: &ApiError) -> Response {
    json(error.status, error.json())
}

/// What the router itself says, which has a shape of its own.
pub(super) fn detail(status: StatusCode, detail: &'static str) -> Response {
    json(status, format!("{{\"detail\":\"{detail}\"}}"))
}

pub(super) fn wrong_method(allowed: &str) -> Response {
    let body = Bytes::from_static(br#"{"detail":"Method Not Allowed"}"#);
    Draft::new(StatusCode::METHOD_NOT_ALLOWED).with_text(ALLOW, allowed).body(JSON, body).vary()
}

pub(super) fn redirect(location: &str) -> Response {
    let length = HeaderValue::from_static("0");
    Draft::new(StatusCode::TEMPORARY_REDIRECT)
        .with(CONTENT_LENGTH, length)
        .with_text(LOCATION, location)
        .vary()
}

/// The key is asked for in front of everything that adds `vary`.
pub(super) fn unauthorized() -> Response {
    let body = Bytes::from_static(br#"{"error":"Unauthorized"}"#);
    Draft::new(StatusCode::UNAUTHORIZED).body(JSON, body).0
}
