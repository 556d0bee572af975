//! New secrets for keys: at once, with the old one for a while, and told when due (A4).

use super::{create, identify, new, revoke};
use crate::world::{
    Caller, World, assert_invalid, assert_missing, assert_refused, config, in_seconds, on_both_engines, uuid,
};
use proto::{common::v1::Role, permissions::v1 as pb};
use shared::on;
use tonic::Code;

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn turn(key: &str, grace: Option<prost_types::Duration>) -> pb::RotateKeyRequest {
    pb::RotateKeyRequest { key_id: key.to_owned(), grace, ..Default::default() }
}

async fn rotate(caller: &Caller, key: &str, grace: Option<prost_types::Duration>) -> (pb::Key, String) {
    let answer = caller.keys().rotate_key(turn(key, grace)).await.unwrap().into_inner();
    (answer.key.unwrap(), answer.secret)
}

async fn get(caller: &Caller, key: &str) -> pb::Key {
    let request = pb::GetKeyRequest { key_id: key.to_owned() };
    caller.keys().get_key(request).await.unwrap().into_inner().key.unwrap()
}

fn every(days: i64, policy: pb::RotationPolicy) -> Option<pb::Rotation> {
    let (every, grace) = (seconds(days * 86_400), seconds(86_400));
    Some(pb::Rotation { every, grace, policy: policy.into() })
}

async fn events(world: &World, action: &'static str) -> i64 {
    let count = "SELECT count(*) FROM events WHERE kind = 'key' AND action = $1";
    on!(&world.db, |pool| sqlx::query_scalar(count).bind(action).fetch_one(pool).await).unwrap()
}

on_both_engines! {
    async fn both_secrets_work_until_the_grace_is_over(world: World) {
        let member = world.user(Role::Member).await;
        let (key, old) = create(&member, new()).await;
        let (rotated, fresh) = rotate(&member, &key.key_id, None).await;
        assert_ne!(old, fresh);
        assert_eq!((&rotated.key_id, &rotated.expire_time, &rotated.create_time), (&key.key_id, &key.expire_time, &key.create_time));
        assert!(fresh.starts_with(&rotated.hint) && rotated.etag != key.etag);
        let grace = rotated.previous_until_time.unwrap().seconds - rotated.secret_time.unwrap().seconds;
        assert_eq!(grace, 86_400, "as configured");
        for secret in [&old, &fresh] {
            assert_eq!(identify(world, secret).await.unwrap().into_inner().key_id, key.key_id);
        }
        assert_eq!(get(&member, &key.key_id).await.previous_until_time, rotated.previous_until_time);
        // Another process reads it as it stands in the table, where the grace is over.
        let past: Vec<serde_json::Value> = on!(&world.db, |pool| {
            sqlx::query_scalar::<_, sqlx::types::Json<Vec<serde_json::Value>>>(
                "SELECT previous FROM keys WHERE name = 'laptop'").fetch_one(pool).await
        }).unwrap().0.into_iter().map(|mut old| {
            old["until"] = 1.into();
            old
        }).collect();
        on!(&world.db, |pool| {
            sqlx::query("UPDATE keys SET previous = $1 WHERE name = 'laptop'")
                .bind(sqlx::types::Json(&past)).execute(pool).await.map(drop)
        }).unwrap();
        let other = world.another().await;
        assert_refused(identify(&other, &old).await, Code::Unauthenticated, "KEY_EXPIRED");
        identify(&other, &fresh).await.unwrap();
        other.end().await;
    }

    async fn a_grace_of_zero_ends_the_old_secrets_now(world: World) {
        let (key, first) = create(&world.owner, new()).await;
        let (_, second) = rotate(&world.owner, &key.key_id, seconds(3_600)).await;
        let (rotated, third) = rotate(&world.owner, &key.key_id, seconds(0)).await;
        assert_eq!(rotated.previous_until_time, None);
        for old in [&first, &second] {
            assert_refused(identify(world, old).await, Code::Unauthenticated, "KEY_UNKNOWN");
        }
        identify(world, &third).await.unwrap();
    }

    async fn rotated_twice_all_three_work_and_revoked_none(world: World) {
        let (key, first) = create(&world.owner, new()).await;
        let (_, second) = rotate(&world.owner, &key.key_id, seconds(3_600)).await;
        let (_, third) = rotate(&world.owner, &key.key_id, seconds(60)).await;
        for secret in [&first, &second, &third] {
            identify(world, secret).await.unwrap();
        }
        // And in a process that starts now.
        let other = world.another().await;
        for secret in [&first, &second, &third] {
            identify(&other, secret).await.unwrap();
        }
        other.end().await;
        world.owner.keys().revoke_key(revoke(&key.key_id)).await.unwrap();
        for secret in [&first, &second, &third] {
            assert_refused(identify(world, secret).await, Code::Unauthenticated, "KEY_REVOKED");
        }
        let again = world.owner.keys().rotate_key(turn(&key.key_id, None)).await;
        assert_refused(again, Code::FailedPrecondition, "KEY_ENDED");
    }

    async fn a_repeated_rotation_is_done_once_and_a_validated_one_not_at_all(world: World) {
        let (key, old) = create(&world.owner, new()).await;
        let request = pb::RotateKeyRequest { request_id: uuid(), ..turn(&key.key_id, seconds(0)) };
        let first = world.owner.keys().rotate_key(request.clone()).await.unwrap().into_inner();
        assert_eq!(first, world.owner.keys().rotate_key(request).await.unwrap().into_inner());
        assert_refused(identify(world, &old).await, Code::Unauthenticated, "KEY_UNKNOWN");
        let validate = pb::RotateKeyRequest { validate_only: true, ..turn(&key.key_id, seconds(0)) };
        let answer = world.owner.keys().rotate_key(validate).await.unwrap().into_inner();
        assert_eq!((answer.secret.as_str(), answer.token.as_str()), ("", ""));
        identify(world, &first.secret).await.unwrap();
        let validate = pb::CreateKeyRequest { validate_only: true, ..new() };
        assert_eq!(world.owner.keys().create_key(validate).await.unwrap().into_inner().secret, "");
        let stale = pb::RotateKeyRequest { etag: key.etag, ..turn(&key.key_id, None) };
        assert_refused(world.owner.keys().rotate_key(stale).await, Code::Aborted, "ETAG_MISMATCH");
    }

    async fn a_due_key_is_announced_once_and_stops_only_by_its_policy(world: World) {
        let remind = pb::CreateKeyRequest { rotation: every(30, pb::RotationPolicy::Remind), ..new() };
        let expire = pb::CreateKeyRequest { rotation: every(30, pb::RotationPolicy::Expire), ..new() };
        let (reminded, stays) = create(&world.owner, remind).await;
        let (expiring, stops) = create(&world.owner, expire).await;
        let days = |key: &pb::Key, end: Option<prost_types::Timestamp>| {
            end.map(|end| (end.seconds - key.create_time.unwrap().seconds) / 86_400)
        };
        assert_eq!(days(&reminded, reminded.rotation_due_time), Some(30));
        assert_eq!(days(&reminded, reminded.stop_time), Some(90));
        assert_eq!((days(&expiring, expiring.stop_time), expiring.rotation_due), (Some(31), false));
        // Forty days later.
        let back: &'static str = match &world.db {
            shared::db::Db::Postgres(_) => "UPDATE keys SET secret_at = secret_at - interval '40 days', \
                due_at = due_at - interval '40 days', ends_at = CASE WHEN rotation = 'expire' \
                THEN ends_at - interval '40 days' ELSE ends_at END WHERE rotation IS NOT NULL",
            shared::db::Db::Sqlite(_) => "UPDATE keys SET secret_at = secret_at - 3456000000000, \
                due_at = due_at - 3456000000000, ends_at = CASE WHEN rotation = 'expire' \
                THEN ends_at - 3456000000000 ELSE ends_at END WHERE rotation IS NOT NULL",
        };
        world.sql(back).await;
        let other = world.another().await;
        assert_refused(identify(&other, &stops).await, Code::Unauthenticated, "KEY_EXPIRED");
        identify(&other, &stays).await.unwrap();
        // A process that starts looks for due keys at once.
        let announced = async {
            while events(world, "rotation_due").await < 2 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), announced).await.expect("both are announced");
        let due = pb::ListKeysRequest { rotation_due: true, ..Default::default() };
        let due = other.owner.keys().list_keys(due).await.unwrap().into_inner().keys;
        assert_eq!(due.iter().map(|key| (&key.key_id, key.rotation_due)).collect::<Vec<_>>(), [(&reminded.key_id, true)]);
        let state = |state: pb::KeyState| pb::ListKeysRequest { state: state.into(), ..Default::default() };
        let expired = other.owner.keys().list_keys(state(pb::KeyState::Expired)).await.unwrap().into_inner().keys;
        assert_eq!(expired.iter().map(|key| &key.key_id).collect::<Vec<_>>(), [&expiring.key_id]);
        // Rotating starts the count again, and the next process has nothing to tell.
        let (rotated, _) = rotate(&other.owner, &reminded.key_id, None).await;
        assert!(!rotated.rotation_due);
        let third = world.another_with(&config()).await;
        third.owner.keys().list_keys(pb::ListKeysRequest::default()).await.unwrap();
        assert_eq!(events(world, "rotation_due").await, 2);
        third.end().await;
        other.end().await;
    }
}

#[tokio::test]
async fn nobody_rotates_or_changes_what_is_not_theirs() {
    let world = World::sqlite().await;
    let (member, admin) = (world.user(Role::Member).await, world.user(Role::Admin).await);
    let (auditor, other) = (world.user(Role::Auditor).await, world.user(Role::Member).await);
    let (key, _) = create(&member, new()).await;
    let change = || pb::UpdateKeyRequest {
        key_id: key.key_id.clone(),
        name: Some("mine now".to_owned()),
        ..Default::default()
    };
    for caller in [&other, &auditor] {
        assert_missing(caller.keys().rotate_key(turn(&key.key_id, None)).await, "key", &key.key_id);
        assert_missing(caller.keys().update_key(change()).await, "key", &key.key_id);
    }
    rotate(&admin, &key.key_id, None).await;
    let (owners, _) = create(&world.owner, new()).await;
    let refused = admin.keys().rotate_key(turn(&owners.key_id, None)).await;
    assert_refused(refused, Code::PermissionDenied, "OWNER_REQUIRED");
    let read = |caller: &Caller| {
        let (mut keys, key_id) = (caller.keys(), key.key_id.clone());
        async move { keys.get_key(pb::GetKeyRequest { key_id }).await }
    };
    assert_missing(read(&other).await, "key", &key.key_id);
    for caller in [&member, &admin, &auditor] {
        read(caller).await.unwrap();
    }
}

#[tokio::test]
async fn a_rotation_that_cannot_be_is_refused_by_its_field() {
    let world = World::sqlite().await;
    let (key, _) = create(&world.owner, new()).await;
    for grace in [seconds(-1), seconds(91 * 86_400)] {
        assert_invalid(world.owner.keys().rotate_key(turn(&key.key_id, grace)).await, "grace");
    }
    assert_invalid(world.owner.keys().rotate_key(turn("x", None)).await, "key_id");
    let past = pb::RotateKeyRequest { expire_time: Some(in_seconds(-1)), ..turn(&key.key_id, None) };
    assert_invalid(world.owner.keys().rotate_key(past).await, "expire_time");
    let rhythm = |every, grace, policy| pb::CreateKeyRequest {
        rotation: Some(pb::Rotation { every, grace, policy }),
        ..new()
    };
    let cases = [
        (rhythm(seconds(3_599), None, 0), "rotation.every"),
        (rhythm(seconds(3_600), seconds(-1), 0), "rotation.grace"),
        (rhythm(seconds(3_600), None, 9), "rotation.policy"),
    ];
    for (request, field) in cases {
        assert_invalid(world.owner.keys().create_key(request).await, field);
    }
    for _ in 0..8 {
        rotate(&world.owner, &key.key_id, seconds(3_600)).await;
    }
    assert_invalid(world.owner.keys().rotate_key(turn(&key.key_id, seconds(3_600))).await, "key_id");
    rotate(&world.owner, &key.key_id, seconds(0)).await;
}
