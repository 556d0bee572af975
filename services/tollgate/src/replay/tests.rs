//! Replays against the simulator itself, which is an engine and so has no ledger to compare with.

use super::*;
use axum::{Json, Router, extract::Query, routing::get};
use clap::{Args as _, FromArgMatches};
use serde_json::json;
use shared::server::Tasks;
use simulator::{Config, Engine};
use std::{
    collections::HashMap,
    fmt::Write as _,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

fn args(line: &str) -> Args {
    let command = Args::augment_args(clap::Command::new("replay"));
    Args::from_arg_matches(&command.get_matches_from(line.split_whitespace())).unwrap()
}

/// An engine on a port of its own, until the guard is dropped.
async fn engine() -> (String, Engine, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let config = Config { time_scale: 0.0, max_model_len: 128, ..Config::default() };
    let (engine, driver) = Engine::new(config);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    Tasks::default().spawn(async move { driver.serve(listener, stopped).await.unwrap() });
    (url, engine, stop.drop_guard())
}

fn client(url: &str) -> Client {
    let (url, model) = (Some(url.to_owned()), Some("tollgate-sim".to_owned()));
    let given = credentials::Given { url, api_key: Some("k".into()), model };
    Client::new(given.complete("/nonexistent".as_ref()).unwrap(), &Secured::default().dialer().unwrap())
        .unwrap()
}

/// Forty requests, ten milliseconds apart, of which every fourth is longer than the engine takes.
fn trace(dir: &Path) -> String {
    let mut text = "TIMESTAMP,ContextTokens,GeneratedTokens\n".to_owned();
    for row in 0..40 {
        let context = if row % 4 == 0 { 500 } else { 20 };
        writeln!(text, "2023-11-16 18:00:00.{:03},{context},10", row * 10).unwrap();
    }
    let path = dir.join("trace.csv");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn every_request_is_sent_and_finished_requests_are_exact() {
    let (url, _engine, _alive) = engine().await;
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log.jsonl");
    let line = format!(
        "replay --trace {} --url {url} --api-key k --model tollgate-sim --speed 10 --hangup 0.3 --json --log {}",
        trace(dir.path()),
        log.display()
    );
    let args = args(&line);
    let mut out = Vec::new();
    super::replay(args, &mut out).await.unwrap();
    let report: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let field = |name: &str| report[name].as_u64().unwrap();

    assert_eq!((field("requests"), field("errors"), field("clipped")), (40, 0, 10));
    assert_eq!(field("finished") + field("hung_up"), 40);
    assert!(field("hung_up") > 0, "{report}");
    assert!(report["ledger_tokens"].is_null() && report["engine_tokens"].is_null());
    assert!(report["balance_errors"][0].as_str().unwrap().contains("404"), "{report}");
    assert!(report["e2e_ms"]["p99"].as_f64().unwrap() > 0.0);

    let lines = fs::read_to_string(log).unwrap();
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 40);
    let finished = lines.iter().filter(|line| line["finished"] == true);
    let tokens = |line: &serde_json::Value| {
        let (prompt, answer) =
            (line["prompt_tokens"].as_u64().unwrap(), line["completion_tokens"].as_u64().unwrap());
        let clipped = line["row"].as_u64().unwrap().is_multiple_of(4);
        assert_eq!((prompt, answer), (if clipped { 118 } else { 20 }, 10));
        prompt + answer
    };
    assert_eq!(finished.map(tokens).sum::<u64>(), field("exact_tokens"));
}

#[tokio::test]
async fn a_gateway_that_dies_is_counted_and_the_replay_goes_on() {
    let (url, engine, alive) = engine().await;
    let dir = tempfile::tempdir().unwrap();
    let client = client(&url);
    let limits = learn(&client, None).await.unwrap();
    assert_eq!((limits.overhead, limits.max_model_len), (3, 128));
    let rows = trace::read(trace(dir.path()).as_ref()).unwrap();
    let plan = Plan::new(&rows, 1.0, limits, plan::Lots { hang_up: 0.0, seed: 1 });

    let dies = async {
        engine.until(|counters| counters.finished > 10).await;
        drop(alive);
    };
    let (sent, ()) = tokio::join!(send::all(&client, &plan, send::Limit::default(), |_| Ok(())), dies);
    let sent = sent.unwrap();
    assert_eq!((sent.requests, sent.finished + sent.errors()), (40, 40));
    assert!(sent.finished > 0 && sent.errors() > 0, "{sent:?}");
    assert!(sent.faults.contains_key("connect"), "{sent:?}");
}

#[tokio::test]
async fn the_books_are_closed_when_the_last_record_has_come() {
    // Every look finds one record more, on two pages, and the engine adds tokens up to the third look.
    let looks = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&looks);
    let usage = move |Query(query): Query<HashMap<String, String>>| async move {
        if query.contains_key("page_token") {
            return Json(json!({"data": {"rows": [{"prompt_tokens": "5"}], "next_page_token": ""}}));
        }
        let looks = counting.fetch_add(1, Ordering::SeqCst);
        let row = json!({"requests": looks.to_string(), "finished": looks, "completion_tokens": looks * 10});
        Json(json!({"success": true, "data": {"rows": [row], "next_page_token": "+2"}}))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let engines = json!({"success": true, "data": {"engines": [{"url": url}]}});
    let scrapes = Arc::new(AtomicU64::new(0));
    let metrics = move || {
        let tokens = scrapes.fetch_add(1, Ordering::SeqCst).min(3) * 100;
        async move { format!("vllm:generation_tokens_total{{engine=\"0\"}} {tokens}.0\n") }
    };
    let router = Router::new()
        .route("/api/v1/usage", get(usage))
        .route("/api/v1/engines", get(|| async { Json(engines) }))
        .route("/metrics", get(metrics));
    Tasks::default().spawn(async move { axum::serve(listener, router).await.unwrap() });

    let client = client(&url);
    let opening = balance::ledger(&client).await;
    let books = Books::open(&client, opening, 1).await;
    let balance = books.close(&client, 3).await;
    let ledger = balance.ledger.unwrap();
    assert_eq!((ledger.requests, ledger.finished, ledger.tokens), (3, 3, 30));
    assert_eq!(balance.engine_tokens.unwrap(), 0, "both readings are of an engine at rest");
    assert_eq!(looks.load(Ordering::SeqCst), 5, "opening, probe, and three until it was complete");
}

#[tokio::test]
async fn a_first_request_that_fails_says_what_to_check() {
    let dir = tempfile::tempdir().unwrap();
    let line = format!("replay --trace {} --url http://127.0.0.1:1 --api-key k --model m", trace(dir.path()));
    let error = super::replay(args(&line), &mut Vec::new()).await.unwrap_err();
    assert!(error.to_string().contains("http://127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    for flags in ["--speed 0", "--hangup 1.5", "--duration -1"] {
        let line =
            format!("replay --trace /nonexistent --data-dir /nonexistent {}", flags.replace(" -", "=-"));
        let error = super::replay(args(&line), &mut Vec::new()).await.unwrap_err();
        let flag = flags.split(' ').next().unwrap();
        assert!(error.to_string().contains(flag), "{error}");
    }
}
