//! From an answer into a flight: every event as it comes, and at the end the answer as it is kept.

use super::{
    flight::{Flight, Landed, Piece},
    kept::{Kept, Origin},
};
use crate::sse::{self, Ending, Event, Splitter, Usage};
use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use memchr::memmem;
use std::{convert::Infallible, time::Duration};

/// What came of an answer.
#[derive(Debug, Default)]
pub struct Pump {
    bytes: BytesMut,
    usage_event: Option<std::ops::Range<usize>>,
    usage: Option<Usage>,
    done: bool,
    failed: bool,
    stream: bool,
    whole: Bytes,
    /// Bytes that were passed on.
    passed: usize,
    /// Whether it is too large to be kept.
    large: bool,
}

/// How much is held of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Larger ones are not kept.
    pub kept: usize,
    /// Larger ones are broken off: whoever comes late is told all of it from the beginning, so all of it is held.
    pub held: usize,
}

impl Pump {
    /// An answer that is all there.
    #[must_use]
    pub fn whole(json: Bytes, usage: Option<Usage>) -> Self {
        Self { usage, whole: json, done: true, ..Self::default() }
    }

    /// Passes a stream on until its end, which is this one if it has to be broken off.
    pub async fn stream<B>(&mut self, mut body: B, flight: &Flight, bounds: Bounds, mut ending: Ending)
    where
        B: Body<Data = Bytes, Error = Infallible> + Unpin,
    {
        self.stream = true;
        let mut splitter = Splitter::default();
        while let Some(Ok(frame)) = body.frame().await {
            splitter.feed(&frame.into_data().unwrap_or_default());
            let mut pieces = Vec::new();
            while let Some(event) = splitter.cut() {
                ending.passed(&event);
                pieces.push(self.hear(event, bounds.kept));
            }
            let too_large = self.passed > bounds.held;
            if too_large {
                self.failed = true;
                pieces.push(Piece { bytes: ending.broken_off("it is too large"), usage: false });
            }
            flight.say(pieces);
            if too_large {
                return;
            }
        }
    }

    fn hear(&mut self, event: Bytes, kept: usize) -> Piece {
        let start = self.bytes.len();
        self.passed += event.len();
        if self.passed <= kept {
            self.bytes.extend_from_slice(&event);
        } else {
            (self.large, self.bytes) = (true, BytesMut::new());
        }
        let heard = sse::read(&event);
        match heard {
            Event::Done(usage) => {
                self.done = true;
                self.usage = usage.or(self.usage);
            }
            Event::Error(_) => self.failed = true,
            Event::Usage(usage) => {
                self.usage = Some(usage);
                self.usage_event = Some(start..self.bytes.len());
            }
            Event::Content { usage, .. } => self.usage = usage.or(self.usage),
            Event::Begun | Event::Other => {}
        }
        Piece { bytes: event, usage: matches!(heard, Event::Usage(_)) }
    }

    /// How it ended.
    #[must_use]
    pub fn landed(&self) -> Landed {
        Landed { well: self.done && !self.failed, usage: self.usage.unwrap_or_default() }
    }

    /// The answer as it is kept, when all of it came and the engine says what it took.
    #[must_use]
    pub(super) fn kept(self, of: Origin, ttl: Duration, took: Duration) -> Option<Kept> {
        let usage = self.usage.filter(|_| self.done && !self.failed && !self.large)?;
        let usage_event = self.stream.then(|| {
            let end = self.bytes.len();
            self.usage_event.clone().unwrap_or(end..end)
        });
        let bytes = if self.stream { self.bytes.freeze() } else { self.whole };
        // An engine that is put to sleep ends its answers early, and says so in no other way.
        if memmem::find(&bytes, b"\"finish_reason\":\"abort\"").is_some() {
            return None;
        }
        // As old as its question: what was chosen to go meanwhile is not kept.
        let asked = i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
        let made = policy::Time(shared::time::now().0.saturating_sub(asked));
        Some(Kept { usage_event, took, ttl, ..Kept::new(bytes, usage, made, of) })
    }
}
