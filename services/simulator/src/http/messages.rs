//! `/v1/messages`: a chat in Anthropic's words, and the tokens of one.

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;

use super::generate::{self, Job, Order};
use super::voice::Voice;
use super::{id, read, reply};
use crate::config::Config;
use crate::engine::Engine;
use crate::errors::ApiError;
use crate::request::Anthropic;
use crate::sse::{Kind, Speaking};

pub(super) async fn messages(engine: &Engine, request: Request) -> Result<Response, ApiError> {
    let call = read(request).await?;
    let asked = Anthropic::read(&call.body, engine.config())?;
    let order = Order {
        kind: Kind::Chat,
        sampling: &asked.sampling,
        streaming: asked.streaming,
        logprobs: None,
        echo: false,
        default_length: u32::MAX,
    };
    let id = id(Kind::Chat.id_prefix(), call.request_id.as_deref());
    let mut job = Job::prepare(engine, &order, std::slice::from_ref(&asked.prompt), id.clone())?;
    job.line = call.line;
    job.voice = Voice::Message(Speaking::new(id, engine.config().served_name()));
    generate::run(engine, job, |job, mut written| {
        let (usage, reused) = (job.usage_of(&written), job.reused());
        let Voice::Message(speaking) = &job.voice else { return reply::empty(StatusCode::OK) };
        let Some(one) = written.pop() else { return reply::empty(StatusCode::OK) };
        let finish = &one.telling.answer.finish;
        reply::json(StatusCode::OK, speaking.whole(&one.text, finish, usage, reused))
    })
    .await
}

pub(super) async fn count(config: &Config, request: Request) -> Result<Response, ApiError> {
    let tokens = Anthropic::count(&read(request).await?.body, config)?.len();
    let counted = format!(
        "{{\"input_tokens\":{tokens},\"context_management\":{{\"original_input_tokens\":{tokens}}}}}"
    );
    Ok(reply::json(StatusCode::OK, counted))
}

/// What was not understood is said as everywhere, and the rest in Anthropic's shape.
pub(super) fn settle(answer: Result<Response, ApiError>) -> Response {
    answer.unwrap_or_else(|error| match error.kind {
        "Bad Request" => reply::error(&error),
        _ => reply::json(error.status, error.anthropic()),
    })
}
