//! The cache from outside: what metrics and usage say of prompts that begin alike, and of a cache that is too small.
//!
//! The details of the usage are those a real engine with blocks of 128 tokens gave for the same requests.

use futures_util::future::join_all;
use serde_json::{Value, json};
use simulator::Config;

use crate::harness::{InProcess, config, in_process, load, text, with};

/// Words that are all known, beginning with one of them.
fn words(first: u32, many: u32) -> String {
    (first..first + many).map(|word| format!("w{} ", word % 500)).collect()
}

fn detailed() -> InProcess {
    in_process(Config { block_size: Some(128), enable_prompt_tokens_details: true, ..config() })
}

async fn metric(process: &InProcess, name: &str) -> f64 {
    let (_, _, page) = process.get("/metrics").await;
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("vllm:{name}{{")));
    line.unwrap_or_else(|| panic!("no {name}")).rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn metrics_count_what_was_looked_up_and_what_was_there() {
    let process = in_process(config());
    // 103 tokens: a message of 100 words, its two marks, and the assistant's turn.
    for _ in 0..2 {
        process.ask("/v1/chat/completions", &load(&words(0, 100), 5)).await;
    }
    assert_eq!(metric(&process, "prefix_cache_queries_total").await, 206.0);
    assert_eq!(metric(&process, "prefix_cache_hits_total").await, 96.0, "six blocks of sixteen");
    assert_eq!(metric(&process, "prompt_tokens_cached_total").await, 96.0);
    assert_eq!(metric(&process, "prompt_tokens_total").await, 206.0);
    assert_eq!(metric(&process, "request_prefill_kv_computed_tokens_sum").await, 110.0);
    let (_, _, page) = process.get("/metrics").await;
    for (source, tokens) in [("local_compute", "110.0"), ("local_cache_hit", "96.0")] {
        let labels = format!("{{engine=\"0\",model_name=\"tiny\",source=\"{source}\"}}");
        assert!(page.contains(&format!("vllm:prompt_tokens_by_source_total{labels} {tokens}\n")));
    }
}

#[tokio::test]
async fn usage_is_silent_about_the_cache_unless_it_was_asked_to_speak() {
    let process = in_process(config());
    for _ in 0..2 {
        let (_, answer) = process.ask("/v1/chat/completions", &load(&words(0, 300), 3)).await;
        assert_eq!(answer["usage"]["prompt_tokens_details"], Value::Null);
    }
}

#[tokio::test]
async fn the_usage_of_a_chat_says_what_was_reused_and_what_was_added() {
    let process = detailed();
    for (cached, created) in [(0, 256), (256, 0)] {
        let (_, answer) = process.ask("/v1/chat/completions", &load(&words(0, 300), 3)).await;
        let details =
            json!({"cached_tokens": cached, "created_cache_tokens": created, "multimodal_tokens": null});
        assert_eq!(answer["usage"]["prompt_tokens_details"], details);
    }
    let body = with(load(&words(0, 300), 2), "stream", true);
    let body = with(body, "stream_options", json!({"include_usage": true, "continuous_usage_stats": true}));
    let events = text(process.post("/v1/chat/completions", &body).await.into_body()).await;
    let told: Vec<&str> = events.lines().filter(|event| event.contains("prompt_tokens_details")).collect();
    assert_eq!(told.len(), 1, "only the last count says so");
    assert!(told[0].contains(
        r#""choices":[],"usage":{"prompt_tokens":303,"total_tokens":305,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":256,"created_cache_tokens":0}}"#
    ));
}

#[tokio::test]
async fn the_usage_of_completions_says_what_was_reused_of_the_last_prompt() {
    let process = detailed();
    let ask = |prompts: Value| {
        with(with(json!({"prompt": prompts, "ignore_eos": true, "temperature": 0}), "max_tokens", 3), "n", 1)
    };
    let (one, other) = (words(1, 300), words(2, 300));
    process.ask("/v1/completions", &ask(json!(one))).await;
    let (_, answer) = process.ask("/v1/completions", &ask(json!([other, one]))).await;
    let details = json!({"cached_tokens": 256, "created_cache_tokens": null, "multimodal_tokens": null});
    assert_eq!(answer["usage"]["prompt_tokens_details"], details);

    let body = with(with(ask(json!(one)), "stream", true), "stream_options", json!({"include_usage": true}));
    let events = text(process.post("/v1/completions", &body).await.into_body()).await;
    assert!(events.contains(r#""completion_tokens":3,"prompt_tokens_details":{"cached_tokens":256}},"#));
}

#[tokio::test]
async fn the_next_turn_of_a_chat_finds_the_last_one_with_its_answer() {
    let process = detailed();
    let turn = |messages: &Value| json!({"messages": messages, "max_tokens": 200, "ignore_eos": true});
    let mut messages = json!([{"role": "user", "content": words(0, 100)}]);
    let (_, answer) = process.ask("/v1/chat/completions", &with(turn(&messages), "temperature", 0)).await;
    let said = answer["choices"][0]["message"]["content"].clone();
    let more = [json!({"role": "assistant", "content": said}), json!({"role": "user", "content": "w7"})];
    messages.as_array_mut().unwrap().extend(more);
    let (_, answer) = process.ask("/v1/chat/completions", &with(turn(&messages), "temperature", 0)).await;
    // 103 tokens of the first question and 200 of its answer: two full blocks.
    assert_eq!(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 256);
}

#[tokio::test]
async fn without_prefix_caching_nothing_is_reused_or_added() {
    let process =
        in_process(Config { enable_prompt_tokens_details: true, no_enable_prefix_caching: true, ..config() });
    for _ in 0..2 {
        let (_, answer) = process.ask("/v1/chat/completions", &load(&words(0, 300), 3)).await;
        let details = &answer["usage"]["prompt_tokens_details"];
        assert_eq!((&details["cached_tokens"], &details["created_cache_tokens"]), (&json!(0), &json!(0)));
    }
    assert_eq!(metric(&process, "prefix_cache_queries_total").await, 0.0);
    let (_, _, page) = process.get("/metrics").await;
    assert!(page.contains("enable_prefix_caching=\"False\""));
}

#[tokio::test(start_paused = true)]
async fn usage_of_the_cache_rises_and_falls_with_what_runs() {
    let process = in_process(Config { num_gpu_blocks_override: Some(512), time_scale: 1.0, ..config() });
    let body = load(&words(0, 253), 50);
    let running = process.ask("/v1/chat/completions", &body);
    let look = async {
        process.engine.until(|counters| counters.generation_tokens >= 3).await;
        metric(&process, "kv_cache_usage_perc").await
    };
    let (_, usage) = tokio::join!(running, look);
    assert_eq!(usage, 17.0 / 512.0, "256 tokens of prompt in sixteen blocks, and one for the answer");
    assert_eq!(metric(&process, "kv_cache_usage_perc").await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_too_small_preempts_and_every_answer_is_still_whole() {
    let small = Config { num_gpu_blocks_override: Some(20), max_model_len: 300, time_scale: 1.0, ..config() };
    let bodies: Vec<Value> = (0..6).map(|first| load(&words(first * 50, 40), 100)).collect();
    let answers = |config: Config| {
        let bodies = bodies.clone();
        async move {
            let process = in_process(config);
            let answers = join_all(bodies.iter().map(|body| process.ask("/v1/chat/completions", body))).await;
            let contents =
                answers.iter().map(|(_, answer)| answer["choices"][0]["message"]["content"].clone());
            let contents: Vec<Value> = contents.collect();
            (contents, metric(&process, "num_preemptions_total").await, process.engine.counters())
        }
    };
    let (crowded, preemptions, counters) = answers(small.clone()).await;
    let (roomy, none, _) = answers(Config { num_gpu_blocks_override: Some(2000), ..small }).await;
    assert_eq!((crowded, none), (roomy, 0.0));
    assert!(preemptions > 0.0);
    assert_eq!(preemptions, counters.preemptions as f64);
    assert_eq!((counters.finished, counters.generation_tokens, counters.blocks_held), (6, 600, 0));
}

#[tokio::test]
async fn the_page_shows_the_size_of_the_cache() {
    let process = in_process(Config { num_gpu_blocks_override: Some(512), block_size: Some(32), ..config() });
    let (_, _, page) = process.get("/metrics").await;
    let info = page.lines().find(|line| line.starts_with("vllm:cache_config_info{")).unwrap();
    for label in ["block_size=\"32\"", "num_gpu_blocks=\"512\"", "kv_cache_size_tokens=\"16384\""] {
        assert!(info.contains(label), "{label} in {info}");
    }
    assert!(info.contains("kv_cache_max_concurrency=\"4.0\""));
}
