//! Erasing a person: what is known is gone, what happened stays whole (N2).

use crate::{
    sessions,
    world::{Caller, World, assert_invalid, assert_missing, assert_refused, now, on_both_engines, uuid},
};
use proto::{common::v1::Role, permissions::v1 as pb};
use shared::{
    db::Db,
    event::{Event, Link},
    on,
};
use sqlx::types::Json;
use tonic::Code;

fn erase(user: &str) -> pb::EraseUserRequest {
    pb::EraseUserRequest { user_id: user.to_owned(), confirm: user.to_owned(), ..Default::default() }
}

async fn get(caller: &Caller, user: &str) -> pb::User {
    let request = pb::GetUserRequest { user_id: user.to_owned() };
    caller.users().get_user(request).await.unwrap().into_inner().user.unwrap()
}

/// Follows the chain of events from its beginning to the head.
async fn assert_chain_holds(db: &Db) {
    type Row = (
        i64,
        i64,
        String,
        String,
        String,
        Option<Json<serde_json::Value>>,
        Option<Json<serde_json::Value>>,
        Option<Json<serde_json::Value>>,
        String,
        Option<uuid::Uuid>,
        String,
        String,
        shared::db::Time,
    );
    let rows: Vec<Row> = on!(db, |pool| {
        sqlx::query_as(
            "SELECT revision, ordinal, kind, id, action, before, after, change, actor, key_id, request_id, reason, \
            occurred_at FROM events ORDER BY revision, ordinal",
        )
        .fetch_all(pool)
        .await
    })
    .unwrap();
    let mut link = Link::FIRST;
    for row in rows {
        link = link.then(&Event {
            revision: policy::Revision(u64::try_from(row.0).unwrap()),
            ordinal: u32::try_from(row.1).unwrap(),
            kind: row.2,
            id: row.3,
            action: row.4,
            before: row.5.map(|json| json.0),
            after: row.6.map(|json| json.0),
            change: row.7.map(|json| json.0),
            actor: row.8,
            key: row.9.map(|id| id.to_string()),
            request_id: row.10,
            reason: row.11,
            at: row.12.0,
        });
    }
    let head: Vec<u8> =
        on!(db, |pool| sqlx::query_scalar("SELECT link FROM head").fetch_one(pool).await).unwrap();
    assert_eq!(link.0.as_slice(), head);
}

async fn count(db: &Db, query: &'static str) -> i64 {
    on!(db, |pool| sqlx::query_scalar(query).fetch_one(pool).await).unwrap()
}

on_both_engines! {
    async fn an_erased_person_is_an_id_and_nothing_else(world: World) {
        let member = world.user(Role::Developer).await;
        let email = get(&world.owner, &member.id).await.email;
        let request = pb::SetPasswordRequest { user_id: member.id.clone(), new_password: sessions::PASSWORD.to_owned(), ..Default::default() };
        world.owner.sessions().set_password(request).await.unwrap();
        let session = world.with_secret(&sessions::sign_in(world, &email, sessions::PASSWORD).await.access_token);
        session.keys().list_keys(pb::ListKeysRequest::default()).await.unwrap();
        let key = pb::CreateKeyRequest { name: "Ana's laptop".to_owned(), request_id: uuid(), ..Default::default() };
        member.keys().create_key(key).await.unwrap();
        let seen = pb::Incident {
            kind: pb::IncidentKind::CallRefused.into(), actor: member.id.clone(), address: "203.0.113.9".to_owned(),
            count: 2, first_time: Some(shared::time::to_proto(now())), ..Default::default()
        };
        let request = pb::RecordIncidentsRequest { incidents: vec![seen] };
        world.service().incidents().record_incidents(request).await.unwrap();
        let answer = world.owner.privacy().erase_user(erase(&member.id)).await.unwrap().into_inner();
        assert_eq!((answer.erased, answer.revoked_keys), (true, 2));

        let after = get(&world.owner, &member.id).await;
        assert_eq!((after.email.as_str(), after.display_name.as_str(), after.disabled), ("", "", true));
        assert_eq!(after.role(), Role::Member);
        assert_refused(member.keys().list_keys(pb::ListKeysRequest::default()).await, Code::Unauthenticated, "KEY_REVOKED");
        assert_refused(session.keys().list_keys(pb::ListKeysRequest::default()).await, Code::Unauthenticated, "SESSION_ENDED");
        assert_eq!(count(&world.db, "SELECT count(*) FROM sessions WHERE length(client) > 0").await, 0);
        let of = pb::ListKeysRequest { user_id: member.id.clone(), ..Default::default() };
        let keys = world.owner.keys().list_keys(of).await.unwrap().into_inner().keys;
        assert!(keys.len() == 2 && keys.iter().all(|key| key.name == "erased" && key.hint.is_empty()));
        assert_eq!(count(&world.db, "SELECT count(*) FROM answers").await, 0);
        let by = pb::ListIncidentsRequest { actor: member.id.clone(), ..Default::default() };
        let incidents = world.owner.incidents().list_incidents(by).await.unwrap().into_inner().incidents;
        assert_eq!(incidents.iter().map(|one| (one.address.as_str(), one.count)).collect::<Vec<_>>(), [("", 2)]);
        assert_eq!(count(&world.db, "SELECT count(*) FROM events WHERE action = 'erased' AND kind = 'user'").await, 1);
        assert_chain_holds(&world.db).await;

        // Once more changes nothing, a process that starts has nothing to seal, and the address is free again.
        let events = count(&world.db, "SELECT count(*) FROM events").await;
        let again = world.owner.privacy().erase_user(erase(&member.id)).await.unwrap().into_inner();
        assert_eq!((again.erased, count(&world.db, "SELECT count(*) FROM events").await), (false, events));
        let back = pb::UpdateUserRequest { user_id: member.id.clone(), disabled: Some(false), ..Default::default() };
        assert_missing(world.owner.users().update_user(back).await, "user", &member.id);
        let other = world.another().await;
        assert_eq!(get(&other.owner, &member.id).await.email, "");
        let new = pb::CreateUserRequest { email, display_name: "Somebody".to_owned(), ..Default::default() };
        other.owner.users().create_user(new).await.unwrap();
        other.end().await;
    }

    async fn what_is_past_its_time_is_gone(world: World) {
        let seen = pb::Incident {
            kind: pb::IncidentKind::Other.into(), count: 1,
            first_time: Some(crate::world::in_seconds(-100 * 86_400)), ..Default::default()
        };
        let fresh = pb::Incident { first_time: Some(crate::world::in_seconds(0)), ..seen.clone() };
        let request = pb::RecordIncidentsRequest { incidents: vec![seen, fresh] };
        world.service().incidents().record_incidents(request).await.unwrap();
        // A process that starts sweeps at once.
        let other = world.another().await;
        let kinds = async || {
            let answer = world.owner.privacy().get_retention(pb::GetRetentionRequest {}).await.unwrap().into_inner();
            answer.kinds.into_iter().map(|kind| (kind.kind, kind.kept.unwrap().seconds / 86_400, kind.due)).collect::<Vec<_>>()
        };
        let expected = [("incidents", 90, 0), ("answers", 1, 0), ("ended_sessions", 30, 0), ("deleted", 30, 0)];
        let expected = expected.map(|(kind, days, due)| (kind.to_owned(), days, due));
        let swept = async { while kinds().await != expected {} };
        tokio::time::timeout(std::time::Duration::from_secs(20), swept).await.expect("it is swept");
        let rest = world.owner.incidents().list_incidents(pb::ListIncidentsRequest::default()).await.unwrap().into_inner();
        assert_eq!(rest.incidents.len(), 1);
        other.end().await;
    }
}

#[tokio::test]
async fn nobody_is_erased_by_mistake_or_by_those_who_may_not() {
    let world = World::sqlite().await;
    let (admin, member) = (world.user(Role::Admin).await, world.user(Role::Member).await);
    let mistaken = pb::EraseUserRequest { confirm: admin.id.clone(), ..erase(&member.id) };
    assert_invalid(world.owner.privacy().erase_user(mistaken).await, "confirm");
    assert_invalid(
        world
            .owner
            .privacy()
            .erase_user(pb::EraseUserRequest { confirm: String::new(), ..erase(&member.id) })
            .await,
        "confirm",
    );
    let nobody = uuid();
    assert_missing(world.owner.privacy().erase_user(erase(&nobody)).await, "user", &nobody);
    let refused = admin.privacy().erase_user(erase(&world.owner.id)).await;
    assert_refused(refused, Code::PermissionDenied, "OWNER_REQUIRED");
    let refused = world.owner.privacy().erase_user(erase(&world.owner.id)).await;
    assert_refused(refused, Code::FailedPrecondition, "LAST_OWNER");
    let validate = pb::EraseUserRequest { validate_only: true, ..erase(&member.id) };
    assert!(world.owner.privacy().erase_user(validate).await.unwrap().into_inner().erased);
    assert_ne!(get(&world.owner, &member.id).await.email, "");
    admin.privacy().erase_user(erase(&member.id)).await.unwrap();
}
