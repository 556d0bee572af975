//! Processes killed at any moment (SIGKILL): what a client saw finished is in the ledger, exactly and once.
//! And one that is only told to stop (SIGTERM): it finishes what it began.

use crate::chat::{CHAT, chat, named, recorded, streamed, until_usable, usage};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use tests::{
    apart::{Apart, Role},
    engine::Engine,
    http::Client,
    ledger::{self, Record},
    people,
    suite::{MODEL, Suite},
    until,
};
use tokio::task::JoinSet;

/// Clients at once.
const CLIENTS: u64 = 12;

/// What a client saw of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// All of it, with these tokens read and made.
    Finished((u64, u64)),
    /// Its beginning, so it had reached an engine.
    Begun,
    /// Nothing.
    Nothing,
}

/// Clients that send one request after another, streams and others, short and long, until they are told to stop.
struct Load {
    finished: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<BTreeMap<String, Seen>>,
}

impl Load {
    fn start(client: &Client, seed: u64) -> Self {
        let (finished, stop, mut clients) = (Arc::default(), Arc::default(), JoinSet::new());
        for number in 0..CLIENTS {
            let (client, finished, stop) = (client.clone(), Arc::clone(&finished), Arc::clone(&stop));
            clients.spawn(one_client(client, seed * CLIENTS + number, finished, stop));
        }
        Self { finished, stop, clients }
    }

    async fn until_finished(&self, count: usize) {
        let enough = async || (self.finished.load(Ordering::SeqCst) >= count).then_some(());
        until(&format!("{count} finished requests"), enough).await;
    }

    /// What was seen of every request that was sent.
    async fn end(self) -> BTreeMap<String, Seen> {
        self.stop.store(true, Ordering::SeqCst);
        self.clients.join_all().await.into_iter().flatten().collect()
    }
}

async fn one_client(
    client: Client,
    number: u64,
    finished: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) -> BTreeMap<String, Seen> {
    let (mut sent, mut dice) = (BTreeMap::new(), number);
    while !stop.load(Ordering::SeqCst) {
        let id = format!("client-{number}-request-{}", sent.len());
        // An odd multiplier walks through all numbers; the upper bits look like chance.
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (words, tokens) = ((dice >> 40) as usize % 50 + 1, (dice >> 50) % 60 + 1);
        let seen = match dice >> 63 {
            0 => whole(&client, &id, &chat(words, tokens)).await,
            _ => stream(&client, &id, &streamed(words, tokens)).await,
        };
        if let Seen::Finished(_) = seen {
            finished.fetch_add(1, Ordering::SeqCst);
        }
        sent.insert(id, seen);
    }
    sent
}

async fn whole(client: &Client, id: &str, body: &Value) -> Seen {
    match client.try_send(named(client, id, body)).await {
        Ok(answer) if answer.status == 200 => Seen::Finished(usage(&answer.json())),
        _ => Seen::Nothing,
    }
}

async fn stream(client: &Client, id: &str, body: &Value) -> Seen {
    let Ok(mut stream) = client.try_stream(named(client, id, body)).await else { return Seen::Nothing };
    if stream.status != 200 {
        return Seen::Nothing;
    }
    let (mut cost, mut last) = (None, String::new());
    while let Some(event) = stream.next().await {
        if event.contains("\"choices\":[]") {
            cost = Some(usage(&serde_json::from_str(&event).unwrap()));
        }
        last = event;
    }
    if last == "[DONE]" { Seen::Finished(cost.unwrap()) } else { Seen::Begun }
}

/// The services apart, over two engines.
async fn start() -> (Apart, [Engine; 2]) {
    let flags = "--time-scale 5";
    let engines: [Engine; 2] = tokio::join!(Engine::start(flags), Engine::start(flags)).into();
    let urls = format!("{},{}", engines[0].url, engines[1].url);
    let apart = Apart::start(&[("TOLLGATE_ENGINES", &urls)]).await;
    people::register(&apart.owner(), MODEL).await;
    until_usable(&apart.owner()).await;
    (apart, engines)
}

/// A client of the gateway itself.
fn gateway(apart: &Apart) -> Client {
    Client::new(apart.address(Role::Inference), Some(&apart.first_run().api_key))
}

/// The whole ledger by the clients' ids, once a last request is in it: records arrive in the order of the journal.
async fn settled(apart: &Apart, mark: &str) -> BTreeMap<String, Record> {
    let client = gateway(apart);
    until_usable(&client).await;
    assert!(matches!(whole(&client, mark, &chat(1, 1)).await, Seen::Finished(_)));
    until("the last record", async || {
        let records = ledger::records(&apart.owner()).await;
        let ours = records
            .into_iter()
            .filter(|record| record.request_id.contains("client-") || record.request_id == mark);
        Some(ledger::by_request(ours.collect())).filter(|records| records.contains_key(mark))
    })
    .await
}

/// Holds what was recorded against what was seen. Returns how many requests were cut off.
fn compare(seen: &BTreeMap<String, Seen>, records: &BTreeMap<String, Record>) -> usize {
    let mut crashed = 0;
    for (id, seen) in seen {
        match (seen, records.get(id)) {
            (Seen::Finished(cost), Some(record)) => {
                assert_eq!((record.end().as_str(), recorded(record)), ("finished", *cost), "{id}");
            }
            (Seen::Begun | Seen::Nothing, Some(record)) => match record.end().as_str() {
                "crashed estimated" => crashed += 1,
                // It was finished; only the client did not hear of it any more.
                "finished" => {}
                other => panic!("{id} is recorded as {other}"),
            },
            (Seen::Nothing, None) => {}
            (Seen::Finished(_) | Seen::Begun, None) => panic!("{id} was {seen:?} and is in no record"),
        }
    }
    crashed
}

#[tokio::test]
async fn a_killed_gateway_loses_nothing_that_a_client_saw_finished_and_records_nothing_twice() {
    let (mut apart, engines) = start().await;
    let (mut all, mut crashed) = (BTreeMap::new(), 0);
    for (seed, moment) in [5, 60, 17, 110, 1, 33, 250, 3, 80, 41].into_iter().enumerate() {
        let load = Load::start(&gateway(&apart), seed as u64);
        load.until_finished(moment).await;
        apart.process(Role::Inference).kill();
        let seen = load.end().await;
        apart.run(Role::Inference).await;
        let records = settled(&apart, &format!("mark-{seed}")).await;
        crashed += compare(&seen, &records);
        all.extend(seen);
        assert!(records.keys().all(|id| id.starts_with("mark-") || all.contains_key(id)));
    }
    eprintln!("{} requests sent, {crashed} of them cut off by the crash", all.len());
    assert!(crashed > 0, "some moment must have cut requests off");

    // Nothing that was begun is missing: engines saw no request that has no record.
    for engine in &engines {
        engine.until_load((0, 0)).await;
    }
    let prefilled = async |engine: &Engine| engine.metric("time_to_first_token_seconds_count").await as usize;
    let begun = prefilled(&engines[0]).await + prefilled(&engines[1]).await;
    let records = ledger::records(&apart.owner()).await.len();
    assert!(records >= begun, "{records} records of {begun} requests that engines began");
}

#[tokio::test]
async fn a_killed_ledger_gets_every_record_once_when_it_is_back() {
    let (mut apart, _engines) = start().await;
    let load = Load::start(&gateway(&apart), 7);
    for moment in [40, 120] {
        load.until_finished(moment).await;
        apart.process(Role::Monitoring).kill();
        load.until_finished(moment + 40).await;
        apart.run(Role::Monitoring).await;
    }
    let seen = load.end().await;
    assert!(
        seen.values().all(|seen| matches!(seen, Seen::Finished(_))),
        "requests do not wait for the ledger"
    );
    let records = settled(&apart, "mark").await;
    assert_eq!(compare(&seen, &records), 0);
    assert_eq!(records.len(), seen.len() + 1);
}

#[tokio::test]
async fn a_gateway_killed_twice_while_the_ledger_is_away_still_owes_every_record() {
    let (mut apart, _engines) = start().await;
    let load = Load::start(&gateway(&apart), 11);
    load.until_finished(20).await;
    apart.process(Role::Monitoring).kill();
    load.until_finished(60).await;
    apart.process(Role::Inference).kill();
    let mut seen = load.end().await;
    // What it found cut off at this start is not shipped when it is killed again.
    apart.run(Role::Inference).await;
    let load = Load::start(&gateway(&apart), 12);
    load.until_finished(20).await;
    apart.process(Role::Inference).kill();
    seen.extend(load.end().await);
    apart.run(Role::Inference).await;
    apart.run(Role::Monitoring).await;
    let records = settled(&apart, "mark").await;
    assert!(compare(&seen, &records) > 0);
}

#[tokio::test]
async fn probes_tell_the_truth_while_a_gateway_finishes_its_streams() {
    let (mut apart, _engines) = start().await;
    let mut stream = gateway(&apart).stream(CHAT, &streamed(1, 150)).await;
    stream.next().await.unwrap();
    apart.process(Role::Inference).signal("TERM");
    let probes = Client::new(apart.admin(Role::Inference), None);
    until("not to be ready", async || (probes.get("/health/ready").await.status == 503).then_some(())).await;
    assert_eq!(probes.get("/health/live").await.status, 200, "it is alive, and finishes");
    assert_eq!(stream.all().await.last().unwrap(), "[DONE]");
    assert!(apart.process(Role::Inference).ended().await.success());
}

#[tokio::test]
async fn a_suite_that_is_told_to_stop_finishes_its_streams_and_their_accounts() {
    let mut suite = Suite::start(&[]).await;
    let owner = suite.owner();
    let mut streams = Vec::new();
    for tokens in [40, 60, 80] {
        let mut stream = owner.stream(CHAT, &streamed(1, tokens)).await;
        stream.next().await.unwrap();
        streams.push(stream);
    }
    suite.process.signal("TERM");
    for stream in &mut streams {
        assert_eq!(stream.all().await.last().unwrap(), "[DONE]");
    }
    assert!(suite.process.ended().await.success());
    suite.start_again().await;
    let records = ledger::at_least(&owner, 3).await;
    let mut costs: Vec<_> = records.iter().map(|record| (record.end(), record.completion_tokens)).collect();
    costs.sort();
    assert_eq!(costs, [40, 60, 80].map(|tokens| ("finished".to_owned(), tokens)));
}
