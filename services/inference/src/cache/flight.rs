//! One call to an engine whose answer several callers wait for.
//!
//! The flight belongs to a task of its own, so whoever asked first may leave like anybody else. What came so far is
//! kept, so whoever comes late hears all of it. When nobody is left the call ends, unless it is to be done for whoever
//! asks again with its `Idempotency-Key`.

use super::Cached;
use crate::{error::Error, sse::Usage};
use bytes::Bytes;
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How an answer begins.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The id in the ledger of the call that makes it.
    pub usage_id: Uuid,
    /// The model that answers in the place of the one that was asked, when it is another.
    pub instead: Option<String>,
    /// Where it came from.
    pub cached: Cached,
    /// The time that others took for it.
    pub elsewhere: Duration,
    /// All of it, unless it is a stream.
    pub whole: Option<Bytes>,
}

/// A piece of a stream.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Whole events.
    pub bytes: Bytes,
    /// Whether it says the usage and nothing else.
    pub usage: bool,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Landed {
    /// Whether all of it came.
    pub well: bool,
    /// What it took.
    pub usage: Usage,
}

#[derive(Debug, Default)]
struct State {
    begun: Option<Result<Begun, Error>>,
    pieces: Vec<Piece>,
    landed: Option<Landed>,
}

/// One call, and what came of it so far.
#[derive(Debug)]
pub struct Flight {
    state: Mutex<State>,
    /// Changes with all that comes.
    news: watch::Sender<u64>,
    seats: AtomicUsize,
    abandoned: CancellationToken,
    /// Whether it goes on when nobody waits.
    goes_on: bool,
}

impl Flight {
    /// A new one, with the first who waits for it.
    pub(super) fn new(goes_on: bool) -> (Arc<Self>, Seat) {
        let flight = Arc::new(Self {
            state: Mutex::default(),
            news: watch::Sender::new(0),
            seats: AtomicUsize::new(1),
            abandoned: CancellationToken::new(),
            goes_on,
        });
        let first = Seat { news: flight.news.subscribe(), flight: Arc::clone(&flight) };
        (flight, first)
    }

    /// One that nobody else hears of.
    pub(crate) fn alone() -> (Arc<Self>, Seat) {
        Self::new(false)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.news.send_modify(|news| *news += 1);
    }

    /// Resolves when nobody waits any more.
    pub(crate) async fn abandoned(&self) {
        self.abandoned.cancelled().await;
    }

    /// An answer begins.
    pub(crate) fn begin(&self, begun: Begun) {
        self.change(|state| state.begun = Some(Ok(begun)));
    }

    /// There is no answer, or no more of it.
    pub(crate) fn fail(&self, error: Error) {
        self.change(|state| {
            state.begun.get_or_insert(Err(error));
            state.landed.get_or_insert_with(|| Landed { well: false, usage: Usage::default() });
        });
    }

    /// More of it came.
    pub(crate) fn say(&self, pieces: impl IntoIterator<Item = Piece>) {
        self.change(|state| state.pieces.extend(pieces));
    }

    /// It has ended.
    pub(crate) fn land(&self, landed: Landed) {
        self.change(|state| state.landed = Some(landed));
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn landed(&self) -> Option<Landed> {
        self.state().landed
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        let state = self.state();
        let whole = state.begun.iter().flatten().filter_map(|begun| begun.whole.as_ref()).map(Bytes::len);
        whole.sum::<usize>() + state.pieces.iter().map(|piece| piece.bytes.len()).sum::<usize>()
    }

    /// Somebody waits for it, unless the last who did has just left.
    pub(super) fn seat(self: &Arc<Self>) -> Option<Seat> {
        let more = |seats: usize| (seats > 0 || self.goes_on).then_some(seats + 1);
        self.seats.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Seat { news: self.news.subscribe(), flight: Arc::clone(self) })
    }
}

/// Somebody who waits for an answer.
#[derive(Debug)]
pub struct Seat {
    flight: Arc<Flight>,
    news: watch::Receiver<u64>,
}

impl Seat {
    /// How the answer begins.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn begun(&mut self) -> Result<Begun, Error> {
        loop {
            self.news.mark_unchanged();
            if let Some(begun) = self.flight.state().begun.clone() {
                return begun;
            }
            // Whoever says something is held by the flight, which is held here.
            let _ = self.news.changed().await;
        }
    }

    /// The flight, and what changes with all that comes of it.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.clone()
    }

    /// What came after so many pieces, and how it ended if it has.
    #[must_use]
    pub fn since(&self, pieces: usize) -> (Vec<Piece>, Option<Landed>) {
        let state = self.flight.state();
        (state.pieces.get(pieces..).unwrap_or_default().to_vec(), state.landed)
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn landed(&self) -> Option<Landed> {
        self.flight.landed()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let last = self.flight.seats.fetch_sub(1, Ordering::AcqRel) == 1;
        if last && !self.flight.goes_on && self.flight.landed().is_none() {
            self.flight.abandoned.cancel();
        }
    }
}
