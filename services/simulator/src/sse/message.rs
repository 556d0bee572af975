//! The events of a message in Anthropic's words, and the message as a whole.

use bytes::Bytes;
use serde_json::json as tree;

use super::{Reused, Usage, json};
use crate::text::Finish;

/// A message on its way.
#[derive(Debug)]
pub(crate) struct Speaking {
    id: String,
    model: String,
}

impl Speaking {
    pub(crate) fn new(id: String, model: &str) -> Self {
        Self { id, model: model.to_owned() }
    }

    /// All of it.
    pub(crate) fn whole(&self, text: &str, finish: &Finish, usage: Usage, reused: Option<Reused>) -> String {
        let (id, model, text) = (json(&self.id), json(&self.model), json(text));
        // Nothing that is null is said here.
        let stop = stop(finish).replace(",\"stop_sequence\":null", "");
        format!(
            "{{\"id\":{id},\"type\":\"message\",\"role\":\"assistant\",\"content\":[{{\"type\":\"text\",\"text\":{text}}}],\
             \"model\":{model},{stop},\"usage\":{}}}",
            counts(usage, reused)
        )
    }

    /// What is said with the first token.
    pub(crate) fn open(&self, prompt: u32) -> [Bytes; 2] {
        let (id, model) = (json(&self.id), json(&self.model));
        let usage = counts(Usage { prompt, completion: 0 }, None);
        let start = format!(
            "\"message\":{{\"id\":{id},\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":{model},\
             \"stop_reason\":null,\"stop_sequence\":null,\"usage\":{usage}}}"
        );
        let block = "\"content_block\":{\"type\":\"text\",\"text\":\"\"},\"index\":0";
        [event("message_start", &start), event("content_block_start", block)]
    }

    /// More of its text.
    pub(crate) fn more(&self, text: &str) -> Bytes {
        let delta = format!("\"delta\":{{\"type\":\"text_delta\",\"text\":{}}},\"index\":0", json(text));
        event("content_block_delta", &delta)
    }

    /// What is said behind the last token.
    pub(crate) fn close(&self, finish: &Finish, usage: Usage, reused: Option<Reused>) -> [Bytes; 3] {
        let delta = format!("\"delta\":{{{}}},\"usage\":{}", stop(finish), counts(usage, reused));
        let last = Bytes::from_static(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
        [event("content_block_stop", "\"index\":0"), event("message_delta", &delta), last]
    }
}

/// An error in the middle, which the real engine says without its kind.
pub(crate) fn failed(message: &str) -> Bytes {
    let error = tree!({"type": "internal_error", "message": message});
    event("error", &format!("\"error\":{error}"))
}

fn event(name: &str, fields: &str) -> Bytes {
    format!("event: {name}\ndata: {{\"type\":\"{name}\",{fields}}}\n\n").into()
}

fn stop(finish: &Finish) -> String {
    let (reason, sequence) = match finish {
        Finish::Length => ("max_tokens", "null".to_owned()),
        Finish::StopString(stop) => ("stop_sequence", json(stop)),
        Finish::Stop | Finish::StopToken(_) => ("end_turn", "null".to_owned()),
    };
    format!("\"stop_reason\":\"{reason}\",\"stop_sequence\":{sequence}")
}

/// What was in the cache is not counted as input here, but beside it.
fn counts(usage: Usage, reused: Option<Reused>) -> String {
    let Some(Reused { cached_tokens, created_cache_tokens, .. }) = reused else {
        return format!("{{\"input_tokens\":{},\"output_tokens\":{}}}", usage.prompt, usage.completion);
    };
    let created = created_cache_tokens.unwrap_or(0);
    let input = usage.prompt.saturating_sub(cached_tokens + created);
    format!(
        "{{\"input_tokens\":{input},\"output_tokens\":{},\"cache_creation_input_tokens\":{created},\
         \"cache_read_input_tokens\":{cached_tokens}}}",
        usage.completion
    )
}
