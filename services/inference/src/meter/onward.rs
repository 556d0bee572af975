//! An answer that may go on at another engine: what the client is told of it, and the way there.

use super::Metered;
use crate::{
    engines::Fault,
    metrics,
    resume::{Heard, Resumable},
    sse::{self, Event},
};
use bytes::{Bytes, BytesMut};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::time::Instant;

/// The rest of an answer, once another engine has begun with it; and what to say when none does.
pub(super) struct Moving {
    rest: Pin<Box<dyn Future<Output = Option<Box<Metered>>> + Send>>,
    why: &'static str,
}

impl std::fmt::Debug for Moving {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Moving").field("why", &self.why).finish_non_exhaustive()
    }
}

impl Metered {
    /// Lets it go on elsewhere when it breaks off.
    pub(crate) fn resume_with(&mut self, resumable: Box<Resumable>) {
        self.resumable = Some(resumable);
    }

    /// The same for an answer that may be continued, or is.
    pub(super) fn retell(&mut self, mut bytes: &[u8]) -> Bytes {
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
    pub(super) fn go_on(&mut self, why: &'static str, fault: Fault) -> Bytes {
        let resumable = self.resumable.take().filter(|_| fault != Fault::Late).and_then(Resumable::again);
        let Some(resumable) = resumable else { return self.break_off(why, fault) };
        self.attempt.fail(fault, Instant::now().into_std());
        let (Some(mut account), Some(mut permit)) = (self.account.take(), self.permit.take()) else {
            return self.break_off(why, fault);
        };
        permit.lost();
        account.tried(why);
        let rest = Box::pin(resumable.go_on(account, permit.engine()));
        self.moving = Some(Moving { rest, why });
        Bytes::new()
    }

    /// Its way to another engine: what is to be told of it, or nothing where the rest follows.
    pub(super) fn moved(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
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
}
