//! Deadlines: `grpc-timeout` where the caller sent one, else a default for unary calls.
//!
//! tonic enforces `grpc-timeout` in its socket server only, so this layer does it for channels inside a
//! process too. It bounds the time to the answer's head; a stream's own length is its service's business.

use crate::status::{self, Fault};
use http::{HeaderMap, Request, Response};
use std::{
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;
use tonic::{Code, Status};
use tower::{Layer, Service};

tokio::task_local! {
    /// When the request that this task works on must be answered.
    static CURRENT: Instant;
}

/// The time that the request at hand has left, for those deep below it; `None` where there is no request or no limit.
#[must_use]
pub fn left() -> Option<Duration> {
    CURRENT.try_with(|deadline| Deadline(*deadline).left()).ok()
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
    S::Future: Send + 'static,
    S::Error: 'static,
    F: Fn(Status) -> Response<R> + Clone + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = futures_util::future::BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(timeout) = grpc_timeout(request.headers()).or(self.layer.default) else {
            return Box::pin(self.inner.call(request));
        };
        let deadline = Instant::now() + timeout;
        request.extensions_mut().insert(Deadline(deadline));
        let answer = CURRENT.sync_scope(deadline, || self.inner.call(request));
        let (answer, refuse) = (CURRENT.scope(deadline, answer), self.layer.refuse.clone());
        Box::pin(async move {
            tokio::time::timeout_at(deadline, answer).await.unwrap_or_else(|_| {
                let fault = Fault::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
                Ok(refuse(status::status(fault, "the deadline passed before the answer was ready")))
            })
        })
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
