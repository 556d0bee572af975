//! A limiter with one action, and callers of it.

use limits::{Action, Admission, Call, Limit, Limiter, Moment, Refusal, Settings, Stage, Subjects, Tier};
use std::time::Duration;

/// The action that there is.
pub(crate) const DO: &str = "do";

/// Limits as they are written, with one action of these.
pub(crate) fn settings(limits: Vec<Limit>) -> Settings {
    let action = Action { limits, ..Action::default() };
    let hours = Vec::new();
    Settings { actions: [(DO.to_owned(), action)].into(), hours, ..Settings::default() }
}

/// So many requests of every user in a window of seconds.
pub(crate) fn requests(most: u64, seconds: u64) -> Limit {
    Limit { requests: Some(most), window: Some(Duration::from_secs(seconds)), ..Limit::default() }
}

/// A limiter of one limit for every user.
pub(crate) fn limiter(limit: Limit) -> Limiter {
    Limiter::new(settings(vec![limit]))
}

/// A call by a user.
pub(crate) fn call(limiter: &Limiter, user: u128) -> Call {
    let subjects = Subjects { user: Some(user), ..Subjects::default() };
    let action = limiter.action(DO).unwrap();
    Call { action, tier: Tier::Free, subjects, stage: Stage::Door, tokens: 0 }
}

/// A moment of this many microseconds; the hour plays no part.
pub(crate) fn at(micros: u64) -> Moment {
    Moment { at: Duration::from_micros(micros), second: 0 }
}

/// Lets the user in, when they may be.
pub(crate) fn ask(limiter: &mut Limiter, user: u128, micros: u64) -> Result<Admission, Refusal> {
    let call = call(limiter, user);
    limiter.enter(&call, at(micros))
}
