//! What is learned of a request on its way: for the line about it, and for whoever asks later why it went so.

use crate::auth::Person;
use policy::Time;
use std::{
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What is learned of one request; found among the extensions of the request and of its answer.
#[derive(Debug, Clone, Default)]
pub struct Note(Arc<Mutex<Learned>>);

/// What may be learned.
#[derive(Debug, Clone, Default)]
pub struct Learned {
    /// Who asks.
    pub person: Option<Person>,
    /// The model that is asked for.
    pub model: String,
    /// The priority class that it is asked in.
    pub priority: &'static str,
    /// Requests that waited for the model when this one was refused.
    pub waiting: u32,
    /// The time that others took for it, such as engines, where the rest is known to be our own.
    pub elsewhere: Option<Duration>,
}

/// What a caller is told instead of an answer; found among the extensions of answers whose headers do not say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The reason, as `docs/errors.md` lists them.
    pub reason: String,
    /// The sentence.
    pub message: String,
}

/// A request of a person that was answered with an error.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The id that its answer carries.
    pub request_id: String,
    /// Who asked.
    pub person: Person,
    /// The route or method.
    pub route: String,
    /// What was learned on its way.
    pub learned: Learned,
    /// What its caller was told.
    pub told: Told,
    /// When it came.
    pub start: Time,
    /// How long it took.
    pub duration: Duration,
    /// Its trace, where one is recorded.
    pub trace_id: Option<String>,
}

/// Hears of every request that is refused. Called while its caller waits.
pub trait Hear: Debug + Send + Sync {
    /// One was refused.
    fn refused(&self, refused: Refused);
}

impl Note {
    /// Notes something.
    pub fn learn(&self, note: impl FnOnce(&mut Learned)) {
        note(&mut self.lock());
    }

    /// What is known by now.
    #[must_use]
    pub fn learned(&self) -> Learned {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Learned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
