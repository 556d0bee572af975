//! Engines as operators work with them: listed, taken out and put back by command, and changed in the settings while
//! everything runs.

use crate::{
    chat::{CHAT, chat},
    operate::Desk,
};
use serde_json::json;
use std::fs;
use tempfile::TempDir;
use tests::{engine::Engine, ledger, suite::Suite, until};

#[tokio::test]
async fn operators_take_engines_out_and_put_them_back() {
    let (first, second) = tokio::join!(Engine::start("--time-scale 10"), Engine::start("--time-scale 10"));
    let engines = format!("{},{}", first.url, second.url);
    let suite = Suite::start(&[("TOLLGATE_ENGINES", engines.as_str())]).await;
    let desk = Desk::signed_in(&suite);
    let table = desk.table("engines list");
    assert!(table.starts_with("ENGINE ") && table.contains(&first.url), "{table}");
    assert_eq!(table.lines().count(), 3, "{table}");
    let listed = desk.json("engines list --model tollgate-sim");
    let id = listed[0]["engine_id"].as_str().unwrap().to_owned();
    assert_eq!((&listed[0]["url"], &listed[0]["state"]), (&json!(first.url), &json!("ENGINE_STATE_HEALTHY")));
    assert_eq!(desk.json("engines list --model nothing"), json!([]));

    let cordoned = desk.json(&format!("engines cordon {} --reason disk", first.url))["engine"].take();
    assert_eq!(
        (&cordoned["state"], &cordoned["state_reason"]),
        (&json!("ENGINE_STATE_CORDONED"), &json!("disk"))
    );
    assert_eq!(cordoned["cordon"]["actor"], json!(suite.first_run().owner_id));
    let owner = suite.owner();
    let _ = owner.post(CHAT, &chat(1, 1)).await.ok();
    assert_eq!(ledger::at_least(&owner, 1).await[0].engine, second.url);
    let drained = desk.json(&format!("engines drain {id} --limit 5m"))["engine"].take();
    assert_eq!(drained["state"], "ENGINE_STATE_DRAINED");
    assert!(desk.table(&format!("engines show {id}")).contains("ENGINE_STATE_DRAINED"));
    let back = desk.json(&format!("engines undrain {id}"))["engine"].take();
    assert_eq!(back["state"], "ENGINE_STATE_HEALTHY");

    // The same by REST.
    let path = format!("/api/v1/engines/{id}");
    let cordoned = owner.post(&format!("{path}:cordon"), &json!({"reason": "rest"})).await.data();
    assert_eq!(cordoned["engine"]["state_reason"], "rest");
    assert_eq!(owner.get(&path).await.data()["engine"]["state"], "ENGINE_STATE_CORDONED");
    let drained = owner.post(&format!("{path}:drain"), &json!({"limit": "60s"})).await.data();
    assert_eq!(drained["engine"]["state"], "ENGINE_STATE_DRAINED");
    let back = owner.post(&format!("{path}:uncordon"), &json!({})).await.data();
    assert_eq!(back["engine"]["state"], "ENGINE_STATE_HEALTHY");
    desk.say("engines cordon http://nowhere:1").refused(&["there is no engine http://nowhere:1"]);
    desk.say("engines show nobody").refused(&["ENGINE_NOT_FOUND"]);
}

#[tokio::test]
async fn engines_are_changed_in_the_file_without_a_restart() {
    let (first, second) = tokio::join!(Engine::start("--time-scale 10"), Engine::start("--time-scale 10"));
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("tollgate.toml");
    fs::write(&file, format!("[inference]\nengines = [\"{}\"]\n", first.url)).unwrap();
    let suite = Suite::start(&[("TOLLGATE_CONFIG", file.to_str().unwrap())]).await;
    let owner = suite.owner();
    let urls = async || -> Vec<String> {
        let engines = owner.get("/api/v1/engines").await.data()["engines"].take();
        let healthy = engines.as_array().unwrap().iter().filter(|one| one["state"] == "ENGINE_STATE_HEALTHY");
        healthy.map(|engine| engine["url"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(urls().await, std::slice::from_ref(&first.url));

    // What cannot be followed is said, and nothing changes.
    fs::write(&file, "[inference]\nengines = [\"ftp://engine\"]\n").unwrap();
    suite.process.signal("HUP");
    until("a word about the fault", async || suite.process.log().contains("stays in use").then_some(()))
        .await;
    assert!(suite.process.log().contains("inference.engines: `ftp://engine`"));
    assert_eq!(urls().await, std::slice::from_ref(&first.url));

    // Without the signal the file is read again all the same.
    fs::write(&file, format!("[inference]\nengines = [\"{}\"]\n", second.url)).unwrap();
    until("the other engine", async || (urls().await == [second.url.clone()]).then_some(())).await;
    let _ = owner.post(CHAT, &chat(1, 1)).await.ok();
    assert_eq!(ledger::at_least(&owner, 1).await[0].engine, second.url);
}
