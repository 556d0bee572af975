//! The answers, as they go over the wire: each a list of writes.

use serde_json::{Value, json};

/// Everything the engine can say.
#[derive(Debug, Clone)]
pub struct Answers {
    pub(super) chat: Vec<Vec<u8>>,
    pub(super) embedding: Vec<Vec<u8>>,
    pub(super) models: Vec<Vec<u8>>,
    pub(super) metrics: Vec<Vec<u8>>,
    pub(super) version: Vec<Vec<u8>>,
    pub(super) healthy: Vec<Vec<u8>>,
    pub(super) unknown: Vec<Vec<u8>>,
    stream: Vec<Vec<u8>>,
    stream_with_usage: Vec<Vec<u8>>,
}

const PROMPT_TOKENS: usize = 9;
const ANSWER_TOKENS: usize = 16;
const EMBEDDING_LENGTH: usize = 64;

impl Answers {
    /// For a model of this name, with this many chunks to a stream.
    #[must_use]
    pub fn new(model: &str, chunks: usize) -> Self {
        let stream = stream(model, chunks);
        Self {
            chat: one(&completion(model)),
            embedding: one(&embedding(model)),
            models: one(&json!({"object": "list", "data": [{
                "id": model, "object": "model", "created": 0, "owned_by": "bench", "root": model,
                "parent": null, "max_model_len": 8192, "permission": [],
            }]})),
            metrics: vec![answer("200 OK", "text/plain; version=1.0.0; charset=utf-8", &metrics(model))],
            version: one(&json!({"version": "0.32.0"})),
            healthy: vec![answer("200 OK", "text/plain", "")],
            unknown: vec![answer("404 Not Found", "application/json", r#"{"detail":"Not Found"}"#)],
            stream_with_usage: framed(&stream, Some(&usage_event(model, chunks))),
            stream: framed(&stream, None),
        }
    }

    pub(super) fn stream(&self, with_usage: bool) -> &[Vec<u8>] {
        if with_usage { &self.stream_with_usage } else { &self.stream }
    }
}

fn completion(model: &str) -> Value {
    let content = vec!["word"; ANSWER_TOKENS].join(" ");
    json!({
        "id": "chatcmpl-bench", "object": "chat.completion", "created": 0, "model": model,
        "choices": [{
            "index": 0, "message": {"role": "assistant", "content": content},
            "logprobs": null, "finish_reason": "length", "stop_reason": null,
        }],
        "usage": usage(ANSWER_TOKENS),
    })
}

fn embedding(model: &str) -> Value {
    json!({
        "id": "embd-bench", "object": "list", "created": 0, "model": model,
        "data": [{"index": 0, "object": "embedding", "embedding": vec![0.125; EMBEDDING_LENGTH]}],
        "usage": {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS, "completion_tokens": 0},
    })
}

fn usage(completion: usize) -> Value {
    json!({
        "prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS + completion,
        "completion_tokens": completion,
    })
}

/// The events of a stream: the role, then one word each, the last of them with the reason for the end.
fn stream(model: &str, chunks: usize) -> Vec<Value> {
    let event = |delta: Value, finish: Option<&str>| {
        json!({
            "id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 0, "model": model,
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}],
        })
    };
    let role = event(json!({"role": "assistant", "content": ""}), None);
    let word = |at| event(json!({"content": " word"}), (at + 1 == chunks).then_some("length"));
    std::iter::once(role).chain((0..chunks).map(word)).collect()
}

fn usage_event(model: &str, chunks: usize) -> Value {
    json!({
        "id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 0, "model": model,
        "choices": [], "usage": usage(chunks),
    })
}

fn framed(events: &[Value], usage: Option<&Value>) -> Vec<Vec<u8>> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let chunk = |event: String| format!("{:x}\r\n{event}\r\n", event.len()).into_bytes();
    let events = events.iter().chain(usage).map(|event| chunk(format!("data: {event}\n\n")));
    let end = [chunk("data: [DONE]\n\n".to_owned()), b"0\r\n\r\n".to_vec()].concat();
    std::iter::once(head.into()).chain(events).chain([end]).collect()
}

fn one(body: &Value) -> Vec<Vec<u8>> {
    vec![answer("200 OK", "application/json", &body.to_string())]
}

fn answer(status: &str, content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}")
        .into()
}

/// What a gateway reads from an engine that is never busy.
fn metrics(model: &str) -> String {
    ["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "num_preemptions_total"]
        .map(|name| format!("vllm:{name}{{engine=\"0\",model_name=\"{model}\"}} 0.0\n"))
        .concat()
}
