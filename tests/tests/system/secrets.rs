//! A whole run at the most talkative level, and none of its secrets in what the process says.

use crate::chat::{CHAT, chat, streamed, until_usable};
use proto::inference::v1::{
    InferRequest, InferStreamRequest, Prompt, inference_service_client::InferenceServiceClient,
};
use serde_json::{Value, json};
use tests::{
    engine::Engine,
    http::{Body, Client},
    ledger, people, rpc,
    suite::{MODEL, Suite},
};

const ENGINE_KEY: &str = "engine-key-5d0c1f";
const SERVICE_TOKEN: &str = "tgs_5d0c1f5d0c1f5d0c1f5d0c1f5d0c1f5d0c1f5d0c1f";
/// In every prompt, also in those that are refused.
const PROMPT: &str = "whispered-prompt-5d0c1f";
const WRONG_KEY: &str = "tgk_wrong-key-5d0c1f";

/// A body with the prompt in it.
fn with_prompt(mut body: Value) -> Value {
    body["messages"][0]["content"] = format!("w1 {PROMPT} w2").into();
    body
}

/// Calls that are answered; returns the texts of their answers.
async fn good_calls(suite: &Suite, owner: &Client) -> Vec<String> {
    let mut answers = Vec::new();
    let whole = owner.post(CHAT, &with_prompt(chat(1, 8))).await.ok().json();
    answers.push(whole["choices"][0]["message"]["content"].as_str().unwrap().to_owned());
    let text = json!({"model": MODEL, "prompt": PROMPT, "max_tokens": 8, "ignore_eos": true});
    let whole = owner.post("/v1/completions", &text).await.ok().json();
    answers.push(whole["choices"][0]["text"].as_str().unwrap().to_owned());
    let events = owner.stream(CHAT, &with_prompt(streamed(1, 8))).await.all().await;
    let text = |event: &String| {
        serde_json::from_str::<Value>(event).ok()?["choices"][0]["delta"]["content"]
            .as_str()
            .map(str::to_owned)
    };
    answers.push(events.iter().filter_map(text).collect());
    let _ = owner.post("/v1/embeddings", &json!({"model": MODEL, "input": [PROMPT]})).await.ok();

    let channel = rpc::channel(suite.address, &suite.first_run().api_key).await;
    let mut client = InferenceServiceClient::new(channel);
    let prompt =
        || Prompt { model: MODEL.into(), text: PROMPT.into(), max_tokens: Some(8), ..Prompt::default() };
    let answer = client
        .infer(InferRequest { prompt: Some(prompt()), ..InferRequest::default() })
        .await
        .unwrap()
        .into_inner();
    answers.push(answer.choices[0].text.clone());
    let mut stream = client
        .infer_stream(InferStreamRequest { prompt: Some(prompt()), ..InferStreamRequest::default() })
        .await
        .unwrap()
        .into_inner();
    while stream.message().await.unwrap().is_some() {}
    answers
}

/// Calls that are refused, each in its own way.
async fn bad_calls(suite: &Suite, owner: &Client, engine: &Engine) {
    let ana = people::person(owner, "ana.secret").await;
    let send = async |client: &Client, path: &str, body: &str| {
        let request = client.builder("POST", path).header("content-type", "application/json");
        let answer = client.send(request.body(Body::from(body.to_owned())).unwrap()).await;
        assert!((400..500).contains(&answer.status), "{path} {body}: {}", answer.status);
    };
    let good = with_prompt(chat(1, 1)).to_string();
    send(&suite.nobody(), CHAT, &good).await;
    send(&owner.with_key(WRONG_KEY), CHAT, &good).await;
    send(&owner.with_key(&ana.key), CHAT, &good).await;
    send(owner, CHAT, &good.replace(MODEL, "no-such-model")).await;
    send(owner, CHAT, &good.replace('}', "")).await;
    // Refused by the engine, whose message repeats what it was given.
    send(owner, CHAT, &json!({"model": MODEL, "messages": PROMPT}).to_string()).await;
    send(
        owner,
        CHAT,
        &json!({"model": MODEL, "messages": [{"role": PROMPT, "content": {"text": PROMPT}}]}).to_string(),
    )
    .await;
    send(
        owner,
        "/v1/completions",
        &json!({"model": MODEL, "prompt": PROMPT, "temperature": PROMPT}).to_string(),
    )
    .await;
    send(owner, "/v1/embeddings", &json!({"model": MODEL, "input": [PROMPT, {"a": PROMPT}]}).to_string())
        .await;
    send(owner, CHAT, &json!({"model": MODEL, "messages": [], "stream": PROMPT}).to_string()).await;
    send(
        owner,
        "/api/v1/inference:infer",
        &json!({"prompt": {"model": MODEL, "text": PROMPT, "x": 1}}).to_string(),
    )
    .await;
    // E-mail addresses: taken, malformed, of a wrong type, in the wrong place.
    send(owner, "/api/v1/users", r#"{"email":"ana.secret@example.org","display_name":"Ana"}"#).await;
    send(owner, "/api/v1/users", r#"{"email":"ben.secret@@example.org","display_name":"Ben"}"#).await;
    send(owner, "/api/v1/users", r#"{"email":["ben.secret@example.org"],"display_name":"Ben"}"#).await;
    send(owner, "/api/v1/users", r#"{"email":"ben.secret@example.org","display_name":7}"#).await;
    send(owner, "/api/v1/users/ben.secret@example.org", "").await;
    assert_eq!(owner.get("/api/v1/users/ben.secret@example.org").await.status, 400);

    engine.fault(&json!({"in_band_error": {"after_events": 3, "status": 500, "times": 1}})).await;
    owner.stream(CHAT, &with_prompt(streamed(1, 50))).await.all().await;
    engine.fault(&json!({"reset": {"times": 1}})).await;
    let _ = owner.post(CHAT, &with_prompt(chat(1, 5))).await.ok();
    let mut left = owner.stream(CHAT, &with_prompt(streamed(1, 4000))).await;
    left.next().await.unwrap();
}

#[tokio::test]
async fn no_secret_of_a_whole_run_is_in_its_log_or_its_metrics() {
    let engine = Engine::start(&format!("--api-key {ENGINE_KEY} --time-scale 5")).await;
    let suite = Suite::start(&[
        ("TOLLGATE_ENGINES", &engine.url),
        ("TOLLGATE_INFERENCE__ENGINE_KEY__VALUE", ENGINE_KEY),
        ("TOLLGATE_SERVICE_TOKEN__VALUE", SERVICE_TOKEN),
        ("TOLLGATE_LOG", "trace"),
    ])
    .await;
    let owner = suite.owner();
    until_usable(&owner).await;
    let answers = good_calls(&suite, &owner).await;
    bad_calls(&suite, &owner, &engine).await;
    ledger::at_least(&owner, 10).await;
    let metrics = suite.nobody().get("/metrics").await.ok().text();
    let first_run = suite.first_run();
    let mut process = suite.process;
    assert!(process.stop().await.success());
    let log = process.log();
    assert!(log.lines().count() > 40 && log.contains("request refused"), "the run was logged:\n{log}");

    let mut secrets = vec![
        first_run.api_key,
        first_run.owner_password,
        first_run.owner_email,
        ENGINE_KEY.to_owned(),
        SERVICE_TOKEN.to_owned(),
        PROMPT.to_owned(),
        WRONG_KEY.to_owned(),
        "ana.secret".to_owned(),
        "ben.secret".to_owned(),
        "tgk_".to_owned(),
    ];
    // Three words of an answer are enough to know it by; the first one is the same in all.
    secrets.extend(answers.iter().map(|answer| {
        let words: Vec<_> = answer.split_whitespace().skip(1).take(3).collect();
        assert_eq!(words.len(), 3, "{answer}");
        words.join(" ")
    }));
    for secret in &secrets {
        for (place, text) in [("the log", &log), ("the metrics", &metrics)] {
            let found = text.lines().find(|line| line.contains(secret.as_str()));
            assert!(found.is_none(), "{secret} is in {place}: {}", found.unwrap());
        }
    }
}
