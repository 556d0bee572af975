//! `POST /v1/completions`.

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;

use super::chat::{Counts, raw};
use super::generate::{self, Job, Order, Written};
use super::logprobs::CompletionLogprobs;
use super::{id, read, reply};
use crate::engine::Engine;
use crate::errors::ApiError;
use crate::request::Completion;
use crate::sse::{FINGERPRINT, Kind, Usage, finish_reason, json, stop_reason};

/// Tokens of a completion whose length was not asked for.
const DEFAULT_LENGTH: u32 = 16;

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: Vec<Choice>,
    service_tier: (),
    system_fingerprint: &'static str,
    usage: Counts,
    kv_transfer_params: (),
    ec_transfer_params: (),
    metrics: (),
}

#[derive(Serialize)]
struct Choice {
    index: usize,
    text: String,
    logprobs: Option<CompletionLogprobs>,
    finish_reason: Option<Box<RawValue>>,
    stop_reason: Option<Box<RawValue>>,
    token_ids: (),
    prompt_logprobs: (),
    prompt_token_ids: (),
    routed_experts: (),
}

pub(super) async fn completions(engine: &Engine, request: Request) -> Result<Response, ApiError> {
    let call = read(request).await?;
    let completion = Completion::read(&call.body, engine.config())?;
    let order = Order {
        kind: Kind::Completion,
        sampling: &completion.sampling,
        streaming: completion.streaming,
        logprobs: completion.logprobs,
        echo: completion.echo,
        default_length: DEFAULT_LENGTH,
    };
    let id = id(Kind::Completion.id_prefix(), call.request_id.as_deref());
    let mut job = Job::prepare(engine, &order, &completion.prompts, id)?;
    job.line = call.line;
    let model = engine.config().served_name();
    generate::run(engine, job, |job, written| reply::json(StatusCode::OK, write(model, job, written))).await
}

fn write(model: &str, job: &Job, written: Vec<Written>) -> String {
    let completion = written.iter().map(|written| written.telling.told).sum();
    let choices =
        written.into_iter().enumerate().map(|(index, written)| choice(index, written, job.logprobs));
    json(&Answer {
        id: &job.id,
        object: "text_completion",
        created: job.created,
        model,
        choices: choices.collect(),
        service_tier: (),
        system_fingerprint: FINGERPRINT,
        usage: Counts::new(Usage { prompt: job.prompt_tokens, completion }, job.reused()),
        kv_transfer_params: (),
        ec_transfer_params: (),
        metrics: (),
    })
}

fn choice(index: usize, written: Written, logprobs: Option<usize>) -> Choice {
    let finish = &written.telling.answer.finish;
    let (finish_reason, stop_reason) = (raw(finish_reason(finish)), raw(&stop_reason(finish)));
    let logprobs = logprobs.map(|many| {
        let mut logprobs = CompletionLogprobs::default();
        let mut offset = 0;
        for token in &written.tokens {
            logprobs.push(token, many, offset);
            offset += token.text.trim_start().len();
        }
        logprobs
    });
    Choice {
        index,
        text: written.text,
        logprobs,
        finish_reason,
        stop_reason,
        token_ids: (),
        prompt_logprobs: (),
        prompt_token_ids: (),
        routed_experts: (),
    }
}
