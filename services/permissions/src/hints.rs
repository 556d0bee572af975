//! Hints between the permissions processes of an installation: "the log has gone on, look now".
//!
//! A hint is a revision token, so nothing that others write into the channel makes anybody look at the database. What
//! a hint says is never believed; the log is read.

use crate::tail::Tail;
use shared::{
    health::Health,
    redis::{self, Config},
    server::Tasks,
};

/// Tells other processes of what this one writes, and listens to them, when there is a Redis to do it through.
pub(crate) fn start(config: &Config, tail: &Tail, tasks: &Tasks, health: &Health) {
    let channel = format!("tollgate:permissions:{}", tail.tokens().cluster());
    let hearing = tail.clone();
    let heard = move |word: &[u8]| {
        let text = std::str::from_utf8(word).unwrap_or_default();
        if let Ok(token) = hearing.tokens().decode("hint", text) {
            hearing.hear(token);
        }
    };
    if let Some(speaker) = redis::talk(config, channel, tasks, || health.component("redis", false), heard) {
        tail.speak_through(speaker);
    }
}
