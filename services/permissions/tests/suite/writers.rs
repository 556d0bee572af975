//! Many writers at once: every revision is there once, and every event says who, in which request and why (P7).

use crate::{
    watch::Follower,
    world::{Caller, World, on_both_engines},
};
use proto::{common::v1::Role, permissions::v1 as pb};
use shared::on;
use std::collections::BTreeSet;
use tokio::task::JoinSet;
use tonic::Request;

async fn create(caller: Caller, n: u32) -> String {
    let request = pb::CreateGroupRequest { name: format!("group-{n}"), ..Default::default() };
    caller.groups().create_group(request).await.unwrap().into_inner().token
}

/// Two processes, 25 writers each.
async fn fifty_writers(world: &World, other: &World) {
    let before: i64 =
        on!(&world.db, |pool| sqlx::query_scalar("SELECT revision FROM head").fetch_one(pool).await).unwrap();
    let mut writers = JoinSet::new();
    for n in 0..50 {
        let caller = if n % 2 == 0 { &world.owner } else { &other.owner };
        writers.spawn(create(caller.clone(), n));
    }
    let tokens: BTreeSet<String> = writers.join_all().await.into_iter().collect();
    assert_eq!(tokens.len(), 50, "every write has a token of its own");
    let revisions: Vec<i64> = on!(&world.db, |pool| {
        sqlx::query_scalar("SELECT revision FROM events ORDER BY revision, ordinal").fetch_all(pool).await
    })
    .unwrap();
    let new: Vec<i64> = revisions.into_iter().filter(|revision| *revision > before).collect();
    assert_eq!(new, (before + 1..=before + 50).collect::<Vec<_>>());
}

on_both_engines! {
    async fn fifty_writers_leave_no_gap(world: World) {
        let other = world.another().await;
        fifty_writers(world, &other).await;
        other.end().await;
    }

    async fn an_event_says_who_in_which_request_and_why(world: World) {
        let admin = world.user(Role::Admin).await;
        let body = pb::CreateGroupRequest { name: "team".to_owned(), reason: "new project".to_owned(), ..Default::default() };
        let mut request = Request::new(body);
        request.metadata_mut().insert("x-request-id", "request-17".parse().unwrap());
        admin.groups().create_group(request).await.unwrap();
        let event: (String, String, String, String) = on!(&world.db, |pool| {
            sqlx::query_as("SELECT kind || ' ' || action, actor, request_id, reason FROM events ORDER BY revision DESC LIMIT 1")
                .fetch_one(pool)
                .await
        })
        .unwrap();
        let expected = ("group created", admin.id.as_str(), "request-17", "new project");
        assert_eq!((event.0.as_str(), event.1.as_str(), event.2.as_str(), event.3.as_str()), expected);
        let model = pb::RegisterModelRequest { name: "m".to_owned(), ..Default::default() };
        world.service().models().register_model(model).await.unwrap();
        let actors: Vec<String> = on!(&world.db, |pool| {
            sqlx::query_scalar("SELECT actor FROM events ORDER BY revision, ordinal").fetch_all(pool).await
        })
        .unwrap();
        assert_eq!((actors[0].as_str(), actors[actors.len() - 1].as_str()), ("first-run", "service"));
    }

    async fn a_write_that_changes_nothing_takes_no_revision(world: World) {
        let model = world.model("m").await;
        let mut follower = Follower::new(&world.service()).await;
        follower.catch_up().await;
        let before = follower.revision;
        let change = pb::UpdateModelRequest { model_id: model, ..Default::default() };
        let token = world.owner.models().update_model(change).await.unwrap().into_inner().token;
        assert!(!token.is_empty());
        follower.catch_up().await;
        assert_eq!(follower.revision, before);
    }
}

#[tokio::test]
async fn two_processes_share_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("permissions.db");
    let world = World::on(World::file(&path).await, None, &crate::world::config()).await;
    let other = world.another_on(World::file(&path).await, &crate::world::config()).await;
    fifty_writers(&world, &other).await;
    let (mut here, mut there) =
        (Follower::new(&world.service()).await, Follower::new(&other.service()).await);
    here.catch_up().await;
    there.catch_up().await;
    assert_eq!((here.revision, here.policy.canonical()), (there.revision, there.policy.canonical()));
    other.end().await;
    world.end().await;
}
