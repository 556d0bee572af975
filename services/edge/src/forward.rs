//! `/v1/*`, and the few routes of engines that are called otherwise, to inference as a stream of bytes in both directions; nothing is read, nothing is kept.
//!
//! When the client goes away the answer's body is dropped, and with it the connection upstream: that is how
//! a generation is cancelled.

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, StatusCode, header};
use http_body::Body as _;
use serde_json::json;
use shared::{
    channel::HttpChannel,
    peer,
    request_id::{self, RequestId},
    telemetry,
};
use tower::ServiceExt;

/// Headers that describe one connection, not the message.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

pub(crate) async fn forward(State(upstream): State<HttpChannel>, mut request: Request) -> Response {
    strip(request.headers_mut());
    if let Some(id) = request.extensions().get::<RequestId>().map(RequestId::header) {
        request.headers_mut().insert(request_id::HEADER, id);
    }
    let peer = request.extensions().get().copied();
    peer::tell(request.headers_mut(), peer);
    telemetry::inject(request.headers_mut());
    let Ok(mut answer) = upstream.oneshot(request).await;
    strip(answer.headers_mut());
    if unreached(&answer) { no_inference() } else { answer }
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// The channel answers so when there is nobody at the other end.
fn unreached(answer: &Response<Body>) -> bool {
    answer.status() == StatusCode::BAD_GATEWAY && answer.body().is_end_stream()
}

fn no_inference() -> Response {
    let body = json!({"error": {
        "message": "inference cannot be reached; try again in a moment",
        "type": "server_error",
        "param": null,
        "code": "SERVICE_UNREACHABLE",
    }});
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], axum::Json(body)).into_response()
}
