//! Third step: send the prompt to its engine, and see the first event before anything is promised to the client.
//!
//! Engines answer 200 to a stream at once, while it waits, and may put an error into it. Until the first event is
//! read the request can still go to another engine.

mod refusal;

use crate::{
    cache::Replay,
    config,
    engines::{Attempt, Fault, Fleet, SendError, Share},
    error::Error,
    gateways::relay::Relayed,
    goodput::Used,
    joint::{self, Joint, Lead, Part, Together, Turn},
    meter::{Metered, Patience},
    prompt::{Endpoint, Prompt},
    queue::Permit,
    settle::Account,
    sse::{self, EngineError, Event},
    stored::Names,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
pub(crate) use refusal::Said;
use shared::status::IntoStatus;
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

/// An engine's answer on its way to the client.
#[derive(Debug)]
pub enum Answer {
    /// All of it, as the engine wrote it, and what it took.
    Whole(Bytes, Used),
    /// As it is made.
    Stream(Box<Metered>),
    /// As another gateway passes it on.
    Relayed(Box<Relayed>),
    /// As it was made before, or is made for others as well.
    Replayed(Box<Replay>),
}

/// Why an attempt gave no answer.
#[derive(Debug)]
pub enum Failure {
    /// Nothing reached the client; another engine may do better. The account goes on.
    Retry(Retry),
    /// It would be the same anywhere, or there is no time left. The account is settled.
    Final(Error),
}

/// An attempt that may be repeated.
#[derive(Debug)]
pub struct Retry {
    /// The account.
    pub account: Box<Account>,
    /// What happened, for the metric.
    pub cause: &'static str,
    /// Whether the engine may have worked for it and can be asked again, so that repeating may make things worse.
    pub again: bool,
    /// Whether nothing reached the engine, so that there is nothing to wait for.
    pub untouched: bool,
    /// Whether it only made room for a more urgent one, which is no failure.
    pub stopped: bool,
}

/// Sends prompts to engines.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    /// The engines.
    pub fleet: Fleet,
    /// Largest answer that is not a stream, in bytes.
    pub max_answer_bytes: usize,
    /// What engines are to call the responses that they keep.
    pub names: Names,
    /// Calls that several callers share.
    pub joint: Joint,
}

/// An attempt under way, with all that it holds.
struct Sent<'a> {
    prompt: &'a Prompt,
    account: Account,
    permit: Permit,
    attempt: Attempt,
    /// When the caller's time is over.
    until: Instant,
    config: &'a config::Engine,
    /// While others wait for it.
    lead: Option<Lead>,
}

impl Dispatcher {
    /// One attempt on the permit's engine, until the answer or its first event is there.
    ///
    /// # Errors
    /// [`Failure::Retry`] when another engine may do better, else [`Failure::Final`].
    pub async fn dispatch(
        &self,
        prompt: &Prompt,
        mut permit: Permit,
        account: Account,
        until: Instant,
    ) -> Result<Answer, Failure> {
        let config = self.fleet.settings();
        let Some(engine) = self.fleet.get(permit.engine()) else {
            // It left between the turn and now.
            let account = Box::new(account);
            permit.lost();
            return Err(Failure::Retry(Retry {
                account,
                cause: "engine left",
                again: false,
                untouched: true,
                stopped: false,
            }));
        };
        let body = match prompt.endpoint {
            Endpoint::Responses => {
                let (usage_id, user) = (account.usage_id(), account.user_id());
                prompt.called(&self.names.make(&engine.name, usage_id, user))
            }
            _ => prompt.body.clone(),
        };
        let mut request = engine.request(http::Method::POST, prompt.endpoint.path(), body);
        let part = Part::of(prompt).map(Arc::new);
        if let Ok(id) = HeaderValue::from_str(account.usage_id()) {
            request.headers_mut().insert(shared::request_id::HEADER, id);
        }
        shared::telemetry::inject(request.headers_mut());
        let patience = if prompt.stream { config.first_token_timeout } else { config.answer_timeout };
        let now = Instant::now();
        let limit = (now + patience).min(until);
        let attempt = Attempt::new(Arc::clone(&engine), prompt.stream, now.into_std());
        let account = account.sharing(Share::new(Arc::clone(&engine)));
        let mut sent = Sent { prompt, account, permit, attempt, until, config: &config, lead: None };
        if let Some(part) = &part {
            let turn = self.joint.join(&engine, prompt.class, part, sent.account.usage_id());
            match sent.within(limit, turn).await {
                Ok(Turn::Alone(lead)) => sent.lead = Some(lead),
                Ok(Turn::Apart) => {}
                Ok(Turn::Together(together)) => return sent.together(together),
                Err(cut) => return Err(sent.cut(cut)),
            }
        }
        let answer = match sent.within(limit, self.fleet.send(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(SendError::Connect)) => return Err(sent.unspent(Fault::Connect, "connect")),
            Ok(Err(SendError::Broken)) => return Err(sent.retry(Fault::Broken, "broken connection")),
            Err(cut) => return Err(sent.cut(cut)),
        };
        if answer.status() != StatusCode::OK {
            return Err(sent.refused(answer, limit).await);
        }
        if prompt.stream {
            return sent.stream(answer, limit).await;
        }
        let whole = sent.whole(answer, self.max_answer_bytes).await;
        if let (Some(part), Ok(Answer::Whole(_, used))) = (part, &whole) {
            self.joint.learn(&part, used.prompt);
        }
        whole
    }
}

/// Why an answer was not waited for.
enum Cut {
    Late,
    /// It is to make room for a more urgent one.
    Stopped,
}

impl Sent<'_> {
    /// Waits for something that comes before the first token.
    async fn within<T>(&self, limit: Instant, answer: impl Future<Output = T>) -> Result<T, Cut> {
        tokio::select! {
            biased;
            answer = timeout_at(limit, answer) => answer.map_err(|_| Cut::Late),
            () = self.permit.stopped() => Err(Cut::Stopped),
        }
    }

    fn cut(mut self, cut: Cut) -> Failure {
        match cut {
            Cut::Late => self.late(),
            Cut::Stopped => {
                self.permit.lost();
                let (account, cause) = (Box::new(self.account), "made room");
                Failure::Retry(Retry { account, cause, again: false, untouched: true, stopped: true })
            }
        }
    }

    async fn whole(mut self, answer: Response<Incoming>, largest: usize) -> Result<Answer, Failure> {
        let body = Limited::new(answer.into_body(), largest);
        match timeout_at(self.until, body.collect()).await {
            Ok(Ok(body)) => {
                if let Some(lead) = self.lead.take() {
                    lead.done();
                }
                Ok(self.came(body.to_bytes()))
            }
            Ok(Err(_)) => Err(self.retry(Fault::Broken, "broken answer")),
            Err(_) => Err(self.late()),
        }
    }

    /// All of the answer is there.
    fn came(mut self, bytes: Bytes) -> Answer {
        self.attempt.finish(now());
        let usage = self.prompt.endpoint.usage(&bytes);
        let made = usage.as_ref().map_or(0, |usage| usage.completion);
        self.permit.made(u32::try_from(made).unwrap_or(u32::MAX));
        self.permit.done();
        self.account.event(false, usage);
        Answer::Whole(bytes, self.account.finish())
    }

    /// What came of a call that was shared with others.
    fn together(mut self, Together { came, first }: Together) -> Result<Answer, Failure> {
        let failed = match came {
            Ok(bytes) => return Ok(self.came(bytes)),
            Err(failed) => failed,
        };
        if !first {
            self.attempt.aside();
        }
        Err(match failed {
            joint::Failed::Unsent(SendError::Connect) => self.unspent(Fault::Connect, "connect"),
            joint::Failed::Unsent(SendError::Broken) => self.retry(Fault::Broken, "broken connection"),
            joint::Failed::Broken => self.retry(Fault::Broken, "broken answer"),
            joint::Failed::Refused(status) if busy(status) => self.unspent(Fault::Busy, "engine busy"),
            joint::Failed::Refused(_) => self.retry(Fault::Error, "engine error"),
        })
    }

    async fn stream(mut self, answer: Response<Incoming>, limit: Instant) -> Result<Answer, Failure> {
        let mut upstream = answer.into_body();
        let (begun, first) = match self.within(limit, first_event(&mut upstream)).await {
            Ok(Some(begun)) => begun,
            Ok(None) => return Err(self.retry(Fault::Broken, "empty stream")),
            Err(cut) => return Err(self.cut(cut)),
        };
        if let Event::Error(error) = first {
            return Err(self.in_band(error));
        }
        self.attempt.heard(now());
        self.permit.first_token();
        let patience = Patience { idle: self.config.idle_timeout, until: self.until };
        let held = (self.permit, self.attempt);
        let metered = Metered::new(upstream, begun, !self.prompt.wants_usage, self.account, held, patience);
        Ok(Answer::Stream(Box::new(metered)))
    }

    /// An answer other than 200.
    async fn refused(mut self, answer: Response<Incoming>, limit: Instant) -> Failure {
        let status = answer.status();
        if busy(status) {
            return self.unspent(Fault::Busy, "engine busy");
        }
        if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
            return self.retry(Fault::Error, "engine error");
        }
        let body = Limited::new(answer.into_body(), MAX_ERROR_BYTES);
        let bytes = match timeout_at(limit, body.collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) | Err(_) => Bytes::new(),
        };
        let said = Said::read(&bytes);
        if status == StatusCode::NOT_FOUND && said.as_ref().is_some_and(Said::is_about_the_model) {
            self.attempt.lost(self.prompt.served());
            return self.unspent(Fault::Busy, "unknown model");
        }
        let refusal = refusal::of(self.prompt, status, said);
        match refusal {
            Error::EngineFailed { .. } => self.attempt.fail(Fault::Error, now()),
            _ => self.attempt.finish(now()),
        }
        self.permit.lost();
        self.account.refuse(refusal.fault().reason);
        Failure::Final(refusal)
    }

    fn in_band(mut self, error: EngineError) -> Failure {
        match StatusCode::from_u16(error.status) {
            Ok(status) if busy(status) => self.unspent(Fault::Busy, "engine busy"),
            Ok(status) if status.is_client_error() => {
                self.attempt.finish(now());
                self.permit.lost();
                let (kind, param) = ("BadRequestError".to_owned(), None);
                let refusal = Error::Refused { status: error.status, kind, param, message: error.message };
                self.account.refuse(refusal.fault().reason);
                Failure::Final(refusal)
            }
            _ => self.retry(Fault::Error, "error inside the stream"),
        }
    }

    /// The engine did nothing for it.
    fn unspent(mut self, fault: Fault, cause: &'static str) -> Failure {
        self.attempt.fail(fault, now());
        if fault == Fault::Busy {
            self.permit.busy()
        } else {
            self.permit.lost()
        }
        let (account, untouched) = (Box::new(self.account), fault == Fault::Connect);
        Failure::Retry(Retry { account, cause, again: false, untouched, stopped: false })
    }

    /// The engine may have worked for it.
    fn retry(mut self, fault: Fault, cause: &'static str) -> Failure {
        self.account.spent();
        self.attempt.fail(fault, now());
        self.permit.lost();
        let (account, again) = (Box::new(self.account), self.attempt.may_be_asked_again());
        Failure::Retry(Retry { account, cause, again, untouched: false, stopped: false })
    }

    /// Time is over: for this engine, or for the request.
    fn late(mut self) -> Failure {
        if Instant::now() < self.until {
            return self.retry(Fault::Silent, "no first token");
        }
        self.attempt.fail(Fault::Late, now());
        self.account.late();
        Failure::Final(Error::Deadline)
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// An engine's error body larger than this is cut off.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// Bytes up to the end of the first event that says whether there is an answer, what came with it, and that event.
async fn first_event(upstream: &mut Incoming) -> Option<(Bytes, Event)> {
    let begun = upstream.frame().await?.ok()?.into_data().unwrap_or_default();
    if let Some(first) = sse::first(&begun) {
        return Some((begun, first));
    }
    let mut begun = BytesMut::from(begun);
    loop {
        begun.extend_from_slice(&upstream.frame().await?.ok()?.into_data().unwrap_or_default());
        if let Some(first) = sse::first(&begun) {
            return Some((begun.freeze(), first));
        }
    }
}

/// An engine that is full takes nothing on.
fn busy(status: StatusCode) -> bool {
    matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
}
