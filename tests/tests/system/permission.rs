//! Who may use a model: decided in the gateway's own memory, changed from outside while it runs.

use crate::chat::{CHAT, chat};
use proto::inference::v1::{InferRequest, Prompt, inference_service_client::InferenceServiceClient};
use serde_json::json;
use std::time::Instant;
use tests::{
    engine::Engine,
    http::Client,
    people::{self, Person},
    rpc,
    suite::{MODEL, Suite},
    until,
};
use tonic::Code;
use tonic_types::StatusExt;

/// A suite with its owner's client and the id of its model.
async fn start() -> (Suite, Client, String) {
    let suite = Suite::start(&[]).await;
    let owner = suite.owner();
    let model = people::model_id(&owner, MODEL).await;
    (suite, owner, model)
}

/// The status that a user's chat gets.
async fn asks(owner: &Client, person: &Person) -> u16 {
    owner.with_key(&person.key).post(CHAT, &chat(1, 1)).await.status
}

/// Waits until a user's chat gets this status. Changes travel to the gateway by themselves, within a moment.
async fn until_answered(owner: &Client, person: &Person, status: u16) {
    until(&format!("status {status}"), async || (asks(owner, person).await == status).then_some(())).await;
}

#[tokio::test]
async fn a_key_without_a_grant_is_refused_on_every_way_in() {
    let (suite, owner, _) = start().await;
    let ana = people::person(&owner, "ana").await;
    until_answered(&owner, &ana, 403).await;
    let (status, code, kind) = owner.with_key(&ana.key).post(CHAT, &chat(1, 1)).await.openai_error();
    assert_eq!((status, code.as_str(), kind.as_str()), (403, "model_not_permitted", "permission_error"));

    let channel = rpc::channel(suite.address, &ana.key).await;
    let prompt = Prompt { model: MODEL.into(), text: "w1".into(), ..Prompt::default() };
    let refused = InferenceServiceClient::new(channel)
        .infer(InferRequest { prompt: Some(prompt), ..InferRequest::default() })
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "MODEL_NOT_PERMITTED");
}

#[tokio::test]
async fn a_grant_lets_the_next_request_pass_and_its_revocation_stops_it() {
    let (_suite, owner, model) = start().await;
    let ana = people::person(&owner, "ana").await;
    until_answered(&owner, &ana, 403).await;
    for round in 1..=3 {
        let grant = people::grant(&owner, &model, &json!({"user_id": ana.id})).await;
        let granted = Instant::now();
        until_answered(&owner, &ana, 200).await;
        eprintln!("round {round}: a request passed {:?} after the grant's answer", granted.elapsed());
        people::revoke(&owner, &grant).await;
        until_answered(&owner, &ana, 403).await;
    }
}

#[tokio::test]
async fn a_grant_to_a_group_reaches_through_nested_groups_and_a_deny_wins() {
    let (_suite, owner, model) = start().await;
    let ana = people::person(&owner, "ana").await;
    let (outer, middle, inner) = (
        people::group(&owner, "all").await,
        people::group(&owner, "lab").await,
        people::group(&owner, "team").await,
    );
    people::join(&owner, &outer, &json!({"member_group_id": middle})).await;
    people::join(&owner, &middle, &json!({"member_group_id": inner})).await;
    people::grant(&owner, &model, &json!({"group_id": outer})).await;
    until_answered(&owner, &ana, 403).await;
    people::join(&owner, &inner, &json!({"user_id": ana.id})).await;
    until_answered(&owner, &ana, 200).await;
    let deny = people::grant(&owner, &model, &json!({"group_id": middle, "effect": "EFFECT_DENY"})).await;
    until_answered(&owner, &ana, 403).await;
    people::revoke(&owner, &deny).await;
    until_answered(&owner, &ana, 200).await;
}

#[tokio::test]
async fn a_grant_stops_to_count_when_it_expires_without_anybody_doing_anything() {
    let (_suite, owner, model) = start().await;
    let ana = people::person(&owner, "ana").await;
    until_answered(&owner, &ana, 403).await;
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(4);
    people::grant(&owner, &model, &json!({"user_id": ana.id, "expire_time": end.to_string()})).await;
    until_answered(&owner, &ana, 200).await;
    until_answered(&owner, &ana, 403).await;
}

#[tokio::test]
async fn a_caller_sees_the_models_that_it_may_use_and_no_others() {
    let engine = Engine::start("--model red,blue,green --time-scale 0").await;
    let suite = Suite::start(&[("TOLLGATE_ENGINES", &engine.url)]).await;
    let owner = suite.owner();
    let ana = people::person(&owner, "ana").await;
    let client = owner.with_key(&ana.key);
    let seen = async || {
        let list = client.get("/v1/models").await.ok().json();
        let ids =
            list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    until("a key that is known", async || (client.get("/v1/models").await.status == 200).then_some(())).await;
    assert_eq!(seen().await, Vec::<String>::new());
    for (name, expected) in [("red", vec!["red"]), ("blue", vec!["blue", "red"])] {
        let model = people::model_id(&owner, name).await;
        people::grant(&owner, &model, &json!({"user_id": ana.id})).await;
        until(&format!("models {expected:?}"), async || (seen().await == expected).then_some(())).await;
    }
    assert_eq!(client.get("/v1/models/red").await.status, 200);
    let hidden = client.get("/v1/models/green").await.openai_error();
    assert_eq!((hidden.0, hidden.1.as_str()), (404, "model_not_found"));
}

#[tokio::test]
async fn no_request_asks_permissions_over_the_network() {
    let (suite, owner, model) = start().await;
    let ana = people::person(&owner, "ana").await;
    people::grant(&owner, &model, &json!({"user_id": ana.id})).await;
    until_answered(&owner, &ana, 200).await;
    let calls = async || {
        // One look: what is said between two of them would be counted in one alone.
        let page = suite.nobody().get("/metrics").await.ok().text();
        let sum = |label| tests::metrics::sum(&page, "tollgate_service_calls_total", label);
        // What is said of oneself now and then, whoever calls, is no question.
        let told = ["/ReportReplica\"", "/ReportKeyUse\"", "/RecordIncidents\""];
        sum("service=\"permissions\"") - told.map(sum).iter().sum::<f64>()
    };
    let before = calls().await;
    assert!(before >= 1.0, "the watch itself is a call: {before}");
    for _ in 0..200 {
        assert_eq!(asks(&owner, &ana).await, 200);
    }
    assert_eq!(calls().await, before);
}
