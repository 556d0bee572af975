//! The answer as it streams: every byte goes on at once, every event is counted on its way.
//!
//! Events that are there at once leave in one piece: what an engine sent in one burst would otherwise cost a write to
//! the client for each. None is held for another that is not there yet.
//!
//! Before the last event leaves, the account is in the journal. A stream that cannot go on ends with an error event
//! and without `[DONE]`. When the client goes away this body is dropped, and with it the account (as cancelled), the
//! engine's answer (which makes the engine abort) and the permit (which frees the place).

use crate::{
    engines::{Attempt, Fault},
    goodput::Trial,
    metrics,
    queue::Permit,
    resume::{Heard, Resumable},
    settle::Account,
    sse::{self, Event, Splitter},
};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep};

/// When an answer takes too long.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Between two pieces.
    pub idle: Duration,
    /// For the whole.
    pub until: Instant,
}

/// A stream from an engine to a client.
#[derive(Debug)]
pub struct Metered {
    upstream: Incoming,
    begun: Option<Bytes>,
    splitter: Splitter,
    /// Whether the usage event is for us alone.
    strip_usage: bool,
    account: Option<Account>,
    permit: Option<Permit>,
    attempt: Attempt,
    patience: Patience,
    heard: Instant,
    alarm: Pin<Box<Sleep>>,
    over: bool,
    gathered: Gathered,
    /// How it may go on elsewhere.
    resumable: Option<Box<Resumable>>,
    /// Its way to another engine.
    moving: Option<Moving>,
}

/// The rest of an answer, once another engine has begun with it; and what to say when none does.
struct Moving {
    rest: Pin<Box<dyn Future<Output = Option<Box<Metered>>> + Send>>,
    why: &'static str,
}

impl std::fmt::Debug for Moving {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Moving").field("why", &self.why).finish_non_exhaustive()
    }
}

/// Events on their way to the client in one piece.
#[derive(Debug, Default)]
struct Gathered {
    bytes: BytesMut,
    one: Bytes,
    /// How often it was found that nothing more is there.
    asked: u8,
}

/// A piece is not gathered beyond this many bytes.
const PIECE: usize = 16 * 1024;
/// A piece leaves when nothing more was there so many times. The engine's connection hands over one chunk per turn of
/// its task, and hyper asks twice within one turn of ours, so fewer would be before it had its turn.
const ASKS: u8 = 3;

impl Gathered {
    fn add(&mut self, bytes: Bytes) {
        if self.is_empty() {
            self.one = bytes;
        } else {
            self.bytes.extend_from_slice(&std::mem::take(&mut self.one));
            self.bytes.extend_from_slice(&bytes);
        }
        self.asked = 0;
    }

    fn is_empty(&self) -> bool {
        self.one.is_empty() && self.bytes.is_empty()
    }

    fn is_full(&self) -> bool {
        self.one.len() + self.bytes.len() >= PIECE
    }

    fn take(&mut self) -> Bytes {
        if self.bytes.is_empty() { std::mem::take(&mut self.one) } else { self.bytes.split().freeze() }
    }
}

impl Metered {
    /// Goes on with a stream of which `begun` was read already.
    #[must_use]
    pub fn new(
        upstream: Incoming,
        begun: Bytes,
        strip_usage: bool,
        account: Account,
        (permit, attempt): (Permit, Attempt),
        patience: Patience,
    ) -> Self {
        let heard = Instant::now();
        let alarm = Box::pin(tokio::time::sleep_until(patience.until.min(heard + patience.idle)));
        Self {
            upstream,
            begun: Some(begun),
            splitter: Splitter::default(),
            strip_usage,
            account: Some(account),
            permit: Some(permit),
            attempt,
            patience,
            heard,
            alarm,
            over: false,
            gathered: Gathered::default(),
            resumable: None,
            moving: None,
        }
    }

    /// Lets it go on elsewhere when it breaks off.
    pub(crate) fn resume_with(&mut self, resumable: Box<Resumable>) {
        self.resumable = Some(resumable);
    }

    /// How it will be judged.
    pub fn judge(&mut self, trial: Trial) {
        if let Some(account) = &mut self.account {
            account.judge(trial);
        }
    }

    /// What the client gets of these bytes.
    fn pass(&mut self, bytes: Bytes) -> Bytes {
        // Whole events, as engines send them, go on as they are; only a torn one is put together first.
        if self.splitter.pending() == 0 && bytes.ends_with(b"\n\n") {
            return self.pass_events(bytes);
        }
        self.splitter.feed(&bytes);
        let mut whole = BytesMut::new();
        while let Some(event) = self.splitter.cut() {
            whole.extend_from_slice(&event);
        }
        if whole.is_empty() { Bytes::new() } else { self.pass_events(whole.freeze()) }
    }

    fn pass_events(&mut self, bytes: Bytes) -> Bytes {
        if self.resumable.is_some() {
            return self.retell(&bytes);
        }
        let (mut kept, mut start, mut cut) = (BytesMut::new(), 0, false);
        while let Some(length) = sse::end_of_event(&bytes[start..]) {
            let event = start..start + length;
            start = event.end;
            let keep = !self.over && self.count(sse::read(&bytes[event.clone()]));
            match (keep, cut) {
                (true, true) => kept.extend_from_slice(&bytes[event]),
                (false, false) => {
                    cut = true;
                    kept.extend_from_slice(&bytes[..event.start]);
                }
                (true, false) | (false, true) => {}
            }
        }
        if cut { kept.freeze() } else { bytes }
    }

    /// The same for an answer that may be continued, or is.
    fn retell(&mut self, mut bytes: &[u8]) -> Bytes {
        let mut told = BytesMut::new();
        while let (false, Some(resumable), Some(end)) =
            (self.over, self.resumable.as_mut(), sse::end_of_event(bytes))
        {
            let (event, rest) = bytes.split_at(end);
            bytes = rest;
            let counted = resumable.transcript.counted(sse::read(event));
            if let Event::Error(error) = counted {
                tracing::warn!(status = error.status, "the engine failed in the middle of a stream");
                told.extend_from_slice(&self.go_on("the engine failed", Fault::Error));
                continue;
            }
            match resumable.transcript.hear(event, &counted) {
                Heard::Tell(event) => {
                    if self.count(counted) {
                        told.extend_from_slice(&event);
                    }
                }
                Heard::Known => {
                    if let (Some(account), Event::Content { usage: Some(usage), .. }) =
                        (self.account.as_mut(), counted)
                    {
                        account.said(usage);
                    }
                }
                Heard::Otherwise => {
                    metrics::resumed("diverged");
                    self.attempt.finish(self.heard.into_std());
                    told.extend_from_slice(
                        &self.break_off("no engine could go on with it exactly", Fault::Error),
                    );
                }
            }
        }
        told.freeze()
    }

    /// Goes on elsewhere where that can be, or ends the stream honestly.
    fn go_on(&mut self, why: &'static str, fault: Fault) -> Bytes {
        let resumable = self.resumable.take().filter(|_| fault != Fault::Late).and_then(Resumable::again);
        let Some(resumable) = resumable else { return self.break_off(why, fault) };
        self.attempt.fail(fault, Instant::now().into_std());
        let (Some(account), Some(mut permit)) = (self.account.take(), self.permit.take()) else {
            return self.break_off(why, fault);
        };
        permit.lost();
        let rest = Box::pin(resumable.go_on(account, permit.engine()));
        self.moving = Some(Moving { rest, why });
        Bytes::new()
    }

    /// Its way to another engine: what is to be told of it, or nothing where the rest follows.
    fn moved(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
        let Some(moving) = self.moving.as_mut() else { return Poll::Ready(Bytes::new()) };
        let Some(rest) = ready!(moving.rest.as_mut().poll(context)) else {
            metrics::resumed("refused");
            let why = moving.why;
            self.moving = None;
            return Poll::Ready(self.break_off(why, Fault::Late));
        };
        metrics::resumed("resumed");
        tracing::info!("an answer that broke off goes on at another engine");
        let gathered = std::mem::take(&mut self.gathered);
        *self = Self { gathered, ..*rest };
        Poll::Ready(Bytes::new())
    }

    /// Notes an event. Returns whether it is for the client.
    fn count(&mut self, event: Event) -> bool {
        let Some(account) = self.account.as_mut() else { return false };
        match event {
            Event::Content { tokens, usage } => {
                if tokens && let Some(permit) = &self.permit {
                    permit.made(1);
                }
                account.event(tokens, usage);
            }
            Event::Usage(usage) => {
                account.said(usage);
                return !self.strip_usage;
            }
            Event::Done => {
                self.attempt.finish(self.heard.into_std());
                self.end(Permit::done, |account| {
                    account.finish();
                });
            }
            Event::Error(error) => {
                tracing::warn!(status = error.status, "the engine failed in the middle of a stream");
                self.attempt.fail(Fault::Error, self.heard.into_std());
                self.end(Permit::lost, Account::fail);
                return true;
            }
            Event::Other => {}
        }
        true
    }

    fn end(&mut self, leave: impl FnOnce(&mut Permit), settle: impl FnOnce(Account)) {
        self.over = true;
        if let Some(account) = self.account.take() {
            settle(account);
        }
        if let Some(mut permit) = self.permit.take() {
            leave(&mut permit);
        }
    }

    /// Ends the stream honestly.
    fn break_off(&mut self, why: &'static str, fault: Fault) -> Bytes {
        tracing::warn!(why, "a stream could not go on");
        self.attempt.fail(fault, Instant::now().into_std());
        self.end(Permit::lost, Account::fail);
        broken_off(why)
    }

    fn too_late(&mut self, context: &mut Context<'_>) -> Option<(&'static str, Fault)> {
        while self.alarm.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            if now >= self.patience.until {
                return Some(("its time was over", Fault::Late));
            }
            if now >= self.heard + self.patience.idle {
                return Some(("the engine fell silent", Fault::Silent));
            }
            let next = self.patience.until.min(self.heard + self.patience.idle);
            self.alarm.as_mut().reset(next);
        }
        None
    }
}

/// The event that ends a stream honestly.
pub(crate) fn broken_off(why: &str) -> Bytes {
    Bytes::from(format!(
        "data: {{\"error\":{{\"message\":\"the answer broke off: {why}\",\"type\":\"server_error\",\"param\":null,\"code\":\"stream_interrupted\"}}}}\n\n"
    ))
}

impl Body for Metered {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        while !(this.over || this.gathered.is_full()) {
            let passed = match this.begun.take() {
                _ if this.moving.is_some() => match this.moved(context) {
                    Poll::Ready(told) => told,
                    Poll::Pending if this.gathered.is_empty() => return Poll::Pending,
                    Poll::Pending => break,
                },
                Some(begun) => this.pass(begun),
                None => match Pin::new(&mut this.upstream).poll_frame(context) {
                    Poll::Ready(Some(Ok(frame))) => {
                        this.heard = Instant::now();
                        this.attempt.heard(this.heard.into_std());
                        frame.into_data().map_or_else(|_| Bytes::new(), |bytes| this.pass(bytes))
                    }
                    Poll::Ready(Some(Err(_))) => {
                        this.go_on("the connection to the engine was lost", Fault::Broken)
                    }
                    Poll::Ready(None) => this.go_on("the engine ended it early", Fault::Broken),
                    Poll::Pending if !this.gathered.is_empty() => {
                        this.gathered.asked += 1;
                        if this.gathered.asked == ASKS {
                            break;
                        }
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Poll::Pending => match this.too_late(context) {
                        Some((why, fault)) => this.go_on(why, fault),
                        None => return Poll::Pending,
                    },
                },
            };
            if !passed.is_empty() {
                this.gathered.add(passed);
            }
        }
        let piece = this.gathered.take();
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.over && self.gathered.is_empty()
    }
}
