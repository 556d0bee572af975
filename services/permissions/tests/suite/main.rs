//! The service from outside: real layers, handlers, codec and SQL over an in-process channel, on both engines.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: whatever is not as expected fails the test"
)]

mod access;
mod access_requests;
mod aliases;
mod audit;
mod batches;
mod changes;
mod check;
mod encryption;
mod erasure;
mod first_run;
mod freshness;
mod grants;
mod groups;
mod imports;
mod incidents;
mod keys;
mod me;
mod migrations;
mod models;
mod parity;
mod past;
mod questions;
mod repeat;
mod replica;
mod replicas;
mod sessions;
mod sets;
mod signing;
mod simulate;
mod slow;
mod statements;
mod time_travel;
mod users;
mod watch;
mod world;
mod writers;
