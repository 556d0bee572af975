//! API keys: made once, shown once, limited to what they name, revoked for good (A4).

use crate::world::{
    Caller, World, assert_invalid, assert_missing, assert_refused, grant, in_seconds, on_both_engines, uuid,
};
use proto::{common::v1::Role, permissions::v1 as pb};
use shared::{auth, db::Db};
use tonic::Code;

fn new() -> pb::CreateKeyRequest {
    pb::CreateKeyRequest { name: "laptop".to_owned(), ..Default::default() }
}

fn revoke(key: &str) -> pb::RevokeKeyRequest {
    pb::RevokeKeyRequest { key_id: key.to_owned(), ..Default::default() }
}

fn of(user: &str) -> pb::ListKeysRequest {
    pb::ListKeysRequest { user_id: user.to_owned(), ..Default::default() }
}

async fn create(caller: &Caller, request: pb::CreateKeyRequest) -> (pb::Key, String) {
    let answer = caller.keys().create_key(request).await.unwrap().into_inner();
    (answer.key.unwrap(), answer.secret)
}

async fn identify(
    world: &World,
    secret: &str,
) -> Result<tonic::Response<pb::IdentifyResponse>, tonic::Status> {
    let key_hash = auth::hash(secret).as_bytes().to_vec().into();
    let credential = Some(pb::identify_request::Credential::KeyHash(key_hash));
    world.service().authorization().identify(pb::IdentifyRequest { credential, ..Default::default() }).await
}

on_both_engines! {
    async fn a_key_works_until_it_is_revoked(world: World) {
        let member = world.user(Role::Member).await;
        let (key, secret) = create(&member, new()).await;
        assert!(secret.starts_with("tgk_") && secret.starts_with(&key.hint) && secret.len() == 47);
        let days = (key.expire_time.unwrap().seconds - key.create_time.unwrap().seconds) / 86_400;
        assert_eq!((days, key.user_id.as_str(), key.revoke_time), (90, member.id.as_str(), None));
        let holder = world.with_secret(&secret);
        assert_eq!(holder.keys().list_keys(of("")).await.unwrap().into_inner().keys.len(), 2);
        let known = identify(world, &secret).await.unwrap().into_inner();
        assert_eq!((known.user_id, known.key_id, known.role), (member.id.clone(), key.key_id.clone(), Role::Member.into()));
        member.keys().revoke_key(revoke(&key.key_id)).await.unwrap();
        assert_refused(holder.keys().list_keys(of("")).await, Code::Unauthenticated, "KEY_REVOKED");
        assert_refused(identify(world, &secret).await, Code::Unauthenticated, "KEY_REVOKED");
        // Once more changes nothing.
        member.keys().revoke_key(revoke(&key.key_id)).await.unwrap();
        let listed = member.keys().list_keys(of("")).await.unwrap().into_inner().keys;
        assert!(listed.iter().any(|one| one.key_id == key.key_id && one.revoke_time.is_some()));
    }

    async fn keys_are_listed_page_by_page(world: World) {
        let member = world.user(Role::Member).await;
        for _ in 0..2 {
            create(&member, new()).await;
        }
        let (mut found, mut page) = (Vec::new(), pb::ListKeysRequest { page_size: 1, ..of("") });
        loop {
            let answer = member.keys().list_keys(page.clone()).await.unwrap().into_inner();
            found.extend(answer.keys.into_iter().map(|key| key.key_id));
            if answer.next_page_token.is_empty() {
                break;
            }
            page.page_token = answer.next_page_token;
        }
        assert_eq!(found.len(), 3);
        assert!(found.is_sorted());
    }

    async fn a_key_names_models_that_exist(world: World) {
        let (model, nothing) = (world.model("m").await, uuid());
        let request = pb::CreateKeyRequest { model_ids: vec![model.clone(), nothing.clone()], ..new() };
        assert_missing(world.owner.keys().create_key(request).await, "model", &nothing);
        let request = pb::CreateKeyRequest { model_ids: vec![model.clone(), model.clone()], ..new() };
        let (key, _) = create(&world.owner, request).await;
        assert_eq!(key.model_ids, [model]);
        let request = pb::CreateKeyRequest { user_id: nothing.clone(), ..new() };
        assert_missing(world.owner.keys().create_key(request).await, "user", &nothing);
        assert_missing(world.owner.keys().revoke_key(revoke(&nothing)).await, "key", &nothing);
    }

    async fn a_key_past_its_time_is_refused(world: World) {
        let request = pb::CreateKeyRequest { expire_time: Some(in_seconds(3_600)), ..new() };
        let (_, secret) = create(&world.owner, request).await;
        identify(world, &secret).await.unwrap();
        // Another process reads it as it stands in the table now.
        world.sql("UPDATE keys SET expires_at = created_at WHERE expires_at IS NOT NULL AND name = 'laptop'").await;
        let other = world.another().await;
        assert_refused(identify(&other, &secret).await, Code::Unauthenticated, "KEY_EXPIRED");
        other.end().await;
    }
}

#[tokio::test]
async fn keys_are_ones_own_but_for_those_who_run_the_house() {
    let world = World::sqlite().await;
    let (member, other) = (world.user(Role::Member).await, world.user(Role::Developer).await);
    let (admin, auditor) = (world.user(Role::Admin).await, world.user(Role::Auditor).await);
    let for_member = || pb::CreateKeyRequest { user_id: member.id.clone(), ..new() };
    assert_refused(other.keys().create_key(for_member()).await, Code::PermissionDenied, "NOT_YOURSELF");
    assert_refused(auditor.keys().create_key(for_member()).await, Code::PermissionDenied, "NOT_YOURSELF");
    let (key, _) = create(&admin, for_member()).await;
    assert_refused(other.keys().list_keys(of(&member.id)).await, Code::PermissionDenied, "NOT_YOURSELF");
    for caller in [&admin, &auditor, &world.owner] {
        assert_eq!(caller.keys().list_keys(of(&member.id)).await.unwrap().into_inner().keys.len(), 2);
    }
    for caller in [&other, &auditor] {
        assert_missing(caller.keys().revoke_key(revoke(&key.key_id)).await, "key", &key.key_id);
    }
    admin.keys().revoke_key(revoke(&key.key_id)).await.unwrap();
}

#[tokio::test]
async fn an_admin_cannot_become_an_owner_through_a_key() {
    let world = World::sqlite().await;
    let admin = world.user(Role::Admin).await;
    let request = pb::CreateKeyRequest { user_id: world.owner.id.clone(), ..new() };
    assert_refused(admin.keys().create_key(request).await, Code::PermissionDenied, "OWNER_REQUIRED");
}

#[tokio::test]
async fn a_key_for_some_models_reaches_no_further() {
    let world = World::sqlite().await;
    let developer = world.user(Role::Developer).await;
    let (one, other) = (world.model("one").await, world.model("other").await);
    for model in [&one, &other] {
        let grantee = pb::grant::Grantee::UserId(developer.id.clone());
        let manage = Some(grant(model, grantee, pb::Action::Manage, pb::Effect::Allow));
        world
            .owner
            .grants()
            .create_grant(pb::CreateGrantRequest { grant: manage, ..Default::default() })
            .await
            .unwrap();
    }
    let (_, secret) =
        create(&developer, pb::CreateKeyRequest { model_ids: vec![one.clone()], ..new() }).await;
    let holder = world.with_secret(&secret);
    let mine = pb::ListModelsRequest { accessible_only: true, ..Default::default() };
    assert_eq!(holder.models().list_models(mine.clone()).await.unwrap().into_inner().models.len(), 1);
    assert_eq!(developer.models().list_models(mine).await.unwrap().into_inner().models.len(), 2);
    let change = |model: &str| pb::UpdateModelRequest { model_id: model.to_owned(), ..Default::default() };
    holder.models().update_model(change(&one)).await.unwrap();
    assert_refused(
        holder.models().update_model(change(&other)).await,
        Code::PermissionDenied,
        "KEY_NARROWED",
    );
    assert_refused(holder.keys().create_key(new()).await, Code::PermissionDenied, "KEY_NARROWED");
    let wider = pb::CreateKeyRequest { model_ids: vec![one.clone(), other], ..new() };
    assert_refused(holder.keys().create_key(wider).await, Code::PermissionDenied, "KEY_NARROWED");
    create(&holder, pb::CreateKeyRequest { model_ids: vec![one], ..new() }).await;
}

#[tokio::test]
async fn a_field_that_breaks_its_rules_is_named() {
    let world = World::sqlite().await;
    let cases = [
        (pb::CreateKeyRequest { name: String::new(), ..new() }, "name"),
        (pb::CreateKeyRequest { name: "a\nb".to_owned(), ..new() }, "name"),
        (pb::CreateKeyRequest { user_id: "x".to_owned(), ..new() }, "user_id"),
        (pb::CreateKeyRequest { model_ids: vec!["x".to_owned()], ..new() }, "model_ids"),
        (pb::CreateKeyRequest { model_ids: vec![uuid(); 1_001], ..new() }, "model_ids"),
        (pb::CreateKeyRequest { expire_time: Some(in_seconds(-1)), ..new() }, "expire_time"),
    ];
    for (request, field) in cases {
        assert_invalid(world.owner.keys().create_key(request).await, field);
    }
    assert_invalid(world.owner.keys().revoke_key(revoke("x")).await, "key_id");
    let credential = Some(pb::identify_request::Credential::KeyHash(vec![1; 31].into()));
    let short = pb::IdentifyRequest { credential, ..Default::default() };
    assert_invalid(world.service().authorization().identify(short).await, "key_hash");
    assert_refused(identify(&world, "tgk_unknown").await, Code::Unauthenticated, "KEY_UNKNOWN");
}

#[tokio::test]
async fn no_table_holds_a_secret() {
    let world = World::sqlite().await;
    let (_, secret) = create(&world.owner, new()).await;
    let Db::Sqlite(pool) = &world.db else { panic!("memory is SQLite") };
    let texts: Vec<String> = sqlx::query_scalar(
        "SELECT change || after FROM events UNION ALL SELECT hint || name || hex(hash) FROM keys",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert!(texts.len() > 3 && texts.iter().all(|text| !text.contains(&secret[8..])));
}
