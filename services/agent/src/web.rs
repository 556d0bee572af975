//! Plain HTTP with the engine on this machine, metadata servers and clouds: one way to ask, bounded in time and size.

use axum::body::Body;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use shared::{
    channel::{self, HttpChannel},
    tls::Dialer,
};
use std::time::Duration;
use tower::ServiceExt;

/// Largest answer: a page of metrics of an engine with many adapters.
const LARGEST: usize = 4 * 1024 * 1024;

/// Makes places to ask.
#[derive(Debug, Clone)]
pub(crate) struct Web {
    dialer: Dialer,
}

/// One place to ask.
#[derive(Clone)]
pub(crate) struct Site {
    channel: HttpChannel,
    authority: String,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

/// Why nothing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Silence {
    #[error("no answer in time")]
    Late,
    #[error("the answer broke off, or was too large")]
    Broken,
}

impl Web {
    pub(crate) const fn new(dialer: Dialer) -> Self {
        Self { dialer }
    }

    /// A place by its base URL.
    pub(crate) fn site(&self, base: &str) -> Result<Site, String> {
        let uri: Uri = base.parse().map_err(|_| format!("`{base}` is not a URL"))?;
        let authority = uri.authority().ok_or_else(|| format!("`{base}` names no host"))?.to_string();
        Ok(Site { channel: channel::http_remote(uri, &self.dialer), authority })
    }
}

impl Site {
    /// Host and port, as requests name them.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Sends one request and reads its whole answer. One that cannot be reached answers 502.
    pub(crate) async fn ask(&self, request: Request<String>, limit: Duration) -> Result<Answer, Silence> {
        let channel = self.channel.clone();
        let asking = async {
            let Ok(answer) = channel.oneshot(request.map(Body::from)).await;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, LARGEST).collect().await.map_err(|_| Silence::Broken)?;
            let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout(limit, asking).await.map_err(|_| Silence::Late)?
    }

    /// The body at a path, when it is there.
    pub(crate) async fn get(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        limit: Duration,
    ) -> Result<Answer, Silence> {
        self.ask(request("GET", path, headers, String::new()), limit).await
    }
}

/// A request; what cannot be one is one to `/`, which nobody answers well.
pub(crate) fn request(
    method: &str,
    path: &str,
    headers: &[(&'static str, &str)],
    body: String,
) -> Request<String> {
    let mut builder = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body).unwrap_or_default()
}

impl std::fmt::Debug for Site {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Site").field(&self.authority).finish()
    }
}
