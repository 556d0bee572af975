//! An engine that behaves like vLLM 0.32 on the wire and in time, without a model.
//!
//! A request enters in `http`, is parsed in `request`, waits and runs in `batching` (a pure state machine that
//! `engine` drives on a clock), and leaves as the same bytes the real server would send. The text itself comes from
//! `text`: words drawn from a hash of the prompt, so that tests can know it in advance.
//!
//! One whitespace-separated word is one token; a chat message costs two tokens more, and the assistant's turn one.

pub mod batching;
mod clock;
mod config;
mod embedding;
mod engine;
mod errors;
mod fault;
mod http;
mod listen;
mod metrics;
mod profile;
mod prompt;
mod request;
mod responses;
mod sse;
mod text;

pub use config::{Config, Policy, Task};
pub use engine::{Counters, Driver, Engine};
pub use fault::{Faults, InBandError, MetricsFault, Reset};
pub use profile::Profile;
