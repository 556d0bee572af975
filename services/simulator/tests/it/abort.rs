//! Clients that go away, and what the counters and metrics say of them afterwards.

use simulator::{Config, Faults};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Served, config, event, in_process, load, post, serve, stream};

/// Slow enough that an answer of thousands of tokens does not end by itself.
fn steady() -> Config {
    Config { time_scale: 1.0, decode_step_ms: Some(5.0), max_num_seqs: Some(1), ..config() }
}

async fn metric(served: &Served, line: &str) -> String {
    let page = served.exchange("GET /metrics HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n\r\n").await;
    let found =
        page.lines().find_map(|found| found.strip_prefix(line)).unwrap_or_else(|| panic!("no {line}"));
    found.trim().to_owned()
}

#[tokio::test]
async fn a_closed_connection_aborts_the_running_and_the_waiting_request() {
    let served = serve(steady()).await;
    let (mut running, mut waiting) = (served.connect().await, served.connect().await);
    running
        .write_all(post("/v1/chat/completions", &stream("w1", 4000).to_string()).as_bytes())
        .await
        .unwrap();
    served.engine.until(|counters| counters.running == 1 && counters.generation_tokens >= 3).await;
    waiting.write_all(post("/v1/chat/completions", &load("w1", 4000).to_string()).as_bytes()).await.unwrap();
    served.engine.until(|counters| counters.waiting == 1).await;

    drop(waiting);
    let counters = served.engine.until(|counters| counters.waiting == 0).await;
    assert_eq!((counters.running, counters.aborted), (1, 1));
    drop(running);
    let counters = served.engine.until(|counters| counters.running == 0).await;
    assert_eq!((counters.finished, counters.aborted), (0, 2));
    assert!(counters.generation_tokens >= 3);
}

#[tokio::test]
async fn closing_only_the_sending_half_aborts_too() {
    let served = serve(steady()).await;
    let mut client = served.connect().await;
    client.write_all(post("/v1/chat/completions", &stream("w1", 4000).to_string()).as_bytes()).await.unwrap();
    served.engine.until(|counters| counters.generation_tokens >= 1).await;
    client.shutdown().await.unwrap();
    assert_eq!(served.engine.until(|counters| counters.running == 0).await.aborted, 1);
}

#[tokio::test]
async fn metrics_count_what_was_made_but_no_finished_request() {
    let served = serve(steady()).await;
    let mut client = served.connect().await;
    client
        .write_all(post("/v1/chat/completions", &stream("w1 w2", 4000).to_string()).as_bytes())
        .await
        .unwrap();
    served.engine.until(|counters| counters.generation_tokens >= 2).await;
    drop(client);
    let made = served.engine.until(|counters| counters.running == 0).await.generation_tokens;
    let labels = "{engine=\"0\",model_name=\"tiny\"}";
    assert_eq!(metric(&served, &format!("vllm:generation_tokens_total{labels}")).await, format!("{made}.0"));
    assert_eq!(metric(&served, &format!("vllm:prompt_tokens_total{labels}")).await, "5.0");
    assert_eq!(metric(&served, &format!("vllm:time_to_first_token_seconds_count{labels}")).await, "1.0");
    assert_eq!(metric(&served, &format!("vllm:e2e_request_latency_seconds_count{labels}")).await, "0.0");
    let aborts = "vllm:request_success_total{engine=\"0\",finished_reason=\"abort\",model_name=\"tiny\"}";
    assert_eq!(metric(&served, aborts).await, "0.0");
}

#[tokio::test(start_paused = true)]
async fn dropping_a_body_leaves_at_once() {
    let process = in_process(steady());
    let mut body = process.post("/v1/chat/completions", &stream("w1", 4000)).await.into_body();
    event(&mut body).await.unwrap();
    assert_eq!(process.engine.counters().running, 1);
    drop(body);
    let counters = process.engine.until(|counters| counters.running == 0).await;
    assert_eq!((counters.aborted, counters.finished), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_read_to_its_end_is_no_abort() {
    let process = in_process(steady());
    let (status, _) = process.ask("/v1/chat/completions", &load("w1", 7)).await;
    assert_eq!(status, 200);
    let counters = process.engine.until(|counters| counters.finished == 1).await;
    assert_eq!((counters.aborted, counters.generation_tokens, counters.prompt_tokens), (0, 7, 4));
}

#[tokio::test]
async fn a_client_of_a_hung_engine_can_leave() {
    let served = serve(steady()).await;
    served.engine.set_faults(Faults { hang: true, ..Faults::default() });
    let mut client = served.connect().await;
    client.write_all(post("/v1/chat/completions", &stream("w1", 5).to_string()).as_bytes()).await.unwrap();
    let mut head = [0; 15];
    client.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK", "the headers leave although nothing is computed");
    served.engine.until(|counters| counters.waiting == 1).await;
    drop(client);
    served.engine.until(|counters| counters.waiting == 0).await;
}
