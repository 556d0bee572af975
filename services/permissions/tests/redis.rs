//! Hints through a real Redis: what one process writes another one sees at once, and Redis may go and come (P8).
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: whatever is not as expected fails the test"
)]

#[path = "suite/world.rs"]
#[expect(dead_code, unused_imports, unused_macros, reason = "the suite uses the rest of it")]
mod world;

use permissions::{Config, MIGRATIONS};
use proto::{common::v1::Role, permissions::v1 as pb};
use shared::{db::Db, redis};
use std::time::Duration;
use tests::{redis::Redis, until};
use world::World;

/// Looks at the log by itself once in `poll`.
fn config(redis: &Redis, poll: Duration) -> Config {
    Config {
        poll_interval: poll,
        fresh_within: Duration::from_secs(600),
        redis: redis::Config { url: redis.url().into() },
        ..world::config()
    }
}

/// What the probes say of Redis.
async fn until_redis(world: &World, words: &str) {
    until(&format!("health to say `{words}` of redis"), async || {
        let report = serde_json::to_value(world.health.ready()).unwrap();
        let redis = report["components"]["redis"].to_string();
        assert_eq!(report["ok"], true, "redis is not needed");
        redis.contains(words).then_some(())
    })
    .await;
}

/// Two processes, each with a pool of its own.
async fn two(folder: &tempfile::TempDir, config: &Config) -> (World, World) {
    let path = folder.path().join("p.db");
    let one = World::on(World::file(&path).await, None, config).await;
    let other = one.another_on(World::file(&path).await, config).await;
    (one, other)
}

#[tokio::test]
async fn a_write_is_seen_at_once_elsewhere_and_again_after_redis_was_killed() {
    let mut redis = Redis::start();
    let folder = tempfile::tempdir().unwrap();
    // By itself nobody would look within the time that the test waits for anything.
    let (one, other) = two(&folder, &config(&redis, Duration::from_secs(60))).await;
    let (member, model) = (one.user(Role::Member).await, one.model("m").await);
    for world in [&one, &other] {
        until_redis(world, "up").await;
    }
    let seen = async |wanted: pb::Verdict| {
        until("the write at the other process", async || {
            (other.owner.may(&member.id, &model, pb::Action::Use).await.0 == wanted).then_some(())
        })
        .await;
    };
    let revoke = async |grant_id: String| {
        let request = pb::RevokeGrantRequest { grant_id, ..Default::default() };
        one.owner.grants().revoke_grant(request).await.unwrap();
    };
    for _ in 0..10 {
        let (grant, _) = one.allow(&member.id, &model).await;
        seen(pb::Verdict::Allowed).await;
        revoke(grant).await;
        seen(pb::Verdict::Denied).await;
    }

    redis.kill();
    for world in [&one, &other] {
        until_redis(world, "degraded").await;
    }
    // Nothing waits for it: writes and reads are as before.
    let (grant, token) = one.allow(&member.id, &model).await;
    let fresh = pb::CheckRequest {
        user_id: member.id.clone(),
        model: Some(pb::check_request::Model::ModelId(model.clone())),
        action: pb::Action::Use.into(),
        consistency: Some(pb::Consistency {
            requirement: Some(pb::consistency::Requirement::AtLeastAsFresh(token)),
        }),
        ..Default::default()
    };
    let answer = other.owner.authorization().check(fresh).await.unwrap().into_inner();
    assert_eq!(answer.verdict(), pb::Verdict::Allowed);
    revoke(grant).await;

    redis.start_again();
    for world in [&one, &other] {
        until_redis(world, "up").await;
    }
    seen(pb::Verdict::Denied).await;
    one.allow(&member.id, &model).await;
    seen(pb::Verdict::Allowed).await;
    other.end().await;
    one.end().await;
}

#[tokio::test]
async fn processes_of_another_installation_on_the_same_redis_do_not_matter() {
    let redis = Redis::start();
    let config = config(&redis, Duration::from_secs(60));
    let here = World::on(Db::memory(&MIGRATIONS).await.unwrap(), None, &config).await;
    let there = World::on(Db::memory(&MIGRATIONS).await.unwrap(), None, &config).await;
    for world in [&here, &there] {
        until_redis(world, "up").await;
        let (member, model) = (world.user(Role::Member).await, world.model("m").await);
        world.allow(&member.id, &model).await;
        assert_eq!(world.owner.may(&member.id, &model, pb::Action::Use).await.0, pb::Verdict::Allowed);
    }
    here.end().await;
    there.end().await;
}

#[tokio::test]
async fn without_redis_from_the_start_everything_works_and_health_says_what_is_missing() {
    let mut redis = Redis::start();
    redis.kill();
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = two(&folder, &config(&redis, Duration::from_millis(20))).await;
    let (member, model) = (one.user(Role::Member).await, one.model("m").await);
    one.allow(&member.id, &model).await;
    until("the write at the other process", async || {
        let verdict = other.owner.may(&member.id, &model, pb::Action::Use).await.0;
        (verdict == pb::Verdict::Allowed).then_some(())
    })
    .await;
    until_redis(&one, "degraded").await;
    other.end().await;
    one.end().await;
}
