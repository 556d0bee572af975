//! The layer that sees every answer, refusals too: one span and one duration per call.
//!
//! Calls of the contract are measured as `rpc.server.call.duration`, other HTTP routes as
//! `http.server.request.duration`, names and buckets after OpenTelemetry's conventions.

use super::{Hear, Learned, Note, Refused, Told, adopt, lines, meter, trace_id};
use crate::{request_id::RequestId, status, time};
use axum::{body::Body, extract::MatchedPath};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use opentelemetry::{KeyValue, metrics::Histogram};
use pin_project_lite::pin_project;
use std::{
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tonic::Status;
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
#[derive(Debug, Clone)]
pub struct ObserveLayer {
    service: &'static str,
    hear: Option<Arc<dyn Hear>>,
}

impl ObserveLayer {
    /// A layer for the service of this name.
    #[must_use]
    pub const fn new(service: &'static str) -> Self {
        Self { service, hear: None }
    }

    /// The same, which tells of every request of a person that is refused.
    #[must_use]
    pub fn telling(self, hear: Option<Arc<dyn Hear>>) -> Self {
        Self { hear, ..self }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Observed { inner, layer: self.clone() }
    }
}

/// The service that [`ObserveLayer`] makes.
#[derive(Debug, Clone)]
pub struct Observed<S> {
    inner: S,
    layer: ObserveLayer,
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

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call = Call::begin(&self.layer, &request);
        request.extensions_mut().insert(call.note.clone());
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
    request_id: Option<RequestId>,
    note: Note,
    hear: Option<Arc<dyn Hear>>,
    started: Instant,
    span: Span,
}

#[derive(Debug, Clone)]
enum Method {
    Rpc(&'static str),
    Http { method: http::Method, route: Option<MatchedPath>, uri: http::Uri },
}

impl Call {
    fn begin<B>(layer: &ObserveLayer, request: &Request<B>) -> Self {
        let method = Method::of(request);
        let request_id = request.extensions().get::<RequestId>().cloned();
        let id = request_id.as_ref().map_or("", RequestId::as_str);
        let span = info_span!(
            "call",
            service = layer.service,
            otel.name = method.name(),
            otel.kind = "server",
            request_id = id,
            code = Empty
        );
        adopt(&span, request.headers());
        let (note, hear) = (Note::default(), layer.hear.clone());
        Self { method, request_id, note, hear, started: Instant::now(), span }
    }

    fn answered(self, answer: Response<Body>) -> Response<Body> {
        let (mut head, body) = answer.into_parts();
        // Whoever answers in this process has learned more.
        let note = head.extensions.remove::<Note>().unwrap_or_else(|| self.note.clone());
        let learned = note.learned();
        head.extensions.insert(note);
        let code = match self.method {
            Method::Rpc(_) => Code::Rpc(grpc_status(&head.headers)),
            Method::Http { .. } => Code::Http(head.status.as_u16()),
        };
        if let (Some(hear), Some(told)) = (&self.hear, told(code, &head)) {
            self.tell(&**hear, &learned, told);
        }
        let slow = self.own_time(&head, &learned);
        let mut observation = Observation { call: self, code, learned, slow, done: false };
        if body.is_end_stream() {
            observation.end();
        }
        Response::from_parts(head, Body::new(ObservedBody { body, observation }))
    }

    fn tell(&self, hear: &dyn Hear, learned: &Learned, told: Told) {
        let (Some(person), Some(request_id)) = (learned.person, &self.request_id) else { return };
        let duration = self.started.elapsed();
        let passed = i64::try_from(duration.as_micros()).unwrap_or(0);
        hear.refused(Refused {
            request_id: request_id.as_str().to_owned(),
            person,
            route: self.method.shown().to_owned(),
            learned: learned.clone(),
            told,
            start: policy::Time(time::now().0.saturating_sub(passed)),
            duration,
            trace_id: trace_id(&self.span),
        });
    }

    /// The time that was ours up to the head of the answer; nothing where that cannot be told from what others took, and
    /// of streams, which last as long as they are wanted.
    fn own_time(&self, head: &http::response::Parts, learned: &Learned) -> Option<Duration> {
        let passed = self.started.elapsed();
        match learned.elsewhere {
            Some(elsewhere) => Some(passed.saturating_sub(elsewhere)),
            None if self.method.is_of_engines() || is_events(&head.headers) => None,
            None => Some(passed),
        }
    }
}

/// What a caller is told instead of an answer.
fn told(code: Code, head: &http::response::Parts) -> Option<Told> {
    match code {
        Code::Rpc(Some(code)) if code != 0 => {
            let status = Status::from_header_map(&head.headers)?;
            Some(Told { reason: status::reason(&status), message: status.message().to_owned() })
        }
        Code::Rpc(_) => None,
        Code::Http(_) => head.extensions.get::<Told>().cloned(),
    }
}

fn is_events(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

impl Method {
    fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path();
        if let Some(row) = proto::access(path) {
            return Self::Rpc(row.path.trim_start_matches('/'));
        }
        let (method, uri) = (request.method().clone(), request.uri().clone());
        Self::Http { method, route: request.extensions().get().cloned(), uri }
    }

    /// Whether engines take most of its time.
    fn is_of_engines(&self) -> bool {
        matches!(self, Self::Http { uri, .. } if crate::limits::is_openai(uri.path()))
    }

    /// The same for a line, where a route of engines may stand that is no route of ours. Other paths may say anything, the
    /// address of a person among it.
    fn shown(&self) -> &str {
        let plain = |path: &str| path.bytes().all(|byte| byte.is_ascii_lowercase() || b"/_".contains(&byte));
        match self {
            Self::Http { route: None, uri, .. }
                if crate::limits::is_openai(uri.path()) && plain(uri.path().trim_start_matches("/v1")) =>
            {
                uri.path()
            }
            method => method.name(),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Rpc(method) => method,
            // A path that is no route of ours must not become a label.
            Self::Http { route, .. } => route.as_ref().map_or("_OTHER", MatchedPath::as_str),
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rpc(code) => {
                formatter.write_str(grpc_name(tonic::Code::from_i32(i32::from(code.unwrap_or(1)))))
            }
            Self::Http(code) => code.fmt(formatter),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Code {
    Rpc(Option<u16>),
    Http(u16),
}

/// Records the call once, when its answer ended or was given up.
#[derive(Debug)]
struct Observation {
    call: Call,
    code: Code,
    learned: Learned,
    /// The time up to the head of the answer that was ours.
    slow: Option<Duration>,
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
        self.write();
    }

    /// The line about it.
    fn write(&self) {
        let line = lines::Line {
            route: self.call.method.shown(),
            request_id: self.call.request_id.as_ref().map_or("", RequestId::as_str),
            code: &self.code,
            learned: &self.learned,
            latency: self.call.started.elapsed(),
            own: self.slow,
        };
        self.call.span.in_scope(|| line.write());
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
