//! Changes as they happen: events in the order of the log, and between them what begins or ends by time, each once.
//!
//! `schedule` knows the instants of the policy and `timeline` puts them in order with the events; both only
//! calculate. `hub` keeps one timeline for all watchers of this process at the end of the log; `watch` is one
//! watcher, who first replays what happened since its token on a timeline of its own.

mod hub;
mod schedule;
mod timeline;
mod watch;

#[cfg(test)]
mod tests;

pub(crate) use hub::Hub;
pub(crate) use schedule::{Expiry, Timed};
pub(crate) use timeline::{Item, ResumeToken};
pub(crate) use watch::{News, watch};
