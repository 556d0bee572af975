//! From the bytes of a body to a request that can be queued, refused in the order and words of the real engine.
//!
//! `body` finds out whether it is JSON, `fields` reads typed values and collects what is wrong with them, `sampling` the
//! parameters chat and completions share; the rest is one file per route.

mod anthropic;
mod body;
mod chat;
mod completion;
mod embedding;
mod fields;
mod json;
mod messages;
mod response;
mod sampling;
mod scoring;

pub(crate) use anthropic::Anthropic;
pub(crate) use body::{Body, parse};
pub(crate) use chat::Chat;
pub(crate) use completion::{Completion, check_model};
pub(crate) use embedding::{Embedding, Encoding};
pub(crate) use fields::Fields;
pub(crate) use messages::read as read_messages;
pub(crate) use response::{Response, Told};
pub(crate) use sampling::{Sampling, Streaming};
pub(crate) use scoring::Scoring;
