//! The switches for misbehaviour, as a test on the other side of HTTP uses them.

use http::StatusCode;
use serde_json::{Value, json};
use simulator::{Config, Faults, Reset};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{config, event, in_process, load, post, serve, stream, text};

#[tokio::test]
async fn faults_are_set_over_http_and_only_where_allowed() {
    let process = in_process(config());
    let (status, state) = process.ask("/simulator/fault", &json!({"unhealthy": true, "slow": 2.5})).await;
    assert_eq!((status, &state["slow"], &state["unhealthy"]), (StatusCode::OK, &json!(2.5), &json!(true)));
    assert_eq!(process.get("/health").await.0, 503);
    process.ask("/simulator/fault", &json!({})).await;
    assert_eq!(process.get("/health").await.0, 200);
    let (status, answer) = process.ask("/simulator/fault", &json!({"hung": true})).await;
    assert_eq!(status, 400);
    assert!(answer["detail"].as_str().unwrap().contains("unknown field `hung`"));

    let closed = in_process(Config { faults: false, ..config() });
    assert_eq!(closed.ask("/simulator/fault", &json!({"hang": true})).await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn a_hung_engine_stops_in_mid_stream_and_goes_on_later() {
    let process = in_process(Config { time_scale: 1.0, ..config() });
    let mut body = process.post("/v1/chat/completions", &stream("w1", 5)).await.into_body();
    event(&mut body).await.unwrap();
    event(&mut body).await.unwrap();
    process.ask("/simulator/fault", &json!({"hang": true})).await;
    assert_eq!(process.get("/health").await.0, 200);
    let patience = std::time::Duration::from_secs(3600);
    let mut events = 0;
    while tokio::time::timeout(patience, event(&mut body)).await.is_ok() {
        events += 1;
    }
    assert!(events <= 1, "at most the step under way is still delivered");
    process.ask("/simulator/fault", &json!({})).await;
    assert!(text(body).await.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn a_draining_engine_refuses_new_requests_before_their_headers() {
    let process = in_process(config());
    process.ask("/simulator/fault", &json!({"drain": true})).await;
    for body in [load("w1", 1), stream("w1", 1)] {
        let (status, answer) = process.ask("/v1/chat/completions", &body).await;
        assert_eq!(status, 500);
        assert_eq!(answer["error"]["message"], "cannot schedule new futures after shutdown");
    }
    assert_eq!(process.get("/health").await.0, 200);
}

#[tokio::test]
async fn an_error_after_some_events_ends_a_stream_under_status_200() {
    let process = in_process(config());
    process
        .ask("/simulator/fault", &json!({"in_band_error": {"after_events": 2, "status": 503, "times": 1}}))
        .await;
    let response = process.post("/v1/chat/completions", &stream("w1", 9)).await;
    assert_eq!(response.status(), 200);
    let told = text(response.into_body()).await;
    let events: Vec<&str> = told.split_terminator("\n\n").collect();
    assert_eq!(events.len(), 4);
    assert!(
        events[2].starts_with(
            "data: {\"error\": {\"message\": \"The engine has reached its prefill token backlog"
        )
    );
    assert_eq!(process.engine.until(|counters| counters.running == 0).await.aborted, 1);
    assert_eq!(process.ask("/v1/chat/completions", &load("w1", 1)).await.0, 200, "it happened once");

    process.ask("/simulator/fault", &json!({"in_band_error": {}})).await;
    assert_eq!(process.ask("/v1/chat/completions", &load("w1", 1)).await.0, 500);
}

#[tokio::test]
async fn a_reset_comes_after_the_events_that_were_sent() {
    let served = serve(config()).await;
    for (after_events, body) in [(3, stream("w1", 50)), (0, stream("w1", 50)), (0, load("w1", 50))] {
        served
            .engine
            .set_faults(Faults { reset: Some(Reset { after_events, times: None }), ..Faults::default() });
        let mut client = served.connect().await;
        client.write_all(post("/v1/chat/completions", &body.to_string()).as_bytes()).await.unwrap();
        let (mut told, mut buffer) = (String::new(), [0; 4096]);
        let error = loop {
            match client.read(&mut buffer).await {
                Ok(0) => panic!("a clean end"),
                Ok(many) => told.push_str(std::str::from_utf8(&buffer[..many]).unwrap()),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(told.matches("data: ").count(), after_events as usize);
    }
}

#[tokio::test]
async fn metrics_can_vanish_or_change_their_names() {
    let process = in_process(config());
    process.ask("/simulator/fault", &json!({"metrics": "rename"})).await;
    let (_, _, page) = process.get("/metrics").await;
    assert!(page.contains("\nvllm_num_requests_running{") && !page.contains("vllm:"));
    process.ask("/simulator/fault", &json!({"metrics": "drop"})).await;
    assert_eq!(process.get("/metrics").await.2, "");
    let state: Value = process.ask("/simulator/fault", &json!({})).await.1;
    assert_eq!(state["metrics"], Value::Null);
}
