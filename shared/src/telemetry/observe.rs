//! The layer that sees every answer, refusals too: one span and one duration per call.
//!
//! Calls of the contract are measured as `rpc.server.call.duration`, other HTTP routes as
//! `http.server.request.duration`, names and buckets after OpenTelemetry's conventions.

use super::{adopt, meter};
use crate::request_id::RequestId;
use axum::{body::Body, extract::MatchedPath};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use opentelemetry::{KeyValue, metrics::Histogram};
use pin_project_lite::pin_project;
use std::{
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll, ready},
    time::Instant,
};
use tower::{Layer, Service};
use tracing::{Instrument, Span, field::Empty, info_span, instrument::Instrumented};

const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

static RPC: LazyLock<Histogram<f64>> =
    LazyLock::new(|| histogram("rpc.server.call.duration", "Duration of gRPC calls; of streams, their life"));
static HTTP: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    histogram("http.server.request.duration", "Duration of HTTP requests, the answer included")
});

fn histogram(name: &'static str, description: &'static str) -> Histogram<f64> {
    meter()
        .f64_histogram(name)
        .with_description(description)
        .with_unit("s")
        .with_boundaries(BUCKETS.to_vec())
        .build()
}

/// Observes the calls of one service.
#[derive(Debug, Clone, Copy)]
pub struct ObserveLayer {
    service: &'static str,
}

impl ObserveLayer {
    /// A layer for the service of this name.
    #[must_use]
    pub const fn new(service: &'static str) -> Self {
        Self { service }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Observed { inner, service: self.service }
    }
}

/// The service that [`ObserveLayer`] makes.
#[derive(Debug, Clone)]
pub struct Observed<S> {
    inner: S,
    service: &'static str,
}

impl<S, B> Service<Request<B>> for Observed<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Instrumented<Answer<S::Future>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let call = Call::begin(self.service, &request);
        let span = call.span.clone();
        let answer = span.in_scope(|| self.inner.call(request));
        Answer { answer, call: Some(call) }.instrument(span)
    }
}

pin_project! {
    /// An answer that will be observed to its end.
    #[derive(Debug)]
    pub struct Answer<F> {
        #[pin]
        answer: F,
        call: Option<Call>,
    }
}

impl<F: Future<Output = Result<Response<Body>, E>>, E> Future for Answer<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(context));
        Poll::Ready(match this.call.take() {
            Some(call) => answer.map(|answer| call.answered(answer)),
            None => answer,
        })
    }
}

/// What is known of one call while it runs.
#[derive(Debug)]
struct Call {
    method: Method,
    started: Instant,
    span: Span,
}

#[derive(Debug, Clone)]
enum Method {
    Rpc(&'static str),
    Http { method: http::Method, route: Option<MatchedPath> },
}

impl Call {
    fn begin<B>(service: &'static str, request: &Request<B>) -> Self {
        let method = Method::of(request);
        let id = request.extensions().get::<RequestId>().map_or("", RequestId::as_str);
        let span = info_span!(
            "call",
            service,
            otel.name = method.name(),
            otel.kind = "server",
            request_id = id,
            code = Empty
        );
        adopt(&span, request.headers());
        Self { method, started: Instant::now(), span }
    }

    fn answered(self, answer: Response<Body>) -> Response<Body> {
        let (head, body) = answer.into_parts();
        let code = match self.method {
            Method::Rpc(_) => Code::Rpc(grpc_status(&head.headers)),
            Method::Http { .. } => Code::Http(head.status.as_u16()),
        };
        let mut observation = Observation { call: self, code, done: false };
        if body.is_end_stream() {
            observation.end();
        }
        Response::from_parts(head, Body::new(ObservedBody { body, observation }))
    }
}

impl Method {
    fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path();
        if let Some(row) = proto::access(path) {
            return Self::Rpc(row.path.trim_start_matches('/'));
        }
        Self::Http { method: request.method().clone(), route: request.extensions().get().cloned() }
    }

    fn name(&self) -> &str {
        match self {
            Self::Rpc(method) => method,
            // A path that is no route of ours must not become a label.
            Self::Http { route, .. } => route.as_ref().map_or("_OTHER", MatchedPath::as_str),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Code {
    Rpc(Option<u16>),
    Http(u16),
}

/// Records the call once, when its answer ended or was given up.
#[derive(Debug)]
struct Observation {
    call: Call,
    code: Code,
    done: bool,
}

impl Observation {
    fn end(&mut self) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        let seconds = self.call.started.elapsed().as_secs_f64();
        match (&self.call.method, self.code) {
            (Method::Rpc(method), Code::Rpc(code)) => {
                let code = tonic::Code::from_i32(i32::from(code.unwrap_or(1)));
                self.call.span.record("code", tracing::field::debug(code));
                RPC.record(
                    seconds,
                    &[
                        KeyValue::new("rpc.system.name", "grpc"),
                        KeyValue::new("rpc.method", *method),
                        KeyValue::new("rpc.response.status_code", grpc_name(code)),
                    ],
                );
            }
            (Method::Http { method, .. }, Code::Http(code)) => {
                self.call.span.record("code", code);
                HTTP.record(
                    seconds,
                    &[
                        KeyValue::new("http.request.method", method.to_string()),
                        KeyValue::new("http.route", self.call.method.name().to_owned()),
                        KeyValue::new("http.response.status_code", i64::from(code)),
                    ],
                );
            }
            _ => {}
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        self.end();
    }
}

#[derive(Debug)]
struct ObservedBody {
    body: Body,
    observation: Observation,
}

impl http_body::Body for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let (Code::Rpc(_), Some(trailers)) = (this.observation.code, frame.trailers_ref()) {
                    this.observation.code = Code::Rpc(grpc_status(trailers));
                    this.observation.end();
                }
            }
            Some(Err(_)) | None => this.observation.end(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

fn grpc_name(code: tonic::Code) -> &'static str {
    use tonic::Code as C;
    match code {
        C::Ok => "OK",
        C::Cancelled => "CANCELLED",
        C::Unknown => "UNKNOWN",
        C::InvalidArgument => "INVALID_ARGUMENT",
        C::DeadlineExceeded => "DEADLINE_EXCEEDED",
        C::NotFound => "NOT_FOUND",
        C::AlreadyExists => "ALREADY_EXISTS",
        C::PermissionDenied => "PERMISSION_DENIED",
        C::ResourceExhausted => "RESOURCE_EXHAUSTED",
        C::FailedPrecondition => "FAILED_PRECONDITION",
        C::Aborted => "ABORTED",
        C::OutOfRange => "OUT_OF_RANGE",
        C::Unimplemented => "UNIMPLEMENTED",
        C::Internal => "INTERNAL",
        C::Unavailable => "UNAVAILABLE",
        C::DataLoss => "DATA_LOSS",
        C::Unauthenticated => "UNAUTHENTICATED",
    }
}
