//! An engine whose queue is full. It says 200 to a stream before it knows, so its refusal may come inside.

use crate::{
    answers::{chat, stream, whole_stream},
    engine::Engine,
    gateway::Gateway,
    ledger,
    refusals::error,
};
use futures_util::future::join_all;
use http::StatusCode;
use proto::monitoring::v1::{Outcome, UsageRecord};

/// Requests at once, and how often.
const CROWD: usize = 8;
const ROUNDS: usize = 5;

#[tokio::test]
async fn a_full_engine_hands_over_to_another() {
    let engine = Engine::own(&["--max-num-queued-reqs", "1"]).await;
    let second = Engine::simulated(&engine.model, &[]).await;
    let gateway = Gateway::open(&[&engine, &second]).await;
    for _ in 0..ROUNDS {
        let crowd = (0..CROWD).map(|_| async { whole_stream(gateway.chat(&stream(30)).await, 1).await });
        join_all(crowd).await;
    }
    let records = gateway.close().await;
    ledger::check_finished(&records, ROUNDS * CROWD);
    assert!(records.iter().all(|record| record.completion_tokens == 30), "{records:#?}");
    assert!(records.iter().any(|record| record.attempt > 1), "the engine was never full");
}

#[tokio::test]
async fn a_full_engine_alone_refuses_before_the_head() {
    let engine = Engine::own(&["--max-num-queued-reqs", "1"]).await;
    let before = engine.counts().await;
    let gateway = Gateway::with(&[&engine], |config| config.engine.attempts = 1).await;
    let mut served = 0;
    for _ in 0..ROUNDS {
        let crowd = (0..CROWD).map(async |number| {
            let body = if number % 4 == 0 { chat(30) } else { stream(30) };
            let answer = gateway.chat(&body).await;
            if answer.status == StatusCode::OK {
                if body["stream"] == true {
                    whole_stream(answer, 1).await;
                }
                return true;
            }
            assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
            error(answer, StatusCode::SERVICE_UNAVAILABLE).await;
            false
        });
        served += join_all(crowd).await.into_iter().filter(|served| *served).count();
        engine.idle().await;
    }
    assert!((1..ROUNDS * CROWD).contains(&served), "{served} were served");
    let records = gateway.close().await;
    ledger::check(&records, ROUNDS * CROWD);
    let (finished, refused): (Vec<UsageRecord>, Vec<UsageRecord>) =
        records.into_iter().partition(|record| record.outcome() == Outcome::Finished);
    ledger::check_finished(&finished, served);
    assert!(
        refused.iter().all(|record| record.outcome() == Outcome::Failed && record.completion_tokens == 0)
    );
    assert_eq!(ledger::counted(&engine, before, &finished).await, ledger::tokens(&finished));
}
