//! The services as processes of their own, over sockets, proving themselves to each other.

use crate::chat::{CHAT, TEMPLATE, chat, recorded, streamed, until_usable};
use proto::{
    inference::v1::{InferRequest, Prompt, inference_service_client::InferenceServiceClient},
    monitoring::v1::{RecordUsageRequest, usage_service_client::UsageServiceClient},
};
use serde_json::json;
use std::{fs, os::unix::fs::PermissionsExt};
use tests::{
    apart::{Apart, Role, SERVICE_TOKEN},
    engine::Engine,
    http::Client,
    ledger, people, rpc,
    suite::MODEL,
    until,
};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;

/// All services and one engine, whose model is registered.
async fn start() -> (Apart, Engine) {
    let engine = Engine::start("--time-scale 10").await;
    let apart = Apart::start(&[("TOLLGATE_ENGINES", &engine.url)]).await;
    people::register(&apart.owner(), MODEL).await;
    until_usable(&apart.owner()).await;
    (apart, engine)
}

#[tokio::test]
async fn the_journey_is_the_same_as_in_one_process() {
    let (apart, _engine) = start().await;
    let file = apart.data(Role::Permissions).join("first-run.json");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let owner = apart.owner();
    let before = ledger::at_least(&owner, 1).await.len();
    let _ = owner.post(CHAT, &chat(2, 3)).await.ok();
    let events = owner.stream(CHAT, &streamed(3, 4)).await.all().await;
    assert_eq!(events.last().unwrap(), "[DONE]");
    // A gateway's own port takes both: OpenAI's routes and gRPC.
    let key = apart.first_run().api_key;
    let gateway = Client::new(apart.address(Role::Inference), Some(&key));
    let _ = gateway.post(CHAT, &chat(4, 5)).await.ok();
    let mut client = InferenceServiceClient::new(rpc::channel(apart.address(Role::Inference), &key).await);
    let prompt =
        Prompt { model: MODEL.into(), text: "w1 w2".into(), max_tokens: Some(6), ..Prompt::default() };
    client.infer(InferRequest { prompt: Some(prompt), ..InferRequest::default() }).await.unwrap();

    let mut records = ledger::at_least(&owner, before + 4).await;
    records.sort_by(|one, other| one.usage_id.cmp(&other.usage_id));
    let costs: Vec<_> = records[before..].iter().map(recorded).collect();
    assert_eq!(costs, [(2 + TEMPLATE, 3), (3 + TEMPLATE, 4), (4 + TEMPLATE, 5), (2, 6)]);
    for role in [Role::Permissions, Role::Monitoring, Role::Inference, Role::Edge] {
        let admin = Client::new(apart.admin(role), None);
        for path in ["/health/live", "/health/startup", "/metrics"] {
            assert_eq!(admin.get(path).await.status, 200, "{path} of {role:?}");
        }
        let check = HealthCheckRequest { service: String::new() };
        let health = HealthClient::new(rpc::plain(apart.admin(role)).await).check(check).await.unwrap();
        assert_eq!(health.into_inner().status().as_str_name(), "SERVING", "{role:?}");
    }
}

#[tokio::test]
async fn the_gateway_serves_while_permissions_is_away_and_even_starts_then() {
    let (mut apart, _engine) = start().await;
    let (owner, key) = (apart.owner(), apart.first_run().api_key);
    let ana = people::person(&owner, "ana").await;
    let kept = apart.data(Role::Inference).join("policy.json");
    until("a snapshot with everybody in it", async || {
        fs::read_to_string(&kept).ok().filter(|text| text.contains(MODEL) && text.contains(&ana.id)).map(drop)
    })
    .await;
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600, "key hashes are in it");

    assert!(apart.process(Role::Permissions).stop().await.success());
    let gateway = Client::new(apart.address(Role::Inference), Some(&key));
    let may =
        async || (gateway.post(CHAT, &chat(1, 1)).await.status, denied(&gateway.with_key(&ana.key)).await);
    assert_eq!(may().await, (200, "model_not_permitted".to_owned()));
    apart.process(Role::Inference).kill();
    apart.run(Role::Inference).await;
    assert_eq!(may().await, (200, "model_not_permitted".to_owned()));
    let through_the_edge = owner.get("/api/v1/models").await;
    assert_eq!(through_the_edge.status, 503, "management says that it is away");
    assert_eq!(through_the_edge.json()["success"], false);

    apart.run(Role::Permissions).await;
    let model = people::model_id(&owner, MODEL).await;
    people::grant(&owner, &model, &json!({"user_id": ana.id})).await;
    until_usable(&gateway.with_key(&ana.key)).await;
}

async fn denied(client: &Client) -> String {
    let (status, code, _) = client.post(CHAT, &chat(1, 1)).await.openai_error();
    assert_eq!(status, 403);
    code
}

#[tokio::test]
async fn a_service_without_a_token_refuses_to_start_and_names_what_is_missing() {
    let apart = Apart::prepare(&[]);
    for role in [Role::Permissions, Role::Monitoring, Role::Inference] {
        let mut process = apart.spawn(role, &[("TOLLGATE_SERVICE_TOKEN__FILE", "")]);
        assert!(!process.ended().await.success(), "{role:?}");
        let log = process.log();
        assert!(
            log.contains("service_token") && log.contains("TOLLGATE_SERVICE_TOKEN__FILE"),
            "{role:?}: {log}"
        );
    }
}

#[tokio::test]
async fn a_service_with_another_token_is_refused_and_says_so() {
    let mut apart = Apart::prepare(&[]);
    apart.run(Role::Permissions).await;
    let wrong = SERVICE_TOKEN.replace('0', "1");
    let stranger = apart.spawn(
        Role::Inference,
        &[("TOLLGATE_SERVICE_TOKEN__FILE", ""), ("TOLLGATE_SERVICE_TOKEN__VALUE", &wrong)],
    );
    let admin = Client::new(apart.admin(Role::Inference), None);
    until("a refusal in its log", async || stranger.log().contains("service token").then_some(())).await;
    until("its admin port", async || admin.try_send(admin.request("GET", "/health/live")).await.ok()).await;
    assert_eq!(admin.get("/health/ready").await.status, 503);
    assert!(!stranger.log().contains(&wrong));
}

#[tokio::test]
async fn what_is_for_services_is_refused_to_everybody_else() {
    let (apart, _engine) = start().await;
    let nothing = || RecordUsageRequest { records: Vec::new() };
    let address = apart.address(Role::Monitoring);
    for (credential, code, reason) in [
        (SERVICE_TOKEN.replace('0', "1"), Code::Unauthenticated, "SERVICE_TOKEN_WRONG"),
        (apart.first_run().api_key, Code::PermissionDenied, "ROLE_NOT_ALLOWED"),
        (SERVICE_TOKEN.to_owned(), Code::InvalidArgument, "INVALID_FIELD"),
    ] {
        let mut client = UsageServiceClient::new(rpc::channel(address, &credential).await);
        let refused = client.record_usage(nothing()).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert_eq!(refused.get_details_error_info().unwrap().reason, reason);
    }
    let refused =
        UsageServiceClient::new(rpc::plain(address).await).record_usage(nothing()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    // A service is nobody who may use a model.
    let gateway = Client::new(apart.address(Role::Inference), Some(SERVICE_TOKEN));
    assert_eq!(gateway.post(CHAT, &chat(1, 1)).await.status, 403);
}
