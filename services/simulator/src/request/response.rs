//! `POST /v1/responses`.

use serde_json::Value;

use super::body::Body;
use super::completion::check_model;
use super::fields::Fields;
use super::sampling::{Sampling, Streaming};
use crate::config::Config;
use crate::errors::ApiError;
use crate::prompt::{Message, Next, Prompt};
use crate::responses::Kept;

/// A response that can be queued.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) prompt: Prompt,
    pub(crate) messages: Vec<Message>,
    pub(crate) sampling: Sampling,
    pub(crate) streaming: Streaming,
    pub(crate) store: bool,
    pub(crate) told: Told,
}

/// What the answer repeats of the request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    pub(crate) instructions: Option<String>,
    pub(crate) metadata: Option<Value>,
    pub(crate) max_output_tokens: Option<i64>,
    pub(crate) previous_response_id: Option<String>,
    pub(crate) temperature: f64,
}

impl Response {
    /// Reads it; `kept` knows the responses that can be gone on from.
    pub(crate) fn read(
        body: &Body,
        config: &Config,
        kept: impl Fn(&str) -> Option<Kept>,
    ) -> Result<Self, ApiError> {
        let mut fields = Fields::new(body, "body.");
        let input = input(&mut fields);
        let instructions = fields.text("instructions");
        let model = fields.text("model");
        let previous = fields.text("previous_response_id");
        let background = fields.flag("background").unwrap_or(false);
        let store = fields.flag("store").unwrap_or(true) && config.enable_responses_api_store;
        let mut sampling = Sampling::default();
        sampling.read_first(&mut fields, &["max_output_tokens"]);
        sampling.n = 1;
        let on = fields.flag("stream").unwrap_or(false);
        sampling.read_last(&mut fields);
        fields.finish()?;

        check_model(model.as_deref(), config)?;
        if background {
            return Err(ApiError::bad_request(Some("background"), "a simulated engine has no background"));
        }
        let before = match &previous {
            Some(id) => kept(id).ok_or_else(|| ApiError::unknown_response(id))?.messages,
            None => Vec::new(),
        };
        if before.is_empty() && input.is_empty() {
            let message =
                "Cannot apply chat template to an empty conversation. Provide at least one message.";
            return Err(ApiError::bad_request(None, message));
        }
        let messages: Vec<Message> = before.into_iter().chain(input).collect();
        let system = instructions.iter().map(|content| message("system", content));
        let all: Vec<Message> = system.chain(messages.iter().cloned()).collect();
        let prompt = Prompt::from_messages(&all, Next::Answer);
        sampling.check_length(&prompt, config.max_model_len)?;
        let told = Told {
            instructions,
            metadata: body.get("metadata").filter(|metadata| !metadata.is_null()).cloned(),
            max_output_tokens: sampling.max_tokens.map(|(_, tokens)| tokens),
            previous_response_id: previous,
            temperature: sampling.temperature,
        };
        let streaming = Streaming { on, ..Streaming::default() };
        Ok(Self { prompt, messages, sampling, streaming, store, told })
    }
}

/// A text, or messages with texts.
fn input(fields: &mut Fields<'_>) -> Vec<Message> {
    let Some(value) = fields.given("input") else {
        fields.missing("input");
        return Vec::new();
    };
    match value {
        Value::String(text) => vec![message("user", text)],
        Value::Array(items) => items.iter().filter_map(item).collect(),
        other => {
            fields.report("string_type", "input", "Input should be a valid string", other);
            fields.report("list_type", "input", "Input should be a valid list", other);
            Vec::new()
        }
    }
}

fn item(item: &Value) -> Option<Message> {
    let role = item.get("role")?.as_str()?;
    match item.get("content")? {
        Value::String(text) => Some(message(role, text)),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
            Some(message(role, &texts.join("\n")))
        }
        _ => None,
    }
}

fn message(role: &str, content: &str) -> Message {
    Message { role: role.to_owned(), content: content.to_owned() }
}
