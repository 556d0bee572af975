//! `POST /v1/chat/completions`.

use serde_json::Value;

use super::body::Body;
use super::fields::Fields;
use super::messages;
use super::sampling::{Sampling, Streaming};
use crate::config::Config;
use crate::errors::ApiError;
use crate::prompt::{Next, Prompt};

/// A chat that can be queued.
#[derive(Debug)]
pub(crate) struct Chat {
    pub(crate) prompt: Prompt,
    pub(crate) sampling: Sampling,
    pub(crate) streaming: Streaming,
    /// Alternatives per token, when log probabilities were asked for.
    pub(crate) logprobs: Option<i64>,
}

impl Chat {
    pub(crate) fn read(body: &Body, config: &Config) -> Result<Self, ApiError> {
        messages::check_iterable(body)?;
        Streaming::check(body)?;
        check_combinations(body)?;

        let mut fields = Fields::new(body, "body.");
        let messages = messages::read(&mut fields);
        let model = fields.text("model");
        let (logprobs, top_logprobs) = (fields.flag("logprobs"), fields.int("top_logprobs"));
        let mut sampling = Sampling::default();
        sampling.read_first(&mut fields, &["max_tokens", "max_completion_tokens"]);
        let streaming = Streaming::read(&mut fields);
        sampling.read_last(&mut fields);
        let open = fields.strict_flag("add_generation_prompt").unwrap_or(true);
        let continued = fields.strict_flag("continue_final_message").unwrap_or(false);
        fields.finish()?;

        super::completion::check_model(model.as_deref(), config)?;
        check_tools(body)?;
        if messages::has_media(body) {
            return Err(ApiError::bad_request(
                None,
                format!("{} is not a multimodal model", config.served_name()),
            ));
        }
        if messages.is_empty() {
            let message =
                "Cannot apply chat template to an empty conversation. Provide at least one message.";
            return Err(ApiError::bad_request(None, message));
        }
        if continued && open {
            return Err(ApiError::bad_request(None, CONTINUED_AND_OPEN));
        }
        let next = match (continued, open) {
            (true, _) => Next::Continuation,
            (false, true) => Next::Answer,
            (false, false) => Next::Nothing,
        };
        let prompt = Prompt::from_messages(&messages, next);
        sampling.check_length(&prompt, config.max_model_len)?;
        let logprobs = logprobs.unwrap_or(false).then_some(top_logprobs.unwrap_or(0));
        Ok(Self { prompt, sampling, streaming, logprobs })
    }
}

const CONTINUED_AND_OPEN: &str = "continue_final_message and add_generation_prompt are not compatible. Use \
    continue_final_message when you want the model to continue the final message, and add_generation_prompt when you want to \
    add a header that will prompt it to start a new assistant message instead.";

/// What the real engine says before it looks at any field.
fn check_combinations(body: &Body) -> Result<(), ApiError> {
    let given = |name: &str| body.get(name).filter(|value| !value.is_null());
    let asks_for_top = given("top_logprobs").and_then(Value::as_i64).is_some_and(|many| many > 0);
    if asks_for_top && given("logprobs") != Some(&Value::Bool(true)) {
        let message = "when using `top_logprobs`, `logprobs` must be set to true. (parameter=top_logprobs)";
        return Err(ApiError::bad_request(Some("top_logprobs"), message));
    }
    let choice = given("tool_choice").is_some_and(|choice| choice != "none");
    if choice && given("tools").is_none() {
        let message = "When using `tool_choice`, `tools` must be set. (parameter=tool_choice)";
        return Err(ApiError::bad_request(Some("tool_choice"), message));
    }
    Ok(())
}

/// Tools need a parser, which a simulated engine does not have.
fn check_tools(body: &Body) -> Result<(), ApiError> {
    let tools = body.get("tools").and_then(Value::as_array).is_some_and(|tools| !tools.is_empty());
    let choice = body.get("tool_choice").filter(|choice| !choice.is_null());
    let message = match choice {
        _ if !tools => return Ok(()),
        Some(Value::String(choice)) if choice == "none" => return Ok(()),
        Some(Value::String(choice)) if choice != "auto" => {
            format!("tool_choice=\"{choice}\" requires --tool-call-parser to be set")
        }
        Some(Value::Object(choice)) => {
            let name = choice
                .get("function")
                .and_then(|function| function.get("name")?.as_str())
                .unwrap_or_default();
            format!("tool_choice=function \"{name}\" requires --tool-call-parser to be set")
        }
        _ => "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set"
            .to_owned(),
    };
    Err(ApiError::bad_request(None, message))
}
