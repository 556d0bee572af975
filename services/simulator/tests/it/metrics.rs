//! The metrics page against the recorded one: the same names, words, labels and buckets in the same order.

use serde_json::json;
use simulator::{Config, Task};

use crate::harness::{config, in_process, load, with};

const RECORDED: &str = include_str!("../data/recorded-metrics.txt");

/// The page without its values, and without what belongs to the process rather than to the engine.
fn shape(page: &str) -> Vec<String> {
    let ours = |line: &&str| line.split_whitespace().any(|word| word.starts_with("vllm:"));
    page.lines()
        .filter(ours)
        .map(|line| match line.strip_prefix('#') {
            Some(_) => line.to_owned(),
            None if line.contains("cache_config_info") => label_names(line),
            None => line.rsplit_once(' ').unwrap().0.to_owned(),
        })
        .collect()
}

/// The cache's settings are labels; only their names must agree.
fn label_names(line: &str) -> String {
    line.split('"').step_by(2).collect::<Vec<_>>().join("_")
}

#[tokio::test]
async fn names_words_labels_and_buckets_are_those_recorded() {
    let process = in_process(Config { max_model_len: 2048, ..config() });
    let (_, headers, page) = process.get("/metrics").await;
    assert_eq!(headers["content-type"], "text/plain; version=1.0.0; charset=utf-8");
    assert_eq!(shape(&page), shape(RECORDED));
}

#[tokio::test(start_paused = true)]
async fn values_say_what_happened() {
    let process = in_process(Config { task: Task::Both, time_scale: 1.0, ..config() });
    process.ask("/v1/chat/completions", &load("w1 w2", 10)).await;
    process.ask("/v1/chat/completions", &with(with(load("w1 w2", 5), "temperature", 1), "n", 2)).await;
    process.ask("/v1/embeddings", &json!({"input": "w1 w2 w3"})).await;
    let (_, _, page) = process.get("/metrics").await;
    let value = |name: &str| -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("vllm:{name}")));
        line.unwrap_or_else(|| panic!("no {name}")).rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    assert_eq!(value("generation_tokens_total"), 20.0);
    assert_eq!(value("prompt_tokens_total"), 18.0);
    assert_eq!(value("request_success_total{engine=\"0\",finished_reason=\"length\""), 3.0);
    assert_eq!(value("request_success_total{engine=\"0\",finished_reason=\"stop\""), 1.0);
    assert_eq!(value("time_to_first_token_seconds_count"), 4.0);
    assert_eq!(value("inter_token_latency_seconds_count"), 9.0 + 8.0);
    assert_eq!(value("request_params_n_count"), 3.0);
    assert_eq!(value("request_params_max_tokens_count"), 3.0);
    assert_eq!(value("e2e_request_latency_seconds_bucket{engine=\"0\",le=\"+Inf\""), 4.0);
    assert_eq!((value("num_requests_running"), value("num_requests_waiting")), (0.0, 0.0));
    let inference = value("request_prefill_time_seconds_sum") + value("request_decode_time_seconds_sum");
    assert!((inference - value("request_inference_time_seconds_sum")).abs() < 1e-9);
}
