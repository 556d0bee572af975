//! InferenceService: typed calls over the same path that OpenAI's routes take.

use super::{Api, wire};
use crate::{
    cache::{self, Cached},
    dispatch::Answer,
    error::Error,
    infer::Inferred,
    lock::{Guard, LOCK, LockName},
    prompt::{Endpoint, IDEMPOTENCY_KEY, PRIORITY, Prompt},
    sse::{self, Event, Splitter},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body::Body;
use http_body_util::BodyExt;
use proto::inference::v1::{self as pb, inference_service_server::InferenceService};
use shared::{
    auth::{Refusal, RequestExt},
    deadline::Deadline,
    request_id::RequestId,
    status::{self, Fault},
};
use std::{convert::Infallible, pin::Pin};
use tonic::{Code, Request, Response, Status, metadata::MetadataValue};
use uuid::Uuid;

#[tonic::async_trait]
impl InferenceService for Api {
    async fn infer(&self, request: Request<pb::InferRequest>) -> Result<Response<pb::InferResponse>, Status> {
        let (endpoint, body) = wire::prompt(request.get_ref().prompt.as_ref(), false)?;
        let (inferred, guard) = self.run(&request, endpoint, body, &request.get_ref().lock).await?;
        let marks = Marks::of(&inferred, &guard);
        let (usage_id, json) = whole(inferred)?;
        Ok(marks.on(wire::inferred(usage_id, &json)?))
    }

    type InferStreamStream = Pin<Box<dyn Stream<Item = Result<pb::InferStreamResponse, Status>> + Send>>;

    async fn infer_stream(
        &self,
        request: Request<pb::InferStreamRequest>,
    ) -> Result<Response<Self::InferStreamStream>, Status> {
        let (endpoint, body) = wire::prompt(request.get_ref().prompt.as_ref(), true)?;
        let (inferred, guard) = self.run(&request, endpoint, body, &request.get_ref().lock).await?;
        let (id, marks) = (inferred.usage_id, Marks::of(&inferred, &guard));
        let messages: Self::InferStreamStream = match inferred.answer {
            Answer::Stream(metered) => Box::pin(messages(id, metered)),
            Answer::Relayed(relayed) => Box::pin(messages(id, relayed)),
            Answer::Replayed(replay) => Box::pin(messages(id, replay)),
            Answer::Whole(..) => return Err(unexpected()),
        };
        // The lock is held until all was said, or nobody listens any more.
        let messages: Self::InferStreamStream = Box::pin(messages.inspect(move |_| {
            let _held = &guard;
        }));
        Ok(marks.on(messages))
    }

    async fn embed(&self, request: Request<pb::EmbedRequest>) -> Result<Response<pb::EmbedResponse>, Status> {
        let body = wire::embed(request.get_ref())?;
        let lock = &request.get_ref().lock;
        let (inferred, guard) = self.run(&request, Endpoint::Embeddings, body, lock).await?;
        let marks = Marks::of(&inferred, &guard);
        let (usage_id, json) = whole(inferred)?;
        Ok(marks.on(wire::embedded(usage_id, &json)?))
    }
}

impl Api {
    async fn run<T>(
        &self,
        request: &Request<T>,
        endpoint: Endpoint,
        body: bytes::Bytes,
        lock: &str,
    ) -> Result<(Inferred, Guard), Status> {
        let caller = request.caller()?;
        let person = *caller.person().ok_or(Refusal::Missing).map_err(Status::from)?;
        let id = request.extensions().get::<RequestId>().map_or("", RequestId::as_str);
        let deadline = request.extensions().get::<Deadline>().map(|deadline| deadline.0);
        let said = |name| request.metadata().get(name).map(|said| said.as_encoded_bytes());
        let prompt = Prompt::read(endpoint, body)?.with_priority(said(PRIORITY))?;
        let prompt = prompt.with_wishes(None, said(cache::HEADER))?;
        let prompt = prompt.with_idempotency_key(said(IDEMPOTENCY_KEY))?;
        let named = LockName::read_optional(said(LOCK).or(Some(lock.as_bytes())))?;
        let guard = Guard::of(&self.jobs.locks, named.as_ref().or(prompt.lock.as_ref())).await?;
        let note = request.extensions().get().cloned().unwrap_or_default();
        Ok((self.inference.noted(&note, person, prompt, id, deadline).await?, guard))
    }
}

/// What an answer says of itself beside its message.
struct Marks {
    instead: Option<String>,
    cached: Cached,
    lock: Option<&'static str>,
}

impl Marks {
    fn of(inferred: &Inferred, guard: &Guard) -> Self {
        Self { instead: inferred.instead.clone(), cached: inferred.cached, lock: guard.said() }
    }

    /// The answer, and in its metadata the model that stood in for the one that was asked, what the cache did, and what
    /// became of the lock.
    fn on<T>(self, message: T) -> Response<T> {
        let mut response = Response::new(message);
        let metadata = response.metadata_mut();
        if let Some(said) = self.lock {
            metadata.insert(LOCK, MetadataValue::from_static(said));
        }
        if let Some(model) = self.instead.and_then(|model| model.parse().ok()) {
            metadata.insert("x-tollgate-fallback-model", model);
        }
        metadata.insert(cache::HEADER, MetadataValue::from_static(self.cached.as_str()));
        if let Cached::Hit(age) = self.cached {
            metadata.insert("age", age.as_secs().into());
        }
        response
    }
}

fn whole(inferred: Inferred) -> Result<(Uuid, bytes::Bytes), Status> {
    match inferred.answer {
        Answer::Whole(json, _) => Ok((inferred.usage_id, json)),
        Answer::Stream(_) | Answer::Relayed(_) | Answer::Replayed(_) => Err(unexpected()),
    }
}

fn unexpected() -> Status {
    Error::EngineFailed { cause: "its answer was of the wrong kind" }.into()
}

/// The events of a stream as messages; text that is made while one is read goes into the same message's order.
fn messages<B>(
    usage_id: Uuid,
    metered: B,
) -> impl Stream<Item = Result<pb::InferStreamResponse, Status>> + Send
where
    B: Body<Data = Bytes, Error = Infallible> + Unpin + Send,
{
    let state = Some((metered, Splitter::default()));
    stream::unfold(state, move |state| async move {
        let (mut metered, mut splitter) = state?;
        loop {
            while let Some(event) = splitter.cut() {
                match sse::read(&event) {
                    Event::Done(_) => return None,
                    Event::Error(error) => {
                        let fault = Fault::new(Code::Unavailable, "STREAM_INTERRUPTED");
                        let broken = status::status(fault, error.message);
                        return Some((Err(broken), None));
                    }
                    Event::Content { .. } | Event::Usage(_) => match wire::streamed(usage_id, &event) {
                        Ok(Some(message)) => return Some((Ok(message), Some((metered, splitter)))),
                        Ok(None) => {}
                        Err(status) => return Some((Err(status), None)),
                    },
                    Event::Begun | Event::Other => {}
                }
            }
            match metered.frame().await? {
                Ok(frame) => splitter.feed(&frame.into_data().unwrap_or_default()),
                Err(never) => match never {},
            }
        }
    })
}
