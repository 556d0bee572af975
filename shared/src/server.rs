//! Tasks, the layers before every service, and what anybody may ask. [`listen`] has the listeners.
//!
//! Shutdown order: not ready → stop accepting → drain connections → end tasks → close pools.

mod handshake;
mod in_turn;
mod listen;
mod listeners;

pub use listen::{Limits, UNREAD_TIMEOUT, bind, serve};
pub use listeners::{Listeners, Network, Routes, terminated};

use crate::{
    auth::{AuthLayer, Verify},
    deadline::DeadlineLayer,
    health::{Health, Report},
    request_id::RequestIdLayer,
    status::{self, Fault},
    telemetry::{self, Hear, ObserveLayer},
};
use axum::{Json, Router, response::IntoResponse, routing::get};
use futures_util::future::{Either, Ready, ready};
use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service, ServiceBuilder};

/// The tasks of a process and the signal that ends them.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Runs a task that must end soon after [`Tasks::stopping`].
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    /// Resolves when the process is to end.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs `task` again and again, `every` so often after it ended, until the process is to end.
    pub fn repeat<F, Fut>(&self, every: Duration, mut task: F)
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send,
    {
        let stop = self.stopping();
        self.spawn(async move {
            let rounds = async {
                loop {
                    task().await;
                    tokio::time::sleep(every).await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = rounds => {}
            }
        });
    }

    /// Ends all tasks, waiting at most `limit`. Returns whether all of them did.
    pub async fn end(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait()).await.is_ok()
    }
}

/// What stands before a service.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Who hears of requests that are refused.
    pub hear: Option<Arc<dyn Hear>>,
    /// Requests in progress at once; more are refused.
    pub in_flight: usize,
    /// For calls that name no deadline.
    pub deadline: Option<Duration>,
    /// Name of the service in spans and metrics.
    pub service: &'static str,
}

/// Puts all layers before gRPC or HTTP routes, in the one order there is.
pub fn guarded<V, F>(routes: Router, guard: &Guard, auth: AuthLayer<V, F>) -> Router
where
    V: Verify,
    F: Fn(Status) -> Response<axum::body::Body> + Clone + Send + Sync + 'static,
{
    let refuse = auth.refuse().clone();
    let shed = ShedLayer { places: Arc::new(Semaphore::new(guard.in_flight)), refuse: refuse.clone() };
    // One layer to the router, which boxes whatever it is given.
    let layers = ServiceBuilder::new()
        .layer(RequestIdLayer)
        .layer(ObserveLayer::new(guard.service).telling(guard.hear.clone()))
        .layer(DeadlineLayer { default: guard.deadline, refuse })
        .layer(shed)
        .layer(auth);
    routes.layer(layers)
}

/// A refusal as gRPC says it.
#[must_use]
pub fn grpc_refusal(status: Status) -> Response<axum::body::Body> {
    status.into_http::<Body>().map(axum::body::Body::new)
}

/// Refuses what exceeds a number of requests in progress, before anything is spent on it.
#[derive(Debug, Clone)]
struct ShedLayer<F> {
    places: Arc<Semaphore>,
    refuse: F,
}

impl<S, F: Clone> Layer<S> for ShedLayer<F> {
    type Service = Shed<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Shed { inner, layer: self.clone() }
    }
}

#[derive(Debug, Clone)]
struct Shed<S, F> {
    inner: S,
    layer: ShedLayer<F>,
}

impl<S, F, B, R> Service<Request<B>> for Shed<S, F>
where
    S: Service<Request<B>, Response = Response<R>>,
    F: Fn(Status) -> Response<R>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<Placed<S::Future>, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Ok(place) = Arc::clone(&self.layer.places).try_acquire_owned() else {
            let fault =
                Fault::retry(Code::ResourceExhausted, "TOO_MANY_REQUESTS_IN_FLIGHT", Duration::from_secs(1));
            let status = status::status(fault, "too many requests are in progress; try again in a moment");
            return Either::Right(ready(Ok((self.layer.refuse)(status))));
        };
        Either::Left(Placed { answer: self.inner.call(request), _place: place })
    }
}

pin_project! {
    /// An answer that is being made in one of the places.
    struct Placed<A> {
        #[pin]
        answer: A,
        _place: OwnedSemaphorePermit,
    }
}

impl<A: Future> Future for Placed<A> {
    type Output = A::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<A::Output> {
        self.project().answer.poll(context)
    }
}

/// What anybody may ask without a credential: probes, metrics, gRPC health and reflection (v1 and v1alpha).
///
/// # Errors
/// When the contract's descriptors cannot be read.
pub fn admin(health: Health) -> Result<Router, tonic_reflection::server::Error> {
    let v1 = reflection().build_v1()?;
    let v1alpha = reflection().build_v1alpha()?;
    let grpc =
        tonic::service::Routes::new(tonic_health::pb::health_server::HealthServer::new(health.clone()))
            .add_service(v1)
            .add_service(v1alpha);
    let probe = |report: fn(&Health) -> Report| {
        let health = health.clone();
        get(move || std::future::ready(answer(&report(&health))))
    };
    Ok(Router::new()
        .route("/health/live", probe(Health::live))
        .route("/health/ready", probe(Health::ready))
        .route("/health/startup", probe(Health::startup))
        .route("/api/health", probe(Health::ready))
        .route("/metrics", get(|| std::future::ready(telemetry::prometheus())))
        .merge(grpc.into_axum_router().reset_fallback()))
}

/// Whether a request is a gRPC call, by its content type.
#[must_use]
pub fn is_grpc<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(http::header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Whether a path belongs to [`admin`].
#[must_use]
pub fn is_admin(path: &str) -> bool {
    path == "/metrics"
        || path == "/api/health"
        || path.starts_with("/health/")
        || path.starts_with("/grpc.health.v1.")
        || path.starts_with("/grpc.reflection.")
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

fn answer(report: &Report) -> axum::response::Response {
    let status = if report.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}
