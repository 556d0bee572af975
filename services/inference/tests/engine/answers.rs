//! What a caller gets when all is well, whole and streamed, and that the ledger says of it what the engine says.

use crate::{client, client::Answer, engine::Engine, gateway::Gateway, ledger, peers::ALIAS};
use http::StatusCode;
use serde_json::{Value, json};

/// A chat of one user message that makes exactly so many tokens, always the same.
pub(crate) fn chat(max_tokens: u32) -> Value {
    json!({
        "messages": [{"role": "user", "content": "w1 w2 w3"}],
        "max_tokens": max_tokens, "ignore_eos": true, "temperature": 0,
    })
}

/// The same as a stream.
pub(crate) fn stream(max_tokens: u32) -> Value {
    with(chat(max_tokens), "stream", true)
}

/// Several answers at once, which greedy sampling does not have.
fn many(body: Value, choices: u32) -> Value {
    with(with(body, "n", choices), "temperature", 0.7)
}

/// A body with one more field.
pub(crate) fn with(mut body: Value, name: &str, value: impl Into<Value>) -> Value {
    body[name] = value.into();
    body
}

fn with_usage(body: Value) -> Value {
    with(body, "stream_options", json!({"include_usage": true}))
}

/// Checks that a stream is whole: one role and one finish per choice, one id, one `[DONE]`, and that at the end.
/// Returns its chunks.
pub(crate) async fn whole_stream(answer: Answer, choices: usize) -> Vec<Value> {
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.header("content-type").starts_with("text/event-stream"));
    check_whole(answer.events().await, choices)
}

/// The same for events that were read already.
pub(crate) fn check_whole(mut events: Vec<String>, choices: usize) -> Vec<Value> {
    assert_eq!(events.pop().as_deref(), Some("[DONE]"), "{events:?}");
    let chunks: Vec<Value> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    for index in 0..choices {
        let own: Vec<&Value> = chunks
            .iter()
            .flat_map(|chunk| chunk["choices"].as_array().unwrap())
            .filter(|c| c["index"] == index)
            .collect();
        assert_eq!(
            own.iter().filter(|choice| choice["delta"]["role"] == "assistant").count(),
            1,
            "{chunks:#?}"
        );
        assert_eq!(own.iter().filter(|choice| !choice["finish_reason"].is_null()).count(), 1, "{chunks:#?}");
        assert_eq!(own[0]["delta"]["role"], "assistant");
    }
    assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]), "{chunks:#?}");
    chunks
}

/// The text of one choice.
pub(crate) fn text(chunks: &[Value]) -> String {
    let choices = chunks.iter().filter_map(|chunk| chunk["choices"].get(0));
    choices.filter_map(|choice| choice["delta"]["content"].as_str()).collect()
}

async fn whole(answer: Answer) -> Value {
    assert_eq!(answer.status, StatusCode::OK);
    answer.json().await
}

#[tokio::test]
async fn a_chat_and_its_stream_say_the_same() {
    let engine = Engine::any().await;
    let (before, gateway) = (engine.counts().await, Gateway::open(&[&engine]).await);
    let answer = gateway.chat(&chat(20)).await;
    let usage_id = answer.header("x-tollgate-usage-id").to_owned();
    let plain = whole(answer).await;
    assert_eq!(plain["id"], format!("chatcmpl-{usage_id}"), "the engine knows the request by its record");
    assert_eq!(plain["usage"]["completion_tokens"], 20);
    let streamed = whole_stream(gateway.chat(&stream(20)).await, 1).await;
    assert_eq!(text(&streamed), plain["choices"][0]["message"]["content"].as_str().unwrap());
    let records = gateway.close().await;
    ledger::check_finished(&records, 2);
    assert_eq!(records[0].usage_id, usage_id);
    assert_eq!(records[0].prompt_tokens, plain["usage"]["prompt_tokens"]);
    assert_eq!(records.iter().map(|record| record.stream).collect::<Vec<_>>(), [false, true]);
    assert_eq!(ledger::counted(&engine, before, &records).await, ledger::tokens(&records));
}

#[tokio::test]
async fn usage_that_was_not_asked_for_is_not_sent_and_still_recorded() {
    let engine = Engine::any().await;
    let (before, gateway) = (engine.counts().await, Gateway::open(&[&engine]).await);
    let declined = with(stream(9), "stream_options", json!({"include_usage": false}));
    for body in [stream(9), declined] {
        let chunks = whole_stream(gateway.chat(&body).await, 1).await;
        assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()), "{chunks:#?}");
        assert!(chunks.iter().all(|chunk| chunk["choices"] != json!([])), "{chunks:#?}");
    }
    let records = gateway.close().await;
    ledger::check_finished(&records, 2);
    assert!(records.iter().all(|record| record.completion_tokens == 9));
    assert_eq!(ledger::counted(&engine, before, &records).await, ledger::tokens(&records));
}

#[tokio::test]
async fn usage_that_was_asked_for_comes_last() {
    let engine = Engine::any().await;
    let gateway = Gateway::open(&[&engine]).await;
    let mut chunks = whole_stream(gateway.chat(&with_usage(stream(9))).await, 1).await;
    let last = chunks.pop().unwrap();
    assert_eq!((&last["choices"], &last["usage"]["completion_tokens"]), (&json!([]), &json!(9)));
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()), "{chunks:#?}");
    let records = gateway.close().await;
    ledger::check_finished(&records, 1);
    assert_eq!(last["usage"]["prompt_tokens"], records[0].prompt_tokens);
}

#[tokio::test]
async fn usage_in_every_chunk_is_passed_on_and_counted_once() {
    let engine = Engine::any().await;
    let gateway = Gateway::open(&[&engine]).await;
    let options = json!({"include_usage": true, "continuous_usage_stats": true});
    let chunks = whole_stream(gateway.chat(&with(stream(9), "stream_options", options)).await, 1).await;
    assert!(chunks.iter().all(|chunk| chunk["usage"]["prompt_tokens"].is_u64()), "{chunks:#?}");
    let records = gateway.close().await;
    ledger::check_finished(&records, 1);
    assert_eq!(records[0].completion_tokens, 9);
}

#[tokio::test]
async fn two_choices_are_streamed_together_and_both_counted() {
    let engine = Engine::any().await;
    let (before, gateway) = (engine.counts().await, Gateway::open(&[&engine]).await);
    let chunks = whole_stream(gateway.chat(&many(with_usage(stream(11)), 2)).await, 2).await;
    assert_eq!(chunks.last().unwrap()["usage"]["completion_tokens"], 22);
    let answer = whole(gateway.chat(&many(chat(11), 2)).await).await;
    assert_eq!(answer["choices"].as_array().unwrap().len(), 2);
    let records = gateway.close().await;
    ledger::check_finished(&records, 2);
    assert!(records.iter().all(|record| record.completion_tokens == 22), "{records:#?}");
    let (_, generated) = ledger::counted(&engine, before, &records).await;
    assert_eq!(generated, 44);
}

#[tokio::test]
async fn an_answer_ends_at_a_stop_text() {
    let engine = Engine::any().await;
    let gateway = Gateway::open(&[&engine]).await;
    let full = whole(gateway.chat(&chat(24)).await).await;
    let full = full["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    let characters: Vec<char> = full.chars().collect();
    let stop: String = characters[characters.len() / 2..][..2].iter().collect();
    let short = whole(gateway.chat(&with(chat(24), "stop", json!([stop]))).await).await;
    let choice = &short["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["stop_reason"]), (&json!("stop"), &json!(stop)));
    let before_stop = full.split_once(&stop).unwrap().0;
    assert_eq!(choice["message"]["content"], before_stop);
    let streamed = whole_stream(gateway.chat(&with(stream(24), "stop", json!([stop]))).await, 1).await;
    assert_eq!(text(&streamed), before_stop);
    let records = gateway.close().await;
    ledger::check_finished(&records, 3);
    assert!(
        records[1..].iter().all(|record| record.completion_tokens == short["usage"]["completion_tokens"])
    );
    assert!(records[1].completion_tokens < records[0].completion_tokens);
}

#[tokio::test]
async fn fields_that_are_the_engines_own_reach_it() {
    let engine = Engine::any().await;
    let gateway = Gateway::open(&[&engine]).await;
    let answer = whole(gateway.chat(&with(with(chat(3), "priority", -5), "no_such_field", 1)).await).await;
    assert_eq!(answer["usage"]["completion_tokens"], 3);
    let wrong = gateway.chat(&with(chat(3), "priority", "high")).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "the engine reads the field and refuses what it is");
    gateway.close().await;
}

#[tokio::test]
async fn completions_are_answered_and_counted() {
    let engine = Engine::any().await;
    let (before, gateway) = (engine.counts().await, Gateway::open(&[&engine]).await);
    let body = json!({"prompt": "w1 w2 w3 w4", "max_tokens": 6, "ignore_eos": true, "temperature": 0});
    let answer = whole(gateway.post("/v1/completions", &body).await).await;
    assert_eq!(
        (&answer["object"], &answer["usage"]["completion_tokens"]),
        (&json!("text_completion"), &json!(6))
    );
    let mut events = gateway.post("/v1/completions", &with(body, "stream", true)).await.events().await;
    assert_eq!(events.pop().as_deref(), Some("[DONE]"));
    let said: String = events
        .iter()
        .map(|event| serde_json::from_str::<Value>(event).unwrap())
        .map(|chunk| chunk["choices"][0]["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(said, answer["choices"][0]["text"].as_str().unwrap());
    let records = gateway.close().await;
    ledger::check_finished(&records, 2);
    assert!(records.iter().all(|record| record.endpoint == "completions"));
    assert_eq!(ledger::counted(&engine, before, &records).await, ledger::tokens(&records));
}

#[tokio::test]
async fn texts_become_vectors() {
    let engine = Engine::embedding().await;
    let (before, gateway) = (engine.counts().await, Gateway::open(&[&engine]).await);
    let answer =
        whole(gateway.post("/v1/embeddings", &json!({"input": ["w1 w2", "w3", "w1 w2"]})).await).await;
    let vectors = answer["data"].as_array().unwrap();
    assert_eq!(vectors.iter().map(|vector| vector["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(vectors.iter().all(|vector| !vector["embedding"].as_array().unwrap().is_empty()));
    let records = gateway.close().await;
    ledger::check(&records, 1);
    assert_eq!((records[0].endpoint.as_str(), records[0].estimated), ("embeddings", false));
    assert_eq!(answer["usage"]["prompt_tokens"], records[0].prompt_tokens);
    assert_eq!(records[0].completion_tokens, 0);
    assert_eq!(ledger::counted(&engine, before, &records).await.0, records[0].prompt_tokens);
}

#[tokio::test]
async fn what_many_use_at_once_is_exact_to_the_token() {
    let engine = Engine::any().await;
    let (before, gateway) = (engine.counts().await, Gateway::open(&[&engine]).await);
    let asked: Vec<Value> =
        (1..=40).map(|length| if length % 2 == 0 { stream(length) } else { chat(length) }).collect();
    let answers = asked.iter().map(async |body| {
        let answer = gateway.chat(body).await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.text().await
    });
    futures_util::future::join_all(answers).await;
    let records = gateway.close().await;
    ledger::check_finished(&records, asked.len());
    assert_eq!(ledger::counted(&engine, before, &records).await, ledger::tokens(&records));
}

#[tokio::test]
async fn models_are_those_that_may_be_used() {
    let engine = Engine::any().await;
    let gateway = Gateway::open(&[&engine]).await;
    let list = whole(gateway.send(client::get("/v1/models")).await).await;
    let mut wanted = [engine.model.as_str(), crate::gateway::UNSERVED, ALIAS];
    wanted.sort_unstable();
    let names = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), wanted);
    let one = whole(gateway.send(client::get(&format!("/v1/models/{}", engine.model))).await).await;
    assert!(one["max_model_len"].as_u64().unwrap() > 0);
    assert!(gateway.close().await.is_empty(), "looking costs nothing");
}

#[tokio::test]
async fn a_further_name_reaches_the_engine_as_the_models_own_and_the_ledger_as_it_was_asked() {
    let engine = Engine::any().await;
    let gateway = Gateway::open(&[&engine]).await;
    let answer = gateway.chat(&with(chat(4), "model", ALIAS)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json().await["model"], engine.model);
    check_whole(gateway.chat(&with(stream(4), "model", ALIAS)).await.events().await, 1);
    gateway.chat(&chat(4)).await.text().await;
    let records = gateway.close().await;
    let said: Vec<&str> = records.iter().map(|record| record.model.as_str()).collect();
    assert_eq!(said, [ALIAS, ALIAS, engine.model.as_str()]);
    assert!(records.iter().all(|record| record.model_id == records[0].model_id));
}
