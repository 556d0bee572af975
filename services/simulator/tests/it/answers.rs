//! What answers say: the same to the same question, counted exactly, and plainly simulated.

use serde_json::{Value, json};
use simulator::{Config, Task};

use crate::harness::{InProcess, config, in_process, load, stream, text, with};

async fn said(process: &InProcess, body: &Value) -> String {
    let (status, answer) = process.ask("/v1/chat/completions", body).await;
    assert_eq!(status, 200, "{answer}");
    answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn at_temperature_zero_the_answer_depends_on_the_prompt_alone() {
    let (one, other) = (in_process(config()), in_process(Config { seed: 7, ..config() }));
    let answer = said(&one, &load("w1", 20)).await;
    assert_eq!(answer, said(&other, &load("w1", 20)).await);
    assert_ne!(answer, said(&one, &load("w2", 20)).await);
    assert!(answer.starts_with(&said(&one, &load("w1", 5)).await));
}

#[tokio::test]
async fn above_zero_a_seed_fixes_the_answer_and_none_varies_it() {
    let process = in_process(config());
    let hot = with(load("w1", 20), "temperature", 1);
    assert_ne!(said(&process, &hot).await, said(&process, &hot).await);
    let seeded = with(hot, "seed", 3);
    assert_eq!(said(&process, &seeded).await, said(&process, &seeded).await);
}

#[tokio::test]
async fn a_stream_says_the_same_as_an_answer_in_one_piece() {
    let process = in_process(config());
    for stop in [json!(null), json!(["4 w"])] {
        let whole = said(&process, &with(load("w1", 40), "stop", stop.clone())).await;
        let body =
            process.post("/v1/chat/completions", &with(stream("w1", 40), "stop", stop)).await.into_body();
        let mut told = String::new();
        for event in text(body).await.split("\n\n").filter_map(|event| event.strip_prefix("data: {")) {
            let event: Value = serde_json::from_str(&format!("{{{event}")).unwrap();
            told.push_str(event["choices"][0]["delta"]["content"].as_str().unwrap());
        }
        assert_eq!(told, whole);
    }
}

#[tokio::test]
async fn an_answer_says_that_it_is_simulated() {
    let process = in_process(config());
    let body = json!({"messages": [{"role": "user", "content": "Hello, who are you?"}], "max_tokens": 300});
    let (_, answer) = process.ask("/v1/chat/completions", &body).await;
    assert!(answer["choices"][0]["message"]["content"].as_str().unwrap().starts_with("(simulated) "));
    assert_eq!(answer["system_fingerprint"], "tollgate-simulator");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let counted = process.engine.counters();
    assert_eq!(answer["usage"]["completion_tokens"], counted.generation_tokens);
    assert_eq!(answer["usage"]["prompt_tokens"], counted.prompt_tokens);
}

#[tokio::test]
async fn an_answer_never_outgrows_the_model() {
    let process = in_process(Config { max_model_len: 64, ..config() });
    let (_, answer) = process.ask("/v1/chat/completions", &load(&"w1 ".repeat(50), 60)).await;
    assert_eq!(answer["usage"]["total_tokens"], 64);
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn one_engine_can_do_both_tasks() {
    let process = in_process(Config { task: Task::Both, ..config() });
    assert_eq!(process.ask("/v1/chat/completions", &load("w1", 2)).await.0, 200);
    let (status, answer) = process.ask("/v1/embeddings", &json!({"input": ["w1 w2", "w3", "w1 w2"]})).await;
    assert_eq!(status, 200);
    let vectors: Vec<&Value> =
        answer["data"].as_array().unwrap().iter().map(|entry| &entry["embedding"]).collect();
    assert_eq!(vectors[0], vectors[2]);
    assert_ne!(vectors[0], vectors[1]);
    assert_eq!(answer["usage"]["prompt_tokens"], 5);
}

#[tokio::test]
async fn several_names_are_one_model() {
    let process = in_process(Config { model: vec!["tiny".into(), "small".into()], ..config() });
    let (_, answer) = process.ask("/v1/chat/completions", &with(load("w1", 1), "model", "small")).await;
    assert_eq!(answer["model"], "tiny");
    let (status, answer) = process.ask("/v1/chat/completions", &with(load("w1", 1), "model", "large")).await;
    assert_eq!(status, 404);
    assert_eq!(answer["error"]["message"], "The model `large` does not exist. Valid aliases: tiny, small.");
    let (_, _, list) = process.get("/v1/models").await;
    assert!(list.contains("\"id\":\"small\""));
}
