//! `POST /tokenize` and `POST /detokenize`: no length limit, no key, no queue.

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::{read, reply};
use crate::config::Config;
use crate::errors::ApiError;
use crate::prompt::{self, Next, Prompt};
use crate::request::{Fields, check_model, read_messages};
use crate::sse::json;

#[derive(Serialize)]
struct Tokens {
    count: usize,
    max_model_len: u32,
    tokens: Vec<u32>,
    token_strs: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Text {
    prompt: String,
}

pub(super) async fn tokenize(config: &Config, request: Request) -> Result<Response, ApiError> {
    let body = read(request).await?.body;
    let mut fields = Fields::new(&body, "body.");
    let model = fields.text("model");
    let prompt = if body.contains_key("messages") {
        Prompt::from_messages(&read_messages(&mut fields), Next::Answer)
    } else {
        if !body.contains_key("prompt") {
            fields.missing("prompt");
            fields.missing("messages");
        }
        Prompt::from_text(fields.text("prompt").unwrap_or_default())
    };
    let spell = fields.flag("return_token_strs").unwrap_or(false);
    fields.finish()?;
    check_model(model.as_deref(), config)?;

    let token_strs = spell.then(|| prompt.tokens.iter().filter_map(|token| prompt::word(*token)).collect());
    let (count, max_model_len) = (prompt.tokens.len(), config.max_model_len);
    let tokens = Tokens { count, max_model_len, tokens: prompt.tokens, token_strs };
    Ok(reply::json(StatusCode::OK, json(&tokens)))
}

pub(super) async fn detokenize(config: &Config, request: Request) -> Result<Response, ApiError> {
    let body = read(request).await?.body;
    let mut fields = Fields::new(&body, "body.");
    let model = fields.text("model");
    let tokens = match fields.given("tokens") {
        Some(Value::Array(list)) => {
            list.iter().filter_map(|token| u32::try_from(token.as_u64()?).ok()).collect()
        }
        Some(other) => {
            fields.report("list_type", "tokens", "Input should be a valid list", other);
            Vec::new()
        }
        None => {
            fields.missing("tokens");
            Vec::new()
        }
    };
    fields.finish()?;
    check_model(model.as_deref(), config)?;
    Ok(reply::json(StatusCode::OK, json(&Text { prompt: prompt::detokenize(&tokens) })))
}
