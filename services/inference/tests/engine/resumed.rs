//! Answers that break off in the middle and go on at another engine, where that was asked for and can be exact.

use crate::{
    answers::{text, whole_stream, with},
    death::{broken_stream, check_failed, some},
    engine::Engine,
    gateway::Gateway,
    ledger,
};
use inference::Config;
use serde_json::{Value, json};
use std::time::Duration;

fn resuming(config: &mut Config) {
    config.engine.resume = true;
    config.engine.attempts = 4;
    config.engine.idle_timeout = Duration::from_secs(3);
}

/// A greedy chat, whose answer says itself when it is over.
fn greedy(most: u32) -> Value {
    json!({
        "messages": [{"role": "user", "content": "Tell me of w1 and w2"}],
        "temperature": 0, "max_tokens": most, "stream": true,
    })
}

fn marks(chunks: &[Value]) -> Vec<u64> {
    chunks.iter().filter_map(|chunk| chunk["tollgate"]["resumed"].as_u64()).collect()
}

/// Two engines that break off the next answer, each after so many events.
async fn breaking(after: [u32; 2]) -> [Engine; 2] {
    let engines = [Engine::simulated("tiny", &[]).await, Engine::simulated("tiny", &[]).await];
    for (engine, after_events) in engines.iter().zip(after) {
        let fault = json!({"reset": {"after_events": after_events, "times": 1}});
        engine.fail(serde_json::from_value(fault).unwrap());
    }
    engines
}

#[tokio::test]
async fn whatever_breaks_off_the_client_gets_the_whole_answer_once() {
    let healthy = Engine::simulated("tiny", &[]).await;
    let undisturbed = Gateway::open(&[&healthy]).await;
    for (most, after) in [(4_000, [9, 14]), (30, [20, 9]), (4_000, [1, 2]), (4_000, [40, 11])] {
        let asked = with(greedy(most), "stream_options", json!({"include_usage": true}));
        let expected = whole_stream(undisturbed.chat(&asked).await, 1).await;
        let [first, second] = breaking(after).await;
        let gateway = Gateway::with(&[&first, &second], resuming).await;
        let chunks = whole_stream(gateway.chat(&asked).await, 1).await;
        assert_eq!(text(&chunks), text(&expected));
        let (last, others) = chunks.split_last().unwrap();
        let usage = &expected.last().unwrap()["usage"];
        assert_eq!(&last["usage"], usage);
        assert!(others.iter().all(|chunk| chunk.get("usage").is_none()), "{chunks:#?}");
        assert_eq!(marks(&chunks).last(), Some(&2), "both engines broke off");
        let records = gateway.close().await;
        ledger::check_finished(&records, 1);
        assert_eq!(records[0].attempt, 3);
        let told = ["prompt_tokens", "completion_tokens"].map(|count| usage[count].as_u64().unwrap());
        assert_eq!([records[0].prompt_tokens, records[0].completion_tokens], told);
    }
}

#[tokio::test]
async fn an_engine_that_is_killed_or_falls_silent_is_replaced() {
    let healthy = Engine::simulated("tiny", &[]).await;
    let expected = whole_stream(Gateway::open(&[&healthy]).await.chat(&greedy(4_000)).await, 1).await;
    assert!(expected.len() > 30, "long enough to be broken off");
    for hangs in [false, true] {
        let slow = ["--time-scale", "1"];
        let mut engines = [Engine::simulated("tiny", &slow).await, Engine::simulated("tiny", &slow).await];
        let gateway = Gateway::with(&[&engines[0], &engines[1]], resuming).await;
        let mut answer = gateway.chat(&greedy(4_000)).await;
        let seen = some(&mut answer, 12).await;
        let victim = usize::from(gateway.in_flight(&engines[0]).await == 0);
        if hangs {
            engines[victim].hang().await;
        } else {
            engines[victim].kill().await;
        }
        let rest = answer.events().await;
        let events = seen.iter().chain(&rest);
        let chunks: Vec<Value> = events.filter_map(|event| serde_json::from_str(event).ok()).collect();
        assert_eq!(rest.last().map(String::as_str), Some("[DONE]"));
        assert_eq!((text(&chunks), marks(&chunks)), (text(&expected), vec![1]));
        assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()), "{chunks:#?}");
        let records = gateway.close().await;
        ledger::check_finished(&records, 1);
        assert_eq!((&records[0].engine, records[0].attempt), (&engines[1 - victim].url, 2));
    }
}

#[tokio::test]
async fn what_cannot_be_exact_or_was_not_asked_for_ends_honestly() {
    let probable = with(greedy(4_000), "logprobs", true);
    let bodies = [with(greedy(4_000), "temperature", 0.7), probable, greedy(4_000)];
    for (body, resume) in bodies.into_iter().zip([true, true, false]) {
        let [first, second] = breaking([9, 9]).await;
        let gateway = Gateway::with(&[&first, &second], |config| config.engine.resume = resume).await;
        let seen = broken_stream(gateway.chat(&body).await).await;
        let records = gateway.close().await;
        ledger::check(&records, 1);
        check_failed(&records[0], seen.len() as u64 - 1);
    }
}

#[tokio::test]
async fn when_nobody_can_go_on_the_stream_ends_with_an_error_and_what_was_made_is_billed() {
    let mut victim = Engine::simulated("tiny", &["--time-scale", "1"]).await;
    let gateway = Gateway::with(&[&victim], resuming).await;
    let mut answer = gateway.chat(&greedy(4_000)).await;
    let seen = some(&mut answer, 9).await;
    victim.kill().await;
    broken_stream(answer).await;
    let records = gateway.close().await;
    ledger::check(&records, 1);
    check_failed(&records[0], seen.len() as u64 - 1);
}
