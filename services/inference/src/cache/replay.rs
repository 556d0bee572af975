//! A stream that is told again: from what is kept, or from a call that others wait for as well.

use super::{
    flight::{Landed, Seat},
    hit::Hit,
    kept::Kept,
};
use crate::{prompt::Prompt, sse::Ending};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http_body::{Body, Frame};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::time::{Instant, Sleep};
use tokio_stream::wrappers::WatchStream;

/// A stream to a client that no engine makes for it alone.
#[derive(Debug)]
pub struct Replay(Source);

#[derive(Debug)]
enum Source {
    Kept(std::array::IntoIter<Bytes, 2>),
    Live(Box<Live>),
}

#[derive(Debug)]
struct Live {
    seat: Seat,
    news: WatchStream<u64>,
    /// Pieces that were passed on.
    passed: usize,
    wants_usage: bool,
    ending: Ending,
    /// The caller's own.
    alarm: Pin<Box<Sleep>>,
    /// The account of whoever did not ask first.
    hit: Option<Hit>,
    over: bool,
}

impl Replay {
    /// What is kept.
    #[must_use]
    pub fn kept(kept: &Kept, wants_usage: bool) -> Self {
        Self(Source::Kept(kept.pieces(wants_usage).into_iter()))
    }

    /// What came of a call so far, and what is still to come, until its listener's own time is over.
    #[must_use]
    pub fn live(seat: Seat, prompt: &Prompt, until: Instant, hit: Option<Hit>) -> Self {
        let news = WatchStream::from_changes(seat.news());
        let alarm = Box::pin(tokio::time::sleep_until(until));
        let (wants_usage, ending) = (prompt.wants_usage, Ending::of(prompt.endpoint.dialect()));
        Self(Source::Live(Box::new(Live {
            seat,
            news,
            passed: 0,
            wants_usage,
            ending,
            alarm,
            hit,
            over: false,
        })))
    }
}

impl Live {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        while !self.over {
            let (pieces, landed) = self.seat.since(self.passed);
            self.passed += pieces.len();
            let wanted = pieces.into_iter().filter(|piece| self.wants_usage || !piece.usage);
            let told = joined(wanted.map(|piece| piece.bytes));
            if let Some(landed) = landed {
                self.end(landed);
            }
            if !told.is_empty() {
                self.ending.passed(&told);
                return Poll::Ready(Some(told));
            }
            if self.over {
                break;
            }
            if self.alarm.as_mut().poll(context).is_ready() {
                self.over = true;
                return Poll::Ready(Some(self.ending.broken_off("its time was over")));
            }
            if Pin::new(&mut self.news).poll_next(context).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(None)
    }

    fn end(&mut self, landed: Landed) {
        self.over = true;
        if let Some(hit) = self.hit.take() {
            hit.end(landed);
        }
    }
}

fn joined(mut pieces: impl Iterator<Item = Bytes>) -> Bytes {
    let Some(first) = pieces.next() else { return Bytes::new() };
    let Some(second) = pieces.next() else { return first };
    let mut all = BytesMut::with_capacity(first.len() + second.len());
    all.extend_from_slice(&first);
    all.extend_from_slice(&second);
    pieces.for_each(|piece| all.extend_from_slice(&piece));
    all.freeze()
}

impl Body for Replay {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match &mut self.0 {
            Source::Kept(pieces) => Poll::Ready(pieces.find(|piece| !piece.is_empty())),
            Source::Live(live) => live.poll(context),
        };
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Kept(pieces) => pieces.as_slice().iter().all(Bytes::is_empty),
            Source::Live(live) => live.over,
        }
    }
}
