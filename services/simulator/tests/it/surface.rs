//! Responses, messages, ranks and scores: every field that a real engine says, and no other.

use serde_json::{Value, json};
use simulator::{Config, Task};

use crate::harness::{config, in_process, text, with};

/// As vLLM 0.32 said them: the whole answers, and each kind of event once.
const RECORDED: &str = include_str!("../data/recorded-surface.jsonl");

/// What there is in a value, whatever it is: names of fields, kinds of others.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        Value::Array(list) => list.first().map(shape).into_iter().collect(),
        Value::String(_) => json!("text"),
        Value::Number(_) => json!("number"),
        other => json!(other.is_null()),
    }
}

/// The recorded answers to what is called so.
fn recorded(name: &str) -> Vec<Value> {
    let lines = RECORDED.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found: Vec<Value> =
        lines.filter(|line| line["name"] == name).map(|line| shape(&line["answer"])).collect();
    assert!(!found.is_empty(), "{name} was recorded");
    found
}

/// The shapes of a stream's events, each kind once; the name of each is in its data too.
fn events(stream: &str) -> Vec<Value> {
    let mut shapes = Vec::new();
    for event in stream.split_terminator("\n\n") {
        let (name, data) = event.split_once("\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(name.strip_prefix("event: ").unwrap(), data["type"]);
        let shape = with(shape(&data), "type", data["type"].clone());
        if !shapes.contains(&shape) {
            shapes.push(shape);
        }
    }
    shapes
}

fn response() -> Value {
    json!({"input": "w1 w2 w3", "max_output_tokens": 4, "ignore_eos": true, "temperature": 0, "metadata": {"a": "b"}})
}

fn message() -> Value {
    json!({"messages": [{"role": "user", "content": "w1 w2 w3"}], "max_tokens": 4, "temperature": 0})
}

#[tokio::test(start_paused = true)]
async fn whole_answers_have_the_fields_of_real_ones() {
    let engine = in_process(Config { task: Task::Both, ..config() });
    let pair = json!({"query": "w1", "documents": ["w2 w3", "w1"], "text_1": "w1", "text_2": ["w2", "w1"]});
    for (path, body) in [
        ("/v1/responses", response()),
        ("/v1/messages", message()),
        ("/v1/messages/count_tokens", message()),
        ("/v1/rerank", pair.clone()),
        ("/v1/score", json!({"text_1": "w1", "text_2": ["w2", "w1"]})),
    ] {
        let (status, answer) = engine.ask(path, &body).await;
        assert_eq!((status.as_u16(), vec![shape(&answer)]), (200, recorded(path)), "{path}: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn streams_have_the_events_of_real_ones_in_their_order() {
    let engine = in_process(Config { task: Task::Both, ..config() });
    for (path, body) in [("/v1/responses", response()), ("/v1/messages", message())] {
        let answer = engine.post(path, &with(body, "stream", true)).await;
        let told = text(answer.into_body()).await;
        let theirs: Vec<Value> = RECORDED
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|line| line["name"] == format!("{path} streamed"))
            .map(|line| with(shape(&line["answer"]), "type", line["answer"]["type"].clone()))
            .collect();
        assert_eq!(events(&told), theirs, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_is_kept_only_where_that_is_switched_on() {
    let keeping = in_process(Config { enable_responses_api_store: true, ..config() });
    let (_, first) = keeping.ask("/v1/responses", &with(response(), "request_id", "resp_mine")).await;
    assert_eq!(first["id"], "resp_mine");
    let (status, _, kept) = keeping.get("/v1/responses/resp_mine").await;
    assert_eq!((status.as_u16(), serde_json::from_str::<Value>(&kept).unwrap()), (200, first));
    let more = with(response(), "previous_response_id", "resp_mine");
    assert_eq!(keeping.ask("/v1/responses", &more).await.1["usage"]["input_tokens"], 6 - 1 + 6 + 5 + 1);
    let forgetting = in_process(config());
    let _ = forgetting.ask("/v1/responses", &with(response(), "request_id", "resp_mine")).await;
    assert_eq!(forgetting.get("/v1/responses/resp_mine").await.0, 404);
    assert_eq!(forgetting.ask("/v1/responses", &more).await.0, 404);
}
