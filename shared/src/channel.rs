//! One seam between services: a channel is a socket to another process or a server in this one.
//!
//! Generated clients run over [`Channel`]; [`HttpChannel`] carries plain HTTP as streams of bytes.

use crate::{
    peer,
    status::{self, Fault},
    telemetry::meter,
    tls::{Dialer, Objection, Protocol},
};
use axum::body::Body as HttpBody;
use http::{HeaderValue, Request, Response, Uri, header};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use opentelemetry::{KeyValue, metrics::Counter};
use secrecy::{ExposeSecret, SecretString};
use std::{
    convert::Infallible,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tonic::{
    Code, Status,
    body::Body,
    transport::{self, Endpoint},
};
use tower::{Service, ServiceExt, util::BoxCloneSyncService};

/// A gRPC connection.
pub type Channel = BoxCloneSyncService<Request<Body>, Response<Body>, Status>;

/// An HTTP connection.
pub type HttpChannel = BoxCloneSyncService<Request<HttpBody>, Response<HttpBody>, Infallible>;

static CALLS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = meter();
    let calls = meter.u64_counter("tollgate.service.calls").with_unit("{call}");
    calls.with_description("Calls to other services, by service and method").build()
});

/// Longest time until a connection is there.
const CONNECT: Duration = Duration::from_secs(2);

/// Connects when first used, and again when the connection is lost; over TLS when the address says `https`.
///
/// # Errors
/// When the address is not a URI.
pub fn remote(address: &str, dialer: &Dialer) -> Result<Channel, transport::Error> {
    let origin = Endpoint::from_shared(address.to_owned())?.uri().clone();
    // TLS is the connector's business alone: an endpoint that knew of it would bring its own.
    let plain = Endpoint::from_shared(address.replacen("https://", "http://", 1))?;
    let endpoint = plain
        .origin(origin.clone())
        .http2_keep_alive_interval(Duration::from_secs(15))
        .keep_alive_while_idle(true);
    let connector = dialer.connector(Protocol::Http2, CONNECT);
    let complaints = Complaints { address: address.to_owned(), last: Arc::default() };
    let connecting = connector.clone().map_request(move |_| origin.clone());
    let channel = endpoint.connect_with_connector_lazy(connecting).map_err(move |error| {
        let objection = connector.objection();
        complaints.hear(&error, objection.as_ref());
        let mut status = status::status(
            Fault::retry(Code::Unavailable, "SERVICE_UNREACHABLE", Duration::from_secs(1)),
            "a service that this request needs cannot be reached",
        );
        match objection {
            Some(objection) => status.set_source(Arc::new(objection)),
            None => status.set_source(Arc::new(error)),
        };
        status
    });
    Ok(BoxCloneSyncService::new(channel))
}

/// Says what is wrong with a channel's TLS: nobody else can, because callers only hear that a service was not reached.
#[derive(Clone)]
struct Complaints {
    address: String,
    last: Arc<Mutex<Option<(Objection, Instant)>>>,
}

impl Complaints {
    /// Between two that say the same.
    const PAUSE: Duration = Duration::from_secs(60);

    fn hear(&self, error: &transport::Error, objection: Option<&Objection>) {
        let address = &self.address;
        let Some(objection) = objection else {
            tracing::debug!(address, %error, "service not reached");
            return;
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let again = last.as_ref().is_some_and(|(said, at)| said == objection && at.elapsed() < Self::PAUSE);
        if !again {
            tracing::warn!(
                address,
                %objection,
                "no TLS connection to a service: compare tls.services here with tls.cert_file and tls.client_ca_file there"
            );
            *last = Some((objection.clone(), Instant::now()));
        }
    }
}

/// A server of this process.
pub fn in_process<S, B>(server: S) -> Channel
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<tonic::codegen::StdError>,
{
    let server = server.map_request(|mut request: Request<Body>| {
        peer::receive_in_process(&mut request);
        request
    });
    BoxCloneSyncService::new(
        server.map_response(|answer| answer.map(Body::new)).map_err(|never| match never {}),
    )
}

/// A channel that proves to the other side which service calls.
#[must_use]
pub fn with_service_token(channel: Channel, token: &SecretString) -> Channel {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
        .unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
    value.set_sensitive(true);
    BoxCloneSyncService::new(channel.map_request(move |mut request: Request<Body>| {
        request.headers_mut().insert(header::AUTHORIZATION, value.clone());
        crate::telemetry::inject(request.headers_mut());
        request
    }))
}

/// A channel that counts its calls by the service at the other end and the method.
#[must_use]
pub fn counted(channel: Channel, service: &'static str) -> Channel {
    BoxCloneSyncService::new(channel.map_request(move |request: Request<Body>| {
        // Only methods of the contract: paths come from callers, labels must stay few.
        let known = proto::access(request.uri().path());
        let method = known.map_or("other", |row| row.path);
        CALLS.add(1, &[KeyValue::new("service", service), KeyValue::new("method", method)]);
        request
    }))
}

/// An HTTP server elsewhere; requests keep their path, the address gives scheme and authority.
/// What cannot be reached answers 502 with an empty body.
#[must_use]
pub fn http_remote(base: Uri, dialer: &Dialer) -> HttpChannel {
    let connector = dialer.connector(Protocol::Http1, CONNECT);
    let client: Client<_, HttpBody> = Client::builder(TokioExecutor::new()).build(connector.clone());
    BoxCloneSyncService::new(tower::service_fn(move |mut request: Request<HttpBody>| {
        let (client, base, connector) = (client.clone(), base.clone(), connector.clone());
        async move {
            *request.uri_mut() = rebase(&base, request.uri());
            *request.version_mut() = http::Version::HTTP_11;
            Ok(match client.request(request).await {
                Ok(answer) => answer.map(HttpBody::new),
                Err(error) => {
                    let objection = connector.objection().map(tracing::field::display);
                    tracing::warn!(%error, objection, "service not reached");
                    let mut answer = Response::new(HttpBody::empty());
                    *answer.status_mut() = http::StatusCode::BAD_GATEWAY;
                    answer
                }
            })
        }
    }))
}

/// An HTTP server of this process. As over a socket, it knows nothing of what was found out about a request before:
/// routes matched by the caller would else be taken for its own.
pub fn http_in_process<S, B>(server: S) -> HttpChannel
where
    S: Service<Request<HttpBody>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let server = server.map_request(|mut request: Request<HttpBody>| {
        request.extensions_mut().clear();
        peer::receive_in_process(&mut request);
        request
    });
    BoxCloneSyncService::new(server.map_response(|answer| answer.map(HttpBody::new)))
}

fn rebase(base: &Uri, uri: &Uri) -> Uri {
    let mut parts = base.clone().into_parts();
    parts.path_and_query = uri.path_and_query().cloned();
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}
