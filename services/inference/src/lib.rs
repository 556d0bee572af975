//! Runs prompts on engines: admits, queues, routes, streams, and accounts for every token.
//!
//! A request enters in [`openai`] (HTTP) or [`api`] (gRPC) and becomes a [`prompt::Prompt`]. [`infer`] takes it
//! through `Prompt → Admitted → Routed → Answer`: [`admit`] asks the policy replica, [`queue`] gives it its turn and
//! an engine, [`dispatch`] sends it, and [`meter`] counts what streams back. [`journal`] keeps the account on disk
//! and [`ship`] brings it to monitoring. [`budgets`] holds what may be spent. [`goodput`] judges whether it kept its promise. [`follow`] keeps the replica, [`engines`] the fleet.
//!
//! What outlives a request ([`jobs`], [`batches`] and their [`files`]) is in a database of its own, `store`. [`lock`] lets
//! one at a time through where callers ask for that.

pub mod admit;
pub mod api;
pub mod batches;
pub mod budgets;
pub mod cache;
pub mod config;
pub mod dispatch;
pub mod engines;
pub mod error;
pub mod events;
pub mod files;
pub mod follow;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod gateways;
pub mod goodput;
pub mod infer;
pub mod invalidate;
pub mod jobs;
pub mod joint;
pub mod journal;
pub mod load;
pub mod lock;
pub mod meter;
pub mod metrics;
pub mod mode;
pub mod openai;
pub mod prompt;
pub mod queue;
pub mod settle;
pub mod ship;
pub mod sse;
pub mod stored;
pub mod warm;
pub mod weights;

mod refusals;
mod resume;
mod serve;
mod spans;
mod store;
mod vectors;

pub use config::Config;
pub use error::Error;
pub use gateways::Peers;
pub use serve::{Gateway, Routes, Upstreams, open};
pub use store::{MIGRATIONS, SCHEMA, Store};
