//! A caller who goes away takes the request along: out of the gateway's queue, out of the engine's, out of its batch.

use crate::{
    answers::{chat, stream, with},
    client,
    engine::Engine,
    gateway::Gateway,
    ledger,
    refusals::error,
};
use futures_util::future::{Either, select};
use http::{HeaderValue, StatusCode};
use proto::monitoring::v1::{Outcome, UsageRecord};
use std::pin::pin;

/// Longer than any case takes.
const LONG: u32 = 3_000;

/// Cut off by its caller, and counted as well as it could be.
fn check_cancelled(record: &UsageRecord) {
    assert_eq!((record.outcome(), record.estimated), (Outcome::Cancelled, true), "{record:?}");
    assert!(record.prompt_tokens > 0, "{record:?}");
}

#[tokio::test]
async fn while_it_streams() {
    let engine = Engine::any().await;
    let (before, gateway) = (engine.counts().await, Gateway::open(&[&engine]).await);
    let mut answer = gateway.chat(&stream(LONG)).await;
    let seen = 6;
    for _ in 0..=seen {
        answer.event().await.unwrap();
    }
    assert_eq!(gateway.in_flight(&engine).await, 1);
    drop(answer);
    let after = engine.idle().await;
    let made = after.generation_tokens - before.generation_tokens;
    assert!(made < u64::from(LONG), "the engine went on to the end");
    let records = gateway.close().await;
    ledger::check(&records, 1);
    check_cancelled(&records[0]);
    let counted = records[0].completion_tokens;
    assert!((seen..=made).contains(&counted), "{counted} recorded, {seen} seen, {made} made");
}

#[tokio::test]
async fn while_it_waits_for_a_whole_answer() {
    let engine = Engine::any().await;
    let (before, gateway) = (engine.counts().await, Gateway::open(&[&engine]).await);
    {
        let body = chat(LONG);
        let mut asking = pin!(gateway.chat(&body));
        let started = pin!(engine.until("the engine to run it", |counts| counts.running == 1));
        let Either::Right(_) = select(&mut asking, started).await else { panic!("it was answered") };
    }
    let after = engine.idle().await;
    assert!(after.generation_tokens - before.generation_tokens < u64::from(LONG));
    let records = gateway.close().await;
    ledger::check(&records, 1);
    check_cancelled(&records[0]);
}

#[tokio::test]
async fn while_it_is_queued_in_the_engine() {
    let engine = Engine::own(&["--max-num-seqs", "1"]).await;
    let gateway = Gateway::open(&[&engine]).await;
    let mut running = gateway.chat(&stream(LONG)).await;
    running.event().await.unwrap();
    for body in [stream(5), chat(5)] {
        {
            // A stream's head comes with its first token, so neither is answered while it waits.
            let mut asking = pin!(gateway.chat(&body));
            let waits = pin!(engine.until("the engine to queue it", |counts| counts.waiting == 1));
            let Either::Right(_) = select(&mut asking, waits).await else { panic!("it was answered") };
            assert_eq!(gateway.in_flight(&engine).await, 2);
        }
        let counts = engine.until("the queue to be empty", |counts| counts.waiting == 0).await;
        assert_eq!(counts.running, 1, "the other one runs on");
    }
    drop(running);
    engine.idle().await;
    let records = gateway.close().await;
    ledger::check(&records, 3);
    records.iter().for_each(check_cancelled);
    assert!(records[..2].iter().all(|record| record.completion_tokens == 0), "they never ran");
}

#[tokio::test]
async fn while_it_is_queued_in_the_gateway() {
    let engine = Engine::any().await;
    let gateway = Gateway::with(&[&engine], |config| {
        config.engine.max_in_flight = 1;
        config.queue.length = 1;
    })
    .await;
    let mut running = gateway.chat(&stream(LONG)).await;
    running.event().await.unwrap();
    {
        // One of the two finds the queue full, so the other is in it.
        let body = chat(1);
        let (one, other) = (pin!(gateway.chat(&body)), pin!(gateway.chat(&body)));
        let (refused, _waiting) = select(one, other).await.factor_first();
        assert!(refused.header("retry-after").parse::<u32>().unwrap() >= 1);
        assert_eq!(error(refused, StatusCode::TOO_MANY_REQUESTS).await["code"], "queue_full");
    }
    crate::until("the place in the queue to be free", async || {
        let mut request =
            client::post("/v1/chat/completions", &with(chat(1), "model", engine.model.as_str()));
        request.headers_mut().insert("grpc-timeout", HeaderValue::from_static("200m"));
        let answer = gateway.send(request).await;
        // Who may wait waits until the deadline; who may not is refused at once.
        (answer.status == StatusCode::REQUEST_TIMEOUT).then_some(())
    })
    .await;
    assert_eq!(engine.counts().await.waiting, 0, "the engine saw nothing of it");
    drop(running);
    engine.idle().await;
    let records = gateway.close().await;
    ledger::check(&records, 1);
    check_cancelled(&records[0]);
}
