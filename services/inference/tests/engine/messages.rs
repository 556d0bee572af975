//! `/v1/messages`: the same engines in Anthropic's words, refusals included.

use crate::{
    answers::with,
    client::{self, Answer},
    engine::Engine,
    gateway::{Gateway, UNSERVED},
    ledger,
};
use http::StatusCode;
use proto::monitoring::v1::Outcome;
use serde_json::{Value, json};
use simulator::{Faults, InBandError};

const PATH: &str = "/v1/messages";

fn asking(tokens: u32) -> Value {
    json!({
        "messages": [{"role": "user", "content": "w1 w2 w3"}], "system": "w9", "temperature": 0,
        "max_tokens": tokens, "ignore_eos": true,
    })
}

fn streaming(tokens: u32) -> Value {
    with(asking(tokens), "stream", true)
}

/// An error in Anthropic's shape, and nothing else in it.
async fn refused(answer: Answer, status: StatusCode, kind: &str) -> String {
    assert_eq!((answer.status, answer.header("content-type")), (status, "application/json"));
    let body = answer.json().await;
    let message = body["error"]["message"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
    assert_eq!(body, json!({"type": "error", "error": {"type": kind, "message": message}}));
    message
}

#[tokio::test]
async fn a_message_and_its_stream_say_the_same_and_the_ledger_too() {
    let engine = Engine::any().await;
    let (before, gateway) = (engine.counts().await, Gateway::open(&[&engine]).await);
    let answer = gateway.post(PATH, &asking(7)).await;
    assert_eq!(answer.status, StatusCode::OK);
    let whole = answer.json().await;
    assert_eq!((&whole["type"], &whole["role"]), (&json!("message"), &json!("assistant")));
    let events = gateway.post(PATH, &streaming(7)).await.named_events().await;
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..2], ["message_start", "content_block_start"]);
    assert_eq!(names[names.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
    let deltas = events.iter().filter(|(name, _)| name == "content_block_delta");
    let said: String = deltas.map(|(_, event)| event["delta"]["text"].as_str().unwrap()).collect();
    assert_eq!(whole["content"][0]["text"], said.as_str());
    assert_eq!(events[events.len() - 2].1["usage"], whole["usage"]);
    let records = gateway.close().await;
    for record in &records {
        assert_eq!((record.endpoint.as_str(), record.outcome()), ("messages", Outcome::Finished));
        assert_eq!(record.prompt_tokens, whole["usage"]["input_tokens"]);
        assert_eq!(record.completion_tokens, whole["usage"]["output_tokens"]);
        assert!(!record.estimated, "{record:?}");
    }
    assert_eq!(ledger::counted(&engine, before, &records).await, ledger::tokens(&records));
}

#[tokio::test]
async fn tokens_of_the_prefix_cache_are_part_of_the_prompt() {
    let flags = ["--enable-prompt-tokens-details", "--block-size", "2"];
    let engine = Engine::simulated("tiny", &flags).await;
    let gateway = Gateway::open(&[&engine]).await;
    let first = gateway.post(PATH, &asking(2)).await.json().await;
    let second = gateway.post(PATH, &asking(2)).await.json().await;
    gateway.post(PATH, &streaming(2)).await.named_events().await;
    let records = gateway.close().await;
    ledger::check_finished(&records, 3);
    assert_eq!(records.iter().map(|record| record.prompt_tokens).collect::<Vec<_>>(), [9, 9, 9]);
    assert_eq!(first["usage"]["cache_read_input_tokens"], 0);
    assert_eq!(second["usage"]["cache_read_input_tokens"], records[1].cached_prompt_tokens);
    assert!(records[1].cached_prompt_tokens > 0 && records[2].cached_prompt_tokens > 0, "{records:?}");
}

#[tokio::test]
async fn counting_makes_nothing_and_is_written_down() {
    let engine = Engine::any().await;
    let gateway = Gateway::open(&[&engine]).await;
    let counted = gateway.post("/v1/messages/count_tokens", &asking(7)).await.json().await;
    let message = gateway.post(PATH, &asking(1)).await.json().await;
    assert_eq!(counted["input_tokens"], message["usage"]["input_tokens"]);
    let records = gateway.close().await;
    let record = &records[0];
    assert_eq!((record.endpoint.as_str(), record.outcome()), ("messages/count_tokens", Outcome::Finished));
    assert_eq!((record.prompt_tokens, record.completion_tokens, record.estimated), (0, 0, false));
}

#[tokio::test]
async fn every_refusal_is_in_these_words() {
    let engine = Engine::any().await;
    let gateway = Gateway::open(&[&engine]).await;
    let invalid = "invalid_request_error";
    for (body, said) in [
        (json!({"max_tokens": 3}), "`messages` is required"),
        (json!({"messages": [{"role": "user", "content": "w1"}]}), "`max_tokens` is required"),
        (with(asking(3), "max_tokens", "many"), "`max_tokens` must be"),
        (with(asking(3), "max_tokens", 0), "max_tokens"),
        (with(asking(3), "stream", 7), "`stream` must be"),
        (with(asking(3), "temperature", -1), "temperature must be non-negative"),
        (json!({"messages": [], "max_tokens": 3}), "empty conversation"),
    ] {
        let message = refused(gateway.post(PATH, &body).await, StatusCode::BAD_REQUEST, invalid).await;
        assert!(message.contains(said), "{message}");
    }
    let unknown = gateway.post(PATH, &with(asking(3), "model", "nope")).await;
    refused(unknown, StatusCode::NOT_FOUND, "not_found_error").await;
    let unserved = gateway.post(PATH, &with(asking(3), "model", UNSERVED)).await;
    assert!(!unserved.header("retry-after").is_empty());
    refused(unserved, StatusCode::SERVICE_UNAVAILABLE, "overloaded_error").await;
    let nobody = client::send(gateway.url(), client::post(PATH, &asking(3))).await;
    refused(nobody, StatusCode::UNAUTHORIZED, "authentication_error").await;
    let wrong = gateway.send(client::get(PATH)).await;
    refused(wrong, StatusCode::METHOD_NOT_ALLOWED, invalid).await;
    gateway.taken_back.send_replace(true);
    let denied = crate::until("the grant to be gone", async || {
        Some(gateway.post(PATH, &asking(3)).await).filter(|answer| answer.status != StatusCode::OK)
    });
    refused(denied.await, StatusCode::FORBIDDEN, "permission_error").await;
}

#[tokio::test]
async fn a_key_may_come_as_these_clients_send_it() {
    let engine = Engine::any().await;
    let gateway = Gateway::open(&[&engine]).await;
    let mut request = client::post(PATH, &with(asking(2), "model", gateway.model.as_str()));
    request.headers_mut().insert("x-api-key", crate::peers::KEY.parse().unwrap());
    request.headers_mut().insert("anthropic-version", "2023-06-01".parse().unwrap());
    assert_eq!(client::send(gateway.url(), request).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_failure_before_the_first_token_is_tried_again_and_one_behind_it_told() {
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::open(&[&engine]).await;
    let failing = |after_events| {
        let error = InBandError { status: 500, after_events, times: Some(1) };
        Faults { in_band_error: Some(error), ..Faults::default() }
    };
    engine.fail(failing(0));
    let events = gateway.post(PATH, &streaming(4)).await.named_events().await;
    assert_eq!(events.last().unwrap().0, "message_stop");
    engine.fail(failing(4));
    let events = gateway.post(PATH, &streaming(4)).await.named_events().await;
    let (name, last) = events.last().unwrap();
    assert_eq!((name.as_str(), last["error"]["type"].is_string()), ("error", true), "{events:?}");
    let records = gateway.close().await;
    assert_eq!((records[0].outcome(), records[0].attempt), (Outcome::Finished, 2));
    assert_eq!((records[1].outcome(), records[1].estimated), (Outcome::Failed, true));
    // What it had begun to say, and the prompt as it was counted at the beginning.
    assert_eq!((records[1].prompt_tokens, records[1].completion_tokens), (9, 2));
}

#[tokio::test]
async fn a_stream_whose_engine_dies_ends_with_an_error() {
    let mut victim = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::open(&[&victim]).await;
    let mut answer = gateway.post(PATH, &streaming(3_000)).await;
    for _ in 0..5 {
        answer.named_event().await.unwrap();
    }
    victim.kill().await;
    let events = answer.named_events().await;
    let (name, last) = events.last().unwrap();
    assert_eq!((name.as_str(), &last["error"]["type"]), ("error", &json!("api_error")));
    assert!(!events.iter().any(|(name, _)| name == "message_stop"), "{events:?}");
    let records = gateway.close().await;
    assert_eq!((records[0].outcome(), records[0].estimated), (Outcome::Failed, true));
}
