//! Which pages of other sites may call: exactly the configured origins, by name, never with cookies.

use crate::error::Error;
use axum::{body::Body, extract::Request, response::Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

/// Headers of answers that pages of other origins may read.
const EXPOSED: &str = "x-request-id, x-process-time, x-process-memory, retry-after, ratelimit-limit, ratelimit-remaining, ratelimit-reset, \
    x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, \
    x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens";

/// The configured origins.
#[derive(Debug)]
pub(crate) struct Cors {
    origins: Vec<HeaderValue>,
}

impl Cors {
    /// Checks that each is an origin: a scheme and an authority and nothing else.
    pub(crate) fn new(origins: &[String]) -> Result<Self, Error> {
        let origins = origins.iter().map(|origin| parse(origin).ok_or_else(|| Error::Origin(origin.clone())));
        Ok(Self { origins: origins.collect::<Result<_, _>>()? })
    }

    /// The origin of a request, when it is one of ours.
    pub(crate) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        self.origins.iter().find(|ours| *ours == origin).cloned()
    }

    /// What a browser asks for before it sends the request itself; `None` for any other request.
    pub(crate) fn preflight(request: &Request) -> Option<HeaderMap> {
        let headers = request.headers();
        let asks = headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        (request.method() == Method::OPTIONS && asks).then(|| headers.clone())
    }

    /// The answer to an allowed origin. The headers asked for are granted: the list of origins is the decision.
    pub(crate) fn permit(asked: HeaderMap) -> Response {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        let methods = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        answer
    }

    /// Lets the page read the answer.
    pub(crate) fn mark(&self, headers: &mut HeaderMap, allowed: Option<HeaderValue>) {
        if !self.origins.is_empty() {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        if let Some(origin) = allowed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let exposed = HeaderValue::from_static(EXPOSED);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }
}

fn parse(origin: &str) -> Option<HeaderValue> {
    let uri: Uri = origin.parse().ok()?;
    let exact = format!("{}://{}", uri.scheme_str()?, uri.authority()?);
    (exact == origin && !origin.contains(['@', '*'])).then(|| HeaderValue::from_str(origin).ok())?
}
