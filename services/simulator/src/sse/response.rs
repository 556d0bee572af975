//! The events of a response, and the response as a whole: named, numbered, and without `[DONE]`.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json as tree};

use super::{Usage, json};
use crate::request::Told;
use crate::text::Finish;

/// A response on its way.
#[derive(Debug)]
pub(crate) struct Responding {
    id: String,
    created_at: i64,
    model: String,
    told: Told,
    /// The id of its one message.
    item: String,
    pub(crate) text: String,
    number: u32,
}

/// In the order of the real engine's fields.
#[derive(Serialize)]
struct Object<'a> {
    id: &'a str,
    created_at: i64,
    incomplete_details: Option<Value>,
    instructions: Option<&'a str>,
    metadata: Option<&'a Value>,
    model: &'a str,
    object: &'static str,
    output: Vec<Value>,
    parallel_tool_calls: bool,
    temperature: f64,
    tool_choice: &'static str,
    tools: [(); 0],
    top_p: f64,
    background: bool,
    max_output_tokens: Option<i64>,
    max_tool_calls: (),
    previous_response_id: Option<&'a str>,
    prompt: (),
    reasoning: (),
    service_tier: &'static str,
    status: &'static str,
    text: (),
    top_logprobs: (),
    truncation: &'static str,
    usage: Option<Value>,
    user: (),
    presence_penalty: f64,
    frequency_penalty: f64,
    kv_transfer_params: (),
    ec_transfer_params: (),
    input_messages: (),
    output_messages: (),
}

impl Responding {
    pub(crate) fn new(id: String, item: String, created_at: i64, model: &str, told: Told) -> Self {
        Self { id, created_at, model: model.to_owned(), told, item, text: String::new(), number: 0 }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// All of it.
    pub(crate) fn whole(&self, finish: &Finish, usage: Usage, cached: u32) -> String {
        let cut = *finish == Finish::Length;
        let reason = cut.then(|| tree!({"reason": "max_output_tokens"}));
        let usage = tree!({
            "input_tokens": usage.prompt,
            "input_tokens_details": {
                "cached_tokens": cached, "cache_write_tokens": 0, "input_tokens_per_turn": [],
                "cached_tokens_per_turn": [],
            },
            "output_tokens": usage.completion,
            "output_tokens_details": {
                "reasoning_tokens": 0, "tool_output_tokens": 0, "output_tokens_per_turn": [],
                "tool_output_tokens_per_turn": [],
            },
            "total_tokens": usage.prompt + usage.completion,
        });
        let status = if cut { "incomplete" } else { "completed" };
        self.object(status, reason, vec![self.message()], Some(usage))
    }

    /// What is said before anything is computed.
    pub(crate) fn begin(&mut self) -> [Bytes; 2] {
        let object = self.object("in_progress", None, Vec::new(), None);
        let head = format!("\"response\":{object}");
        [self.event("response.created", &head), self.event("response.in_progress", &head)]
    }

    /// What is said before the first token.
    pub(crate) fn open(&mut self) -> [Bytes; 2] {
        let item = json(&self.item);
        let added = format!(
            "\"item\":{{\"id\":{item},\"content\":[],\"role\":\"assistant\",\"status\":\"in_progress\",\"type\":\"message\",\
             \"phase\":null}},\
             \"output_index\":0"
        );
        let part = format!("{},\"part\":{}", self.place(), text_part("", "[]"));
        [self.event("response.output_item.added", &added), self.event("response.content_part.added", &part)]
    }

    /// More of its text.
    pub(crate) fn more(&mut self, text: &str) -> Bytes {
        self.text.push_str(text);
        let delta = format!("{},\"delta\":{},\"logprobs\":[]", self.place(), json(text));
        self.event("response.output_text.delta", &delta)
    }

    /// What is said behind the last token; `whole` is all of it.
    pub(crate) fn close(&mut self, whole: &str) -> [Bytes; 4] {
        let text = format!("{},\"logprobs\":[],\"text\":{}", self.place(), json(&self.text));
        let part = format!("{},\"part\":{}", self.place(), text_part(&self.text, "null"));
        let item = format!("\"item\":{},\"output_index\":0", self.message());
        [
            self.event("response.output_text.done", &text),
            self.event("response.content_part.done", &part),
            self.event("response.output_item.done", &item),
            self.event("response.completed", &format!("\"response\":{whole}")),
        ]
    }

    fn object(
        &self,
        status: &'static str,
        incomplete_details: Option<Value>,
        output: Vec<Value>,
        usage: Option<Value>,
    ) -> String {
        json(&Object {
            id: &self.id,
            created_at: self.created_at,
            incomplete_details,
            instructions: self.told.instructions.as_deref(),
            metadata: self.told.metadata.as_ref(),
            model: &self.model,
            object: "response",
            output,
            parallel_tool_calls: true,
            temperature: self.told.temperature,
            tool_choice: "none",
            tools: [],
            top_p: 1.0,
            background: false,
            max_output_tokens: self.told.max_output_tokens,
            max_tool_calls: (),
            previous_response_id: self.told.previous_response_id.as_deref(),
            prompt: (),
            reasoning: (),
            service_tier: "auto",
            status,
            text: (),
            top_logprobs: (),
            truncation: "disabled",
            usage,
            user: (),
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            kv_transfer_params: (),
            ec_transfer_params: (),
            input_messages: (),
            output_messages: (),
        })
    }

    fn message(&self) -> Value {
        tree!({
            "id": self.item,
            "content": [{"annotations": [], "text": self.text, "type": "output_text", "logprobs": null}],
            "role": "assistant", "status": "completed", "type": "message", "phase": null,
        })
    }

    fn place(&self) -> String {
        format!("\"content_index\":0,\"item_id\":{},\"output_index\":0", json(&self.item))
    }

    fn event(&mut self, name: &str, fields: &str) -> Bytes {
        let number = self.number;
        self.number += 1;
        format!("event: {name}\ndata: {{{fields},\"sequence_number\":{number},\"type\":\"{name}\"}}\n\n")
            .into()
    }
}

fn text_part(text: &str, logprobs: &str) -> String {
    let text = json(text);
    format!("{{\"annotations\":[],\"text\":{text},\"type\":\"output_text\",\"logprobs\":{logprobs}}}")
}
