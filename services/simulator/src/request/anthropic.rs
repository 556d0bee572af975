//! `POST /v1/messages` and `POST /v1/messages/count_tokens`: a chat in Anthropic's words.

use serde_json::Value;

use super::body::Body;
use super::completion::check_model;
use super::fields::Fields;
use super::messages;
use super::sampling::{Sampling, Streaming};
use crate::config::Config;
use crate::errors::ApiError;
use crate::prompt::{Message, Next, Prompt};

/// A message that can be queued.
#[derive(Debug)]
pub(crate) struct Anthropic {
    pub(crate) prompt: Prompt,
    pub(crate) sampling: Sampling,
    pub(crate) streaming: Streaming,
}

impl Anthropic {
    pub(crate) fn read(body: &Body, config: &Config) -> Result<Self, ApiError> {
        let mut fields = Fields::new(body, "body.");
        let model = fields.text("model");
        let messages = conversation(&mut fields);
        if fields.given("max_tokens").is_none() {
            fields.missing("max_tokens");
        }
        let mut sampling = Sampling::default();
        sampling.read_first(&mut fields, &["max_tokens"]);
        // The chat that it becomes calls it so.
        let most = sampling.max_tokens.map(|(_, tokens)| tokens);
        sampling.max_tokens = most.map(|tokens| ("max_completion_tokens", tokens));
        sampling.n = 1;
        let on = fields.flag("stream").unwrap_or(false);
        sampling.read_last(&mut fields);
        if let Some(problem) = most.filter(|tokens| *tokens < 1) {
            let message = "Value error, max_tokens must be positive";
            fields.report("value_error", "max_tokens", message, &Value::from(problem));
        }
        fields.finish()?;
        let prompt = prompt(&messages, model.as_deref(), config)?;
        sampling.check_length(&prompt, config.max_model_len)?;
        let streaming = Streaming { on, ..Streaming::default() };
        Ok(Self { prompt, sampling, streaming })
    }

    /// Reads what is only to be counted.
    pub(crate) fn count(body: &Body, config: &Config) -> Result<Prompt, ApiError> {
        let mut fields = Fields::new(body, "body.");
        let model = fields.text("model");
        let messages = conversation(&mut fields);
        fields.finish()?;
        prompt(&messages, model.as_deref(), config)
    }
}

/// The messages, after what the system is told.
fn conversation(fields: &mut Fields<'_>) -> Vec<Message> {
    let system = match fields.given("system") {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Array(blocks)) => {
            let texts: Vec<&str> = blocks.iter().filter_map(|block| block.get("text")?.as_str()).collect();
            Some(texts.join("\n"))
        }
        _ => None,
    };
    let system = system.map(|content| Message { role: "system".to_owned(), content });
    system.into_iter().chain(messages::read(fields)).collect()
}

fn prompt(messages: &[Message], model: Option<&str>, config: &Config) -> Result<Prompt, ApiError> {
    check_model(model, config)?;
    if messages.is_empty() {
        let message = "Cannot apply chat template to an empty conversation. Provide at least one message.";
        return Err(ApiError::bad_request(None, message));
    }
    Ok(Prompt::from_messages(messages, Next::Answer))
}
