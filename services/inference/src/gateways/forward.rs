//! A call goes to the gateway in whose queue it waits, and its answer comes back byte for byte.
//!
//! The other gateway decides again whether the caller may, and accounts for it. Until its first byte is here, what was
//! not answered can still go elsewhere.

use super::{GatewayId, Gateways, ask, count, relay::Relayed, word};
use crate::{admit::Admitted, dispatch::Answer, error::Error, goodput::Used, prompt::Endpoint};
use bytes::{Bytes, BytesMut};
use proto::inference::v1::{
    ForwardRequest, ForwardResponse, ForwardedHead, ForwardedRoute, forward_response::Part,
    gateway_service_client::GatewayServiceClient,
};
use shared::status;
use std::error::Error as _;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Request, Status, Streaming, metadata::MetadataValue};
use uuid::Uuid;

/// The metadata in which a refusal says its status in OpenAI's API, and the field that it is about.
pub const HTTP_STATUS: &str = "x-tollgate-http-status";
/// See [`HTTP_STATUS`].
pub const PARAM: &str = "x-tollgate-param";

/// The metadata that names a request, as its caller did.
const REQUEST_ID: &str = "x-request-id";

/// A refusal of another gateway, as its own callers would have heard it.
#[derive(Debug, Clone)]
pub struct Refused {
    /// As gRPC says it.
    pub status: Status,
    /// The status in OpenAI's API.
    pub http: Option<u16>,
    /// The field that it is about.
    pub param: Option<String>,
}

/// Why another gateway gave no answer.
#[derive(Debug)]
pub enum Failure {
    /// It does not own such an engine, or was not reached; it did nothing for the call.
    Unmoved,
    /// It was lost when it had the call.
    Lost,
    /// It would be the same anywhere.
    Final(Error),
}

impl Gateways {
    /// Runs a call at another gateway, until its answer or the first byte of it is here.
    ///
    /// # Errors
    /// What keeps it from coming; see [`Failure`].
    pub async fn forward(
        &self,
        (gateway, address): (GatewayId, &str),
        admitted: &Admitted,
        request_id: &str,
        until: Instant,
    ) -> Result<(Uuid, Answer), Failure> {
        let Some(channel) = self.channel(address) else { return Err(Failure::Unmoved) };
        let mut client = GatewayServiceClient::new(channel);
        let request = request(admitted, request_id, until);
        let answer = async {
            let mut messages = client.forward(request).await?.into_inner();
            let head = head(&mut messages).await?;
            if head.stream {
                return Ok((
                    head,
                    Answer::Relayed(Box::new(Relayed::new(messages, admitted.prompt.endpoint))),
                ));
            }
            let whole = Answer::Whole(whole(messages).await?, Used::default());
            Ok((head, whole))
        };
        match timeout_at(until, answer).await {
            Ok(Ok((head, answer))) => {
                count::forwarded("answered");
                Ok((head.usage_id.parse().unwrap_or_default(), answer))
            }
            Ok(Err(status)) => Err(self.failed(gateway, &status, admitted, until)),
            Err(_) => {
                count::forwarded("refused");
                Err(Failure::Final(Error::Deadline))
            }
        }
    }

    fn failed(&self, gateway: GatewayId, status: &Status, admitted: &Admitted, until: Instant) -> Failure {
        let reason = status::reason(status);
        let (outcome, failure) = match reason.as_str() {
            "SERVED_ELSEWHERE" | "GATEWAY_STOPPING" => ("elsewhere", Failure::Unmoved),
            _ if Instant::now() >= until => ("refused", Failure::Final(Error::Deadline)),
            // What went wrong on the way has a source; what the other gateway said has none.
            reason if reason.is_empty() || status.source().is_some() => {
                tracing::debug!(%gateway, message = status.message(), "another gateway gave no answer");
                self.avoid(gateway);
                if ask::is_refused(status) {
                    ("unreached", Failure::Unmoved)
                } else {
                    ("lost", Failure::Lost)
                }
            }
            "NO_ENGINE" => {
                let model = admitted.prompt.served().to_owned();
                ("refused", Failure::Final(Error::NoEngine { model }))
            }
            _ if status.code() == Code::Unauthenticated => {
                tracing::error!(%gateway, reason, "another gateway refuses this one: they need the same service_token");
                ("refused", Failure::Final(Error::EngineFailed { cause: "another gateway refused this one" }))
            }
            _ => ("refused", Failure::Final(Error::Forwarded(Box::new(Refused::read(status))))),
        };
        count::forwarded(outcome);
        failure
    }
}

impl Refused {
    fn read(status: &Status) -> Self {
        let metadata = |name| status.metadata().get(name)?.to_str().ok();
        Self {
            http: metadata(HTTP_STATUS).and_then(|status| status.parse().ok()),
            param: metadata(PARAM).map(str::to_owned),
            // Without what else the other gateway wrote beside it.
            status: Status::with_details(
                status.code(),
                status.message(),
                Bytes::copy_from_slice(status.details()),
            ),
        }
    }

    /// Whether no engine could be had, so that another model may answer.
    #[must_use]
    pub fn is_for_want_of_engines(&self) -> bool {
        status::reason(&self.status) == "ENGINE_FAILED"
    }
}

fn request(admitted: &Admitted, request_id: &str, until: Instant) -> Request<ForwardRequest> {
    let prompt = &admitted.prompt;
    let route = match prompt.endpoint {
        Endpoint::Chat => ForwardedRoute::Chat,
        Endpoint::Completions => ForwardedRoute::Completions,
        Endpoint::Embeddings => ForwardedRoute::Embeddings,
        Endpoint::Responses => ForwardedRoute::Responses,
        Endpoint::Messages => ForwardedRoute::Messages,
        Endpoint::CountTokens => ForwardedRoute::CountTokens,
        Endpoint::Rerank => ForwardedRoute::Rerank,
        Endpoint::Score => ForwardedRoute::Score,
        Endpoint::Tokenize => ForwardedRoute::Tokenize,
        Endpoint::Detokenize => ForwardedRoute::Detokenize,
    };
    let mut request = Request::new(ForwardRequest {
        route: route.into(),
        body: prompt.body.clone(),
        model: prompt.model.clone(),
        wants_usage: prompt.wants_usage,
        priority: prompt.class.as_str().to_owned(),
        spare: prompt.spare,
        caller: Some(word::caller(&admitted.person)),
    });
    request.set_timeout(until.saturating_duration_since(Instant::now()));
    if let Ok(id) = request_id.parse::<MetadataValue<_>>() {
        request.metadata_mut().insert(REQUEST_ID, id);
    }
    request
}

async fn head(messages: &mut Streaming<ForwardResponse>) -> Result<ForwardedHead, Status> {
    match messages.message().await?.and_then(|message| message.part) {
        Some(Part::Head(head)) => Ok(head),
        _ => Err(broken()),
    }
}

async fn whole(mut messages: Streaming<ForwardResponse>) -> Result<Bytes, Status> {
    let mut whole = BytesMut::new();
    while let Some(message) = messages.message().await? {
        let Some(Part::Data(data)) = message.part else { return Err(broken()) };
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

fn broken() -> Status {
    Status::unknown("its answer was not understood")
}
