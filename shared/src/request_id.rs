//! Outermost layer: every request has an id, the caller's own or a new one, and every answer says it.

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};
use tower::{Layer, Service};
use uuid::Uuid;

/// The header that carries a request's id in both directions.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken from a caller, in bytes.
pub const MAX_LENGTH: usize = 128;

/// A request's id, found among its extensions.
#[derive(Debug, Clone)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The caller's id when it is visible ASCII of at most [`MAX_LENGTH`] bytes, else a UUIDv7.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        headers
            .get(HEADER)
            .filter(|value| {
                (1..=MAX_LENGTH).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
            })
            .cloned()
            .map_or_else(Self::new, Self)
    }

    fn new() -> Self {
        let mut text = Uuid::encode_buffer();
        let id: &str = Uuid::now_v7().hyphenated().encode_lower(&mut text);
        Self(HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static("-")))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("-")
    }

    /// The id as a header.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// Gives requests their id.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestIdLayer;

impl<S> Layer<S> for RequestIdLayer {
    type Service = WithRequestId<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WithRequestId { inner }
    }
}

/// The service that [`RequestIdLayer`] makes.
#[derive(Debug, Clone)]
pub struct WithRequestId<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for WithRequestId<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Identified<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let id = RequestId::of(request.headers());
        let header = Some(id.header());
        request.extensions_mut().insert(id);
        Identified { answer: self.inner.call(request), header }
    }
}

pin_project! {
    /// An answer that will say its request's id.
    #[derive(Debug)]
    pub struct Identified<F> {
        #[pin]
        answer: F,
        header: Option<HeaderValue>,
    }
}

impl<F: Future<Output = Result<Response<R>, E>>, R, E> Future for Identified<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut answer = ready!(this.answer.poll(context));
        if let (Ok(answer), Some(mut header)) = (&mut answer, this.header.take()) {
            // No two are equal: kept in the connection's table, each would push out what repeats.
            header.set_sensitive(true);
            answer.headers_mut().insert(HEADER, header);
        }
        Poll::Ready(answer)
    }
}
