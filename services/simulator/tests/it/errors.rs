//! Every recorded error that concerns a route the simulator has, to the last byte of its body.

use simulator::Config;

use crate::harness::{Served, blank, config, post, serve, take_apart};

const RECORDED: &str = include_str!("../data/recorded-errors.txt");

fn recorded(title: &str) -> &'static str {
    let start = format!("##### {title}\n");
    let (_, section) = RECORDED.split_once(&start).unwrap_or_else(|| panic!("no recording of {title}"));
    section.split("\n\n#####").next().unwrap()
}

fn comparable(answer: &str) -> (Vec<String>, String) {
    let parts = take_apart(answer);
    let head = parts.head.into_iter().filter(|line| line != "connection: close");
    let head = head.map(|line| blank(&format!("{line}\n"), "date: ", "\n").trim_end().to_owned());
    (head.collect(), parts.body.concat().trim_end().to_owned())
}

async fn check(served: &Served, title: &str, request: &str) {
    let answer = served.exchange(request).await;
    assert_eq!(comparable(&answer), comparable(recorded(title)), "{title}");
}

async fn tiny() -> Served {
    serve(Config { max_model_len: 2048, ..config() }).await
}

/// A chat with one user message and these further fields.
fn chat(fields: &str) -> String {
    let body = format!(r#"{{"model":"tiny","messages":[{{"role":"user","content":"Hello"}}]{fields}}}"#);
    post("/v1/chat/completions", &body)
}

#[tokio::test]
async fn refused_bodies() {
    let served = tiny().await;
    let chat = |body: &str| post("/v1/chat/completions", body);
    for (title, body) in [
        ("invalid JSON", r#"{"model":"tiny",}"#),
        ("empty body", ""),
        ("JSON array body", "[]"),
        ("messages missing", r#"{"model":"tiny"}"#),
        ("messages empty", r#"{"model":"tiny","messages":[]}"#),
        ("messages wrong type", r#"{"model":"tiny","messages":"hi"}"#),
    ] {
        check(&served, title, &chat(body)).await;
    }
    let plain = chat("{}").replace("application/json", "text/plain");
    check(&served, "wrong content type", &plain).await;
}

#[tokio::test]
async fn refused_parameters() {
    let served = tiny().await;
    for (title, fields) in [
        ("prompt fits but max_tokens too large (max_tokens=5000)", r#","max_tokens":5000"#),
        ("temperature -1", r#","temperature":-1"#),
        ("max_tokens -5", r#","max_tokens":-5"#),
        ("max_tokens string", r#","max_tokens":"abc""#),
        ("n=0", r#","n":0"#),
        ("top_p 2", r#","top_p":2"#),
        ("stream_options without stream", r#","stream_options":{"include_usage":true}"#),
        ("logprobs too large", r#","logprobs":true,"top_logprobs":100"#),
    ] {
        check(&served, title, &chat(fields)).await;
    }
    let tools =
        r#","tools":[{"type":"function","function":{"name":"f","parameters":{}}}],"tool_choice":"auto""#;
    check(&served, "tools with tool_choice auto, no --enable-auto-tool-choice", &chat(tools)).await;
    let image =
        r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,"}}]}]}"#;
    check(&served, "image content on text model", &post("/v1/chat/completions", image)).await;
}

#[tokio::test]
async fn refused_models_and_prompts() {
    let served = tiny().await;
    let nope = |stream: bool| {
        format!(r#"{{"model":"nope","messages":[{{"role":"user","content":"a"}}],"stream":{stream}}}"#)
    };
    check(&served, "bad model name (chat)", &post("/v1/chat/completions", &nope(false))).await;
    check(&served, "bad model name (chat, stream)", &post("/v1/chat/completions", &nope(true))).await;
    let completion = post("/v1/completions", r#"{"model":"nope","prompt":"a"}"#);
    check(&served, "bad model name (completions)", &completion).await;

    let long = "w1 ".repeat(3000);
    let chat =
        |stream: bool| format!(r#"{{"messages":[{{"role":"user","content":"{long}"}}],"stream":{stream}}}"#);
    check(&served, "too long prompt (chat)", &post("/v1/chat/completions", &chat(false))).await;
    check(&served, "too long prompt (chat, stream)", &post("/v1/chat/completions", &chat(true))).await;
    let completion = post("/v1/completions", &format!(r#"{{"prompt":"{long}"}}"#));
    check(&served, "too long prompt (completions)", &completion).await;
    let tokenized = served.post("/tokenize", &format!(r#"{{"prompt":"{long}"}}"#)).await;
    assert!(tokenized.starts_with("HTTP/1.1 200"), "tokenize has no limit");
}

#[tokio::test]
async fn refused_paths_and_methods() {
    let served = tiny().await;
    for (title, path) in [
        ("embeddings on generation model", "/v1/embeddings"),
        ("rerank", "/rerank"),
        ("audio", "/v1/audio/transcriptions"),
        ("unknown path", "/nope"),
    ] {
        check(&served, title, &post(path, "{}")).await;
    }
    for (title, line) in [
        ("GET on chat", "GET /v1/chat/completions"),
        ("GET /v1/models/tiny", "GET /v1/models/tiny"),
        ("HEAD /v1/models", "HEAD /v1/models"),
        ("HEAD /health", "HEAD /health"),
    ] {
        let request = format!("{line} HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n\r\n");
        check(&served, title, &request).await;
    }
}

#[tokio::test]
async fn what_is_not_an_error() {
    let served = tiny().await;
    for fields in
        [r#","max_tokens":2"#, r#","max_tokens":1,"an_extra_field":1"#, r#","max_tokens":1,"priority":5"#]
    {
        assert!(served.exchange(&chat(fields)).await.starts_with("HTTP/1.1 200"), "{fields}");
    }
    let keyed =
        chat(r#","max_tokens":1"#).replace("host: engine", "host: engine\r\nauthorization: Bearer any");
    assert!(served.exchange(&keyed).await.starts_with("HTTP/1.1 200"), "a key nobody asked for is ignored");
}
