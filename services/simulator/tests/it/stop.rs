//! How an engine goes: at once, or after the requests it has.

use simulator::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Served, config, load, post, serve, stream};

fn steady(shutdown_timeout: u64) -> Config {
    Config { time_scale: 1.0, decode_step_ms: Some(5.0), shutdown_timeout, ..config() }
}

async fn under_way(served: &Served, body: &serde_json::Value) -> TcpStream {
    let mut client = served.connect().await;
    client.write_all(post("/v1/chat/completions", &body.to_string()).as_bytes()).await.unwrap();
    client
}

async fn rest(mut client: TcpStream) -> String {
    let mut told = String::new();
    client.read_to_string(&mut told).await.unwrap();
    told
}

#[tokio::test]
async fn without_a_timeout_requests_are_cut_and_told_so() {
    let mut served = serve(steady(0)).await;
    let (streamed, whole) =
        (under_way(&served, &stream("w1", 4000)).await, under_way(&served, &load("w1", 4000)).await);
    served.engine.until(|counters| counters.running == 2).await;
    served.stop.cancel();
    let (streamed, whole) = (rest(streamed).await, rest(whole).await);
    assert!(streamed.starts_with("HTTP/1.1 200 OK"));
    let error = "data: {\"error\": {\"message\": \"EngineCore encountered an issue. See stack trace (above) for the root \
                 cause.\", \"type\": \"InternalServerError\", \"param\": null, \"code\": 500}}";
    assert!(streamed.contains(error) && streamed.ends_with("data: [DONE]\n\n\r\n0\r\n\r\n"), "{streamed}");
    assert!(whole.starts_with("HTTP/1.1 500 "), "{whole}");
    served.tasks.join_next().await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(served.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn with_a_timeout_requests_finish_and_new_ones_are_refused() {
    let mut served = serve(steady(60)).await;
    let old = under_way(&served, &stream("w1", 100)).await;
    served.engine.until(|counters| counters.running == 1).await;
    served.stop.cancel();
    // The stop is noticed by a task of its own; the first refusal shows that it was.
    let refused = loop {
        let answer = served.post("/v1/chat/completions", &load("w1", 1).to_string()).await;
        if !answer.starts_with("HTTP/1.1 200") {
            break answer;
        }
    };
    assert!(
        refused.starts_with("HTTP/1.1 500") && refused.contains("cannot schedule new futures after shutdown")
    );
    let health = served.exchange("GET /health HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n\r\n").await;
    assert!(health.starts_with("HTTP/1.1 200"));
    let told = rest(old).await;
    assert!(told.contains("\"finish_reason\":\"length\"") && !told.contains("\"error\""));
    served.tasks.join_next().await.unwrap().unwrap().unwrap();
}
