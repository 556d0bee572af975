//! What has to keep a deadline on a busy machine, and therefore runs while no other test does.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../system/chat.rs"]
#[expect(dead_code, reason = "other tests send other requests")]
mod chat;
mod database;
