//! `POST /v1/completions`.

use serde_json::Value;

use super::body::Body;
use super::fields::Fields;
use super::sampling::{Sampling, Streaming};
use crate::config::Config;
use crate::errors::ApiError;
use crate::prompt::Prompt;

/// A completion that can be queued.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) prompts: Vec<Prompt>,
    pub(crate) sampling: Sampling,
    pub(crate) streaming: Streaming,
    /// Alternatives per token, when log probabilities were asked for.
    pub(crate) logprobs: Option<i64>,
    /// Whether the answer begins with the prompt.
    pub(crate) echo: bool,
}

impl Completion {
    pub(crate) fn read(body: &Body, config: &Config) -> Result<Self, ApiError> {
        Streaming::check(body)?;
        if matches!(body.get("prompt"), None | Some(Value::Null))
            || body.get("prompt") == Some(&Value::from(""))
        {
            let message = "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)";
            return Err(ApiError::bad_request(Some("prompt"), message));
        }

        let mut fields = Fields::new(body, "body.");
        let model = fields.text("model");
        let prompts = prompts(&mut fields, "prompt");
        let echo = fields.flag("echo").unwrap_or(false);
        let logprobs = fields.int("logprobs");
        let mut sampling = Sampling::default();
        sampling.read_first(&mut fields, &["max_tokens"]);
        let streaming = Streaming::read(&mut fields);
        sampling.read_last(&mut fields);
        fields.finish()?;

        check_model(model.as_deref(), config)?;
        if prompts.is_empty() {
            return Err(ApiError::bad_request(None, "You must pass at least one prompt"));
        }
        for prompt in &prompts {
            sampling.check_length(prompt, config.max_model_len)?;
        }
        Ok(Self { prompts, sampling, streaming, logprobs, echo })
    }
}

/// Refuses a model that is not served here; none, or an empty name, is the one that is.
pub(crate) fn check_model(asked: Option<&str>, config: &Config) -> Result<(), ApiError> {
    match asked {
        Some(name) if !name.is_empty() && !config.model.iter().any(|served| served == name) => {
            Err(ApiError::unknown_model(name, &config.model))
        }
        _ => Ok(()),
    }
}

/// One prompt or several, as text or as tokens.
pub(crate) fn prompts(fields: &mut Fields<'_>, name: &str) -> Vec<Prompt> {
    let Some(value) = fields.given(name) else { return Vec::new() };
    let found = match value {
        Value::String(text) => Some(vec![Prompt::from_text(text.as_str())]),
        Value::Array(list) if list.iter().any(Value::is_number) => tokens(value).map(|prompt| vec![prompt]),
        Value::Array(list) => {
            list.iter().map(|entry| entry.as_str().map(Prompt::from_text).or_else(|| tokens(entry))).collect()
        }
        _ => None,
    };
    found.unwrap_or_else(|| {
        for kind in ["list", "list", "string", "list"] {
            let (kind, message) = (
                if kind == "list" { "list_type" } else { "string_type" },
                format!("Input should be a valid {kind}"),
            );
            fields.report(kind, name, &message, value);
        }
        Vec::new()
    })
}

fn tokens(value: &Value) -> Option<Prompt> {
    let list = value.as_array()?.iter();
    let tokens: Option<Vec<u32>> = list.map(|token| u32::try_from(token.as_u64()?).ok()).collect();
    tokens.map(Prompt::from_tokens)
}
