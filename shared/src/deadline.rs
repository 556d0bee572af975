//! Deadlines: `grpc-timeout` where the caller sent one, else a default for unary calls.
//!
//! tonic enforces `grpc-timeout` in its socket server only, so this layer does it for channels inside a
//! process too. It bounds the time to the answer's head; a stream's own length is its service's business.

use crate::status::{self, Fault};
use futures_util::future::Either;
use http::{HeaderMap, Request, Response};
use pin_project_lite::pin_project;
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    task::futures::TaskLocalFuture,
    time::{Instant, Timeout, timeout_at},
};
use tonic::{Code, Status};
use tower::{Layer, Service};

tokio::task_local! {
    /// When the request that this task works on must be answered.
    static CURRENT: Instant;
}

/// What timers can tell apart, see [`tokio::time::Sleep`].
const RESOLUTION: Duration = Duration::from_millis(1);

/// The time that the request at hand has left, for those deep below it; `None` where there is no request or no limit.
#[must_use]
pub fn left() -> Option<Duration> {
    CURRENT.try_with(|deadline| Deadline(*deadline).left()).ok()
}

/// How a passed deadline is said.
#[must_use]
pub fn passed() -> Status {
    let fault = Fault::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    status::status(fault, "the deadline passed before the answer was ready")
}

/// When a request must be answered, found among its extensions.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// The time until then.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Bounds how long a call may take.
#[derive(Debug, Clone, Copy)]
pub struct DeadlineLayer<F> {
    /// For calls that name no deadline; `None` lets them take as long as they need.
    pub default: Option<Duration>,
    /// How a passed deadline is said to this service's callers.
    pub refuse: F,
}

impl<S, F: Clone> Layer<S> for DeadlineLayer<F> {
    type Service = WithDeadline<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        WithDeadline { inner, layer: self.clone() }
    }
}

/// The service that [`DeadlineLayer`] makes.
#[derive(Debug, Clone)]
pub struct WithDeadline<S, F> {
    inner: S,
    layer: DeadlineLayer<F>,
}

impl<S, F, B, R> Service<Request<B>> for WithDeadline<S, F>
where
    S: Service<Request<B>, Response = Response<R>>,
    F: Fn(Status) -> Response<R> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<InTime<S::Future, F>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(timeout) = grpc_timeout(request.headers()).or(self.layer.default) else {
            return Either::Right(self.inner.call(request));
        };
        let deadline = Deadline(Instant::now() + timeout);
        let refuse = self.layer.refuse.clone();
        // What is too late already is not begun: a timer would not tell for up to a millisecond.
        if timeout < RESOLUTION && deadline.left().is_zero() {
            return Either::Left(InTime { answer: None, refuse });
        }
        request.extensions_mut().insert(deadline);
        let answer = CURRENT.sync_scope(deadline.0, || self.inner.call(request));
        let answer = Some(timeout_at(deadline.0, CURRENT.scope(deadline.0, answer)));
        Either::Left(InTime { answer, refuse })
    }
}

pin_project! {
    /// An answer, or a refusal when its time is over.
    #[derive(Debug)]
    pub struct InTime<A, F> {
        #[pin]
        answer: Option<Timeout<TaskLocalFuture<Instant, A>>>,
        refuse: F,
    }
}

impl<A, F, R, E> Future for InTime<A, F>
where
    A: Future<Output = Result<Response<R>, E>>,
    F: Fn(Status) -> Response<R>,
{
    type Output = A::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<A::Output> {
        let this = self.project();
        if let Some(answer) = this.answer.as_pin_mut()
            && let Ok(answer) = ready!(answer.poll(context))
        {
            return Poll::Ready(answer);
        }
        Poll::Ready(Ok((this.refuse)(passed())))
    }
}

/// The `grpc-timeout` header, per the gRPC-over-HTTP/2 protocol: up to 8 digits and a unit.
#[must_use]
pub fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3_600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use tower::ServiceExt;

    /// The status of a call with this `grpc-timeout` to a service that answers at once.
    async fn call(timeout: &'static str) -> http::StatusCode {
        let refuse = |_| Response::builder().status(504).body(()).unwrap();
        let service = tower::service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) });
        let service = DeadlineLayer { default: None, refuse }.layer(service);
        let request = Request::builder().header("grpc-timeout", timeout).body(()).unwrap();
        service.oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn what_is_too_late_already_is_not_begun_however_quick_the_answer_would_be() {
        for timeout in ["0S", "0u", "1n"] {
            assert_eq!(call(timeout).await, 504, "{timeout}");
        }
        assert_eq!(call("1M").await, 200);
    }

    #[test]
    fn a_timeout_is_read_in_every_unit_and_nonsense_is_ignored() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            grpc_timeout(&headers)
        };
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(read("150m"), Some(Duration::from_millis(150)));
        assert_eq!(read("1H"), Some(Duration::from_secs(3_600)));
        for nonsense in ["S", "", "-1S", "123456789S", "5", "5x", "5ä"] {
            assert_eq!(
                http::HeaderValue::from_str(nonsense).ok().and_then(|_| read(nonsense)),
                None,
                "{nonsense}"
            );
        }
    }
}
