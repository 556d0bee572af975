//! What the gateway makes of engines: who gets nothing new, why, and for how long.

use crate::{
    answers::{chat, stream, with},
    death::{broken_stream, some},
    engine::Engine,
    gateway::{Gateway, UNSERVED},
    ledger,
    refusals::error,
    until,
};
use axum::{Json, Router, routing};
use futures_util::future::join_all;
use http::StatusCode;
use inference::Config;
use proto::inference::v1::{BreakerState, EngineState};
use serde_json::{Value, json};
use simulator::Faults;
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(100);
/// For what must not happen within a test.
const NEVER: Duration = Duration::from_secs(3_600);

fn faults(json: Value) -> Faults {
    serde_json::from_value(json).unwrap()
}

/// Looks and probes often, and no breaker.
fn watchful(config: &mut Config) {
    let engine = &mut config.engine;
    engine.check_interval = MOMENT;
    engine.probe.interval = MOMENT;
    engine.probe.silence = 3 * MOMENT;
    engine.probe.timeout = 10 * MOMENT;
    engine.probe.idle = Duration::ZERO;
    engine.breaker.failures = 1_000;
}

fn impatient(config: &mut Config) {
    watchful(config);
    (config.engine.first_token_timeout, config.engine.answer_timeout) = (3 * MOMENT, 3 * MOMENT);
}

#[tokio::test]
async fn an_engine_that_falls_silent_hangs_though_it_lists_its_models() {
    let victim = Engine::own(&[]).await;
    let second = Engine::simulated(&victim.model, &[]).await;
    let gateway = Gateway::with(&[&victim, &second], watchful).await;
    let mut running = gateway.chat(&stream(1_500)).await;
    some(&mut running, 3).await;
    victim.hang().await;
    let hung = gateway.until(&victim, EngineState::Unhealthy).await;
    assert!(hung.state_reason.starts_with("hangs: no token on any of its 1 streams"), "{hung:?}");
    assert!(hung.state_reason.ends_with("a probe got no token in 1000 ms"), "{hung:?}");
    assert_eq!((hung.consecutive_failures, hung.requests_in_flight), (0, 1), "its model list is as ever");
    assert_eq!(gateway.chat(&chat(2)).await.status, StatusCode::OK);
    victim.go_on().await;
    let well = gateway.until(&victim, EngineState::Healthy).await;
    assert_eq!(well.state_reason, "");
    assert!(running.event().await.is_some(), "what ran there goes on");
    drop(running);
    let records = gateway.close().await;
    let elsewhere = records.iter().find(|record| record.completion_tokens == 2).unwrap();
    assert_eq!((elsewhere.attempt, &elsewhere.engine), (1, &second.url));
}

#[tokio::test]
async fn requests_without_a_first_token_make_suspicious_and_a_probe_decides() {
    let victim = Engine::simulated("tiny", &[]).await;
    let second = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::with(&[&victim, &second], impatient).await;
    victim.hang().await;
    let mut sent = 0;
    until("the engine to be found out", async || {
        assert_eq!(gateway.chat(&chat(2)).await.status, StatusCode::OK, "nobody is told of it");
        sent += 1;
        gateway.find(&victim).await.filter(|engine| engine.state() == EngineState::Unhealthy)
    })
    .await;
    let records = gateway.close().await;
    ledger::check_finished(&records, sent);
    assert!(records.iter().filter(|record| record.attempt == 2).count() >= 2, "two made it suspicious");
    victim.go_on().await;
}

#[tokio::test]
async fn an_engine_that_nobody_asks_is_probed_now_and_then() {
    let (engine, other) = (Engine::simulated("tiny", &[]).await, Engine::simulated("tiny", &[]).await);
    let gateway = Gateway::with(&[&engine, &other], |config| {
        watchful(config);
        config.engine.probe.idle = MOMENT;
    })
    .await;
    engine.until("a probe", |counts| counts.generation_tokens >= 2).await;
    engine.hang().await;
    let hung = gateway.until(&engine, EngineState::Unhealthy).await;
    assert!(hung.state_reason.starts_with("hangs: nothing was heard of it, and a probe"), "{hung:?}");
    engine.go_on().await;
    gateway.until(&engine, EngineState::Healthy).await;
    assert!(gateway.close().await.is_empty(), "probes are nobody's");
}

#[tokio::test]
async fn failures_open_the_breaker_and_one_probe_closes_it() {
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::with(&[&engine], |config| {
        watchful(config);
        config.engine.attempts = 1;
        (config.engine.breaker.failures, config.engine.breaker.open) = (3, 3 * MOMENT);
    })
    .await;
    engine.fail(faults(json!({"drain": true})));
    for _ in 0..3 {
        let refused = error(gateway.chat(&chat(2)).await, StatusCode::SERVICE_UNAVAILABLE).await;
        assert_eq!(refused["code"], "engine_failed");
    }
    let open = gateway.find(&engine).await.unwrap();
    assert_eq!(
        (open.state(), open.breaker(), open.failed_requests),
        (EngineState::BreakerOpen, BreakerState::Open, 3)
    );
    assert_eq!(open.state_reason, "3 requests in a row failed; a probe decides");
    let refused = error(gateway.chat(&chat(2)).await, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(refused["code"], "no_engine", "nothing is sent there any more");
    // A failed probe doubles the time.
    until("a longer time", async || {
        let left = gateway.find(&engine).await?.breaker_remaining?;
        (left.seconds > 0 || left.nanos > 300_000_000).then_some(())
    })
    .await;
    engine.go_on().await;
    gateway.until(&engine, EngineState::Healthy).await;
    assert_eq!(engine.counts().await.generation_tokens, 1, "one probe, of one token");
    assert_eq!(gateway.chat(&chat(2)).await.status, StatusCode::OK);
    let records = gateway.close().await;
    assert_eq!(records.len(), 4, "{records:#?}");
}

#[tokio::test]
async fn an_engine_that_was_killed_and_is_back_is_not_made_to_wait_for_its_breaker() {
    let mut engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::with(&[&engine], |config| {
        watchful(config);
        config.engine.breaker.failures = 2;
        (config.engine.breaker.open, config.engine.breaker.max_open) = (NEVER, NEVER);
    })
    .await;
    let mut running = Vec::new();
    for _ in 0..3 {
        let mut answer = gateway.chat(&stream(4_000)).await;
        some(&mut answer, 2).await;
        running.push(answer);
    }
    engine.kill().await;
    join_all(running.into_iter().map(broken_stream)).await;
    let gone = gateway.until(&engine, EngineState::Unhealthy).await;
    assert_eq!(gone.breaker(), BreakerState::Open);
    engine.start_again().await;
    let back = gateway.until(&engine, EngineState::Healthy).await;
    assert_eq!(back.breaker(), BreakerState::Closed);
    assert_eq!(gateway.chat(&chat(2)).await.status, StatusCode::OK);
    gateway.close().await;
}

#[tokio::test]
async fn an_engine_that_was_started_again_before_anybody_looked_is_soon_used_again() {
    let mut engine = Engine::simulated("tiny", &[]).await;
    // Nobody looks: only requests and the breaker's probe can tell.
    let gateway = Gateway::open(&[&engine]).await;
    let mut running = Vec::new();
    for _ in 0..5 {
        let mut answer = gateway.chat(&stream(4_000)).await;
        some(&mut answer, 2).await;
        running.push(answer);
    }
    engine.kill().await;
    engine.start_again().await;
    join_all(running.into_iter().map(broken_stream)).await;
    gateway.until(&engine, EngineState::BreakerOpen).await;
    let began = tokio::time::Instant::now();
    gateway.until(&engine, EngineState::Healthy).await;
    assert!(
        began.elapsed() < inference::Config::default().engine.breaker.open,
        "it waits for one second and not for sixty"
    );
    assert_eq!(gateway.chat(&chat(2)).await.status, StatusCode::OK);
    gateway.close().await;
}

/// Sends bursts until something holds.
async fn bursts<T>(gateway: &Gateway, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    until(what, async || {
        let answers = join_all((0..24).map(async |_| gateway.chat(&chat(2)).await)).await;
        assert!(answers.iter().all(|answer| answer.status == StatusCode::OK), "another engine answers");
        look().await
    })
    .await
}

fn comparing(config: &mut Config) {
    watchful(config);
    config.engine.probe.silence = NEVER;
    (config.engine.ejection.interval, config.engine.ejection.requests) = (5 * MOMENT, 5);
    (config.engine.ejection.time, config.engine.ejection.max_time) = (NEVER, NEVER);
    config.engine.retry.minimum = 100_000;
}

#[tokio::test]
async fn the_engine_that_does_worse_than_its_peers_is_ejected_and_never_more_than_the_share() {
    let mut engines = Vec::new();
    for _ in 0..3 {
        engines.push(Engine::simulated("tiny", &[]).await);
    }
    let gateway = Gateway::with(&[&engines[0], &engines[1], &engines[2]], comparing).await;
    engines[1].fail(faults(json!({"drain": true})));
    let ejected = bursts(&gateway, "an ejection", async || {
        gateway.find(&engines[1]).await.filter(|engine| engine.state() == EngineState::Ejected)
    })
    .await;
    assert!(ejected.state_reason.contains("of its requests failed"), "{ejected:?}");
    assert!(ejected.ejection_remaining.is_some());
    // Now another one does badly as well, but one of three is what may be out.
    engines[2].fail(faults(json!({"drain": true})));
    for _ in 0..6 {
        bursts(&gateway, "a burst", async || Some(())).await;
        tokio::time::sleep(MOMENT).await;
        let out =
            gateway.engines().await.iter().filter(|engine| engine.state() == EngineState::Ejected).count();
        assert_eq!(out, 1);
    }
    gateway.close().await;
}

#[tokio::test]
async fn the_slow_engine_among_quick_ones_is_ejected() {
    let mut engines = Vec::new();
    for _ in 0..3 {
        engines.push(Engine::simulated("tiny", &[]).await);
    }
    let gateway = Gateway::with(&[&engines[0], &engines[1], &engines[2]], comparing).await;
    engines[0].fail(faults(json!({"slow": 300.0})));
    let ejected = until("an ejection", async || {
        let answers = join_all((0..24).map(async |_| gateway.chat(&stream(1)).await)).await;
        join_all(answers.into_iter().map(|answer| answer.events())).await;
        gateway.find(&engines[0]).await.filter(|engine| engine.state() == EngineState::Ejected)
    })
    .await;
    assert!(ejected.state_reason.starts_with("its first tokens take"), "{ejected:?}");
    engines[0].go_on().await;
    gateway.close().await;
}

#[tokio::test]
async fn retries_end_with_their_budget() {
    let failing = Engine::simulated("tiny", &[]).await;
    let second = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::with(&[&failing, &second], |config| {
        config.engine.breaker.failures = 1_000;
        (config.engine.retry.share, config.engine.retry.minimum) = (0.0, 2);
        config.engine.retry.window = NEVER;
    })
    .await;
    failing.fail(faults(json!({"drain": true})));
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(gateway.chat(&chat(2)).await.status.as_u16());
    }
    assert_eq!(codes, [200, 200, 503, 503]);
    // What an engine did not even begin costs nothing.
    failing.fail(faults(json!({"in_band_error": {"after_events": 0, "status": 503}})));
    assert_eq!(gateway.chat(&chat(2)).await.status, StatusCode::OK);
    let records = gateway.close().await;
    let attempts: Vec<u32> = records.iter().map(|record| record.attempt).collect();
    assert_eq!(attempts, [2, 2, 1, 1, 2]);
}

#[tokio::test]
async fn an_engine_that_lists_a_model_and_does_not_know_it_is_left() {
    let list = json!({"object": "list", "data": [{"id": "tiny", "object": "model", "max_model_len": 4096}]});
    let unknown = json!({"error": {
        "message": "The model `tiny` does not exist.", "type": "NotFoundError", "param": "model", "code": 404,
    }});
    let routes = Router::new()
        .route("/v1/models", routing::get(move || std::future::ready(Json(list.clone()))))
        .route(
            "/v1/chat/completions",
            routing::post(move || std::future::ready((StatusCode::NOT_FOUND, Json(unknown.clone())))),
        );
    let other = Engine::recorded("tiny", routes).await;
    let second = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::open(&[&other, &second]).await;
    for body in [chat(2), chat(2)] {
        assert_eq!(gateway.chat(&body).await.status, StatusCode::OK);
    }
    let left = gateway.find(&other).await.unwrap();
    assert_eq!((left.state(), left.models.len()), (EngineState::Healthy, 0));
    let records = gateway.close().await;
    assert_eq!(records.iter().map(|record| record.attempt).collect::<Vec<_>>(), [2, 1], "it is asked once");
    let alone = Gateway::open(&[&other]).await;
    let refused = error(alone.chat(&chat(2)).await, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(refused["code"], "no_engine");
    alone.close().await;
}

#[tokio::test]
async fn gauges_that_are_missing_or_renamed_are_unknown_and_no_fault() {
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::with(&[&engine], |config| {
        watchful(config);
        config.engine.scrape_interval = MOMENT;
    })
    .await;
    let known = async || gateway.find(&engine).await?.gauges;
    let idle = until("gauges", known).await;
    assert_eq!((idle.requests_running, idle.requests_waiting), (Some(0.0), Some(0.0)));
    assert!(idle.kv_cache_usage.is_some_and(|usage| (0.0..=1.0).contains(&usage)), "{idle:?}");
    let mut running = gateway.chat(&stream(4_000)).await;
    some(&mut running, 2).await;
    until("a running request", async || known().await.filter(|gauges| gauges.requests_running == Some(1.0)))
        .await;
    for fault in ["drop", "rename"] {
        engine.fail(faults(json!({"metrics": fault})));
        until("gauges to be unknown", async || gateway.find(&engine).await?.gauges.is_none().then_some(()))
            .await;
        assert_eq!(gateway.find(&engine).await.unwrap().state(), EngineState::Healthy, "{fault}");
        engine.go_on().await;
        until("gauges", known).await;
    }
    drop(running);
    gateway.close().await;
}

#[tokio::test]
async fn another_model_stands_in_only_where_the_caller_may_use_it() {
    let engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::with(&[&engine], |config| {
        config.fallback = [(UNSERVED.to_owned(), "tiny".to_owned())].into();
    })
    .await;
    let answer = gateway.chat(&with(chat(2), "model", UNSERVED)).await;
    assert_eq!((answer.status, answer.header("x-tollgate-fallback-model")), (StatusCode::OK, "tiny"));
    assert_eq!(answer.json().await["model"], "tiny", "the answer says who made it");
    let streamed = gateway.chat(&with(stream(2), "model", UNSERVED)).await;
    assert_eq!(streamed.header("x-tollgate-fallback-model"), "tiny");
    streamed.events().await;
    let asked = gateway.chat(&chat(2)).await;
    assert_eq!(asked.header("x-tollgate-fallback-model"), "");
    let records = gateway.close().await;
    ledger::check_finished(&records, 3);
    assert!(records.iter().all(|record| record.model == "tiny" && record.model_id == records[2].model_id));

    let forbidden = Gateway::with(&[&engine], |config| {
        config.fallback = [(UNSERVED.to_owned(), "secret".to_owned())].into();
    })
    .await;
    let refused =
        error(forbidden.chat(&with(chat(2), "model", UNSERVED)).await, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(refused["code"], "no_engine");
    assert!(!refused["message"].as_str().unwrap().contains("secret"), "{refused}");
    forbidden.close().await;
}
