//! The answer as it streams: every byte goes on at once, every event is counted on its way.
//!
//! Events that are there at once leave in one piece: what an engine sent in one burst would otherwise cost a write to
//! the client for each. None is held for another that is not there yet.
//!
//! Before the last event leaves, the account is in the journal. A stream that cannot go on ends with an error event
//! and without `[DONE]` or whatever else its route calls a good end. When the client goes away this body is dropped, and with it the account (as cancelled), the
//! engine's answer (which makes the engine abort) and the permit (which frees the place).

mod gathered;
mod onward;

use crate::{
    engines::{Attempt, Fault},
    goodput::Trial,
    queue::Permit,
    resume::Resumable,
    settle::Account,
    sse::{self, Ending, Event, Splitter},
};
use bytes::{Bytes, BytesMut};
use gathered::Gathered;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use onward::Moving;
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
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
    ending: Ending,
    /// Its way to another engine.
    moving: Option<Moving>,
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
        let ending = Ending::of(account.endpoint().dialect());
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
            ending,
            resumable: None,
            moving: None,
        }
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
            Event::Done(usage) => {
                self.attempt.finish(self.heard.into_std());
                self.end(Permit::done, |mut account| {
                    if let Some(usage) = usage {
                        account.said(usage);
                    }
                    account.finish();
                });
            }
            Event::Error(error) => {
                tracing::warn!(status = error.status, "the engine failed in the middle of a stream");
                self.attempt.fail(Fault::Error, self.heard.into_std());
                self.end(Permit::lost, |account| account.fail("error inside the stream"));
                return true;
            }
            Event::Begun | Event::Other => {}
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
        self.end(Permit::lost, |account| account.fail(why));
        self.ending.broken_off(why)
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
                        if this.gathered.is_all() {
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
                this.ending.passed(&passed);
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
