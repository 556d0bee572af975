//! The pages that need no credential: the OpenAPI document, a page to browse it, and the version.

use crate::{envelope, openapi, rest::route::Routes};
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::header;
use serde_json::json;
use shared::request_id::RequestId;

/// What is served as it is, made once.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    openapi: Bytes,
}

impl Pages {
    pub(crate) fn new(routes: &Routes) -> Self {
        Self { openapi: openapi::document(routes).to_string().into() }
    }
}

pub(crate) async fn openapi(State(pages): State<Pages>) -> Response {
    serve("application/json", pages.openapi)
}

pub(crate) async fn page() -> Response {
    let mut answer = serve("text/html; charset=utf-8", Bytes::from_static(include_bytes!("docs/index.html")));
    let own_files_only = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
        base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    answer
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, http::HeaderValue::from_static(own_files_only));
    answer
}

pub(crate) async fn script() -> Response {
    serve("text/javascript; charset=utf-8", Bytes::from_static(include_bytes!("docs/docs.js")))
}

pub(crate) async fn style() -> Response {
    serve("text/css; charset=utf-8", Bytes::from_static(include_bytes!("docs/docs.css")))
}

pub(crate) async fn version(Extension(id): Extension<RequestId>) -> Response {
    envelope::own(
        json!({"name": "tollgate", "version": env!("CARGO_PKG_VERSION"), "api_versions": ["v1"]}),
        &id,
    )
}

fn serve(kind: &'static str, body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}
