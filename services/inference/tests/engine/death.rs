//! Engines that die, hang or leave: what has begun ends honestly, what has not begun goes elsewhere.

use crate::{
    answers::{chat, check_whole, stream, whole_stream, with},
    client::Answer,
    engine::Engine,
    gateway::Gateway,
    ledger,
    refusals::error,
    until,
};
use http::StatusCode;
use inference::Config;
use proto::monitoring::v1::{Outcome, UsageRecord};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::join;

/// Longer than any case takes.
const LONG: u32 = 3_000;

/// Reads so many events of a stream.
pub(crate) async fn some(answer: &mut Answer, many: usize) -> Vec<String> {
    let mut events = Vec::new();
    for _ in 0..many {
        events.push(answer.event().await.expect("more events"));
    }
    events
}

/// Checks that a stream breaks off honestly: its last event is an error, none is `[DONE]`. Returns what came before.
pub(crate) async fn broken_stream(answer: Answer) -> Vec<String> {
    let mut events = answer.events().await;
    let last: Value = serde_json::from_str(&events.pop().expect("an error event")).unwrap();
    let mut fields: Vec<&str> = last["error"].as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["code", "message", "param", "type"], "{last}");
    assert!(last["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{last}");
    assert!(!events.iter().any(|event| event == "[DONE]" || event.contains("\"error\"")), "{events:?}");
    events
}

/// Failed by its engine on the way, and counted as well as it could be.
pub(crate) fn check_failed(record: &UsageRecord, seen: u64) {
    assert_eq!((record.outcome(), record.estimated), (Outcome::Failed, true), "{record:?}");
    assert!(record.prompt_tokens > 0 && record.completion_tokens >= seen, "{record:?}, {seen} seen");
}

fn impatient(config: &mut Config) {
    config.engine.first_token_timeout = Duration::from_secs(3);
    config.engine.answer_timeout = Duration::from_secs(3);
    config.engine.attempts = 2;
}

#[tokio::test]
async fn killed_in_the_middle_of_a_stream() {
    let mut victim = Engine::own(&[]).await;
    let mut second = Engine::simulated(&victim.model, &[]).await;
    let gateway = Gateway::open(&[&victim, &second]).await;
    let mut answer = gateway.chat(&stream(LONG)).await;
    let seen = some(&mut answer, 5).await;
    victim.kill().await;
    broken_stream(answer).await;
    for body in [chat(4), chat(4), chat(4)] {
        assert_eq!(gateway.chat(&body).await.status, StatusCode::OK, "the other engine takes over");
    }
    whole_stream(gateway.chat(&stream(4)).await, 1).await;
    second.kill().await;
    for body in [chat(4), stream(4)] {
        let answer = gateway.chat(&body).await;
        assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
        error(answer, StatusCode::SERVICE_UNAVAILABLE).await;
    }
    let records = gateway.close().await;
    check_failed(&records[0], seen.len() as u64 - 1);
    assert_eq!(records[0].engine, victim.url);
    ledger::check_finished(&records[1..5], 4);
    assert!(records[1..5].iter().all(|record| record.engine == second.url), "{records:#?}");
    assert_eq!(records[4].attempt, 1, "an engine that refuses connections is left alone");
    assert!(records[5..].iter().all(|record| record.outcome() == Outcome::Failed), "{records:#?}");
}

#[tokio::test]
async fn told_to_end_in_the_middle_of_a_stream() {
    let victim = Engine::own(&[]).await;
    let gateway = Gateway::open(&[&victim]).await;
    let mut answer = gateway.chat(&stream(LONG)).await;
    let seen = some(&mut answer, 5).await;
    victim.terminate().await;
    // The engine itself closes such a stream with `[DONE]`, as if it were whole.
    broken_stream(answer).await;
    let records = gateway.close().await;
    ledger::check(&records, 1);
    check_failed(&records[0], seen.len() as u64 - 1);
}

#[tokio::test]
async fn hung_before_it_answers() {
    let victim = Engine::own(&[]).await;
    let second = Engine::simulated(&victim.model, &[]).await;
    let both = Gateway::with(&[&victim, &second], impatient).await;
    let alone = Gateway::with(&[&victim], impatient).await;
    victim.hang().await;
    let (streaming, whole) = (stream(4), chat(4));
    let (moved, other, refused, also) =
        join!(both.chat(&streaming), both.chat(&whole), alone.chat(&streaming), alone.chat(&whole));
    whole_stream(moved, 1).await;
    assert_eq!(other.status, StatusCode::OK);
    error(refused, StatusCode::SERVICE_UNAVAILABLE).await;
    error(also, StatusCode::SERVICE_UNAVAILABLE).await;
    victim.go_on().await;
    let answer = until("the engine to be back", async || {
        Some(alone.chat(&chat(4)).await).filter(|answer| answer.status == StatusCode::OK)
    });
    assert_eq!(answer.await.json().await["usage"]["completion_tokens"], 4);
    let records = both.close().await;
    ledger::check_finished(&records, 2);
    assert!(records.iter().all(|record| record.engine == second.url), "{records:#?}");
    assert!(records.iter().any(|record| record.attempt == 2), "{records:#?}");
    let records = alone.close().await;
    check_failed(&records[0], 0);
    check_failed(&records[1], 0);
    ledger::check_finished(&records[records.len() - 1..], 1);
    victim.idle().await;
}

#[tokio::test]
async fn hung_in_the_middle_of_a_stream() {
    let victim = Engine::own(&[]).await;
    let gateway =
        Gateway::with(&[&victim], |config| config.engine.idle_timeout = Duration::from_secs(3)).await;
    let mut answer = gateway.chat(&stream(LONG)).await;
    let seen = some(&mut answer, 5).await;
    victim.hang().await;
    broken_stream(answer).await;
    victim.go_on().await;
    victim.idle().await;
    let records = gateway.close().await;
    ledger::check(&records, 1);
    check_failed(&records[0], seen.len() as u64 - 1);
}

#[tokio::test]
async fn draining() {
    let victim = Engine::own(&["--shutdown-timeout", "120"]).await;
    let second = Engine::simulated(&victim.model, &[]).await;
    let gateway = Gateway::open(&[&victim, &second]).await;
    // The one that drains has its beginning computed, and so looks like the better choice for who asks it again.
    let question: String = (0..400).map(|word| format!("w{word} ")).collect();
    let asking = |body| with(body, "messages", json!([{"role": "user", "content": question}]));
    let mut old = gateway.chat(&asking(stream(1_000))).await;
    let mut events = some(&mut old, 2).await;
    // Busier than that one.
    let mut ballast = gateway.chat(&stream(4_000)).await;
    some(&mut ballast, 2).await;
    victim.terminate().await;
    until("a request to go elsewhere", async || {
        let answer = gateway.chat(&asking(chat(2))).await;
        assert_eq!(answer.status, StatusCode::OK, "a draining engine is nobody's loss");
        gateway.records().into_iter().find(|record| record.engine == second.url)
    })
    .await;
    while let Some(event) = old.event().await {
        events.push(event);
    }
    check_whole(events, 1);
    drop(ballast);
    let mut records = gateway.close().await;
    let at = records.iter().position(|record| record.outcome() == Outcome::Cancelled);
    assert_eq!(records.remove(at.unwrap()).engine, second.url);
    ledger::check_finished(&records, records.len());
    let old = records.iter().find(|record| record.completion_tokens == 1_000);
    assert_eq!(old.unwrap().engine, victim.url);
    let elsewhere = records.iter().find(|record| record.engine == second.url);
    assert_eq!(elsewhere.unwrap().attempt, 2, "it was tried at the draining engine first");
}
