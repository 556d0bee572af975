//! How everything is, as an operator sees it: Redis and an engine go and come back, `tollgate health` says so, and a gateway
//! serves only what is urgent when it is told to.

use crate::{
    chat::{CHAT, chat},
    operate::Desk,
};
use serde_json::{Value, json};
use tests::{engine::Engine, http::Client, redis::Redis, suite::Suite, until};

/// A machine that tests run on may be as busy and full as it likes.
const BUSY: [(&str, &str); 6] = [
    ("TOLLGATE_MONITORING__HEALTH__CPU__DEGRADED", "1000"),
    ("TOLLGATE_MONITORING__HEALTH__CPU__CRITICAL", "1000"),
    ("TOLLGATE_MONITORING__HEALTH__MEMORY__DEGRADED", "1000"),
    ("TOLLGATE_MONITORING__HEALTH__MEMORY__CRITICAL", "1000"),
    ("TOLLGATE_MONITORING__HEALTH__DISK__DEGRADED", "1000"),
    ("TOLLGATE_MONITORING__HEALTH__DISK__CRITICAL", "1000"),
];

/// What the command prints as JSON once it ends like this and `shows` what is looked for.
async fn until_health(desk: &Desk<'_>, what: &str, code: i32, shows: impl Fn(&Value) -> bool) -> Value {
    until(what, async || {
        let said = desk.run(&["health", "--output", "json"], "");
        let (ended, printed) = said.ended();
        let health: Value = serde_json::from_str(printed).ok()?;
        (ended == code && shows(&health)).then_some(health)
    })
    .await
}

/// The status of the first dependency of a kind whose name holds a text.
fn status<'a>(health: &'a Value, kind: &str, name: &str) -> &'a str {
    let all = health["dependencies"].as_array().unwrap();
    let meant = |one: &&Value| {
        one["kind"] == format!("DEPENDENCY_KIND_{kind}") && one["name"].as_str().unwrap().contains(name)
    };
    all.iter().find(meant).map_or("", |one| one["status"].as_str().unwrap())
}

#[tokio::test]
async fn redis_and_an_engine_go_and_come_back_and_health_says_so() {
    let (mut redis, mut engine) = (Redis::start(), Engine::start("").await);
    let (url, engines) = (redis.url(), engine.url.clone());
    let own = [("TOLLGATE_REDIS__URL", url.as_str()), ("TOLLGATE_ENGINES", engines.as_str())];
    let suite = Suite::start(&[&BUSY[..], &own[..]].concat()).await;
    let desk = Desk::signed_in(&suite);

    let well = until_health(&desk, "everything to be well", 0, |health| {
        health["status"] == "HEALTH_STATUS_HEALTHY" && !status(health, "ENGINE", &engines).is_empty()
    })
    .await;
    for (kind, name) in [
        ("DATABASE", "usage database"),
        ("DATABASE", "jobs database"),
        ("REDIS", "locks"),
        ("API", "permissions"),
        ("API", "edge"),
    ] {
        assert_eq!(status(&well, kind, name), "HEALTH_STATUS_HEALTHY", "{kind} {name}");
    }
    let database = well["dependencies"].as_array().unwrap().iter().find(|one| one["name"] == "database");
    let database = database.unwrap();
    assert!(database["latency"].is_string() && database["last_success_time"].is_string(), "{database}");
    assert!(database["database"]["connections_limit"].as_u64().unwrap() > 0, "{database}");

    redis.kill();
    let gone = until_health(&desk, "redis to be missed", 1, |health| {
        status(health, "REDIS", "locks") == "HEALTH_STATUS_DEGRADED"
    })
    .await;
    assert_eq!(gone["status"], "HEALTH_STATUS_DEGRADED", "everything goes on without");
    redis.start_again();
    engine.process.kill();
    until_health(&desk, "the engine to be missed, and redis no more", 1, |health| {
        health["status"] == "HEALTH_STATUS_UNHEALTHY"
            && status(health, "ENGINE", &engines) == "HEALTH_STATUS_UNHEALTHY"
            && status(health, "REDIS", "locks") == "HEALTH_STATUS_HEALTHY"
    })
    .await;
    engine.start_again().await;
    until_health(&desk, "everything to be back", 0, |all| all["status"] == "HEALTH_STATUS_HEALTHY").await;
    let table = desk.run(&["health"], "").ok();
    assert!(table.contains("HEALTH_STATUS_HEALTHY") && table.contains("usage database"), "{table}");
}

/// What becomes of a chat of a class.
async fn asked(client: &Client, class: &str) -> (u16, Value) {
    let mut request = client.with_json("POST", CHAT, &chat(2, 2));
    request.headers_mut().insert("x-tollgate-priority", class.parse().unwrap());
    let reply = client.send(request).await;
    (reply.status, reply.json()["error"]["code"].clone())
}

#[tokio::test]
async fn an_operator_has_only_what_is_urgent_served_and_everything_again() {
    let suite = Suite::start(&BUSY).await;
    let (desk, owner) = (Desk::signed_in(&suite), suite.owner());
    assert_eq!(desk.json("health mode show")["mode"]["mode"], "SERVING_MODE_NORMAL");
    let set = desk.json("health mode set degraded --for 10m --reason drill")["mode"].take();
    assert_eq!((&set["mode"], &set["order"]["reason"]), (&json!("SERVING_MODE_DEGRADED"), &json!("drill")));
    let shown = desk.table("health mode show");
    assert!(shown.contains("SERVING_MODE_DEGRADED") && shown.contains("DEGRADED_REASON_OPERATOR"), "{shown}");

    assert_eq!(asked(&owner, "interactive").await.0, 200);
    let away = (503, json!("degraded"));
    assert_eq!((asked(&owner, "default").await, asked(&owner, "batch").await), (away.clone(), away));
    until("the alert", async || {
        let alerts = owner.get("/api/v1/alerts").await.ok().data();
        let alerts = alerts["alerts"].as_array()?.iter();
        let mut named = alerts.filter(|alert| alert["labels"]["alertname"] == "GatewayDegraded");
        named.any(|alert| alert["labels"]["reason"] == "operator").then_some(())
    })
    .await;
    until_health(&desk, "health to say so", 1, |health| {
        status(health, "PART", "serving mode") == "HEALTH_STATUS_DEGRADED"
    })
    .await;

    desk.table("health mode clear --reason over");
    assert_eq!(asked(&owner, "batch").await.0, 200);
    until_health(&desk, "everything to be well", 0, |_| true).await;
    let events = desk.json("audit list --kind serving_mode");
    let told: Vec<_> =
        events.as_array().unwrap().iter().map(|one| (&one["action"], &one["reason"])).collect();
    assert_eq!(told, [(&json!("released"), &json!("over")), (&json!("ordered"), &json!("drill"))]);
    desk.say("health mode set degraded --for 25h").refused(&["ttl"]);
    desk.say("health mode set degraded --for 0s").refused(&["ttl"]);
}
