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
mod first_run;
mod grants;
mod groups;
mod keys;
mod me;
mod migrations;
mod models;
mod parity;
mod repeat;
mod replica;
mod sessions;
mod sets;
mod signing;
mod time_travel;
mod users;
mod watch;
mod world;
mod writers;
