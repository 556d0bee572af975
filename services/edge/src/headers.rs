//! The layer around everything: request id and time taken, security headers, and what other origins may do.
//!
//! It stands outside of routing so that every answer carries the same headers, refusals included.

use crate::{cors::Cors, error::Rejection};
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use shared::{
    process,
    request_id::{self, RequestId},
    telemetry,
};
use std::sync::Arc;
use tokio::time::Instant;

const PROCESS_TIME: HeaderName = HeaderName::from_static("x-process-time");
/// Bytes of memory that the process holds, while a line is written for every request.
const PROCESS_MEMORY: HeaderName = HeaderName::from_static("x-process-memory");

pub(crate) async fn dress(State(cors): State<Arc<Cors>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    // A server around this one may have chosen the id already.
    let id = request.extensions().get::<RequestId>().cloned();
    let id = id.unwrap_or_else(|| RequestId::of(request.headers()));
    request.extensions_mut().insert(id.clone());
    let allowed = cors.allowed(request.headers());

    let mut answer = match Cors::preflight(&request) {
        Some(asked) => match allowed {
            Some(_) => Cors::permit(asked),
            None => Rejection::Origin.into_response(&id),
        },
        None => next.run(request).await,
    };

    let headers = answer.headers_mut();
    headers.insert(request_id::HEADER, id.header());
    if let Ok(value) = HeaderValue::from_str(&format!("{:.6}", started.elapsed().as_secs_f64())) {
        headers.insert(PROCESS_TIME, value);
    }
    if let Some(bytes) = telemetry::is_debugged().then(process::resident).flatten() {
        headers.insert(PROCESS_MEMORY, bytes.into());
    }
    secure(headers);
    cors.mark(headers, allowed);
    answer
}

fn secure(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
