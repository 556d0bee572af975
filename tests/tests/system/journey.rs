//! A newcomer's first hour: start, paste what is shown, look at what it cost, start again.

use crate::chat::{CHAT, TEMPLATE, chat, recorded, streamed, usage};
use proto::inference::v1::{
    ChatMessage, EmbedRequest, InferRequest, InferStreamRequest, Prompt,
    inference_service_client::InferenceServiceClient,
};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt};
use tests::{
    http::Client,
    ledger, rpc,
    suite::{FirstRun, MODEL, Suite},
    within,
};
use tokio_stream::StreamExt;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::{v1, v1alpha};

#[tokio::test]
async fn the_first_start_leaves_everything_a_newcomer_needs_to_its_owner_alone() {
    let suite = Suite::start(&[]).await;
    let file = suite.data().join("first-run.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let FirstRun { base_url, api_key, model, owner_email, owner_password, owner_id } = suite.first_run();
    assert_eq!((base_url, model.as_str()), (format!("http://{}", suite.address), MODEL));
    assert!(api_key.starts_with("tgk_") && api_key.len() > 40);
    assert!(owner_email.contains('@') && owner_password.len() >= 20 && owner_id.len() == 36);
    let log = suite.process.log();
    assert!(log.contains("SIMULATED") && log.contains("first-run.json"), "{log}");
    assert!(!log.contains(&api_key) && !log.contains(&owner_password), "stderr is no terminal here");
}

#[tokio::test]
async fn every_way_in_answers_and_the_ledger_has_every_token_of_it() {
    let suite = Suite::start(&[]).await;
    let owner = suite.owner();
    let mut spent = openai_routes(&owner).await;
    spent.extend(grpc_methods(&suite).await);
    spent.push(tested_over_rest(&owner).await);

    let mut records = ledger::at_least(&owner, spent.len()).await;
    records.sort_by(|one, other| one.usage_id.cmp(&other.usage_id));
    let found: Vec<_> = records.iter().map(|record| (record.endpoint.as_str(), recorded(record))).collect();
    assert_eq!(found, spent);
    let first_run = suite.first_run();
    for record in &records {
        assert_eq!(record.end(), "finished");
        assert_eq!((record.attempt, record.model.as_str()), (1, MODEL));
        assert_eq!(record.user_id, first_run.owner_id);
    }
    the_sums_agree(&owner, &records).await;
}

/// Calls every route of OpenAI's; returns what each should have cost, in order.
async fn openai_routes(owner: &Client) -> Vec<(&'static str, (u64, u64))> {
    let whole = owner.post(CHAT, &chat(4, 5)).await.ok();
    assert_eq!(usage(&whole.json()), (4 + TEMPLATE, 5));

    let mut quiet = chat(6, 7);
    quiet["stream"] = json!(true);
    let events = owner.stream(CHAT, &quiet).await.all().await;
    assert_eq!(events.last().unwrap(), "[DONE]");
    assert_eq!(contents(&events), 7);
    assert!(!events.iter().any(|event| event.contains("\"usage\"")), "nobody asked for it: {events:?}");

    let events = owner.stream(CHAT, &streamed(8, 9)).await.all().await;
    assert_eq!(events.last().unwrap(), "[DONE]");
    let last: Value = serde_json::from_str(&events[events.len() - 2]).unwrap();
    assert_eq!(usage(&last), (8 + TEMPLATE, 9));

    let text = json!({"model": MODEL, "prompt": "w1 w2 w3", "max_tokens": 4, "ignore_eos": true});
    assert_eq!(usage(&owner.post("/v1/completions", &text).await.ok().json()), (3, 4));

    let texts = json!({"model": MODEL, "input": ["w1 w2", "w3"]});
    let vectors = owner.post("/v1/embeddings", &texts).await.ok().json();
    assert_eq!(vectors["data"].as_array().unwrap().len(), 2);
    assert_eq!(vectors["usage"]["prompt_tokens"], 3);

    let models = owner.get("/v1/models").await.ok().json();
    let ids: Vec<_> = models["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
    assert_eq!(ids, [MODEL]);
    assert_eq!(owner.get(&format!("/v1/models/{MODEL}")).await.ok().json()["id"], MODEL);
    vec![
        ("chat/completions", (4 + TEMPLATE, 5)),
        ("chat/completions", (6 + TEMPLATE, 7)),
        ("chat/completions", (8 + TEMPLATE, 9)),
        ("completions", (3, 4)),
        ("embeddings", (3, 0)),
    ]
}

/// Events that hold text, of an answer that makes one token per event.
fn contents(events: &[String]) -> usize {
    let text = |event: &&String| event.contains("\"delta\":{\"content\"");
    events.iter().filter(text).count()
}

async fn grpc_methods(suite: &Suite) -> Vec<(&'static str, (u64, u64))> {
    let channel = rpc::channel(suite.address, &suite.first_run().api_key).await;
    let mut client = InferenceServiceClient::new(channel);
    let prompt = |words: usize, tokens| Prompt {
        model: MODEL.into(),
        messages: vec![ChatMessage { role: "user".into(), content: vec!["w1"; words].join(" ") }],
        max_tokens: Some(tokens),
        ..Prompt::default()
    };

    let answer = client
        .infer(InferRequest { prompt: Some(prompt(2, 3)), ..InferRequest::default() })
        .await
        .unwrap()
        .into_inner();
    let cost = answer.usage.unwrap();
    assert_eq!((cost.prompt_tokens, cost.completion_tokens), (2 + TEMPLATE, 3));
    assert_eq!((answer.choices.len(), answer.choices[0].finish_reason.as_str()), (1, "length"));

    let request = InferStreamRequest { prompt: Some(prompt(3, 4)), ..InferStreamRequest::default() };
    let stream = client.infer_stream(request).await.unwrap().into_inner();
    let messages: Vec<_> = within("a stream", stream.map(Result::unwrap).collect::<Vec<_>>()).await;
    let (last, others) = messages.split_last().unwrap();
    let cost = last.usage.unwrap();
    assert_eq!((cost.prompt_tokens, cost.completion_tokens), (3 + TEMPLATE, 4));
    assert!(others.iter().all(|message| message.usage.is_none() && message.usage_id == last.usage_id));

    let request = EmbedRequest {
        model: MODEL.into(),
        inputs: vec!["w5 w6".into(), "w7 w8".into()],
        ..EmbedRequest::default()
    };
    let vectors = client.embed(request).await.unwrap().into_inner();
    assert_eq!(vectors.embeddings.iter().map(|vector| vector.index).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(vectors.usage.unwrap().prompt_tokens, 4);
    vec![
        ("chat/completions", (2 + TEMPLATE, 3)),
        ("chat/completions", (3 + TEMPLATE, 4)),
        ("embeddings", (4, 0)),
    ]
}

async fn tested_over_rest(owner: &Client) -> (&'static str, (u64, u64)) {
    let prompt = json!({"prompt": {"model": MODEL, "text": "w1 w2", "max_tokens": 2}});
    let answer = owner.post("/api/v1/inference:infer", &prompt).await.data();
    assert_eq!(usage(&answer), (2, 2));
    ("completions", (2, 2))
}

/// Usage by user, by key, by model and by hour is the sum of the records.
async fn the_sums_agree(owner: &Client, records: &[ledger::Record]) {
    let sum = |count: fn(&ledger::Record) -> u64| records.iter().map(count).sum::<u64>();
    let first = &records[0];
    for (question, field, value) in [
        ("group_by=USAGE_DIMENSION_USER", "user_id", first.user_id.as_str()),
        ("group_by=USAGE_DIMENSION_KEY", "key_id", first.key_id.as_str()),
        ("group_by=USAGE_DIMENSION_MODEL", "model", MODEL),
        ("bucket=TIME_BUCKET_HOUR", "user_id", ""),
    ] {
        let answer = owner.get(&format!("/api/v1/usage?{question}")).await.data();
        let rows = answer["rows"].as_array().unwrap();
        // An hour may have ended in between.
        assert!(rows.len() == 1 || question.contains("HOUR") && rows.len() == 2, "{question}: {rows:?}");
        assert!(rows.iter().all(|row| row[field] == value), "{question}: {rows:?}");
        let total = |name: &str| rows.iter().map(|row| row[name].as_u64().unwrap()).sum::<u64>();
        assert_eq!(total("requests"), records.len() as u64, "{question}");
        assert_eq!(total("finished"), records.len() as u64, "{question}");
        assert_eq!(total("prompt_tokens"), sum(|record| record.prompt_tokens), "{question}");
        assert_eq!(total("completion_tokens"), sum(|record| record.completion_tokens), "{question}");
        assert_eq!(total("estimated_tokens"), 0, "{question}");
    }
}

#[tokio::test]
async fn a_second_start_keeps_key_model_and_usage() {
    let mut suite = Suite::start(&[]).await;
    let first = suite.first_run();
    let _ = suite.owner().post(CHAT, &chat(1, 2)).await.ok();
    // Stopped at once: what was not shipped yet must not be lost.
    assert!(suite.process.stop().await.success());
    suite.start_again().await;
    assert_eq!(suite.first_run(), first);
    let _ = suite.owner().post(CHAT, &chat(2, 3)).await.ok();
    let records = ledger::at_least(&suite.owner(), 2).await;
    let mut costs: Vec<_> = records.iter().map(recorded).collect();
    costs.sort_unstable();
    assert_eq!(costs, [(1 + TEMPLATE, 2), (2 + TEMPLATE, 3)]);
}

#[tokio::test]
async fn probes_metrics_and_reflection_ask_for_no_credential() {
    let suite = Suite::start(&[]).await;
    let nobody = suite.nobody();
    for probe in ["live", "ready", "startup"] {
        assert_eq!(nobody.get(&format!("/health/{probe}")).await.ok().json()["ok"], true, "{probe}");
    }
    let _ = suite.owner().post(CHAT, &chat(1, 2)).await.ok();
    let page = nobody.get("/metrics").await.ok().text();
    for name in ["gen_ai_server_request_duration_seconds_count", "tollgate_queue_duration_seconds_count"] {
        assert_eq!(tests::metrics::sum(&page, name, MODEL), 1.0, "{name}");
    }

    let channel = rpc::plain(suite.address).await;
    let check = HealthCheckRequest { service: "tollgate.inference.v1.InferenceService".into() };
    let health = HealthClient::new(channel.clone()).check(check).await.unwrap().into_inner();
    assert_eq!(health.status().as_str_name(), "SERVING");
    let (new, old) = (reflected_v1(channel.clone()).await, reflected_v1alpha(channel).await);
    assert_eq!(new, old);
    for service in [
        "tollgate.inference.v1.InferenceService",
        "tollgate.permissions.v1.GrantService",
        "tollgate.monitoring.v1.UsageService",
        "grpc.health.v1.Health",
    ] {
        assert!(new.iter().any(|known| known == service), "{service} is not among {new:?}");
    }
    assert_eq!(nobody.get("/v1/models").await.status, 401, "everything else does ask");
    assert_eq!(nobody.get("/api/v1/models").await.status, 401);
}

/// The services that reflection lists, in one of its two versions; its own name apart, they must be the same.
macro_rules! reflected {
    ($function:ident, $version:ident) => {
        async fn $function(channel: tonic::transport::Channel) -> Vec<String> {
            use $version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
            };
            let list = Some(MessageRequest::ListServices(String::new()));
            let requests =
                tokio_stream::once(ServerReflectionRequest { host: String::new(), message_request: list });
            let answers = ServerReflectionClient::new(channel).server_reflection_info(requests).await;
            let answer = answers.unwrap().into_inner().message().await.unwrap().unwrap();
            let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
                panic!("{answer:?}")
            };
            let names = list.service.into_iter().map(|service| service.name);
            names.filter(|name| !name.starts_with("grpc.reflection.")).collect()
        }
    };
}

reflected!(reflected_v1, v1);
reflected!(reflected_v1alpha, v1alpha);
