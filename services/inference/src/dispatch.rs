//! Third step: send the prompt to its engine, and see the first event before anything is promised to the client.
//!
//! Engines answer 200 to a stream at once, while it waits, and may put an error into it. Until the first event is
//! read the request can still go to another engine.

use crate::{
    config,
    engines::{Fleet, SendError},
    error::Error,
    meter::{Metered, Patience},
    prompt::Prompt,
    queue::Permit,
    settle::Account,
    sse::{self, EngineError, Event, Splitter},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

/// An engine's answer on its way to the client.
#[derive(Debug)]
pub enum Answer {
    /// All of it, as the engine wrote it.
    Whole(Bytes),
    /// As it is made.
    Stream(Box<Metered>),
}

/// Why an attempt gave no answer.
#[derive(Debug)]
pub enum Failure {
    /// Nothing reached the client; another engine may do better. The account goes on.
    Retry {
        /// The account.
        account: Box<Account>,
        /// What happened, for the metric.
        cause: &'static str,
    },
    /// It would be the same anywhere, or there is no time left. The account is settled.
    Final(Error),
}

/// Sends prompts to engines.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    /// The engines.
    pub fleet: Fleet,
    /// Their timeouts.
    pub config: config::Engine,
    /// Largest answer that is not a stream, in bytes.
    pub max_answer_bytes: usize,
}

impl Dispatcher {
    /// One attempt on the permit's engine, until the answer or its first event is there.
    ///
    /// # Errors
    /// [`Failure::Retry`] when another engine may do better, else [`Failure::Final`].
    pub async fn dispatch(
        &self,
        prompt: &Prompt,
        permit: Permit,
        account: Account,
        until: Instant,
    ) -> Result<Answer, Failure> {
        let engine_id = permit.engine();
        let Some(engine) = self.fleet.get(engine_id) else {
            return Err(retry(account, "unknown engine"));
        };
        let mut request = engine.request(http::Method::POST, prompt.endpoint.path(), prompt.body.clone());
        if let Ok(id) = HeaderValue::from_str(account.usage_id()) {
            request.headers_mut().insert(shared::request_id::HEADER, id);
        }
        shared::telemetry::inject(request.headers_mut());
        let patience =
            if prompt.stream { self.config.first_token_timeout } else { self.config.answer_timeout };
        let limit = (Instant::now() + patience).min(until);
        let answer = match timeout_at(limit, self.fleet.send(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(SendError::Connect)) => {
                self.fleet.unreachable(engine_id);
                return Err(unspent(account, "connect"));
            }
            Ok(Err(SendError::Broken)) => return Err(retry(account, "broken connection")),
            Err(_) => return Err(late(account, until)),
        };
        if answer.status() != StatusCode::OK {
            return Err(self.refused(answer, account, limit).await);
        }
        if prompt.stream {
            self.stream(answer, prompt, permit, account, limit, until).await
        } else {
            self.whole(answer, account, until).await
        }
    }

    async fn whole(
        &self,
        answer: Response<Incoming>,
        mut account: Account,
        until: Instant,
    ) -> Result<Answer, Failure> {
        let body = Limited::new(answer.into_body(), self.max_answer_bytes);
        match timeout_at(until, body.collect()).await {
            Ok(Ok(body)) => {
                let bytes = body.to_bytes();
                account.event(false, sse::usage(&bytes));
                account.finish();
                Ok(Answer::Whole(bytes))
            }
            Ok(Err(_)) => Err(retry(account, "broken answer")),
            Err(_) => Err(late(account, until)),
        }
    }

    async fn stream(
        &self,
        answer: Response<Incoming>,
        prompt: &Prompt,
        permit: Permit,
        account: Account,
        limit: Instant,
        until: Instant,
    ) -> Result<Answer, Failure> {
        let mut upstream = answer.into_body();
        let begun = match timeout_at(limit, first_event(&mut upstream)).await {
            Ok(Some(begun)) => begun,
            Ok(None) => return Err(retry(account, "empty stream")),
            Err(_) => return Err(late(account, until)),
        };
        if let Event::Error(error) = sse::read(&begun) {
            return Err(in_band(account, error));
        }
        let patience = Patience { idle: self.config.idle_timeout, until };
        let metered = Metered::new(upstream, begun, !prompt.wants_usage, account, permit, patience);
        Ok(Answer::Stream(Box::new(metered)))
    }

    /// An answer other than 200.
    async fn refused(&self, answer: Response<Incoming>, account: Account, limit: Instant) -> Failure {
        let status = answer.status();
        if busy(status) {
            return unspent(account, "engine busy");
        }
        if status.is_server_error() {
            return retry(account, "engine error");
        }
        let body = Limited::new(answer.into_body(), MAX_ERROR_BYTES);
        let bytes = match timeout_at(limit, body.collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) | Err(_) => Bytes::new(),
        };
        account.refuse();
        Failure::Final(refusal(status, &bytes))
    }
}

/// An engine's error body larger than this is cut off.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// Bytes up to the end of the first event, and what came with it.
async fn first_event(upstream: &mut Incoming) -> Option<Bytes> {
    let mut splitter = Splitter::default();
    loop {
        let bytes = upstream.frame().await?.ok()?.into_data().unwrap_or_default();
        if splitter.pending() == 0 && sse::end_of_event(&bytes).is_some() {
            return Some(bytes);
        }
        splitter.feed(&bytes);
        let mut whole = BytesMut::new();
        while let Some(event) = splitter.cut() {
            whole.extend_from_slice(&event);
        }
        if !whole.is_empty() {
            whole.extend_from_slice(&splitter.into_rest());
            return Some(whole.freeze());
        }
    }
}

/// An engine that is full takes nothing on.
fn busy(status: StatusCode) -> bool {
    matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
}

/// The engine did nothing for it.
fn unspent(account: Account, cause: &'static str) -> Failure {
    Failure::Retry { account: Box::new(account), cause }
}

/// The engine may have worked for it.
fn retry(mut account: Account, cause: &'static str) -> Failure {
    account.spent();
    Failure::Retry { account: Box::new(account), cause }
}

/// Time is over: for this engine, or for the request.
fn late(account: Account, until: Instant) -> Failure {
    if Instant::now() < until {
        return retry(account, "no first token");
    }
    drop(account);
    Failure::Final(Error::Deadline)
}

fn in_band(account: Account, error: EngineError) -> Failure {
    match StatusCode::from_u16(error.status) {
        Ok(status) if busy(status) => unspent(account, "engine busy"),
        Ok(status) if status.is_client_error() => {
            account.refuse();
            let (kind, param) = ("BadRequestError".to_owned(), None);
            Failure::Final(Error::Refused { status: error.status, kind, param, message: error.message })
        }
        _ => retry(account, "error inside the stream"),
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorFields,
}

#[derive(Deserialize)]
struct ErrorFields {
    message: String,
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    param: Option<String>,
}

/// The engine's own words where they help the caller; what only tells of our set-up is put in ours.
fn refusal(status: StatusCode, body: &[u8]) -> Error {
    let code = status.as_u16();
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        tracing::error!(status = code, "an engine refuses our key: check inference.engine_key");
        return Error::EngineFailed { cause: "it refuses the gateway" };
    }
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(ErrorBody { error }) => Error::Refused {
            status: code,
            kind: error.r#type.filter(|kind| kind != "Bad Request").unwrap_or_else(|| "BadRequestError".into()),
            param: error.param,
            message: error.message,
        },
        Err(_) if status == StatusCode::NOT_FOUND => Error::Refused {
            status: code,
            kind: "NotFoundError".into(),
            param: Some("model".into()),
            message: "this model does not offer this route (a chat model has no embeddings, and the other way round)"
                .into(),
        },
        Err(_) => Error::Refused {
            status: code,
            kind: "BadRequestError".into(),
            param: None,
            message: format!("the engine refused the request with status {code}"),
        },
    }
}
