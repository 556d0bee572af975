//! The body of a streamed answer: queued only once its headers have left, one event per token, and an honest error in
//! the middle when the engine has to give up. Dropping it aborts what is left.

use std::collections::VecDeque;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;

use super::generate::{Job, hang_up};
use super::logprobs::{ChatLogprobs, CompletionLogprobs};
use super::voice::Voice;
use crate::engine::{Engine, Made, Ticket};
use crate::errors::{ApiError, Rejection};
use crate::fault::InBandError;
use crate::sse::{DONE, Events, Kind, Piece, Usage, failed, json};
use crate::text::{Telling, Token};

/// Where a stream stands.
#[derive(Debug)]
struct Stream {
    engine: Engine,
    job: Job,
    events: Events,
    tellings: Vec<Telling>,
    /// `None` until the request is queued, and again when it is over.
    ticket: Option<Ticket>,
    ready: VecDeque<Bytes>,
    sent: u32,
    begun: bool,
    over: bool,
}

/// The body that tells a job's answers.
pub(super) fn body(engine: Engine, mut job: Job) -> Body {
    let events = Events::new(job.kind, &job.id, job.created, engine.config().served_name());
    let tellings = job.plans.iter().map(|plan| Telling::new(plan.answer.clone())).collect();
    let (ready, sent) = (job.voice.begin().into(), 0);
    let stream =
        Stream { engine, job, events, tellings, ticket: None, ready, sent, begun: false, over: false };
    Body::from_stream(stream::unfold(Box::new(stream), |mut stream| async move {
        let event = stream.next().await?;
        Some((Ok::<_, std::convert::Infallible>(event), stream))
    }))
}

/// The error a fault asks for.
pub(super) fn mishap(error: InBandError) -> ApiError {
    if error.status == 503 { Rejection::Tokens.into() } else { ApiError::engine_died() }
}

impl Stream {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.suffer().await;
            if let Some(event) = self.ready.pop_front() {
                self.sent += 1;
                return Some(event);
            }
            if self.over {
                return None;
            }
            match &mut self.ticket {
                None => self.queue().await,
                Some(ticket) => match ticket.next().await {
                    Some(made) => self.tell(made),
                    None => self.fail(&ApiError::engine_died()).await,
                },
            }
        }
    }

    /// Lets the fault happen that is due after the events sent so far.
    async fn suffer(&mut self) {
        if self.job.mishap.reset.is_some_and(|reset| reset.after_events <= self.sent) {
            // What was sent must have left before the connection goes.
            tokio::task::yield_now().await;
            hang_up(self.job.line.as_ref()).await;
        }
        let due = self.job.mishap.in_band_error.take_if(|error| error.after_events <= self.sent);
        if let Some(error) = due {
            self.ready.clear();
            self.fail(&mishap(error)).await;
        }
    }

    async fn queue(&mut self) {
        tokio::time::sleep(self.engine.render_time()).await;
        match self.job.submit(&self.engine) {
            Ok(ticket) => self.ticket = Some(ticket),
            Err(rejection) => self.fail(&rejection.into()).await,
        }
    }

    /// Chunks and messages say that the engine failed; a response just breaks off.
    async fn fail(&mut self, error: &ApiError) {
        match &self.job.voice {
            Voice::Chunks => {
                self.ready.push_back(error.event().into());
                self.end();
            }
            Voice::Message(_) => {
                self.ready.push_back(failed(&error.message));
                (self.ticket, self.over) = (None, true);
            }
            Voice::Response(_) => {
                self.ticket = None;
                hang_up(self.job.line.as_ref()).await;
            }
        }
    }

    fn end(&mut self) {
        self.ready.push_back(Bytes::from_static(DONE.as_bytes()));
        self.ticket = None;
        self.over = true;
    }

    /// Writes the events for one more token, and the closing ones behind the last.
    fn tell(&mut self, made: Made) {
        self.job.note(&made);
        if !self.begun {
            self.begun = true;
            self.open();
        }
        let part = made.part as usize;
        let Some(telling) = self.tellings.get_mut(part) else { return };
        let first = telling.told == 0;
        let (token, text) = telling.next();
        self.write(part, &token, text, first);
        if self.tellings.iter().all(Telling::is_finished) {
            let usage = self.job.usage(&self.tellings);
            let reuse = (self.job.cached(), self.job.reused());
            let finish = self.tellings.first().map(|telling| telling.answer.finish.clone());
            let last = finish.and_then(|finish| self.job.voice.close(&finish, usage, reuse));
            if let Some(last) = last {
                self.ready.extend(last);
                (self.ticket, self.over) = (None, true);
                return;
            }
            if self.job.streaming.usage_at_the_end {
                self.ready.push_back(self.events.usage(usage, self.job.reused()));
            }
            self.end();
        }
    }

    /// A chat opens all its answers together with the first token of any.
    fn open(&mut self) {
        if let Some(first) = self.job.voice.open(self.job.prompt_tokens) {
            self.ready.extend(first);
            return;
        }
        if self.job.kind != Kind::Chat {
            return;
        }
        for (index, plan) in (0..).zip(&self.job.plans) {
            let usage = Usage { prompt: plan.prompt_tokens, completion: 0 };
            self.ready
                .push_back(self.events.role(index, self.job.streaming.usage_everywhere.then_some(usage)));
        }
    }

    fn write(&mut self, part: usize, token: &Token, text: String, first: bool) {
        if let Some(more) = self.job.voice.more(&text) {
            self.ready.extend(more);
            return;
        }
        let (Some(telling), Some(plan)) = (self.tellings.get(part), self.job.plans.get(part)) else { return };
        let echo = plan.echo.as_ref().filter(|_| first);
        let text = echo.map_or_else(|| text.clone(), |prompt| format!("{}{text}", prompt.text));
        let finished = telling.is_finished();
        let usage = Usage { prompt: plan.prompt_tokens, completion: telling.told };
        let piece = Piece {
            index: u32::try_from(part).unwrap_or(u32::MAX),
            text: &text,
            logprobs: self.logprobs(token, telling),
            finish: finished.then_some(&telling.answer.finish),
            prompt_tokens: echo.map(|prompt| prompt.tokens.as_slice()),
            usage: self.job.streaming.usage_everywhere.then_some(usage),
            fingerprint: finished && !self.job.streaming.usage_at_the_end,
        };
        let event = self.events.piece(&piece);
        self.ready.push_back(event);
    }

    fn logprobs(&self, token: &Token, telling: &Telling) -> Option<String> {
        let many = self.job.logprobs?;
        Some(match self.job.kind {
            Kind::Chat => {
                let mut logprobs = ChatLogprobs::default();
                logprobs.push(token, many);
                json(&logprobs)
            }
            Kind::Completion => {
                let mut logprobs = CompletionLogprobs::default();
                logprobs.push(token, many, telling.length().saturating_sub(token.text.len()));
                json(&logprobs)
            }
        })
    }
}
