//! `POST /v1/embeddings`.

use super::body::Body;
use super::fields::Fields;
use super::sampling::check_prompt;
use super::{completion, messages};
use crate::config::Config;
use crate::errors::ApiError;
use crate::prompt::{Next, Prompt};

/// How the numbers of a vector are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Float,
    Base64,
}

/// Texts to embed.
#[derive(Debug)]
pub(crate) struct Embedding {
    pub(crate) inputs: Vec<Prompt>,
    pub(crate) encoding: Encoding,
    pub(crate) priority: i64,
}

impl Embedding {
    pub(crate) fn read(body: &Body, config: &Config) -> Result<Self, ApiError> {
        let mut fields = Fields::new(body, "body.");
        let model = fields.text("model");
        let inputs = inputs(&mut fields);
        let encoding = encoding(&mut fields);
        let dimensions = fields.int("dimensions");
        let priority = fields.strict_int("priority").unwrap_or(0);
        fields.finish()?;

        if let Some(name) = model.filter(|name| !name.is_empty() && !config.model.contains(name)) {
            return Err(ApiError::unknown_embedding_model(&name));
        }
        if let Some(many) = dimensions {
            let name = config.served_name();
            let message = format!(
                "Model '{name}' does not support Matryoshka embeddings; dimensions must be unset (received dimensions={many})."
            );
            return Err(ApiError::bad_request(None, message));
        }
        if inputs.is_empty() {
            return Err(ApiError::bad_request(None, "You must pass at least one prompt"));
        }
        for input in &inputs {
            if input.tokens.is_empty() {
                return Err(ApiError::bad_request(None, "The decoder prompt cannot be empty"));
            }
            check_prompt(input, config.max_model_len)?;
        }
        Ok(Self { inputs, encoding, priority })
    }
}

/// `input`, or a chat in its place.
fn inputs(fields: &mut Fields<'_>) -> Vec<Prompt> {
    if fields.given("input").is_some() {
        return completion::prompts(fields, "input");
    }
    if fields.given("messages").is_some() {
        return vec![Prompt::from_messages(&messages::read(fields), Next::Nothing)];
    }
    fields.missing("input");
    fields.missing("messages");
    Vec::new()
}

fn encoding(fields: &mut Fields<'_>) -> Encoding {
    match fields.text("encoding_format").as_deref() {
        None | Some("float") => Encoding::Float,
        Some("base64") => Encoding::Base64,
        Some(other) => {
            let value = serde_json::Value::from(other);
            let message = "Input should be 'float', 'base64', 'bytes' or 'bytes_only'";
            fields.report("literal_error", "encoding_format", message, &value);
            Encoding::Float
        }
    }
}
