//! Freshness beside the messages: a demand in the metadata of any call, and what an answer was made from.

use super::{View, reach};
use crate::{error::Error, tail::Tail};
use axum::{body::Body, extract::Request, response::Response};
use futures_util::future::{BoxFuture, Either};
use http::HeaderValue;
use shared::{deadline::Deadline, server};
use std::{
    task::{Context, Poll},
    time::Duration,
};
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tower::{Layer, Service};

/// The token of a revision that the answer must have seen; gateways pass it on without reading it.
const MIN_REVISION: &str = "x-permissions-min-revision";
/// The token of the revision that the answer was made from.
const REVISION: &str = "x-permissions-revision";
/// Milliseconds since that was known to be all there is.
const STALENESS: &str = "x-permissions-staleness-ms";

/// Makes a call wait for the revision that its metadata names, whichever method it is.
#[derive(Debug, Clone)]
pub(crate) struct MinRevisionLayer(pub(crate) Tail);

impl<S> Layer<S> for MinRevisionLayer {
    type Service = MinRevision<S>;

    fn layer(&self, inner: S) -> MinRevision<S> {
        MinRevision { inner, tail: self.0.clone() }
    }
}

/// The service that [`MinRevisionLayer`] makes.
#[derive(Debug, Clone)]
pub(crate) struct MinRevision<S> {
    inner: S,
    tail: Tail,
}

impl<S> Service<Request<Body>> for MinRevision<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, BoxFuture<'static, Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(named) = request.headers().get(MIN_REVISION).cloned() else {
            return Either::Left(self.inner.call(request));
        };
        let deadline = request.extensions().get::<Deadline>().copied();
        let spare = self.inner.clone();
        let (mut inner, tail) = (std::mem::replace(&mut self.inner, spare), self.tail.clone());
        Either::Right(Box::pin(async move {
            match wait(&tail, &named, deadline).await {
                Ok(()) => inner.call(request).await,
                Err(error) => Ok(server::grpc_refusal(error.into())),
            }
        }))
    }
}

async fn wait(tail: &Tail, named: &HeaderValue, deadline: Option<Deadline>) -> Result<(), Error> {
    let token = tail.tokens().decode(MIN_REVISION, named.to_str().unwrap_or_default())?;
    reach(tail, MIN_REVISION, token, deadline.map_or(Duration::MAX, Deadline::left)).await
}

/// Says in an answer's metadata what it was made from.
pub(crate) fn seal(view: &View<'_>, metadata: &mut MetadataMap) {
    if let Ok(token) = AsciiMetadataValue::try_from(view.token()) {
        metadata.insert(REVISION, token);
    }
    let staleness = u64::try_from(view.staleness.as_millis()).unwrap_or(u64::MAX);
    let mut staleness = AsciiMetadataValue::from(staleness);
    // Seldom the same twice: not worth a place in the connection's table of headers.
    staleness.set_sensitive(true);
    metadata.insert(STALENESS, staleness);
}
