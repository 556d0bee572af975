//! The engine from outside: compared with recordings of a real one, and put through what clients do to it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should say so and stop"
)]

mod abort;
mod admission;
mod answers;
mod cache;
mod errors;
mod exchanges;
mod faults;
mod harness;
mod metrics;
mod order;
mod pace;
mod sse;
mod stop;
mod surface;
