//! GatewayService: what other gateways over the same engines ask of this one.

use super::Api;
use crate::{
    dispatch::Answer,
    error::Error,
    gateways::{forward, word},
    infer::Inferred,
    prompt::{Endpoint, Prompt},
    queue::Class,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body::Body;
use http_body_util::BodyExt;
use proto::inference::v1::{
    self as pb, ForwardRequest, ForwardResponse, ForwardedHead, ForwardedRoute, forward_response::Part,
    gateway_service_server::GatewayService,
};
use shared::{auth::Person, deadline::Deadline, request_id::RequestId, telemetry::Note};
use std::{convert::Infallible, pin::Pin};
use tonic::{Request, Response, Status};

/// Bytes of a call that is passed on which are not its body, at most.
pub(super) const BESIDE_THE_BODY: usize = 64 * 1024;
/// Bytes of an answer in one message: what a client takes without being told to take more.
const PIECE: usize = 1024 * 1024;

type Pieces = Pin<Box<dyn Stream<Item = Result<ForwardResponse, Status>> + Send>>;

#[tonic::async_trait]
impl GatewayService for Api {
    type ForwardStream = Pieces;

    async fn forward(&self, request: Request<ForwardRequest>) -> Result<Response<Pieces>, Status> {
        let id = request.extensions().get::<RequestId>().cloned();
        let deadline = request.extensions().get::<Deadline>().map(|deadline| deadline.0);
        let note = request.extensions().get::<Note>().cloned();
        let (person, prompt) = read(request.into_inner()).map_err(refused)?;
        let id = id.as_ref().map_or("", RequestId::as_str);
        let inferred = self.inference.infer_here(person, prompt, id, deadline).await.map_err(refused)?;
        if let Some(note) = note {
            note.learn(|learned| learned.elsewhere = Some(inferred.elsewhere));
        }
        Ok(Response::new(pieces(inferred)))
    }

    async fn identify(
        &self,
        request: Request<pb::IdentifyRequest>,
    ) -> Result<Response<pb::IdentifyResponse>, Status> {
        let gateways = self.inference.gateways.as_ref().ok_or(Error::Elsewhere)?;
        Ok(Response::new(gateways.identify(request.get_ref())))
    }
}

fn read(message: ForwardRequest) -> Result<(Person, Prompt), Error> {
    let endpoint = match message.route() {
        ForwardedRoute::Chat => Endpoint::Chat,
        ForwardedRoute::Completions => Endpoint::Completions,
        ForwardedRoute::Embeddings => Endpoint::Embeddings,
        ForwardedRoute::Responses => Endpoint::Responses,
        ForwardedRoute::Messages => Endpoint::Messages,
        ForwardedRoute::CountTokens => Endpoint::CountTokens,
        ForwardedRoute::Rerank => Endpoint::Rerank,
        ForwardedRoute::Score => Endpoint::Score,
        ForwardedRoute::Tokenize => Endpoint::Tokenize,
        ForwardedRoute::Detokenize => Endpoint::Detokenize,
        ForwardedRoute::Unspecified => return Err(Error::Invalid { param: "route", problem: "is required" }),
    };
    let person = message.caller.as_ref().and_then(word::person);
    let person = person.ok_or(Error::Invalid { param: "caller", problem: "must be a person" })?;
    let class = Class::from_word(&message.priority).unwrap_or(Class::Default);
    let mut prompt = Prompt::read(endpoint, message.body)?;
    // The body asks for the usage by now, whoever wanted it.
    (prompt.model, prompt.wants_usage) = (message.model, message.wants_usage);
    (prompt.class, prompt.spare) = (class, message.spare);
    Ok((person, prompt))
}

/// A refusal with what OpenAI's callers are told beside it.
fn refused(error: Error) -> Status {
    let (http, param) = (error.http_status().as_u16(), error.param().map(str::to_owned));
    let mut status = Status::from(error);
    status.metadata_mut().insert(forward::HTTP_STATUS, http.into());
    if let Some(param) = param.and_then(|param| param.parse().ok()) {
        status.metadata_mut().insert(forward::PARAM, param);
    }
    status
}

fn pieces(inferred: Inferred) -> Pieces {
    let stream = !matches!(inferred.answer, Answer::Whole(..));
    let head = ForwardedHead { usage_id: inferred.usage_id.to_string(), stream };
    let head = stream::once(std::future::ready(Ok(ForwardResponse { part: Some(Part::Head(head)) })));
    match inferred.answer {
        Answer::Whole(bytes, _) => {
            let cuts = (0..bytes.len()).step_by(PIECE);
            let cut = move |at| data(bytes.slice(at..bytes.len().min(at + PIECE)));
            Box::pin(head.chain(stream::iter(cuts.map(cut).collect::<Vec<_>>())))
        }
        Answer::Stream(metered) => Box::pin(head.chain(frames(metered))),
        Answer::Relayed(relayed) => Box::pin(head.chain(frames(relayed))),
        Answer::Replayed(replay) => Box::pin(head.chain(frames(replay))),
    }
}

fn frames<B>(body: B) -> impl Stream<Item = Result<ForwardResponse, Status>> + Send
where
    B: Body<Data = Bytes, Error = Infallible> + Unpin + Send,
{
    stream::unfold(body, |mut body| async move {
        loop {
            match body.frame().await? {
                Ok(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Some((data(bytes), body));
                    }
                }
                Err(never) => match never {},
            }
        }
    })
}

fn data(bytes: Bytes) -> Result<ForwardResponse, Status> {
    Ok(ForwardResponse { part: Some(Part::Data(bytes)) })
}
