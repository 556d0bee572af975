//! Freshness beside the messages: a demand in the metadata of any call, and what an answer was made from.

use super::{View, reach};
use crate::tail::Tail;
use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use shared::{deadline::Deadline, server};
use std::time::Duration;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};

/// The token of a revision that the answer must have seen; gateways pass it on without reading it.
const MIN_REVISION: &str = "x-permissions-min-revision";
/// The token of the revision that the answer was made from.
const REVISION: &str = "x-permissions-revision";
/// Milliseconds since that was known to be all there is.
const STALENESS: &str = "x-permissions-staleness-ms";

/// Makes a call wait for the revision that its metadata names, whichever method it is.
pub(crate) async fn min_revision(State(tail): State<Tail>, request: Request, next: Next) -> Response<Body> {
    let Some(text) = request.headers().get(MIN_REVISION) else { return next.run(request).await };
    let token = tail.tokens().decode(MIN_REVISION, text.to_str().unwrap_or_default());
    let deadline = request.extensions().get::<Deadline>().copied();
    let left = deadline
        .map_or(Duration::MAX, |deadline| deadline.0.saturating_duration_since(tokio::time::Instant::now()));
    let reached = match token {
        Ok(token) => reach(&tail, MIN_REVISION, token, left).await,
        Err(error) => Err(error),
    };
    match reached {
        Ok(()) => next.run(request).await,
        Err(error) => server::grpc_refusal(error.into()),
    }
}

/// Says in an answer's metadata what it was made from.
pub(crate) fn seal(view: &View<'_>, metadata: &mut MetadataMap) {
    if let Ok(token) = AsciiMetadataValue::try_from(view.token()) {
        metadata.insert(REVISION, token);
    }
    let staleness = u64::try_from(view.staleness.as_millis()).unwrap_or(u64::MAX);
    metadata.insert(STALENESS, AsciiMetadataValue::from(staleness));
}
