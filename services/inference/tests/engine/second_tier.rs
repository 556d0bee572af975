//! Answers in Redis: found by other gateways, and missed by nobody when it is stopped, silent or empty.

use crate::{
    answers::{chat, stream, with},
    cached::{answered, ask, on},
    engine::Engine,
    gateway::Gateway,
    until,
};
use futures_util::future::join_all;
use http::StatusCode;
use inference::Config;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use tests::redis::Redis;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    task::JoinSet,
};

pub(crate) fn with_redis(url: &str) -> impl FnOnce(&mut Config) + Send + 'static {
    let url = url.to_owned();
    move |config| {
        on(config);
        config.redis.url = url.into();
        // As long as may be: it is not the time that is tested.
        config.cache.redis_wait = std::time::Duration::from_millis(10);
    }
}

/// Asks a new gateway, which has nothing in memory, until the answer comes from Redis.
async fn found_elsewhere(engine: &Engine, url: &str, body: &Value) -> String {
    let other = Gateway::with(&[engine], with_redis(url)).await;
    let told = until("the answer to be in Redis", async || {
        let answer = ask(&other, body, &[("cache-control", "only-if-cached")]).await;
        if answer.status != StatusCode::OK {
            assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
            return None;
        }
        Some(answered(answer).await)
    })
    .await;
    assert_eq!(told.0, "hit");
    assert_eq!(answered(other.chat(body).await).await, told);
    other.close().await;
    told.1
}

/// Has an answer of so many tokens made until another gateway finds it: nothing is written while Redis is away.
async fn until_written(what: &str, gateway: &Gateway, engine: &Engine, redis: &Redis, tokens: u32) {
    until(what, async || {
        let fresh = answered(ask(gateway, &chat(tokens), &[("cache-control", "no-cache")]).await).await;
        assert_eq!(fresh.0, "miss");
        let other = Gateway::with(&[engine], with_redis(&redis.url())).await;
        let seen = ask(&other, &chat(tokens), &[("cache-control", "only-if-cached")]).await;
        (seen.status == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn another_gateway_finds_the_answer_also_after_redis_was_killed_and_came_back_empty() {
    let (engine, mut redis) = (Engine::own(&[]).await, Redis::start());
    let gateway = Gateway::with(&[&engine], with_redis(&redis.url())).await;
    until_written("Redis to be connected", &gateway, &engine, &redis, 2).await;
    for body in [chat(5), stream(5)] {
        let (did, made) = answered(gateway.chat(&body).await).await;
        assert_eq!(did, "miss");
        let before = engine.idle().await;
        assert_eq!(found_elsewhere(&engine, &redis.url(), &body).await, made);
        assert_eq!(engine.counts().await, before);
    }
    redis.kill();
    let (did, _) = answered(gateway.chat(&chat(6)).await).await;
    assert_eq!(did, "miss");
    assert_eq!(answered(gateway.chat(&chat(6)).await).await.0, "hit");
    redis.start_again();
    until_written("answers to be written again", &gateway, &engine, &redis, 7).await;
    gateway.close().await;
}

#[tokio::test]
async fn vectors_are_found_one_by_one() {
    let (engine, redis) = (Engine::embedding().await, Redis::start());
    let gateway = Gateway::with(&[&engine], with_redis(&redis.url())).await;
    let texts =
        |count: u32| json!({"input": (0..count).map(|text| format!("text {text}")).collect::<Vec<_>>()});
    let other = until("vectors to be in Redis", async || {
        let fresh = with(texts(9), "tollgate", json!({"cache": "no-cache"}));
        assert_eq!(gateway.post("/v1/embeddings", &fresh).await.status, StatusCode::OK);
        let other = Gateway::with(&[&engine], with_redis(&redis.url())).await;
        let kept = with(texts(9), "tollgate", json!({"cache": "only-if-cached"}));
        (other.post("/v1/embeddings", &kept).await.status == StatusCode::OK).then_some(other)
    })
    .await;
    let before = engine.idle().await.prompt_tokens;
    let told = other.post("/v1/embeddings", &texts(10)).await.json().await;
    let read = engine.idle().await.prompt_tokens - before;
    let itself = engine.post("/v1/embeddings", &texts(10)).await.json().await;
    assert_eq!(told["data"], itself["data"]);
    assert!(read * 5 < itself["usage"]["prompt_tokens"].as_u64().unwrap(), "{read} tokens were read");
    other.close().await;
    gateway.close().await;
}

#[tokio::test]
async fn an_idempotency_key_holds_at_every_gateway() {
    let (engine, redis) = (Engine::own(&[]).await, Redis::start());
    let chance = with(stream(5), "temperature", 0.7);
    let named = async |gateway: &Gateway, key: &str, body: &Value| {
        ask(gateway, body, &[("idempotency-key", key)]).await
    };
    let one = Gateway::with(&[&engine], with_redis(&redis.url())).await;
    let (mut number, mut told) = (0, String::new());
    let other = until("the answer to be in Redis", async || {
        number += 1;
        told = answered(named(&one, &number.to_string(), &chance).await).await.1;
        let other = Gateway::with(&[&engine], with_redis(&redis.url())).await;
        let again = answered(named(&other, &number.to_string(), &chance).await).await;
        (again == ("hit".to_owned(), told.clone())).then_some(other)
    })
    .await;
    until("another request to be refused at a third", async || {
        let third = Gateway::with(&[&engine], with_redis(&redis.url())).await;
        let refused = named(&third, &number.to_string(), &with(chance.clone(), "user", "x")).await;
        (refused.status == StatusCode::UNPROCESSABLE_ENTITY).then_some(())
    })
    .await;
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn three_gateways_share_answers_before_and_after_redis_was_killed_and_came_back_empty() {
    let (engine, mut redis) = (Engine::own(&[]).await, Redis::start());
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(Gateway::with(&[&engine], with_redis(&redis.url())).await);
    }
    let share = async |tokens| {
        until("all to have what one made", async || {
            let fresh = ask(&all[0], &chat(tokens), &[("cache-control", "no-cache")]).await;
            assert_eq!(answered(fresh).await.0, "miss");
            let others = [&all[1], &all[2]].map(|gateway| async {
                let kept = ask(gateway, &chat(tokens), &[("cache-control", "only-if-cached")]).await;
                kept.status == StatusCode::OK
            });
            join_all(others).await.into_iter().all(|found| found).then_some(())
        })
        .await;
    };
    share(5).await;
    redis.kill();
    for gateway in &all {
        for did in ["miss", "hit"] {
            assert_eq!(answered(gateway.chat(&chat(6)).await).await.0, did, "each has its own");
        }
        assert_eq!(answered(gateway.chat(&chat(5)).await).await.0, "hit", "what it had");
    }
    redis.start_again();
    share(7).await;
    for gateway in all {
        gateway.close().await;
    }
}

/// Passes bytes on, and holds them back while it is told to.
pub(crate) struct Stalling {
    pub(crate) address: SocketAddr,
    pub(crate) held: watch::Sender<bool>,
    _running: JoinSet<()>,
}

impl Stalling {
    pub(crate) async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let held = watch::Sender::new(false);
        let (holds, mut running) = (held.subscribe(), JoinSet::new());
        running.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(target).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                open.spawn(pass(near_in, far_out, holds.clone()));
                open.spawn(pass(far_in, near_out, holds.clone()));
            }
        });
        Self { address, held, _running: running }
    }
}

async fn pass(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, mut held: watch::Receiver<bool>) {
    let mut bytes = [0; 4_096];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if held.wait_for(|held| !held).await.is_err() || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn nobody_waits_for_a_redis_that_says_nothing() {
    let (engine, redis) = (Engine::own(&[]).await, Redis::start());
    let between = Stalling::before(redis.url().trim_start_matches("redis://").parse().unwrap()).await;
    let gateway = Gateway::with(&[&engine], with_redis(&format!("redis://{}", between.address))).await;
    answered(gateway.chat(&chat(5)).await).await;
    between.held.send_replace(true);
    // More than after which it is not asked any more, and all are answered while it is silent.
    for tokens in 6..16 {
        assert_eq!(answered(gateway.chat(&chat(tokens)).await).await.0, "miss");
        assert_eq!(answered(gateway.chat(&chat(tokens)).await).await.0, "hit");
    }
    between.held.send_replace(false);
    until_written("answers to be written again", &gateway, &engine, &redis, 7).await;
    gateway.close().await;
}
