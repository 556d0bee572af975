//! A request goes to another engine only while its caller has seen nothing of it, and then sees the answer once.

use crate::{
    answers::{chat, check_whole, stream, whole_stream, with},
    death::{broken_stream, check_failed},
    engine::Engine,
    gateway::Gateway,
    ledger,
};
use http::StatusCode;
use serde_json::{Value, json};
use simulator::Faults;

fn faults(json: Value) -> Faults {
    serde_json::from_value(json).unwrap()
}

/// Chunks with text in them, without what differs between any two answers.
fn neutral(events: &[String]) -> Vec<Value> {
    let chunks = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
    let chunks = chunks.filter(|chunk| chunk["choices"] != json!([]));
    let strip = |mut chunk: Value| {
        let fields = chunk.as_object_mut().unwrap();
        fields.remove("id");
        fields.remove("created");
        chunk
    };
    chunks.map(strip).collect()
}

/// What an engine says to a stream that asks for its usage, as the gateway makes every stream do.
async fn direct(engine: &Engine, tokens: u32) -> Vec<String> {
    let body = with(stream(tokens), "stream_options", json!({"include_usage": true}));
    engine.post("/v1/chat/completions", &body).await.events().await
}

#[tokio::test]
async fn whatever_fails_before_the_first_event_is_answered_once_by_another_engine() {
    let failing = Engine::simulated("tiny", &[]).await;
    let second = Engine::simulated("tiny", &[]).await;
    let wanted = neutral(&direct(&second, 12).await);
    for fault in [
        json!({"in_band_error": {"after_events": 0, "status": 503}}),
        json!({"in_band_error": {"after_events": 0, "status": 500}}),
        json!({"reset": {"after_events": 0}}),
        json!({"drain": true}),
    ] {
        failing.fail(faults(fault.clone()));
        let gateway = Gateway::open(&[&failing, &second]).await;
        let answer = gateway.chat(&stream(12)).await;
        assert_eq!(answer.status, StatusCode::OK, "{fault}");
        let events = answer.events().await;
        assert_eq!(neutral(&events), wanted, "{fault}");
        check_whole(events, 1);
        let answer = gateway.chat(&chat(12)).await;
        assert_eq!(answer.status, StatusCode::OK, "{fault}");
        assert_eq!(answer.json().await["usage"]["completion_tokens"], 12, "{fault}");
        let records = gateway.close().await;
        ledger::check_finished(&records, 2);
        assert!(
            records.iter().all(|record| (record.attempt, &record.engine) == (2, &second.url)),
            "{records:#?}"
        );
    }
}

#[tokio::test]
async fn the_only_engine_is_tried_again() {
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::open(&[&engine]).await;
    engine.fail(faults(json!({"in_band_error": {"after_events": 0, "status": 503, "times": 1}})));
    whole_stream(gateway.chat(&stream(5)).await, 1).await;
    let records = gateway.close().await;
    ledger::check_finished(&records, 1);
    assert_eq!((records[0].attempt, records[0].completion_tokens), (2, 5));
}

#[tokio::test]
async fn what_has_begun_is_not_tried_again() {
    let failing = Engine::simulated("tiny", &[]).await;
    let second = Engine::simulated("tiny", &[]).await;
    let wanted = neutral(&direct(&failing, 12).await);
    for fault in [
        json!({"in_band_error": {"after_events": 4, "status": 500}}),
        json!({"in_band_error": {"after_events": 1, "status": 503}}),
        json!({"reset": {"after_events": 4}}),
    ] {
        failing.fail(faults(fault.clone()));
        let gateway = Gateway::open(&[&failing, &second]).await;
        let seen = neutral(&broken_stream(gateway.chat(&stream(12)).await).await);
        assert!(!seen.is_empty() && seen.len() <= 4, "{fault}");
        assert_eq!(seen, wanted[..seen.len()], "{fault}");
        let records = gateway.close().await;
        ledger::check(&records, 1);
        check_failed(&records[0], seen.len() as u64 - 1);
        assert_eq!((records[0].attempt, &records[0].engine), (1, &failing.url));
    }
    assert_eq!(second.counts().await.generation_tokens, 0, "the other engine was not asked");
}
