//! Gates that share through a real Redis, and what the layer does with them.

mod places;

use super::{Asked, Gate, Prompted, Ticket, start};
use crate::{
    auth::{Caller, Person},
    health::Health,
    redis,
    server::Tasks,
};
use limits::{Action, Layer, Limit, Settings};
use policy::{KeyId, Role, Scopes, UserId};
use std::{net::IpAddr, time::Duration};
use tests::{redis::Redis, until};
use uuid::Uuid;

const DO: &str = "/do";

fn settings(limits: Vec<Limit>) -> Settings {
    let mut settings = Settings { hours: Vec::new(), ..Settings::default() };
    settings.actions.insert("do".to_owned(), Action { limits, scaled: false, ..Action::default() });
    settings.routes.insert(DO.to_owned(), "do".to_owned());
    settings
}

fn requests(most: u64, window: Duration) -> Limit {
    Limit { requests: Some(most), window: Some(window), ..Limit::default() }
}

fn person(user: u128) -> Person {
    let user = UserId(Uuid::from_u128(user));
    Person { user, key: None, session: None, role: Role::Member, scopes: Scopes::ALL }
}

fn enter(gate: &Gate, caller: Option<Person>) -> bool {
    let caller = caller.map(Caller::Person);
    gate.enter(Asked { caller: caller.as_ref(), peer: None, verb: "POST", path: DO }).is_ok()
}

struct Replica {
    gate: Gate,
    tasks: Tasks,
    health: Health,
}

impl Replica {
    async fn start(url: &str, settings: Settings) -> Self {
        let replica = Self { gate: Gate::new(settings), tasks: Tasks::default(), health: Health::default() };
        let config = redis::Config { url: url.into() };
        start(&replica.gate, &config, &replica.tasks, &replica.health);
        replica.until_shared(true).await;
        replica
    }

    async fn until_shared(&self, shared: bool) {
        until("the gate to notice", async || (self.gate.is_shared() == shared).then_some(())).await;
    }

    /// Nothing is left to tell.
    async fn until_told(&self) {
        until("everything to be told", async || (!self.gate.lock().has_news()).then_some(())).await;
    }
}

async fn three(url: &str, settings: &Settings) -> [Replica; 3] {
    let one = || Replica::start(url, settings.clone());
    tokio::join!(one(), one(), one()).into()
}

/// How many are let in by all of them, taking turns as fast as they can.
async fn storm(replicas: &[Replica; 3], turns: usize) -> u64 {
    let mut allowed = 0;
    for _ in 0..turns {
        for replica in replicas {
            allowed += u64::from(enter(&replica.gate, Some(person(1))));
        }
        tokio::task::yield_now().await;
    }
    allowed
}

#[tokio::test(flavor = "multi_thread")]
async fn three_never_let_in_more_than_the_limit_and_two_leases() {
    let redis = Redis::start();
    let settings = settings(vec![requests(100, Duration::from_secs(3_600))]);
    let replicas = three(&redis.url(), &settings).await;
    let mut allowed = storm(&replicas, 200).await;
    for _ in 0..20 {
        for replica in &replicas {
            replica.until_told().await;
        }
        allowed += storm(&replicas, 20).await;
    }
    // A lease is a fifth.
    assert!((100..=140).contains(&allowed), "{allowed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_and_comes_back_empty_is_told_what_was_used() {
    let mut redis = Redis::start();
    let settings = settings(vec![requests(50, Duration::from_secs(3_600))]);
    let replicas = three(&redis.url(), &settings).await;
    let mut allowed = 0;
    for _ in 0..10 {
        allowed += storm(&replicas, 1).await;
        for replica in &replicas {
            replica.until_told().await;
        }
    }
    assert_eq!(allowed, 30);
    // Whoever told first has not heard of the last ones.
    for replica in &replicas {
        replica.gate.lock().tell_all();
        replica.gate.tell_if_shared();
        replica.until_told().await;
    }
    redis.kill();
    for replica in &replicas {
        replica.until_shared(false).await;
        let report = serde_json::to_value(replica.health.ready()).unwrap();
        assert_eq!(report["components"]["limits"]["status"], "degraded");
        assert_eq!(report["ok"], true);
    }
    // Alone, what others used is still known: 20 are left for each.
    for replica in &replicas {
        assert_eq!((0..100).filter(|_| enter(&replica.gate, Some(person(1)))).count(), 20);
    }
    redis.start_again();
    for replica in &replicas {
        until("all of it to be known", async || {
            let gate = &replica.gate;
            let seen = gate.lock().seen(Layer::User, Some(1), gate.now());
            (seen.first()?.used == 90).then_some(())
        })
        .await;
    }
    assert_eq!(storm(&replicas, 10).await, 0);
    replicas[0].tasks.end(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_under_way_are_counted_over_all_of_them() {
    let redis = Redis::start();
    let settings = settings(vec![Limit { concurrent: Some(3), ..Limit::default() }]);
    let replicas = three(&redis.url(), &settings).await;
    let caller = Caller::Person(person(1));
    let asked = Asked { caller: Some(&caller), peer: None, verb: "POST", path: DO };
    let mut under_way = Vec::new();
    for replica in &replicas {
        until("a place", async || replica.gate.enter(asked).ok().map(|ticket| under_way.push(ticket))).await;
        replica.until_told().await;
    }
    // Each hears of the others with its own next exchange.
    until("all to be taken everywhere", async || {
        let full = replicas.iter().all(|replica| replica.gate.enter(asked).is_err());
        full.then_some(())
    })
    .await;
    under_way.clear();
    until("places to be free", async || {
        let free = replicas.iter().all(|replica| replica.gate.enter(asked).is_ok());
        free.then_some(())
    })
    .await;
}

#[test]
fn services_and_keys_of_the_first_run_are_unlimited() {
    let mut settings = settings(vec![requests(1, Duration::from_secs(60))]);
    let named = KeyId(Uuid::from_u128(99));
    settings.unlimited_keys.push(named.0);
    let gate = Gate::new(settings);
    let first = crate::api_key::of_first_run(person(1).user);
    assert_eq!(first.0.get_version_num(), person(1).user.0.get_version_num());
    for (key, allowed) in [(first, 10), (named, 10), (KeyId(Uuid::from_u128(5)), 1)] {
        let caller = Person { key: Some(key), ..person(1) };
        assert_eq!((0..10).filter(|_| enter(&gate, Some(caller))).count(), allowed, "{key}");
    }
    let other = Person { key: Some(first), ..person(2) };
    assert!(enter(&gate, Some(other)) && !enter(&gate, Some(other)), "it is the first key of somebody else");
    let asked = Asked { caller: Some(&Caller::Service), peer: None, verb: "POST", path: DO };
    assert!((0..10).all(|_| gate.enter(asked).is_ok()));
}

#[test]
fn nobody_known_is_counted_by_address_and_many_of_a_subscriber_are_one() {
    let gate = Gate::new(settings(vec![requests(2, Duration::from_secs(60))]));
    let ask = |address: &str| {
        let peer: IpAddr = address.parse().unwrap();
        gate.enter(Asked { caller: None, peer: Some(peer), verb: "POST", path: DO }).is_ok()
    };
    assert!(ask("192.0.2.1") && ask("192.0.2.1") && !ask("192.0.2.1"));
    assert!(ask("192.0.2.2"));
    assert!(ask("2001:db8::1") && ask("2001:db8::ffff:2") && !ask("2001:db8::3"));
    assert!(ask("2001:db8:0:1::1"));
}

#[tokio::test]
async fn tokens_count_when_the_last_who_holds_the_call_lets_go() {
    let mut settings = Settings { hours: Vec::new(), ..Settings::default() };
    let tokens = Limit { tokens: Some(100), ..Limit::default() };
    settings.actions.insert("inference".into(), Action { limits: vec![tokens], ..Action::default() });
    let gate = Gate::new(settings);
    let caller = Caller::Person(person(1));
    let ticket = || {
        gate.enter(Asked { caller: Some(&caller), peer: None, verb: "POST", path: "/v1/embeddings" }).unwrap()
    };
    let prompt = |ticket: &Ticket, tokens| {
        ticket.prompt(Prompted { person: &person(1), group: None, model: 7, tokens }).is_ok()
    };
    let first = ticket();
    assert!(Ticket::current().is_none());
    let held = first.clone().around(async { Ticket::current().unwrap() }).await;
    assert!(prompt(&held, 60));
    assert!(!prompt(&ticket(), 60), "reserved");
    held.used(20);
    held.used(10);
    drop(first);
    assert!(!prompt(&ticket(), 60), "still under way");
    drop(held);
    let next = ticket();
    assert!(prompt(&next, 60), "30 of 100 were used");
    drop(next);
    assert!(prompt(&ticket(), 70), "nothing was used of the one that ended without a word");
    assert!(!prompt(&ticket(), 71));
}

#[test]
fn places_among_calls_under_way_come_back_and_nobody_unlimited_needs_one() {
    let mut settings = settings(vec![requests(1_000, Duration::from_secs(60))]);
    settings.at_once.light = 2;
    let gate = Gate::new(settings);
    let caller = Caller::Person(person(1));
    let asked = Asked { caller: Some(&caller), peer: None, verb: "POST", path: DO };
    let held = [gate.enter(asked).unwrap(), gate.enter(asked).unwrap()];
    let refused = gate.enter(asked).unwrap_err();
    assert_eq!(refused.retry_after(), Duration::from_secs(1));
    let said = refused.status();
    assert_eq!(said.code(), tonic::Code::ResourceExhausted);
    assert!(said.message().starts_with("2 calls of this endpoint are under way"), "{}", said.message());
    let service = Asked { caller: Some(&Caller::Service), ..asked };
    assert!((0..9).all(|_| gate.enter(service).is_ok()));
    // What was refused for want of a place was not counted.
    let seen = gate.lock().seen(Layer::User, Some(1), gate.now());
    assert_eq!(seen.first().unwrap().used, 2);
    drop(held);
    assert!(gate.enter(asked).is_ok());
    assert_eq!(gate.lock().under_way(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_redis_that_is_frozen() {
    let redis = Redis::start();
    let settings = settings(vec![requests(1_000_000, Duration::from_secs(3_600))]);
    let replica = Replica::start(&redis.url(), settings).await;
    redis.freeze();
    let caller = Caller::Person(person(1));
    let asked = Asked { caller: Some(&caller), peer: None, verb: "POST", path: DO };
    // Decisions are no futures: there is nothing in them that could wait. That they do not is seen by the task that
    // tells of them, which is stuck meanwhile.
    for _ in 0..100_000 {
        assert!(replica.gate.enter(asked).is_ok() || replica.gate.is_shared());
    }
    replica.until_shared(false).await;
    assert!((0..100_000).all(|_| replica.gate.enter(asked).is_ok()), "alone, all of the limit is there");
    redis.thaw();
    replica.until_shared(true).await;
    replica.until_told().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_there_is_nobody_to_tell() {
    let (gate, tasks, health) = (Gate::new(Settings::default()), Tasks::default(), Health::default());
    start(&gate, &redis::Config::default(), &tasks, &health);
    assert!(!gate.is_shared() && !gate.clear_everywhere(vec!["x".to_owned()]));
    assert!(serde_json::to_value(health.ready()).unwrap()["components"].get("limits").is_none());
    assert!(tasks.end(Duration::from_secs(5)).await);
}
