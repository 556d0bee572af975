//! `POST /v1/embeddings`: each input waits and is computed like a prompt without an answer.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde::Serialize;

use super::chat::Counts;
use super::generate::hang_up;
use super::{id, read, reply, stream};
use crate::clock;
use crate::embedding::embed;
use crate::engine::{Engine, Part};
use crate::errors::ApiError;
use crate::prompt::Prompt;
use crate::request::{Embedding, Encoding};
use crate::sse::{Usage, json};

#[derive(Serialize)]
struct List<'a> {
    id: String,
    object: &'static str,
    created: i64,
    model: &'a str,
    data: Vec<Entry>,
    usage: Counts,
}

#[derive(Serialize)]
struct Entry {
    index: usize,
    object: &'static str,
    embedding: Vector,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Numbers(Vec<f64>),
    Text(String),
}

pub(super) async fn embeddings(engine: &Engine, request: Request) -> Result<Response, ApiError> {
    let call = read(request).await?;
    let Embedding { inputs, encoding, priority } = Embedding::read(&call.body, engine.config())?;
    engine.check(inputs.len())?;
    let mishap = engine.next_mishap();
    if mishap.reset.is_some() {
        hang_up(call.line.as_ref()).await;
    }
    if let Some(error) = mishap.in_band_error {
        return Err(stream::mishap(error));
    }
    tokio::time::sleep(engine.render_time()).await;
    compute(engine, priority, inputs.iter()).await?;

    let tokens = inputs.iter().map(Prompt::len).sum();
    let data = inputs.iter().enumerate().map(|(index, input)| entry(index, input, encoding)).collect();
    let list = List {
        id: id("embd-", call.request_id.as_deref()),
        object: "list",
        created: clock::unix_seconds(),
        model: engine.config().served_name(),
        data,
        usage: Counts::new(Usage { prompt: tokens, completion: 0 }, None),
    };
    Ok(reply::json(StatusCode::OK, json(&list)))
}

/// Waits until every input has been computed.
pub(super) async fn compute<'a>(
    engine: &Engine,
    priority: i64,
    inputs: impl Iterator<Item = &'a Prompt>,
) -> Result<(), ApiError> {
    let part = |input: &Prompt| Part {
        prompt_tokens: input.len(),
        // A pooled vector needs every token's state, so the real engine computes them all.
        prefix: Arc::default(),
        output_tokens: 0,
        max_tokens: None,
        stopped: true,
    };
    let parts: Vec<Part> = inputs.map(part).collect();
    let mut ticket = engine.submit(priority, &parts)?;
    for _ in parts {
        ticket.next().await.ok_or_else(ApiError::engine_died)?;
    }
    Ok(())
}

fn entry(index: usize, input: &Prompt, encoding: Encoding) -> Entry {
    let vector = embed(&input.text);
    let embedding = match encoding {
        Encoding::Float => Vector::Numbers(vector.into_iter().map(f64::from).collect()),
        Encoding::Base64 => {
            let bytes: Vec<u8> = vector.into_iter().flat_map(f32::to_le_bytes).collect();
            Vector::Text(STANDARD.encode(bytes))
        }
    };
    Entry { index, object: "embedding", embedding }
}
