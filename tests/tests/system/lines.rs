//! The line that is written for every request, as the log of the real program has it.

use crate::chat::{CHAT, chat, named, streamed};
use serde_json::{Value, json};
use tests::{engine::Engine, suite::Suite, until};

/// The lines about requests that the gateway has written under an id.
fn lines(suite: &Suite, id: &str) -> Vec<Value> {
    let log = suite.process.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line["target"] == "requests" && line["request_id"] == id)
        .filter(|line| line["span"]["service"] == "inference")
        .collect()
}

/// The one line about a request, once it is written.
async fn line(suite: &Suite, id: &str) -> Value {
    let written = async || lines(suite, id).pop();
    let line = until("the line of a request", written).await;
    assert_eq!(lines(suite, id).len(), 1, "{line}");
    line
}

#[tokio::test]
async fn a_line_says_whose_time_it_was_and_is_loud_where_it_was_ours() {
    let engine = Engine::start("--max-num-seqs 1").await;
    let suite = Suite::start(&[
        ("TOLLGATE_ENGINES", &engine.url),
        ("TOLLGATE_TELEMETRY__LOG", "info,requests=debug"),
        ("TOLLGATE_TELEMETRY__FORMAT", "json"),
        ("TOLLGATE_INFERENCE__ENGINE__MAX_IN_FLIGHT", "1"),
        ("TOLLGATE_INFERENCE__QUEUE__PROMISES__DEFAULT_FIRST_TOKEN", "1h"),
    ])
    .await;
    let (owner, first) = (suite.owner(), suite.first_run());
    crate::chat::until_usable(&owner).await;
    // An engine takes its time for so many tokens, and that is nobody's fault.
    let answer = owner.send(named(&owner, "the-model-s", &chat(5, 400))).await.ok();
    assert!(answer.headers["x-process-memory"].to_str().unwrap().parse::<u64>().unwrap() > 0);
    let told = line(&suite, "the-model-s").await;
    assert_eq!(
        (&told["level"], &told["route"], &told["status"]),
        (&json!("DEBUG"), &json!(CHAT), &json!("200"))
    );
    assert_eq!((&told["user"], &told["model"]), (&json!(first.owner_id), &json!(first.model)));
    let [latency, own] = ["latency", "own"].map(|field| told[field].as_f64().unwrap());
    assert!(latency > 1.0 && own < 1.0, "{told}");

    // One that waits here for more than a second is slow, however quick the engine is then.
    let mut running = owner.stream(CHAT, &streamed(5, 4_000)).await;
    running.next().await.unwrap();
    let waits = owner.send(named(&owner, "ours", &chat(5, 1)));
    let long = async {
        until("a second in the queue", async || {
            let models = owner.get("/api/v1/queue/models").await.data();
            let mut rows = models["queues"].as_array()?.iter();
            let waited =
                rows.find_map(|row| row["oldest_wait"].as_str()?.trim_end_matches('s').parse::<f64>().ok())?;
            (waited > 1.1).then_some(())
        })
        .await;
        drop(running);
    };
    let (answer, ()) = tokio::join!(waits, long);
    let _ = answer.ok();
    let told = line(&suite, "ours").await;
    assert_eq!((&told["level"], &told["message"]), (&json!("WARN"), &json!("a request was slow")));
    assert!(told["own"].as_f64().unwrap() > 1.0, "{told}");
    assert!(
        !suite.process.log().contains(&first.owner_email) || first.owner_email.is_empty(),
        "no address is in the log"
    );
}
