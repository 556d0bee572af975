//! What is measured, from outside: pages that Prometheus accepts, paths that existing clients know, the figures of engines.

use crate::chat::{CHAT, chat, until_usable};
use serde_json::{Value, json};
use std::{
    io::Write,
    process::{Command, Stdio},
};
use tests::{
    apart::{Apart, Role},
    http::Client,
    suite::{MODEL, Suite},
    until,
};

/// Has `promtool` read a page. OpenTelemetry's name for the size of a pool is the only one that it finds unusual.
fn checked_by_promtool(service: &str, page: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.stdout(Stdio::piped()).spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let done = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    let faults = said.lines().filter(|line| !line.starts_with("db_client_connection_count "));
    assert_eq!(faults.collect::<Vec<_>>(), [""; 0], "{service}: {:?}", done.status);
}

#[tokio::test]
async fn prometheus_accepts_the_pages_of_every_service() {
    let apart = Apart::start(&[]).await;
    for (service, role) in [
        ("permissions", Role::Permissions),
        ("monitoring", Role::Monitoring),
        ("inference", Role::Inference),
        ("edge", Role::Edge),
    ] {
        let admin = Client::new(apart.admin(role), None);
        let has = |page: &str, name: &str| page.lines().any(|line| line.starts_with(name));
        let page = until("a page with figures of the machine", async || {
            let page = admin.get("/metrics").await.ok().text();
            has(&page, "tollgate_system_memory_ratio").then_some(page)
        })
        .await;
        checked_by_promtool(service, &page);
        let has_database = role != Role::Edge;
        for name in
            ["db_client_connection_count{", "db_client_connection_max{", "tollgate_db_statement_duration"]
        {
            assert_eq!(has(&page, name), has_database, "{service}: {name}");
        }
    }
}

#[tokio::test]
async fn paths_that_existing_clients_know_answer() {
    let suite = Suite::start(&[]).await;
    let owner = suite.owner();
    until_usable(&owner).await;
    drop(owner.post(CHAT, &chat(2, 4)).await.ok());
    let found = async |path: &str| owner.get(&format!("/api/v1/monitoring/{path}")).await.ok().data();
    let known = json!({ "name": "people_on_call", "gauge": 2.0 });
    drop(owner.post("/api/v1/monitoring/metrics/api/record", &known).await.ok());
    until("a first report", async || {
        let [system, llm, api] = [
            found("metrics/system").await["readings"].clone(),
            found("metrics/llm").await["models"].clone(),
            found("metrics/api").await["calls"].clone(),
        ];
        [system, llm, api]
            .iter()
            .all(|rows| rows.as_array().is_some_and(|rows| !rows.is_empty()))
            .then_some(())
    })
    .await;
    let scalability = found("scalability/status").await;
    assert!(scalability["score"].as_u64().is_some_and(|score| score <= 100), "{scalability}");
    let sessions = &scalability["active_sessions"];
    assert_eq!(
        sessions.as_str().or(Some("")).and_then(|text| text.parse().ok()).or(sessions.as_u64()),
        Some(1)
    );
    let status = found("status/concurrency").await;
    assert_eq!(status["engines"].as_array().unwrap().len(), 1, "{status}");
    assert!(status["limit"].as_f64().is_some_and(|limit| limit > 0.0), "{status}");
    assert!(found("alerts/recent").await.is_object());
    assert!(found("health").await["status"].as_str().is_some_and(|word| word.starts_with("HEALTH_STATUS_")));
    let dependencies = found("system/health").await["dependencies"].take();
    assert!(dependencies.as_array().is_some_and(|all| all.len() > 3), "{dependencies}");
    let nobody = suite.nobody().get("/api/v1/monitoring/metrics/system").await;
    assert_eq!(nobody.status, 401);
}

#[tokio::test]
async fn an_engine_is_shown_by_its_own_figures() {
    let suite = Suite::start(&[]).await;
    let owner = suite.owner();
    until_usable(&owner).await;
    let query = |name: &str, over: &str| {
        json!({ "query": {
            "name": name, "over_time": over, "group_by": ["engine", "model"], "window": "600s",
        } })
    };
    let ask = async |name: &str, over: &str| -> Value {
        let answer = owner.post("/api/v1/metrics:query", &query(name, over)).await.ok().data();
        answer["series"][0].clone()
    };
    // Gateways read a page before, and know from then on what rises.
    until("a first page", async || {
        let running = ask("vllm:num_requests_running", "OVER_TIME_LAST").await;
        (!running.is_null()).then_some(())
    })
    .await;
    drop(owner.post(CHAT, &chat(2, 7)).await.ok());
    let risen = until("tokens that the engine made", async || {
        let tokens = ask("vllm:generation_tokens_total", "OVER_TIME_INCREASE").await;
        (tokens["points"][0]["value"].as_f64()? >= 7.0).then_some(tokens)
    })
    .await;
    assert_eq!(risen["labels"]["model"], MODEL);
    assert!(risen["labels"]["engine"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{risen}");
    for name in ["vllm:time_to_first_token_seconds", "vllm:e2e_request_latency_seconds"] {
        let observed = ask(name, "OVER_TIME_INCREASE").await;
        assert!(observed["points"][0]["value"].as_f64().unwrap() >= 1.0, "{name}: {observed}");
    }
}
