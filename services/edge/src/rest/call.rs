//! One gRPC call: what the caller's headers become, and how long it may take.

use super::route::Route;
use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use prost_reflect::DynamicMessage;
use shared::{
    channel::Channel,
    deadline,
    dynamic::DynamicCodec,
    limits,
    peer::{self, Peer},
    request_id::{self, RequestId},
    telemetry,
};
use std::time::Duration;
use tonic::{Request, Status, Streaming, client::Grpc, metadata::MetadataMap};

/// Headers of the caller that services see.
const PASSED: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::USER_AGENT,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// A call that is ready to be sent.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    route: &'a Route,
    metadata: HeaderMap,
    timeout: Option<Duration>,
}

/// What a service answered, and what it says of its limits beside it.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    pub(crate) message: T,
    pub(crate) limits: HeaderMap,
}

impl<T> From<tonic::Response<T>> for Answer<T> {
    fn from(answer: tonic::Response<T>) -> Self {
        let (metadata, message, _) = answer.into_parts();
        Self { message, limits: limits_of(&metadata.into_headers()) }
    }
}

/// What of a service's headers is said of limits.
pub(crate) fn limits_of(from: &HeaderMap) -> HeaderMap {
    let said = limits::NAMES.into_iter().filter_map(|name| Some((name.clone(), from.get(&name)?.clone())));
    said.collect()
}

impl<'a> Call<'a> {
    /// Takes over what services need of the caller's headers.
    pub(crate) fn new(route: &'a Route, from: &Parts, id: &RequestId, default_timeout: Duration) -> Self {
        let headers = &from.headers;
        let mut metadata = passed(headers, from.extensions.get().copied(), id);
        let timeout =
            deadline::grpc_timeout(headers).or_else(|| is_management(route).then_some(default_timeout));
        if let Some(timeout) = timeout
            && let Ok(value) = HeaderValue::from_str(&on_the_wire(timeout))
        {
            metadata.insert("grpc-timeout", value);
        }
        Self { route, metadata, timeout }
    }

    /// Sends the message and waits for the answer, no longer than the deadline.
    pub(crate) async fn unary(self, message: DynamicMessage) -> Result<Answer<DynamicMessage>, Status> {
        let timeout = self.timeout;
        let answer = async {
            let (mut client, request) = self.open(message).await?;
            client.unary(request, self.route.grpc_path.clone(), self.codec()).await
        };
        let answer = match timeout {
            Some(timeout) => {
                tokio::time::timeout(timeout, answer).await.unwrap_or_else(|_| Err(deadline::passed()))
            }
            None => answer.await,
        };
        Ok(answer?.into())
    }

    /// Sends the message and hands out the answers as they come.
    pub(crate) async fn stream(
        self,
        message: DynamicMessage,
    ) -> Result<Answer<Streaming<DynamicMessage>>, Status> {
        let (mut client, request) = self.open(message).await?;
        let answer = client.server_streaming(request, self.route.grpc_path.clone(), self.codec()).await?;
        Ok(answer.into())
    }

    async fn open(
        &self,
        message: DynamicMessage,
    ) -> Result<(Grpc<Channel>, Request<DynamicMessage>), Status> {
        // Services are ours, so the size of an answer is theirs to choose.
        let mut client = Grpc::new(self.route.channel.clone()).max_decoding_message_size(usize::MAX);
        client.ready().await?;
        let mut request = Request::new(message);
        *request.metadata_mut() = MetadataMap::from_headers(self.metadata.clone());
        Ok((client, request))
    }

    fn codec(&self) -> DynamicCodec {
        DynamicCodec { output: self.route.method.output() }
    }
}

/// What a service is told of a caller: the headers that it needs, the id, the address and the trace.
pub(crate) fn passed(headers: &HeaderMap, peer: Option<Peer>, id: &RequestId) -> HeaderMap {
    let mut metadata = HeaderMap::new();
    for name in PASSED {
        for value in headers.get_all(&name) {
            let mut value = value.clone();
            value.set_sensitive(name == header::AUTHORIZATION || name == "x-api-key");
            metadata.append(name.clone(), value);
        }
    }
    metadata.insert(request_id::HEADER, id.header());
    peer::tell(&mut metadata, peer);
    telemetry::inject(&mut metadata);
    metadata
}

/// Streams last as long as they are wanted, and an inference as long as it needs.
fn is_management(route: &Route) -> bool {
    let service = route.method.parent_service();
    !route.method.is_server_streaming() && service.full_name() != "tollgate.inference.v1.InferenceService"
}

/// As `grpc-timeout` has it: a number of at most eight digits, of microseconds where it fits.
fn on_the_wire(timeout: Duration) -> String {
    match timeout.as_micros() {
        micros @ ..=99_999_999 => format!("{micros}u"),
        micros => format!("{}m", (micros / 1_000).min(99_999_999)),
    }
}
