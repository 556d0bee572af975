//! Three gateways over four engines: no engine ever holds more than it takes, and what waits outlives a gateway.

use crate::chat::{CHAT, chat, named, streamed};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tests::{
    engine::Engine,
    gateways::Gateways,
    http::Client,
    ledger::{self, Record},
    people,
    suite::MODEL,
    until, within,
};
use tokio::task::JoinSet;

/// Requests that each engine takes at once.
const LIMIT: u64 = 2;
const ENGINES: usize = 4;

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// All of it came.
    Whole,
    /// It was refused, with this status and reason.
    Refused(u16, String),
    /// It broke off with an error event.
    BrokenOff,
    /// The connection ended.
    Cut,
}

struct Scene {
    engines: Vec<Engine>,
    gateways: Gateways,
    calls: JoinSet<(String, usize, End)>,
}

impl Scene {
    async fn start(weights: &[f64]) -> Self {
        let mut engines = Vec::new();
        for _ in 0..ENGINES {
            engines.push(Engine::start("").await);
        }
        let urls: Vec<&str> = engines.iter().map(|engine| engine.url.as_str()).collect();
        let limit = LIMIT.to_string();
        let settings = [
            ("TOLLGATE_INFERENCE__ENGINE__MAX_IN_FLIGHT", limit.as_str()),
            // A probe is beside the limit.
            ("TOLLGATE_INFERENCE__ENGINE__PROBE__IDLE", "0s"),
            ("TOLLGATE_INFERENCE__ENGINE__PROBE__SILENCE", "60s"),
        ];
        let gateways = Gateways::start(weights, &urls, &settings).await;
        let owner = gateways.apart.owner();
        people::register(&owner, MODEL).await;
        for number in 0..weights.len() {
            until("a model that can be used", async || {
                let answer = gateways.client(number).post(CHAT, &chat(1, 1)).await;
                (answer.status == 200).then_some(())
            })
            .await;
        }
        Self { engines, gateways, calls: JoinSet::new() }
    }

    /// Begins as many calls at a gateway, every second one a stream.
    fn call(&mut self, number: usize, what: &str, count: usize, tokens: u64) {
        for call in 0..count {
            let (client, id) = (self.gateways.client(number), format!("{what}-{number}-{call}"));
            let stream = call % 2 == 0;
            self.calls.spawn(async move {
                let end = if stream {
                    events(&client, &id, tokens).await
                } else {
                    whole(&client, &id, tokens).await
                };
                (id, number, end)
            });
        }
    }

    /// What became of all calls, with the gateway that each was sent to.
    async fn ends(&mut self) -> BTreeMap<String, (usize, End)> {
        let mut ends = BTreeMap::new();
        while let Some(ended) = within("the end of a call", self.calls.join_next()).await {
            let (id, number, end) = ended.unwrap();
            ends.insert(id, (number, end));
        }
        ends
    }

    async fn running(&self) -> u64 {
        let mut running = 0;
        for engine in &self.engines {
            running += engine.load().await.0;
        }
        running
    }

    async fn until_full(&self) {
        until("engines that are all full", async || {
            (self.running().await == LIMIT * ENGINES as u64).then_some(())
        })
        .await;
    }

    async fn never_held_too_much(&self) {
        for engine in &self.engines {
            assert_eq!(engine.most_held().await, LIMIT, "{}", engine.url);
        }
    }

    /// Each call that came whole is in the ledger as finished exactly once.
    async fn accounted_for(&self, ends: &BTreeMap<String, (usize, End)>) {
        let owner = self.gateways.apart.owner();
        let finished = |records: &[Record], id: &String| {
            records.iter().filter(|one| one.request_id == *id && one.end() == "finished").count()
        };
        let whole: Vec<&String> =
            ends.iter().filter(|(_, end)| end.1 == End::Whole).map(|(id, _)| id).collect();
        let records = until("all that came whole in the ledger", async || {
            let records = ledger::records(&owner).await;
            whole.iter().all(|id| finished(&records, id) > 0).then_some(records)
        })
        .await;
        for id in whole {
            assert_eq!(finished(&records, id), 1, "{id}");
        }
    }
}

async fn whole(client: &Client, id: &str, tokens: u64) -> End {
    let mut request = named(client, id, &chat(2, tokens));
    request.headers_mut().insert("x-tollgate-priority", "batch".parse().unwrap());
    match client.try_send(request).await {
        Ok(answer) if answer.status == 200 => {
            assert_eq!(answer.json()["usage"]["completion_tokens"], tokens);
            End::Whole
        }
        Ok(answer) => End::Refused(answer.status, answer.openai_error().1),
        Err(_) => End::Cut,
    }
}

async fn events(client: &Client, id: &str, tokens: u64) -> End {
    let mut request = named(client, id, &streamed(2, tokens));
    request.headers_mut().insert("x-tollgate-priority", "batch".parse().unwrap());
    let Ok(mut stream) = client.try_stream(request).await else { return End::Cut };
    if stream.status != 200 {
        let (status, code, _) = stream.reply().await.openai_error();
        return End::Refused(status, code);
    }
    match stream.all().await.last().map(String::as_str) {
        Some("[DONE]") => End::Whole,
        Some(last) if last.contains("stream_interrupted") => End::BrokenOff,
        _ => End::Cut,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_gateway_uses_all_engines_and_none_holds_more_than_it_takes() {
    // The first owns everything, so whatever comes to the others is passed on.
    let mut scene = Scene::start(&[1e9, 1.0, 1.0]).await;
    assert_eq!(scene.gateways.owned(0).await, ENGINES as u64);
    (0..3).for_each(|number| scene.call(number, "a", 8, 20));
    scene.until_full().await;
    let ends = scene.ends().await;
    assert_eq!(ends.len(), 24);
    assert!(ends.values().all(|(_, end)| *end == End::Whole), "{ends:?}");
    scene.never_held_too_much().await;
    scene.accounted_for(&ends).await;
    let mut passed_on = 0;
    for number in 1..3 {
        passed_on += scene.gateways.metric(number, "tollgate_gateway_forwarded_total", "answered").await;
    }
    assert!(passed_on >= 16, "{passed_on} of the others' calls were passed on");

    // A refusal is said as the gateway says it that refuses.
    let (mine, passed) = (scene.gateways.client(0), scene.gateways.client(2));
    let mut wrong = chat(1, 1);
    wrong["max_tokens"] = 10_000_000.into();
    let (here, there) = (mine.post(CHAT, &wrong).await, passed.post(CHAT, &wrong).await);
    assert_eq!(here.status, 400, "{}", here.text());
    assert_eq!((here.status, here.json()), (there.status, there.json()));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_owner_is_killed_what_waits_is_answered_and_the_others_own_its_engines() {
    let mut scene = Scene::start(&[1e9, 1.0, 1.0]).await;
    (0..3).for_each(|number| scene.call(number, "before", 8, 40));
    scene.until_full().await;
    scene.gateways.running[0].process.kill();
    scene.gateways.until_owned(&[1, 2], ENGINES as u64).await;
    let ends = scene.ends().await;
    let others: Vec<_> = ends.iter().filter(|(_, (number, _))| *number != 0).collect();
    let survived = others.iter().filter(|(_, (_, end))| *end == End::Whole).count();
    let honest = |end: &End| matches!(end, End::Whole | End::BrokenOff);
    assert!(others.iter().all(|(_, (_, end))| honest(end)), "{ends:?}");
    let begun = others.len() - survived;
    assert!(begun <= LIMIT as usize * ENGINES, "only what had begun to stream broke off: {ends:?}");

    (1..3).for_each(|number| scene.call(number, "after", 6, 20));
    let after = scene.ends().await;
    assert!(after.values().all(|(_, end)| *end == End::Whole), "{after:?}");
    // It comes back, has its engines again, and tells what it had accounted for.
    scene.gateways.start_again(0).await;
    scene.gateways.until_owned(&[0], ENGINES as u64).await;
    (0..3).for_each(|number| scene.call(number, "back", 4, 20));
    let back = scene.ends().await;
    assert!(back.values().all(|(_, end)| *end == End::Whole), "{back:?}");
    scene.never_held_too_much().await;
    scene.accounted_for(&ends.into_iter().chain(after).chain(back).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_of_three_equal_gateways_may_be_killed() {
    let mut scene = Scene::start(&[1.0, 1.0, 1.0]).await;
    (0..3).for_each(|number| scene.call(number, "before", 8, 40));
    scene.until_full().await;
    scene.gateways.running[1].process.kill();
    scene.gateways.until_owned(&[0, 2], ENGINES as u64).await;
    (0..3).filter(|number| *number != 1).for_each(|number| scene.call(number, "after", 4, 20));
    let ends = scene.ends().await;
    let honest = |end: &End| matches!(end, End::Whole | End::BrokenOff);
    assert!(ends.values().filter(|(number, _)| *number != 1).all(|(_, end)| honest(end)), "{ends:?}");
    scene.never_held_too_much().await;
    scene.gateways.start_again(1).await;
    scene.accounted_for(&ends).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_gateway_is_asked_says_who_waits_at_all_of_them() {
    // REST asks the first; the second owns everything, so that all who wait do so there.
    let mut scene = Scene::start(&[1.0, 1e9, 1.0]).await;
    scene.call(0, "long", 14, 400);
    scene.until_full().await;
    let (owner, there) = (scene.gateways.apart.owner(), scene.gateways.url(1));
    let waits = 14 - LIMIT as usize * ENGINES;
    let all = until("all who wait", async || {
        let listed = owner.get("/api/v1/queue/requests").await.data()["requests"].take();
        listed.as_array().filter(|listed| listed.len() == waits).cloned()
    })
    .await;
    assert!(all.iter().all(|row| row["gateway"] == there.as_str()), "{all:?}");
    let (mut seen, mut token) = (BTreeSet::new(), String::new());
    for _ in 0..=waits {
        let page = owner.get(&format!("/api/v1/queue/requests?page_size=4&page_token={token}")).await.data();
        for row in page["requests"].as_array().into_iter().flatten() {
            assert!(seen.insert(row["usage_id"].as_str().unwrap().to_owned()), "{row} twice");
        }
        token = page["next_page_token"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((seen.len(), token.as_str()), (waits, ""));
    let queues = owner.get("/api/v1/queue/models").await.data();
    let waiting = |row: &Value| row["waiting_batch"].as_u64().unwrap_or(0);
    let rows = queues["queues"].as_array().unwrap();
    assert!(
        rows.iter().any(|row| row["gateway"] == there.as_str() && waiting(row) == waits as u64),
        "{queues}"
    );
    let elsewhere = scene.gateways.url(2);
    let named = owner.get(&format!("/api/v1/queue/requests?gateway={elsewhere}")).await.data();
    assert_eq!(named["requests"].as_array().map_or(0, Vec::len), 0, "{named}");
    assert_eq!(owner.get("/api/v1/queue/requests?gateway=nobody").await.status, 400);

    let id = all[0]["usage_id"].as_str().unwrap();
    let cancel = format!("/api/v1/queue/requests/{id}:cancel");
    assert_eq!(owner.post(&cancel, &serde_json::json!({"reason": "deploy"})).await.status, 200);
    assert_eq!(owner.post(&cancel, &serde_json::json!({})).await.status, 404);

    scene.gateways.running[2].process.signal("STOP");
    let queues = owner.get("/api/v1/queue/models").await.data();
    assert_eq!(queues["unreached"], serde_json::json!([elsewhere]), "{queues}");
    let degraded = serde_json::json!({"mode": "SERVING_MODE_DEGRADED", "ttl": "60s"});
    let told = owner.post("/api/v1/mode", &degraded).await.data();
    assert_eq!(told["unreached"], serde_json::json!([elsewhere]), "{told}");
    scene.gateways.running[2].process.signal("CONT");
    // Whichever is asked serves everything again.
    let told = owner.post("/api/v1/mode", &serde_json::json!({})).await.data();
    assert_eq!(told["mode"]["mode"], "SERVING_MODE_NORMAL", "{told}");
    assert!(told["unreached"].as_array().is_none_or(Vec::is_empty), "{told}");

    let ends = scene.ends().await;
    let withdrawn = End::Refused(409, "request_withdrawn".to_owned());
    assert_eq!(ends.values().filter(|(_, end)| *end == withdrawn).count(), 1, "{ends:?}");
    let goodput = until("what was served to be judged", async || {
        let rows = owner.get("/api/v1/queue/goodput?window=3600s").await.data()["goodput"].take();
        let offered = rows.as_array()?.iter().filter(|row| row["gateway"] == there.as_str());
        let offered: u64 = offered.filter_map(|row| row["offered"].as_u64()).sum();
        (offered >= 14).then_some(rows)
    })
    .await;
    assert!(goodput.as_array().is_some_and(|rows| !rows.is_empty()));
}
