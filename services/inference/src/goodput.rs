//! How well promises are kept: each request that may use its model is judged once, when it has ended.
//!
//! A [`Trial`] begins when a request is admitted and ends with what became of it; dropped, its caller went away. What
//! was offered is met or missed, whoever is to blame. Two things are counted apart, because they say nothing of how well
//! promises are kept: callers who leave while nothing is late, and requests that engines refuse as wrong.

mod sketch;
mod window;

use crate::error::Error;
use schedule::{Class, Objective};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};
use window::Track;
pub use window::{Time, Totals, WINDOWS, Window};

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Answered in its time.
    Met,
    /// Refused for lack of time or room.
    Refused,
    /// Its caller's own deadline passed.
    Deadline,
    /// The first token was late, or all of what does not stream.
    LateFirstToken,
    /// The first token was in time, the last one was not.
    SlowTokens,
    /// It broke off.
    Cut,
    /// Every engine tried failed.
    EngineFailed,
    /// None could be tried.
    NoEngine,
    /// An operator took it out.
    Withdrawn,
    /// The gateway could not.
    GatewayFailed,
    /// Its caller went away while nothing was late.
    Left,
    /// An engine refused it as wrong.
    Invalid,
}

impl End {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Met,
        Self::Refused,
        Self::Deadline,
        Self::LateFirstToken,
        Self::SlowTokens,
        Self::Cut,
        Self::EngineFailed,
        Self::NoEngine,
        Self::Withdrawn,
        Self::GatewayFailed,
        Self::Left,
        Self::Invalid,
    ];

    /// The word for it in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Refused => "refused",
            Self::Deadline => "deadline",
            Self::LateFirstToken => "late_first_token",
            Self::SlowTokens => "slow_tokens",
            Self::Cut => "cut",
            Self::EngineFailed => "engine_failed",
            Self::NoEngine => "no_engine",
            Self::Withdrawn => "withdrawn",
            Self::GatewayFailed => "gateway_failed",
            Self::Left => "left",
            Self::Invalid => "invalid",
        }
    }

    /// Whether it counts as offered.
    #[must_use]
    pub const fn is_offered(self) -> bool {
        !matches!(self, Self::Left | Self::Invalid)
    }

    const fn of(error: &Error) -> Self {
        match error {
            Error::QueueFull { .. } | Error::Late { .. } | Error::Degraded { .. } => Self::Refused,
            Error::Deadline => Self::Deadline,
            Error::NoEngine { .. } | Error::Elsewhere => Self::NoEngine,
            Error::EngineFailed { .. } => Self::EngineFailed,
            Error::Withdrawn { .. } => Self::Withdrawn,
            Error::Stopping | Error::Journal | Error::PolicyUnavailable | Error::NotKept => {
                Self::GatewayFailed
            }
            _ => Self::Invalid,
        }
    }
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// As it should.
    Whole,
    /// In the middle.
    Cut,
    /// Its caller did not wait for the rest.
    Abandoned,
}

/// What a request took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Tokens of the prompt, and those of them that were found in a prefix cache.
    pub prompt: u64,
    /// Of these, found in a prefix cache.
    pub cached: u64,
    /// Tokens made.
    pub made: u64,
    /// From arrival to the first token, where that was seen.
    pub first_token: Option<Duration>,
    /// From arrival to the end.
    pub duration: Duration,
    /// In the queue.
    pub queued: Duration,
}

/// What was asked, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// How urgent it is.
    pub class: Class,
    /// Whether it streams.
    pub streams: bool,
    /// Answers asked for.
    pub choices: u64,
    /// Most tokens of each.
    pub most: Option<u64>,
}

/// A request that has not ended.
#[derive(Debug)]
pub struct Trial {
    board: Goodput,
    model: String,
    asked: Asked,
    promise: Option<Objective>,
    accepted: Instant,
    open: bool,
}

impl Trial {
    /// What it is promised; the first word counts.
    pub fn promised(&mut self, promise: Objective) {
        self.promise.get_or_insert(promise);
    }

    /// Another gateway ran it, and judges it.
    pub const fn elsewhere(&mut self) {
        self.open = false;
    }

    /// It was not answered.
    pub fn refused(mut self, error: &Error) {
        self.close(End::of(error), &Used::default());
    }

    /// It was answered, at least in part.
    pub fn answered(mut self, how: Answered, used: &Used) {
        let end = match self.promise {
            Some(promise) => judge(&self.asked, promise, how, used),
            None => End::Met,
        };
        self.close(end, used);
    }

    fn close(&mut self, end: End, used: &Used) {
        if std::mem::replace(&mut self.open, false) {
            self.board.record(&self.model, self.asked, end, used);
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if self.open {
            let used = Used { duration: self.accepted.elapsed(), ..Used::default() };
            let end = self
                .promise
                .map_or(End::Left, |promise| judge(&self.asked, promise, Answered::Abandoned, &used));
            self.close(end, &used);
        }
    }
}

/// What an answer that ended so counts as. The first promise that was broken is the one that says why.
fn judge(asked: &Asked, promise: Objective, how: Answered, used: &Used) -> End {
    let made = used.made.div_ceil(asked.choices.max(1));
    let known = asked.streams || how == Answered::Whole;
    // Of an answer that does not stream it is not known how far it had come.
    let tokens = if known { made } else { asked.most.unwrap_or(u64::MAX) };
    let (first, last) = match promise {
        Objective::Whole(whole) => (whole, whole),
        Objective::Stream { first_token, per_token } => {
            // Who left waited for one token more than there was.
            let due = if how == Answered::Abandoned { tokens } else { tokens.saturating_sub(1) };
            let more = u32::try_from(due).map_or(Duration::MAX, |due| per_token.saturating_mul(due));
            (first_token, first_token.saturating_add(more))
        }
    };
    let first_late = match used.first_token {
        Some(came) => came > first,
        None => asked.streams && used.duration > first,
    };
    match how {
        _ if first_late && asked.streams && matches!(promise, Objective::Stream { .. }) => {
            End::LateFirstToken
        }
        Answered::Cut => End::Cut,
        Answered::Abandoned if used.duration <= last => End::Left,
        Answered::Whole if used.duration <= last => End::Met,
        _ if asked.streams && matches!(promise, Objective::Stream { .. }) => End::SlowTokens,
        _ => End::LateFirstToken,
    }
}

/// What became of the requests of a gateway.
#[derive(Debug, Clone)]
pub struct Goodput(Arc<Board>);

#[derive(Debug)]
struct Board {
    origin: Instant,
    tracks: Mutex<BTreeMap<String, [Option<Box<Track>>; 4]>>,
}

impl Goodput {
    /// Nothing was asked yet. `now` is the time.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self(Arc::new(Board { origin: now, tracks: Mutex::default() }))
    }

    /// A request was admitted.
    #[must_use]
    pub fn begin(&self, model: &str, asked: Asked, accepted: Instant) -> Trial {
        Trial { board: self.clone(), model: model.to_owned(), asked, promise: None, accepted, open: true }
    }

    fn record(&self, model: &str, asked: Asked, end: End, used: &Used) {
        let now = self.0.origin.elapsed();
        let mut tracks = self.0.tracks.lock().unwrap_or_else(PoisonError::into_inner);
        let of_model = match tracks.get_mut(model) {
            Some(known) => known,
            None => tracks.entry(model.to_owned()).or_default(),
        };
        of_model[asked.class.index()].get_or_insert_default().record(end, used, now);
    }

    /// What ended within a window, by model and class. `model` narrows it to one.
    #[must_use]
    pub fn within(&self, window: Duration, model: Option<&str>) -> Vec<(String, Class, Window)> {
        let now = self.0.origin.elapsed();
        let tracks = self.0.tracks.lock().unwrap_or_else(PoisonError::into_inner);
        let chosen = tracks.iter().filter(|(name, _)| model.is_none_or(|model| model == *name));
        let each = chosen.flat_map(|(name, classes)| {
            let known = Class::ALL.into_iter().zip(classes);
            known.filter_map(move |(class, track)| {
                Some((name.clone(), class, track.as_ref()?.within(window, now)))
            })
        });
        each.collect()
    }

    /// The same without keeping it.
    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer(Arc::downgrade(&self.0))
    }
}

/// Reads what became of the requests of a gateway that may be gone.
#[derive(Debug)]
pub struct Observer(Weak<Board>);

impl Observer {
    /// What ended since the start, by model and class.
    pub fn read(&self, mut each: impl FnMut(&str, Class, &Totals)) {
        let Some(board) = self.0.upgrade() else { return };
        let tracks = board.tracks.lock().unwrap_or_else(PoisonError::into_inner);
        for (model, classes) in tracks.iter() {
            for (class, track) in Class::ALL.into_iter().zip(classes) {
                if let Some(track) = track {
                    each(model, class, track.totals());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
