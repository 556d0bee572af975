//! `POST /rerank` and `POST /score`: how near two vectors are, each text computed once.

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::chat::Counts;
use super::embeddings::compute;
use super::generate::hang_up;
use super::{id, read, reply, stream};
use crate::clock;
use crate::embedding::embed;
use crate::engine::Engine;
use crate::errors::ApiError;
use crate::prompt::Prompt;
use crate::request::Scoring;
use crate::sse::{Usage, json};

#[derive(Serialize)]
struct Ranked<'a> {
    id: String,
    model: &'a str,
    usage: Total,
    results: Vec<Place<'a>>,
}

#[derive(Serialize)]
struct Total {
    prompt_tokens: u32,
    total_tokens: u32,
}

#[derive(Serialize)]
struct Place<'a> {
    index: usize,
    document: Document<'a>,
    relevance_score: f64,
}

#[derive(Serialize)]
struct Document<'a> {
    text: &'a str,
    multi_modal: (),
}

#[derive(Serialize)]
struct Scored<'a> {
    id: String,
    object: &'static str,
    created: i64,
    model: &'a str,
    data: Vec<Score>,
    usage: Counts,
}

#[derive(Serialize)]
struct Score {
    index: usize,
    object: &'static str,
    score: f64,
}

pub(super) async fn rerank(engine: &Engine, request: Request) -> Result<Response, ApiError> {
    let (scoring, request_id) = scored(engine, request, Scoring::rerank).await?;
    let mut results: Vec<Place<'_>> = scoring
        .pairs()
        .enumerate()
        .map(|(index, (query, document))| Place {
            index,
            document: Document { text: &document.text, multi_modal: () },
            relevance_score: nearness(query, document),
        })
        .collect();
    results.sort_by(|one, other| other.relevance_score.total_cmp(&one.relevance_score));
    if scoring.top > 0 {
        results.truncate(scoring.top);
    }
    let tokens = tokens(&scoring);
    let ranked = Ranked {
        id: id("score-", request_id.as_deref()),
        model: engine.config().served_name(),
        usage: Total { prompt_tokens: tokens, total_tokens: tokens },
        results,
    };
    Ok(reply::json(StatusCode::OK, json(&ranked)))
}

pub(super) async fn score(engine: &Engine, request: Request) -> Result<Response, ApiError> {
    let (scoring, request_id) = scored(engine, request, Scoring::score).await?;
    let score =
        |(index, (query, document))| Score { index, object: "score", score: nearness(query, document) };
    let scored = Scored {
        id: id("score-", request_id.as_deref()),
        object: "list",
        created: clock::unix_seconds(),
        model: engine.config().served_name(),
        data: scoring.pairs().enumerate().map(score).collect(),
        usage: Counts::new(Usage { prompt: tokens(&scoring), completion: 0 }, None),
    };
    Ok(reply::json(StatusCode::OK, json(&scored)))
}

/// The texts of a request, once all of them are computed.
async fn scored(
    engine: &Engine,
    request: Request,
    understand: impl FnOnce(&crate::request::Body, &crate::config::Config) -> Result<Scoring, ApiError>,
) -> Result<(Scoring, Option<String>), ApiError> {
    let call = read(request).await?;
    let scoring = understand(&call.body, engine.config())?;
    engine.check(scoring.queries.len() + scoring.documents.len())?;
    let mishap = engine.next_mishap();
    if mishap.reset.is_some() {
        hang_up(call.line.as_ref()).await;
    }
    if let Some(error) = mishap.in_band_error {
        return Err(stream::mishap(error));
    }
    tokio::time::sleep(engine.render_time()).await;
    compute(engine, scoring.priority, scoring.queries.iter().chain(&scoring.documents)).await?;
    Ok((scoring, call.request_id))
}

fn tokens(scoring: &Scoring) -> u32 {
    scoring.queries.iter().chain(&scoring.documents).map(Prompt::len).sum()
}

/// 1 for the same text.
fn nearness(one: &Prompt, other: &Prompt) -> f64 {
    let pairs = embed(&one.text).into_iter().zip(embed(&other.text));
    pairs.map(|(one, other)| f64::from(one) * f64::from(other)).sum()
}
