//! A request with an `Idempotency-Key` that comes to several gateways at once: done at one of them, and taken over from
//! one that dies.

use crate::{
    answers::{stream, with},
    cached::{answered, ask, hits},
    engine::Engine,
    gateway::Gateway,
    second_tier::with_redis,
};
use futures_util::future::join_all;
use http::StatusCode;
use tests::redis::Redis;
use tokio::runtime::Builder;

const REDIS: [&str; 2] = ["answers in redis", "locks"];

#[tokio::test]
async fn sent_to_three_gateways_at_once_it_is_done_once() {
    let (engine, redis) = (Engine::simulated("tiny", &["--time-scale", "1"]).await, Redis::start());
    let mut all = Vec::new();
    for _ in 0..3 {
        let gateway = Gateway::with(&[&engine], with_redis(&redis.url())).await;
        gateway.until_up(&REDIS).await;
        all.push(gateway);
    }
    let chance = with(stream(30), "temperature", 0.7);
    let ask_all = all.iter().flat_map(|gateway| [gateway; 5]).map(|gateway| {
        let chance = &chance;
        async move { answered(ask(gateway, chance, &[("idempotency-key", "k")]).await).await }
    });
    let told = join_all(ask_all).await;
    assert!(told.iter().all(|(_, text)| *text == told[0].1), "they were told different things");
    assert_eq!(told.iter().filter(|(cached, _)| cached != "hit").count(), 1);
    assert_eq!(engine.idle().await.generation_tokens, 30);
    let other = with(chance, "user", "x");
    let refused = ask(&all[2], &other, &[("idempotency-key", "k")]).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let mut records = Vec::new();
    for gateway in all {
        records.extend(gateway.close().await);
    }
    let billed: u64 = records.iter().map(|record| record.completion_tokens).sum();
    assert_eq!((billed, hits(&records).len()), (30, 14), "one of fifteen is billed");
}

#[tokio::test]
async fn another_gateway_takes_over_from_one_that_dies() {
    let (engine, redis) = (Engine::simulated("tiny", &["--time-scale", "1"]).await, Redis::start());
    // What runs on it ends with it, in the middle of whatever it does.
    let doomed = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let engine: &'static Engine = Box::leak(Box::new(engine));
    let url = redis.url();
    let opening = doomed.spawn(async move { Gateway::with(&[engine], with_redis(&url)).await });
    let first = opening.await.unwrap();
    let second = Gateway::with(&[engine], with_redis(&redis.url())).await;
    for gateway in [&first, &second] {
        gateway.until_up(&REDIS).await;
    }
    let (chance, key) = (with(stream(150), "temperature", 0.7), [("idempotency-key", "k")]);
    let mut lost = ask(&first, &chance, &key).await;
    lost.event().await.unwrap();
    let waits = async { answered(ask(&second, &chance, &key).await).await };
    let dies = async {
        lost.event().await.unwrap();
        doomed.shutdown_background();
    };
    let ((_, told), ()) = tokio::join!(waits, dies);
    assert!(told.ends_with("data: [DONE]\n\n"), "all of it came");
    let made = engine.idle().await.generation_tokens;
    assert!((150..300).contains(&made), "{made} tokens: it was done once, and begun once before");
    assert_eq!(answered(ask(&second, &chance, &key).await).await, ("hit".to_owned(), told));
    drop(first);
    second.close().await;
}
