//! Engines that fail in every way an engine can: another one answers, or the client is told honestly.

use crate::chat::{CHAT, TEMPLATE, chat, recorded, streamed};
use proto::inference::v1::{InferRequest, Prompt, inference_service_client::InferenceServiceClient};
use serde_json::{Value, json};
use tests::{
    engine::Engine,
    http::Client,
    ledger::{self, Record},
    rpc,
    suite::{MODEL, Suite},
    until, within,
};
use tonic::Code;
use tonic_types::StatusExt;

/// Two engines behind one suite. The first is chosen whenever both are idle.
struct Pair {
    first: Engine,
    second: Engine,
    suite: Suite,
    owner: Client,
}

impl Pair {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let (first, second) =
            tokio::join!(Engine::start("--time-scale 10"), Engine::start("--time-scale 10"));
        let engines = format!("{},{}", first.url, second.url);
        let settings = [&[("TOLLGATE_ENGINES", engines.as_str())], settings].concat();
        let suite = Suite::start(&settings).await;
        let owner = suite.owner();
        Self { first, second, suite, owner }
    }

    /// A stream and a whole answer come from the second engine at their second attempt, with one record each.
    async fn second_answers(&self) {
        let before = ledger::records(&self.owner).await.len();
        let events = self.owner.stream(CHAT, &streamed(2, 3)).await.all().await;
        assert_eq!(events.last().map(String::as_str), Some("[DONE]"), "{events:?}");
        assert!(!events.iter().any(|event| event.contains("\"error\"")), "{events:?}");
        let _ = self.owner.post(CHAT, &chat(3, 4)).await.ok();
        let mut records = ledger::at_least(&self.owner, before + 2).await;
        assert_eq!(records.len(), before + 2);
        records.sort_by(|one, other| other.usage_id.cmp(&one.usage_id));
        let newest: Vec<_> =
            records[..2].iter().map(|one| (one.engine.clone(), one.end(), recorded(one))).collect();
        let at_second = |cost| (self.second.url.clone(), "finished".to_owned(), cost);
        assert_eq!(newest, [at_second((3 + TEMPLATE, 4)), at_second((2 + TEMPLATE, 3))]);
    }

    async fn retries(&self) -> f64 {
        self.suite.metric("tollgate_engine_retries_total", "").await
    }
}

#[tokio::test]
async fn an_engine_that_refuses_resets_or_drains_is_passed_over() {
    // So many failures in a row would open the breaker.
    let pair = Pair::start(&[("TOLLGATE_INFERENCE__ENGINE__BREAKER__FAILURES", "100")]).await;
    let faults = [
        // What is not streamed gets the same error as its answer.
        json!({"in_band_error": {"status": 503}}),
        json!({"in_band_error": {"status": 500}}),
        json!({"reset": {}}),
        json!({"drain": true}),
    ];
    for (number, fault) in faults.iter().enumerate() {
        pair.first.fault(fault).await;
        pair.second_answers().await;
        assert_eq!(pair.retries().await, 2.0 * (number + 1) as f64, "{fault}");
        pair.first.fault(&json!({})).await;
    }
}

#[tokio::test]
async fn a_killed_engine_is_passed_over_and_used_again_when_it_is_back() {
    let mut pair = Pair::start(&[("TOLLGATE_INFERENCE__ENGINE__CHECK_INTERVAL", "100ms")]).await;
    pair.first.process.kill();
    pair.second_answers().await;
    pair.first.start_again().await;
    until("the first engine's return", async || {
        let engines = pair.owner.get("/api/v1/engines").await.data();
        (engines["engines"][0]["state"] == "ENGINE_STATE_HEALTHY").then_some(())
    })
    .await;
    let _ = pair.owner.post(CHAT, &chat(1, 1)).await.ok();
    assert_eq!(pair.first.metric("time_to_first_token_seconds_count").await, 1);
}

#[tokio::test]
async fn a_hung_engine_is_given_up_when_no_first_token_comes() {
    let pair = Pair::start(&[
        ("TOLLGATE_INFERENCE__ENGINE__FIRST_TOKEN_TIMEOUT", "700ms"),
        ("TOLLGATE_INFERENCE__ENGINE__ANSWER_TIMEOUT", "700ms"),
    ])
    .await;
    pair.first.fault(&json!({"hang": true})).await;
    pair.second_answers().await;
    assert_eq!(pair.retries().await, 2.0);
    pair.first.fault(&json!({})).await;
    // Frozen as a whole, it does not even accept.
    pair.first.process.signal("STOP");
    pair.second_answers().await;
    pair.first.process.signal("CONT");
}

/// A stream that breaks after its first tokens: what came, one error event, and no good end.
async fn broken_stream(owner: &Client, code: Value) {
    let events = owner.stream(CHAT, &streamed(2, 2000)).await.all().await;
    let (last, others) = events.split_last().unwrap();
    let error: Value = serde_json::from_str(last).unwrap();
    assert_eq!(error["error"]["code"], code, "{last}");
    assert!(!error["error"]["message"].as_str().unwrap().is_empty());
    assert!(others.len() >= 3, "tokens came before: {others:?}");
    assert!(!events.iter().any(|event| event.contains("[DONE]")), "{events:?}");
}

#[tokio::test]
async fn a_stream_that_cannot_go_on_ends_with_an_error_and_without_done() {
    let pair = Pair::start(&[("TOLLGATE_INFERENCE__ENGINE__IDLE_TIMEOUT", "700ms")]).await;
    pair.first.fault(&json!({"in_band_error": {"after_events": 4, "status": 500, "times": 1}})).await;
    broken_stream(&pair.owner, json!(500)).await;
    pair.first.fault(&json!({"reset": {"after_events": 4, "times": 1}})).await;
    broken_stream(&pair.owner, json!("stream_interrupted")).await;

    let silent = async {
        pair.first.until_load((1, 0)).await;
        until("some tokens", async || {
            (pair.first.metric("generation_tokens_total").await > 20).then_some(())
        })
        .await;
        pair.first.fault(&json!({"hang": true})).await;
    };
    tokio::join!(broken_stream(&pair.owner, json!("stream_interrupted")), silent);

    let records = ledger::at_least(&pair.owner, 3).await;
    assert_eq!(records.len(), 3);
    for record in &records {
        assert_eq!((record.end().as_str(), record.attempt), ("failed estimated", 1));
        assert!(record.prompt_tokens > 0 && record.completion_tokens >= 3, "{record:?}");
    }
    assert_eq!(pair.second.metric("time_to_first_token_seconds_count").await, 0, "nothing was sent twice");
}

#[tokio::test]
async fn when_every_engine_is_down_the_client_is_told_when_to_come_back() {
    let mut pair = Pair::start(&[]).await;
    pair.first.process.kill();
    pair.second.process.kill();
    // The first request finds them dead, the second one is told so at once.
    for _ in 0..2 {
        let refused = pair.owner.post(CHAT, &chat(1, 1)).await;
        let (status, code, kind) = refused.openai_error();
        assert_eq!((status, kind.as_str()), (503, "service_unavailable_error"));
        assert!(["engine_failed", "no_engine"].contains(&code.as_str()), "{code}");
        assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
    let records = ledger::records(&pair.owner).await;
    assert!(records.iter().all(|record| record.completion_tokens == 0), "{records:?}");
}

#[tokio::test]
async fn a_full_queue_is_refused_with_the_time_to_come_back() {
    let engine = Engine::start("--max-num-seqs 1").await;
    let suite = Suite::start(&[
        ("TOLLGATE_ENGINES", &engine.url),
        ("TOLLGATE_INFERENCE__ENGINE__MAX_IN_FLIGHT", "1"),
        ("TOLLGATE_INFERENCE__QUEUE__LENGTH", "1"),
    ])
    .await;
    let owner = suite.owner();
    let mut running = owner.stream(CHAT, &streamed(1, 4000)).await;
    running.next().await.unwrap();
    let refusals = async {
        until("a full queue", async || {
            (suite.metric("tollgate_queue_requests", "").await == 1.0).then_some(())
        })
        .await;
        let refused = owner.post(CHAT, &chat(1, 1)).await;
        let (status, code, kind) = refused.openai_error();
        assert_eq!((status, code.as_str(), kind.as_str()), (429, "queue_full", "rate_limit_error"));
        assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);

        let channel = rpc::channel(suite.address, &suite.first_run().api_key).await;
        let prompt = Prompt { model: MODEL.into(), text: "w1".into(), ..Prompt::default() };
        let refused = InferenceServiceClient::new(channel)
            .infer(InferRequest { prompt: Some(prompt), ..InferRequest::default() })
            .await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.get_details_retry_info().unwrap().retry_delay.unwrap().as_secs() >= 1);
        assert_eq!(refused.get_details_quota_failure().unwrap().violations.len(), 1);
        drop(running);
    };
    // The one that waited has its turn when the first one goes away.
    let waiting = owner.post(CHAT, &chat(2, 2));
    let both = Box::pin(async { tokio::join!(waiting, refusals) });
    let (waited, ()) = within("the queue", both).await;
    assert_eq!(waited.status, 200);
    let mut ends: Vec<_> = ledger::at_least(&owner, 2).await.iter().map(Record::end).collect();
    ends.sort();
    assert_eq!(ends, ["cancelled estimated", "finished"]);
}
