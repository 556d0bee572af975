//! A client that goes away, at each stage of its request: its place is free, its engine stops, its account is kept.

use crate::chat::{CHAT, chat, recorded, streamed};
use proto::inference::v1::{InferStreamRequest, Prompt, inference_service_client::InferenceServiceClient};
use serde_json::Value;
use tests::{
    apart::Apart,
    engine::Engine,
    http::Client,
    ledger::{self, Record},
    people, rpc,
    suite::{MODEL, Suite},
    until,
};

/// Tokens that would take longer than any test.
const ENDLESS: u64 = 4000;

/// One engine with one place, behind a suite that knows it.
async fn one_place(flags: &str) -> (Engine, Suite) {
    let engine = Engine::start(&format!("--max-num-seqs 1 {flags}")).await;
    let suite = Suite::start(&[
        ("TOLLGATE_ENGINES", &engine.url),
        ("TOLLGATE_INFERENCE__ENGINE__MAX_IN_FLIGHT", "1"),
    ])
    .await;
    (engine, suite)
}

/// Sends a request, waits until the engine holds it, and goes away.
async fn leave_once_running(client: &Client, engine: &Engine, body: &Value) {
    tokio::select! {
        answer = client.post(CHAT, body) => panic!("answered too soon: {}", answer.text()),
        () = engine.until_load((1, 0)) => {}
    }
}

/// The engine is idle, the place is free, and the ledger has the request that was left and the one that followed.
async fn left_alone(engine: &Engine, owner: &Client) -> Record {
    engine.until_load((0, 0)).await;
    let _ = owner.post(CHAT, &chat(1, 1)).await.ok();
    let mut records = ledger::at_least(owner, 2).await;
    records.sort_by(|one, other| one.usage_id.cmp(&other.usage_id));
    assert_eq!(records.iter().map(Record::end).collect::<Vec<_>>(), ["cancelled estimated", "finished"]);
    records.remove(0)
}

/// Reads so many events of a stream that would never end, and goes away.
async fn leave_a_stream(client: &Client, events: usize) {
    let mut stream = client.stream(CHAT, &streamed(5, ENDLESS)).await;
    for _ in 0..events {
        stream.next().await.unwrap();
    }
}

#[tokio::test]
async fn while_it_streams() {
    let (engine, suite) = one_place("").await;
    leave_a_stream(&suite.owner(), 5).await;
    let record = left_alone(&engine, &suite.owner()).await;
    let made = engine.metric("generation_tokens_total").await;
    let (prompt, told) = recorded(&record);
    // The role comes with the first token, so five events are four tokens or more; none that were not made.
    assert!(prompt > 0 && (4..made).contains(&told), "{told} of {made} tokens");
    assert!(record.stream);
}

#[tokio::test]
async fn while_it_streams_through_two_sockets() {
    let engine = Engine::start("--max-num-seqs 1").await;
    let apart = Apart::start(&[("TOLLGATE_ENGINES", &engine.url)]).await;
    people::register(&apart.owner(), MODEL).await;
    crate::chat::until_usable(&apart.owner()).await;
    let before = ledger::at_least(&apart.owner(), 1).await.len();
    leave_a_stream(&apart.owner(), 3).await;
    engine.until_load((0, 0)).await;
    let records = ledger::at_least(&apart.owner(), before + 1).await;
    let left: Vec<_> = records.iter().filter(|record| record.stream).map(Record::end).collect();
    assert_eq!(left, ["cancelled estimated"]);
}

#[tokio::test]
async fn while_it_streams_over_grpc() {
    let (engine, suite) = one_place("").await;
    let channel = rpc::channel(suite.address, &suite.first_run().api_key).await;
    let prompt = Prompt {
        model: MODEL.into(),
        text: "w1".into(),
        max_tokens: Some(ENDLESS as u32),
        ..Prompt::default()
    };
    let request = InferStreamRequest { prompt: Some(prompt), ..InferStreamRequest::default() };
    let mut stream = InferenceServiceClient::new(channel).infer_stream(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    drop(stream);
    left_alone(&engine, &suite.owner()).await;
}

#[tokio::test]
async fn while_its_prompt_is_read() {
    // Three thousand tokens at a fifth of ten thousand per second.
    let (engine, suite) = one_place("--time-scale 0.2").await;
    leave_once_running(&suite.owner(), &engine, &streamed(3000, 10)).await;
    let record = left_alone(&engine, &suite.owner()).await;
    assert_eq!(record.completion_tokens, 0);
    assert!(record.prompt_tokens > 1000, "a guess from its length: {}", record.prompt_tokens);
}

#[tokio::test]
async fn while_it_waits_for_a_whole_answer() {
    let (engine, suite) = one_place("").await;
    leave_once_running(&suite.owner(), &engine, &chat(5, ENDLESS)).await;
    let record = left_alone(&engine, &suite.owner()).await;
    assert!(!record.stream && record.prompt_tokens > 0);
}

#[tokio::test]
async fn while_it_waits_its_turn() {
    let (engine, suite) = one_place("").await;
    let owner = suite.owner();
    let mut running = owner.stream(CHAT, &streamed(5, ENDLESS)).await;
    running.next().await.unwrap();
    let queued = async |count: f64| {
        until("the queue's length", async || {
            (suite.metric("tollgate_queue_requests", "").await == count).then_some(())
        })
        .await;
    };
    tokio::select! {
        answer = owner.post(CHAT, &chat(7, 7)) => panic!("answered out of turn: {}", answer.text()),
        () = queued(1.0) => {}
    }
    queued(0.0).await;
    drop(running);
    left_alone(&engine, &owner).await;
    // The one that never had its turn is in no ledger and never reached the engine.
    assert_eq!(engine.metric("time_to_first_token_seconds_count").await, 2);
}
