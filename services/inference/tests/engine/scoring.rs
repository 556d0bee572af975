//! `/v1/rerank`, `/v1/score`, `/tokenize` and `/detokenize`: what makes no text, and is metered all the same.

use crate::{answers::with, engine::Engine, gateway::Gateway, ledger, refusals::error};
use http::StatusCode;
use proto::monitoring::v1::{Outcome, UsageRecord};
use serde_json::{Value, json};

fn ranking() -> Value {
    json!({"query": "w1", "documents": ["w2 w3", "w1"]})
}

fn pair() -> Value {
    json!({"text_1": "w1", "text_2": ["w2 w3", "w1"]})
}

/// Finished and exact, with so many tokens read and none made.
fn check(records: &[UsageRecord], endpoint: &str, tokens: u64) {
    for record in records {
        assert_eq!((record.endpoint.as_str(), record.outcome()), (endpoint, Outcome::Finished), "{record:?}");
        let counted = (record.prompt_tokens, record.completion_tokens, record.estimated);
        assert_eq!(counted, (tokens, 0, false), "{record:?}");
    }
}

#[tokio::test]
async fn documents_are_ranked_and_counted_by_every_name_of_the_route() {
    let engine = Engine::embedding().await;
    let (before, gateway) = (engine.counts().await, Gateway::open(&[&engine]).await);
    for path in ["/v1/rerank", "/v2/rerank", "/rerank"] {
        let answer = gateway.post(path, &ranking()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        let ranked = answer.json().await;
        let order: Vec<&Value> =
            ranked["results"].as_array().unwrap().iter().map(|one| &one["index"]).collect();
        assert_eq!(order, [1, 0], "{ranked}");
        assert_eq!(ranked["usage"]["total_tokens"], 4);
    }
    let records = gateway.close().await;
    ledger::check(&records, 3);
    check(&records, "rerank", 4);
    assert_eq!(ledger::counted(&engine, before, &records).await, (12, 0));
}

#[tokio::test]
async fn texts_are_scored_and_counted() {
    let engine = Engine::embedding().await;
    let gateway = Gateway::open(&[&engine]).await;
    for path in ["/v1/score", "/score"] {
        let scored = gateway.post(path, &pair()).await.json().await;
        assert!(scored["data"][1]["score"].as_f64().unwrap() > scored["data"][0]["score"].as_f64().unwrap());
    }
    check(&gateway.close().await, "score", 4);
}

#[tokio::test]
async fn what_is_known_is_not_computed_again() {
    let engine = Engine::embedding().await;
    let gateway = Gateway::with(&[&engine], |config| config.cache.enabled = true).await;
    let first = gateway.post("/v1/rerank", &ranking()).await.json().await;
    let answer = gateway.post("/v1/rerank", &ranking()).await;
    assert_eq!(answer.header("x-tollgate-cache"), "hit");
    assert_eq!(answer.json().await, first);
    let records = gateway.close().await;
    check(&records[..1], "rerank", 4);
    assert_eq!((records[1].cached, records[1].saved_prompt_tokens, records[1].prompt_tokens), (true, 4, 0));
}

#[tokio::test]
async fn what_is_wrong_is_said_by_field() {
    let engine = Engine::embedding().await;
    let gateway = Gateway::open(&[&engine]).await;
    for (path, body, param) in [
        ("/v1/rerank", json!({"query": "w1"}), json!("documents")),
        ("/v1/rerank", json!({"documents": ["w1"]}), json!("body.query")),
        ("/v1/rerank", json!({"query": "w1", "documents": []}), Value::Null),
        ("/v1/rerank", with(ranking(), "top_n", -1), json!("body.top_n")),
        ("/v1/score", json!({"text_1": "w1"}), json!("text_2")),
        ("/v1/score", json!({"text_2": "w1"}), json!("body.queries")),
        ("/tokenize", json!({}), json!("prompt")),
        ("/detokenize", json!({}), json!("tokens")),
        ("/detokenize", json!({"tokens": "w1"}), json!("body.tokens")),
    ] {
        let refused = error(gateway.post(path, &body).await, StatusCode::BAD_REQUEST).await;
        assert_eq!(refused["param"], param, "{path} {body}: {refused}");
    }
    for (path, body) in
        [("/v1/rerank", ranking()), ("/score", pair()), ("/tokenize", json!({"prompt": "w1"}))]
    {
        let refused = gateway.post(path, &with(body, "model", "nope")).await;
        assert_eq!(error(refused, StatusCode::NOT_FOUND).await["code"], "model_not_found");
    }
    let records = gateway.close().await;
    assert!(
        records.iter().all(|record| record.prompt_tokens + record.completion_tokens == 0),
        "{records:#?}"
    );
}

#[tokio::test]
async fn tokens_are_cut_and_put_together_for_nothing() {
    let engine = Engine::any().await;
    let gateway = Gateway::open(&[&engine]).await;
    for path in ["/tokenize", "/v1/tokenize"] {
        let cut = gateway.post(path, &json!({"prompt": "w1 w2"})).await.json().await;
        assert_eq!(cut["tokens"], json!([9, 10]));
    }
    let chat = json!({"messages": [{"role": "user", "content": "w1 w2 w3"}]});
    assert_eq!(gateway.post("/tokenize", &chat).await.json().await["count"], 6);
    check(&gateway.records_soon(3).await, "tokenize", 0);
    for path in ["/detokenize", "/v1/detokenize"] {
        let text = gateway.post(path, &json!({"tokens": [9, 10]})).await.json().await;
        assert_eq!(text["prompt"], "w1 w2");
    }
    check(&gateway.close().await[3..], "detokenize", 0);
}

#[tokio::test]
async fn an_engine_that_is_gone_costs_nothing_here() {
    let mut engine = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::open(&[&engine]).await;
    engine.kill().await;
    error(gateway.post("/tokenize", &json!({"prompt": "w1 w2"})).await, StatusCode::SERVICE_UNAVAILABLE)
        .await;
    let records = gateway.close().await;
    assert_eq!(
        (records[0].outcome(), records[0].prompt_tokens, records[0].estimated),
        (Outcome::Failed, 0, false)
    );
}
