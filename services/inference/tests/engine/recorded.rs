//! Streams of a real vLLM as they were recorded, sent again in whatever pieces a network may make of them.

use crate::{
    answers::{stream, with},
    death::broken_stream,
    engine::Engine,
    gateway::Gateway,
    ledger,
    refusals::error,
};
use axum::{
    Json, Router,
    body::Body,
    response::Response,
    routing::{get, post},
};
use bytes::Bytes;
use http::{StatusCode, header};
use proto::monitoring::v1::Outcome;
use serde_json::{Value, json};
use std::convert::Infallible;

const RECORDED: &str = include_str!("../data/recorded-sse.txt");

/// Bytes per piece: torn everywhere, torn somewhere, all events at once.
const PIECES: [usize; 3] = [1, 7, usize::MAX];

/// The events of one recording.
fn recording(number: usize) -> Vec<&'static str> {
    let title = format!("##### {number}. ");
    let (_, from) = RECORDED.split_once(&title).unwrap();
    let section = from.split("\n##### ").find(|part| part.contains("\ndata: ")).unwrap();
    section.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
}

/// The bytes of these events.
fn bytes(events: &[&str]) -> Bytes {
    events.iter().map(|event| format!("data: {event}\n\n")).collect::<String>().into()
}

/// An engine that answers every stream with these bytes.
async fn engine(bytes: Bytes, piece: usize) -> Engine {
    let models = Json(json!({"object": "list", "data": [{"id": "tiny", "object": "model"}]}));
    let answer = move || {
        let pieces: Vec<_> =
            bytes.chunks(piece).map(Bytes::copy_from_slice).map(Ok::<_, Infallible>).collect();
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        let head = Response::builder().header(header::CONTENT_TYPE, "text/event-stream; charset=utf-8");
        std::future::ready(head.body(body).unwrap())
    };
    let routes = Router::new()
        .route("/v1/models", get(move || std::future::ready(models.clone())))
        .route("/v1/chat/completions", post(answer.clone()))
        .route("/v1/completions", post(answer));
    Engine::recorded("tiny", routes).await
}

/// The usage that a chunk of its own says, when one does.
fn usage(events: &[&str]) -> Option<(u64, u64)> {
    let mut chunks = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
    let said = chunks.find(|chunk| chunk["choices"] == json!([]))?;
    Some((said["usage"]["prompt_tokens"].as_u64()?, said["usage"]["completion_tokens"].as_u64()?))
}

#[tokio::test]
async fn a_recorded_stream_arrives_as_it_was_sent() {
    for number in 1..=6 {
        let events = recording(number);
        assert_eq!(events.last(), Some(&"[DONE]"), "recording {number}");
        let said = usage(&events);
        for piece in PIECES {
            let engine = engine(bytes(&events), piece).await;
            let gateway = Gateway::open(&[&engine]).await;
            let path = if number == 4 { "/v1/completions" } else { "/v1/chat/completions" };
            let asking =
                with(with(stream(6), "prompt", "w1"), "stream_options", json!({"include_usage": true}));
            assert_eq!(
                gateway.post(path, &asking).await.events().await,
                events,
                "recording {number} by {piece}"
            );
            let silent = with(stream(6), "prompt", "w1");
            let without: Vec<&str> =
                events.iter().copied().filter(|event| !event.contains(r#""choices":[],"#)).collect();
            assert_eq!(
                gateway.post(path, &silent).await.events().await,
                without,
                "recording {number} by {piece}"
            );
            let records = gateway.close().await;
            ledger::check(&records, 2);
            for record in records {
                assert_eq!(
                    (record.outcome(), record.estimated),
                    (Outcome::Finished, said.is_none()),
                    "{record:?}"
                );
                let counted = (record.prompt_tokens, record.completion_tokens);
                assert!(said.is_none_or(|said| said == counted), "{said:?}: {record:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_recorded_refusal_inside_a_stream_is_one_before_the_head() {
    for piece in PIECES {
        let engine = engine(bytes(&recording(10)), piece).await;
        let gateway = Gateway::open(&[&engine]).await;
        error(gateway.chat(&stream(6)).await, StatusCode::SERVICE_UNAVAILABLE).await;
        let records = gateway.close().await;
        ledger::check(&records, 1);
        assert_eq!((records[0].outcome(), records[0].completion_tokens), (Outcome::Failed, 0));
    }
}

#[tokio::test]
async fn a_recorded_death_ends_with_its_error_and_not_as_if_whole() {
    let events = recording(11);
    assert_eq!(events.last(), Some(&"[DONE]"), "the engine says so although it died");
    for piece in PIECES {
        let engine = engine(bytes(&events), piece).await;
        let gateway = Gateway::open(&[&engine]).await;
        let seen = broken_stream(gateway.chat(&stream(40)).await).await;
        assert_eq!(seen, events[..events.len() - 2], "by {piece}");
        let records = gateway.close().await;
        ledger::check(&records, 1);
        assert_eq!((records[0].outcome(), records[0].estimated), (Outcome::Failed, true));
        assert_eq!(records[0].completion_tokens, seen.len() as u64 - 1);
    }
}

#[tokio::test]
async fn a_stream_that_ends_early_is_told_so_wherever_it_was_torn() {
    let events = recording(1);
    let (whole, first) = (bytes(&events), bytes(&events[..1]).len());
    let done = bytes(&["[DONE]"]).len();
    for cut in (first..=whole.len() - done).step_by(97) {
        let engine = engine(whole.slice(..cut), 50).await;
        let gateway = Gateway::open(&[&engine]).await;
        let seen = broken_stream(gateway.chat(&stream(6)).await).await;
        assert_eq!(seen, events[..seen.len()], "torn at {cut}");
        let records = gateway.close().await;
        ledger::check(&records, 1);
        assert_eq!(records[0].outcome(), Outcome::Failed, "torn at {cut}");
    }
}
