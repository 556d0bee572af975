//! `POST /v1/chat/completions`.

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::value::RawValue;

use super::generate::{self, Job, Order, Written};
use super::logprobs::ChatLogprobs;
use super::{id, read, reply};
use crate::engine::Engine;
use crate::errors::ApiError;
use crate::request::Chat;
use crate::sse::{FINGERPRINT, Kind, Reused, Usage, finish_reason, json, stop_reason};

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: Vec<Choice>,
    service_tier: (),
    system_fingerprint: &'static str,
    usage: Counts,
    prompt_logprobs: (),
    prompt_token_ids: (),
    prompt_text: (),
    kv_transfer_params: (),
    ec_transfer_params: (),
    metrics: (),
}

#[derive(Serialize)]
struct Choice {
    index: usize,
    message: Message,
    logprobs: Option<ChatLogprobs>,
    finish_reason: Option<Box<RawValue>>,
    stop_reason: Option<Box<RawValue>>,
    token_ids: (),
    routed_experts: (),
}

#[derive(Serialize)]
struct Message {
    role: &'static str,
    content: String,
    refusal: (),
    annotations: (),
    audio: (),
    function_call: (),
    reasoning: (),
}

/// The usage of an answer that is not streamed.
#[derive(Serialize)]
pub(super) struct Counts {
    prompt_tokens: u32,
    total_tokens: u32,
    completion_tokens: u32,
    prompt_tokens_details: Option<Reused>,
    completion_tokens_details: (),
}

pub(super) async fn chat(engine: &Engine, request: Request) -> Result<Response, ApiError> {
    let call = read(request).await?;
    let chat = Chat::read(&call.body, engine.config())?;
    let order = Order {
        kind: Kind::Chat,
        sampling: &chat.sampling,
        streaming: chat.streaming,
        logprobs: chat.logprobs,
        echo: false,
        default_length: u32::MAX,
    };
    let id = id(Kind::Chat.id_prefix(), call.request_id.as_deref());
    let mut job = Job::prepare(engine, &order, std::slice::from_ref(&chat.prompt), id)?;
    job.line = call.line;
    let model = engine.config().served_name();
    generate::run(engine, job, |job, written| reply::json(StatusCode::OK, write(model, job, written))).await
}

fn write(model: &str, job: &Job, written: Vec<Written>) -> String {
    let completion = written.iter().map(|written| written.telling.told).sum();
    let choices =
        written.into_iter().enumerate().map(|(index, written)| choice(index, written, job.logprobs));
    json(&Completion {
        id: &job.id,
        object: "chat.completion",
        created: job.created,
        model,
        choices: choices.collect(),
        service_tier: (),
        system_fingerprint: FINGERPRINT,
        usage: Counts::new(Usage { prompt: job.prompt_tokens, completion }, job.reused()),
        prompt_logprobs: (),
        prompt_token_ids: (),
        prompt_text: (),
        kv_transfer_params: (),
        ec_transfer_params: (),
        metrics: (),
    })
}

fn choice(index: usize, written: Written, logprobs: Option<usize>) -> Choice {
    let finish = &written.telling.answer.finish;
    let (finish_reason, stop_reason) = (raw(finish_reason(finish)), raw(&stop_reason(finish)));
    let logprobs = logprobs.map(|many| {
        let mut logprobs = ChatLogprobs::default();
        for token in &written.tokens {
            logprobs.push(token, many);
        }
        logprobs
    });
    let message = Message {
        role: "assistant",
        content: written.text,
        refusal: (),
        annotations: (),
        audio: (),
        function_call: (),
        reasoning: (),
    };
    Choice { index, message, logprobs, finish_reason, stop_reason, token_ids: (), routed_experts: () }
}

/// JSON that is already written.
pub(super) fn raw(json: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(json.to_owned()).ok()
}

impl Counts {
    pub(super) fn new(Usage { prompt, completion }: Usage, reused: Option<Reused>) -> Self {
        Self {
            prompt_tokens: prompt,
            total_tokens: prompt + completion,
            completion_tokens: completion,
            prompt_tokens_details: reused,
            completion_tokens_details: (),
        }
    }
}
