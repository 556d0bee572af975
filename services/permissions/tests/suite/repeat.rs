//! The same request again, and requests that only ask whether they could be done.

use crate::world::{World, assert_invalid, assert_refused, on_both_engines, uuid};
use proto::permissions::v1 as pb;
use shared::{
    db::Db,
    event::{Event, Link},
    on,
};
use sqlx::types::Json;
use tonic::Code;

fn group(name: &str, request_id: &str) -> pb::CreateGroupRequest {
    pb::CreateGroupRequest { name: name.to_owned(), request_id: request_id.to_owned(), ..Default::default() }
}

async fn events(db: &Db) -> i64 {
    on!(db, |pool| sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(pool).await).unwrap()
}

on_both_engines! {
    async fn a_repeated_request_is_answered_as_before_and_done_once(world: World) {
        let id = uuid();
        let first = world.owner.groups().create_group(group("team", &id)).await.unwrap().into_inner();
        let known = events(&world.db).await;
        let again = world.owner.groups().create_group(group("team", &id)).await.unwrap().into_inner();
        assert_eq!(first, again);
        assert_eq!(events(&world.db).await, known);
        assert_refused(world.owner.groups().create_group(group("team", "")).await, Code::AlreadyExists, "ALREADY_EXISTS");
    }

    async fn a_repeated_key_has_the_same_secret_which_no_table_holds(world: World) {
        let request = pb::CreateKeyRequest { name: "key".to_owned(), request_id: uuid(), ..Default::default() };
        let first = world.owner.keys().create_key(request.clone()).await.unwrap().into_inner();
        assert_eq!(first, world.owner.keys().create_key(request).await.unwrap().into_inner());
        let kept: Vec<Vec<u8>> =
            on!(&world.db, |pool| sqlx::query_scalar("SELECT answer FROM answers").fetch_all(pool).await).unwrap();
        let secret = first.secret.as_bytes();
        assert_eq!(kept.len(), 1);
        assert!(!kept[0].windows(secret.len()).any(|window| window == secret));
    }

    async fn at_once_or_after_a_restart_it_is_done_once(world: World) {
        let id = uuid();
        let calls = (0..8).map(|_| {
            let mut groups = world.owner.groups();
            let request = group("team", &id);
            async move { groups.create_group(request).await.unwrap().into_inner() }
        });
        let answers = futures_util::future::join_all(calls).await;
        assert!(answers.iter().all(|answer| *answer == answers[0]));
        let other = world.another().await;
        let after = other.owner.groups().create_group(group("team", &id)).await.unwrap().into_inner();
        assert_eq!(after, answers[0]);
        other.end().await;
    }

    async fn an_idempotency_key_is_a_name_for_the_request(world: World) {
        let named = || {
            let mut request = tonic::Request::new(group("team", ""));
            request.metadata_mut().insert("idempotency-key", "team of today".parse().unwrap());
            request
        };
        let first = world.owner.groups().create_group(named()).await.unwrap().into_inner();
        assert_eq!(first, world.owner.groups().create_group(named()).await.unwrap().into_inner());
    }

    async fn another_request_under_the_same_id_is_refused(world: World) {
        let id = uuid();
        world.owner.groups().create_group(group("team", &id)).await.unwrap();
        assert_invalid(world.owner.groups().create_group(group("other", &id)).await, "request_id");
        let request = pb::DeleteGroupRequest { group_id: uuid(), request_id: id.clone(), ..Default::default() };
        assert_invalid(world.owner.groups().delete_group(request).await, "request_id");
        assert_invalid(world.owner.groups().create_group(group("other", "no uuid")).await, "request_id");
        let admin = world.user(proto::common::v1::Role::Admin).await;
        admin.groups().create_group(group("other", &id)).await.unwrap();
    }

    async fn what_was_refused_is_tried_again(world: World) {
        let id = uuid();
        let taken = world.group("team").await;
        assert_refused(world.owner.groups().create_group(group("team", &id)).await, Code::AlreadyExists, "ALREADY_EXISTS");
        let request = pb::DeleteGroupRequest { group_id: taken, ..Default::default() };
        world.owner.groups().delete_group(request).await.unwrap();
        world.owner.groups().create_group(group("team", &id)).await.unwrap();
    }

    async fn validating_decides_everything_and_changes_nothing(world: World) {
        let known = events(&world.db).await;
        let request = pb::CreateGroupRequest { validate_only: true, ..group("team", &uuid()) };
        let answer = world.owner.groups().create_group(request).await.unwrap().into_inner();
        assert_eq!((answer.token.as_str(), answer.group.unwrap().name.as_str()), ("", "team"));
        assert_eq!(events(&world.db).await, known);
        world.group("team").await;
        let request = pb::CreateGroupRequest { validate_only: true, ..group("team", "") };
        assert_refused(world.owner.groups().create_group(request).await, Code::AlreadyExists, "ALREADY_EXISTS");
    }

    async fn the_events_are_a_chain_up_to_the_head(world: World) {
        let model = world.model("m").await;
        let user = world.user(proto::common::v1::Role::Member).await;
        world.allow(&user.id, &model).await;
        type Row = (i64, i64, String, String, String, Option<Json<serde_json::Value>>, Option<Json<serde_json::Value>>,
            Option<Json<serde_json::Value>>, String, Option<uuid::Uuid>, String, String, shared::db::Time, Vec<u8>);
        let rows: Vec<Row> = on!(&world.db, |pool| {
            sqlx::query_as("SELECT revision, ordinal, kind, id, action, before, after, change, actor, key_id, \
                request_id, reason, occurred_at, link FROM events ORDER BY revision, ordinal").fetch_all(pool).await
        }).unwrap();
        let mut link = Link::FIRST;
        for row in rows {
            link = link.then(&Event {
                revision: policy::Revision(u64::try_from(row.0).unwrap()),
                ordinal: u32::try_from(row.1).unwrap(),
                kind: row.2, id: row.3, action: row.4,
                before: row.5.map(|json| json.0), after: row.6.map(|json| json.0), change: row.7.map(|json| json.0),
                actor: row.8, key: row.9.map(|id| id.to_string()), request_id: row.10, reason: row.11, at: row.12.0,
            });
            assert_eq!(link.0.as_slice(), row.13);
        }
        let head: Vec<u8> = on!(&world.db, |pool| sqlx::query_scalar("SELECT link FROM head").fetch_one(pool).await).unwrap();
        assert_eq!(link.0.as_slice(), head);
    }
}

#[tokio::test]
async fn a_store_refuses_to_start_with_another_key() {
    let world = World::sqlite().await;
    let config = permissions::Config {
        encryption_keys: vec![shared::seal::Sealer::generate()],
        ..crate::world::config()
    };
    let (tasks, health) = (shared::server::Tasks::default(), shared::health::Health::default());
    let error =
        permissions::Permissions::start(&config, world.db.clone(), &tasks, &health).await.unwrap_err();
    assert!(matches!(error, permissions::Error::Sealed(shared::seal::SealError::UnknownKey)), "{error}");
    world.end().await;
}
