//! What was changed through any service is in one list.

use crate::operate::Desk;
use serde_json::{Value, json};
use tests::{
    http::{Client, Reply},
    people,
    suite::Suite,
};

const EVENTS: &str = "/api/v1/events";

fn list(answer: &Value) -> Vec<Value> {
    answer["events"].as_array().cloned().unwrap_or_default()
}

/// Who, through which service, did what to what.
fn told(event: &Value) -> (String, String, String) {
    let text = |field: &str| event[field].as_str().unwrap().to_owned();
    (text("service"), text("kind"), text("action"))
}

async fn put(client: &Client, level: &Value) -> Reply {
    client.send(client.with_json("PUT", "/api/v1/log-level", level)).await
}

async fn pages(client: &Client, query: &str, size: usize) -> Vec<Value> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{EVENTS}?page_size={size}&page_token={token}{query}")).await.data();
        all.extend(list(&page));
        match page["next_page_token"].as_str() {
            Some(next) if !next.is_empty() => next.clone_into(&mut token),
            _ => return all,
        }
    }
}

#[tokio::test]
async fn changes_of_all_services_are_one_list_in_the_order_of_time() {
    let suite = Suite::start(&[("TOLLGATE_INFERENCE__CACHE__WARM__ENABLED", "true")]).await;
    let (owner, desk) = (suite.owner(), Desk::signed_in(&suite));
    let ana = people::person(&owner, "ana").await;
    let engine = owner.get("/api/v1/engines").await.data()["engines"][0]["engine_id"].take();
    let engine = engine.as_str().unwrap();
    let reason = json!({ "reason": "maintenance" });
    for verb in ["cordon", "drain", "uncordon"] {
        let _ = owner.post(&format!("/api/v1/engines/{engine}:{verb}"), &reason).await.data();
    }
    let dependencies = json!({ "tag": "a", "depends_on": ["b"], "reason": "linked" });
    let _ = owner.post("/api/v1/cache/dependencies:set", &dependencies).await.data();
    let _ = people::person(&owner, "ben").await;
    let everything = json!({ "model": "*", "reason": "stale" });
    let _ = owner.post("/api/v1/cache/answers:invalidate", &everything).await.data();
    let reset = json!({ "layer": "LIMIT_LAYER_USER", "subject": ana.id, "reason": "sorry" });
    let _ = owner.post("/api/v1/limits:reset", &reset).await.data();
    let warm = json!({ "model": "*", "reason": "ready" });
    let _ = owner.post("/api/v1/cache/answers:warm", &warm).await.data();
    let mode = json!({ "mode": "SERVING_MODE_NORMAL", "reason": "whatever comes" });
    let _ = owner.post("/api/v1/mode", &mode).await.data();
    let level = json!({ "level": "info,inference=debug", "duration": "600s", "reason": "to see" });
    let levels = put(&owner, &level).await.data()["levels"].take();
    let levels = levels.as_array().unwrap();
    let services: Vec<_> = levels.iter().map(|level| level["service"].as_str().unwrap()).collect();
    assert_eq!(services, ["inference", "monitoring", "permissions", "edge"]);
    assert!(
        levels
            .iter()
            .all(|one| one["level"] == level["level"] && one["process_id"] == levels[0]["process_id"])
    );

    let all = pages(&owner, "", 1_000).await;
    let through = |service: &str| all.iter().map(told).filter(|told| told.0 == service).collect::<Vec<_>>();
    let done = |kind: &str, action: &str| ("inference".to_owned(), kind.to_owned(), action.to_owned());
    assert_eq!(
        through("inference"),
        [
            done("log_level", "updated"),
            done("serving_mode", "ordered"),
            done("cache_warming", "created"),
            done("limit", "reset"),
            done("cache_invalidation", "created"),
            done("cache_dependencies", "updated"),
            done("engine", "uncordoned"),
            done("engine", "drained"),
            done("engine", "cordoned"),
        ]
    );
    assert!(through("permissions").len() > 3, "{all:#?}");
    let times: Vec<_> =
        all.iter().map(|event| event["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
    let drained = all.iter().find(|event| event["action"] == "drained").unwrap();
    assert_eq!(drained["actor"], json!(suite.first_run().owner_id));
    assert_eq!((&drained["reason"], &drained["id"]), (&json!("maintenance"), &json!(engine)));
    assert_eq!(drained["before"]["reason"], "maintenance");
    assert!(drained["after"]["drain_until"].is_number() || drained["after"]["drain_until"].is_string());
    assert!(drained["request_id"].as_str().is_some_and(|id| !id.is_empty()));

    for size in [1, 2, 7] {
        assert_eq!(pages(&owner, "", size).await, all, "in pages of {size}");
    }
    let mut oldest = pages(&owner, "&oldest_first=true", 3).await;
    oldest.reverse();
    assert_eq!(oldest.len(), all.len());
    assert_eq!(pages(&owner, "&filter.kind=engine", 2).await.len(), 3);
    assert_eq!(pages(&owner, "&service=inference", 2).await.len(), 9);
    assert_eq!(pages(&owner, "&service=inference&filter.from_revision=6", 2).await.len(), 4);
    for (query, field) in
        [("filter.from_revision=6", "service"), ("service=nobody", "service"), ("page_token=x", "page_token")]
    {
        let refused = owner.get(&format!("{EVENTS}?{query}")).await;
        assert_eq!(
            (refused.status, refused.json()["details"]["field_violations"][0]["field"].clone()),
            (400, json!(field))
        );
    }
    let stranger = owner.with_key(&ana.key);
    for refused in [stranger.get(EVENTS).await, put(&stranger, &level).await] {
        assert_eq!((refused.status, refused.json()["error_code"].clone()), (403, json!("ROLE_NOT_ALLOWED")));
    }
    assert_eq!(owner.with_key("tgk_nobodys").get(EVENTS).await.status, 401);

    let table = desk.table("audit list --kind engine");
    assert!(table.starts_with("SERVICE ") && table.lines().count() == 4, "{table}");
    let back = desk.table("log-level set info --service inference");
    assert!(back.contains("inference  info"), "{back}");
    assert_eq!(desk.json("log-level show").as_array().map(Vec::len), Some(4));
}

/// What operators change through inference, each of which is in the list above or in the tests of the queue.
const CHANGES: [&str; 9] = [
    "CacheService/InvalidateCached",
    "CacheService/SetCacheDependencies",
    "CacheService/WarmCache",
    "EngineService/CordonEngine",
    "EngineService/DrainEngine",
    "EngineService/UncordonEngine",
    "LimitService/ResetLimit",
    "ModeService/SetMode",
    "QueueService/CancelQueued",
];

#[test]
fn nothing_that_an_operator_changes_through_inference_is_left_out() {
    let write = proto::common::v1::Scope::Write as i32;
    let ours =
        proto::ACCESS.iter().filter_map(|row| Some((row, row.path.strip_prefix("/tollgate.inference.v1.")?)));
    let mut changing: Vec<_> =
        ours.filter(|(row, _)| row.scope == write && !row.roles.is_empty()).map(|(_, path)| path).collect();
    changing.sort_unstable();
    assert_eq!(changing, CHANGES);
}
