//! Requests that most tests send, and how their answers are read.

use serde_json::{Value, json};
use tests::{http::Client, ledger::Record, suite::MODEL};

/// Where chats go.
pub(crate) const CHAT: &str = "/v1/chat/completions";

/// A chat of so many words that makes exactly so many tokens.
pub(crate) fn chat(words: usize, tokens: u64) -> Value {
    let content = vec!["w1"; words].join(" ");
    json!({
        "model": MODEL, "messages": [{"role": "user", "content": content}],
        "max_tokens": tokens, "ignore_eos": true,
    })
}

/// The same as a stream that says its usage at the end.
pub(crate) fn streamed(words: usize, tokens: u64) -> Value {
    let mut body = chat(words, tokens);
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    body
}

/// Tokens that the template of the simulated engine puts around one message.
pub(crate) const TEMPLATE: u64 = 3;

/// Sends a chat under an id of the caller's.
pub(crate) fn named(client: &Client, id: &str, body: &Value) -> http::Request<tests::http::Body> {
    let mut request = client.with_json("POST", CHAT, body);
    request.headers_mut().insert("x-request-id", id.parse().unwrap());
    request
}

/// Tokens read and made, as an answer or its last event says.
pub(crate) fn usage(answer: &Value) -> (u64, u64) {
    let usage = &answer["usage"];
    (usage["prompt_tokens"].as_u64().unwrap(), usage["completion_tokens"].as_u64().unwrap())
}

/// The same of a record.
pub(crate) fn recorded(record: &Record) -> (u64, u64) {
    (record.prompt_tokens, record.completion_tokens)
}

/// Waits until a caller's chats are answered: models and grants travel to the gateway within a moment.
pub(crate) async fn until_usable(client: &Client) {
    let usable = async || (client.post(CHAT, &chat(1, 1)).await.status == 200).then_some(());
    tests::until("a model that can be used", usable).await;
}
