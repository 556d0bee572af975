//! What is refused, by whom, and that the words are those of whoever knows best.

use crate::{
    answers::{chat, stream, with},
    client::Answer,
    engine::Engine,
    gateway::{Gateway, UNSERVED},
};
use http::StatusCode;
use proto::monitoring::v1::{Outcome, UsageRecord};
use serde_json::{Value, json};

/// An error in OpenAI's shape, with all four fields and no other.
pub(crate) async fn error(answer: Answer, status: StatusCode) -> Value {
    assert_eq!((answer.status, answer.header("content-type")), (status, "application/json"));
    let body = answer.json().await;
    let error = body["error"].as_object().unwrap_or_else(|| panic!("{body}"));
    let mut fields: Vec<&str> = error.keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(
        (body.as_object().unwrap().len(), fields),
        (1, vec!["code", "message", "param", "type"]),
        "{body}"
    );
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    assert!(error["type"].is_string() && error["code"].is_string(), "{body}");
    assert!(error["param"].is_string() || error["param"].is_null(), "{body}");
    body["error"].clone()
}

/// What was refused before the engine did anything costs nothing.
fn check_free(records: &[UsageRecord], requests: usize) {
    assert_eq!(records.len(), requests, "{records:#?}");
    for record in records {
        assert_eq!((record.outcome(), record.estimated), (Outcome::Failed, false), "{record:?}");
        assert_eq!((record.prompt_tokens, record.completion_tokens), (0, 0), "{record:?}");
    }
}

#[tokio::test]
async fn what_the_engine_refuses_is_refused_in_its_words() {
    let engine = Engine::any().await;
    let gateway = Gateway::open(&[&engine]).await;
    let long = json!([{"role": "user", "content": "w1 ".repeat(6_000)}]);
    let bodies = [
        with(chat(4), "messages", long.clone()),
        with(stream(4), "messages", long),
        with(chat(4), "temperature", -1),
        with(stream(4), "top_p", 2),
        with(chat(4), "messages", json!([])),
        with(chat(4), "n", 0),
        with(chat(0), "x", 0),
    ];
    for body in &bodies {
        let direct = engine.post("/v1/chat/completions", body).await;
        assert_eq!(direct.status, StatusCode::BAD_REQUEST, "{body}");
        let direct = direct.json().await["error"].clone();
        let through = error(gateway.chat(body).await, StatusCode::BAD_REQUEST).await;
        assert_eq!((&through["message"], &through["param"]), (&direct["message"], &direct["param"]));
    }
    let too_long = error(gateway.chat(&bodies[0]).await, StatusCode::BAD_REQUEST).await;
    assert!(too_long["message"].as_str().unwrap().contains("maximum context length"), "{too_long}");
    check_free(&gateway.close().await, bodies.len() + 1);
}

#[tokio::test]
async fn an_unknown_model_is_not_found_and_goes_nowhere() {
    let engine = Engine::any().await;
    let gateway = Gateway::open(&[&engine]).await;
    for path in ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"] {
        for stream in [false, true] {
            let body =
                json!({"model": "nope", "messages": [], "prompt": "w1", "input": "w1", "stream": stream});
            let refused = error(gateway.post(path, &body).await, StatusCode::NOT_FOUND).await;
            assert_eq!((&refused["param"], &refused["code"]), (&json!("model"), &json!("model_not_found")));
        }
    }
    assert!(gateway.close().await.is_empty());
}

#[tokio::test]
async fn a_model_that_no_engine_serves_is_unavailable() {
    let engine = Engine::any().await;
    let gateway = Gateway::open(&[&engine]).await;
    let answer = gateway.chat(&with(chat(4), "model", UNSERVED)).await;
    assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
    let refused = error(answer, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(refused["code"], "no_engine");
    assert!(gateway.close().await.is_empty());
}

#[tokio::test]
async fn a_generation_engine_has_no_embeddings() {
    let engine = Engine::any().await;
    let gateway = Gateway::open(&[&engine]).await;
    let pair = json!({"input": "w1", "query": "w1", "documents": ["w2"], "text_1": "w1", "text_2": "w2"});
    for path in ["/v1/embeddings", "/v1/rerank", "/v1/score"] {
        let refused = error(gateway.post(path, &pair).await, StatusCode::NOT_FOUND).await;
        assert!(refused["message"].as_str().unwrap().contains("does not offer this route"), "{refused}");
        assert_eq!((&refused["param"], &refused["code"]), (&json!("model"), &json!("route_not_served")));
    }
    check_free(&gateway.close().await, 3);
}

#[tokio::test]
async fn routes_that_only_the_engine_has_are_not_reached() {
    let engine = Engine::any().await;
    let gateway = Gateway::open(&[&engine]).await;
    for path in [
        "/pooling",
        "/invocations",
        "/v1/messages/render",
        "/v1/responses/resp_1/input_items",
        "/v1/chat/completions/batch",
        "/v1/nothing",
    ] {
        error(gateway.post(path, &chat(1)).await, StatusCode::NOT_FOUND).await;
    }
    let wrong = gateway.send(crate::client::get("/v1/chat/completions")).await;
    error(wrong, StatusCode::METHOD_NOT_ALLOWED).await;
    assert!(gateway.close().await.is_empty());
}

#[tokio::test]
async fn an_engine_with_a_key_is_given_it_and_the_callers_is_not() {
    let engine = Engine::simulated("tiny", &["--api-key", "the-engines-own"]).await;
    let gateway = Gateway::with(&[&engine], |config| {
        config.engine_key = serde_json::from_value(json!({"value": "the-engines-own"})).unwrap();
    })
    .await;
    assert_eq!(gateway.chat(&chat(2)).await.status, StatusCode::OK);
    gateway.close().await;
    let without = Gateway::open(&[&engine]).await;
    let refused = error(without.chat(&chat(2)).await, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(
        !refused["message"].as_str().unwrap().contains("key"),
        "our set-up is nobody's business: {refused}"
    );
}
