//! Questions answered from memory: who may ask, how fresh the answer is, and what happens without the store (P4, P8).

use crate::world::{Caller, World, assert_invalid, assert_refused, grant, in_seconds, on_both_engines, uuid};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use pb::{Action, Effect, Verdict, check_request::Model};
use permissions::Config;
use proto::{common::v1::Role, permissions::v1 as pb};
use std::time::Duration;
use tonic::Code;
use tonic_types::StatusExt;

fn ask(model: &str) -> pb::CheckRequest {
    pb::CheckRequest {
        model: Some(Model::ModelId(model.to_owned())),
        action: Action::Use.into(),
        ..Default::default()
    }
}

fn list(user: &str) -> pb::ListAccessibleModelsRequest {
    pb::ListAccessibleModelsRequest { user_id: user.to_owned(), ..Default::default() }
}

/// Asks as callers are told to: again, while the revision is on its way.
async fn check_until_there(caller: &Caller, request: pb::CheckRequest) -> pb::CheckResponse {
    loop {
        match caller.authorization().check(request.clone()).await {
            Ok(answer) => return answer.into_inner(),
            Err(status) => assert_eq!(shared::status::reason(&status), "REVISION_NOT_YET_APPLIED"),
        }
    }
}

/// The token of a revision that is so many ahead.
fn ahead(token: &str, by: u64) -> String {
    let mut bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
    let revision = u64::from_be_bytes(bytes[16..].try_into().unwrap()) + by;
    bytes[16..].copy_from_slice(&revision.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

on_both_engines! {
    async fn a_token_makes_another_process_wait_for_the_write(world: World) {
        let other = world.another().await;
        let (member, model) = (world.user(Role::Member).await, world.model("m").await);
        for _ in 0..3 {
            let (id, token) = world.allow(&member.id, &model).await;
            let request = pb::CheckRequest { user_id: member.id.clone(), at_least_as_fresh: token, ..ask(&model) };
            let answer = check_until_there(&other.owner, request).await;
            assert_eq!(answer.verdict(), Verdict::Allowed);
            let revoke = pb::RevokeGrantRequest { grant_id: id, ..Default::default() };
            let token = world.owner.grants().revoke_grant(revoke).await.unwrap().into_inner().token;
            let request = pb::CheckRequest { user_id: member.id.clone(), at_least_as_fresh: token, ..ask(&model) };
            let answer = check_until_there(&other.owner, request).await;
            assert_eq!(answer.verdict(), Verdict::Denied);
        }
        other.end().await;
    }

    async fn what_another_process_revoked_no_longer_lets_anybody_manage(world: World) {
        let other = world.another().await;
        let (manager, model) = (world.user(Role::Member).await, world.model("m").await);
        let grantee = pb::grant::Grantee::UserId(manager.id.clone());
        let manage = pb::CreateGrantRequest {
            grant: Some(grant(&model, grantee, Action::Manage, Effect::Allow)),
            ..Default::default()
        };
        let change = || pb::UpdateModelRequest { model_id: model.clone(), ..Default::default() };
        // The other process has to know the key before it can be asked with it.
        let made = world.owner.grants().create_grant(manage).await.unwrap().into_inner();
        let wait = pb::CheckRequest { at_least_as_fresh: made.token, ..ask(&model) };
        check_until_there(&other.owner, wait).await;
        let there = other.with_secret(&manager.secret);
        there.models().update_model(change()).await.unwrap();
        let revoke = pb::RevokeGrantRequest { grant_id: made.grant.unwrap().grant_id, ..Default::default() };
        world.owner.grants().revoke_grant(revoke).await.unwrap();
        let refused = there.models().update_model(change()).await;
        assert_refused(refused, Code::PermissionDenied, "MANAGE_REQUIRED");
        other.end().await;
    }
}

#[tokio::test]
async fn answers_need_no_query() {
    let world = World::sqlite().await;
    let (member, model) = (world.user(Role::Member).await, world.model("m").await);
    let (_, token) = world.allow(&member.id, &model).await;
    world.db.close().await;
    let request = pb::CheckRequest { at_least_as_fresh: token, ..ask(&model) };
    assert_eq!(member.authorization().check(request).await.unwrap().into_inner().verdict(), Verdict::Allowed);
    let models = member.authorization().list_accessible_models(list("")).await.unwrap().into_inner().models;
    assert_eq!(models.len(), 1);
    let key_hash = shared::auth::hash(&member.secret).as_bytes().to_vec().into();
    let credential = Some(pb::identify_request::Credential::KeyHash(key_hash));
    world
        .service()
        .authorization()
        .identify(pb::IdentifyRequest { credential, ..Default::default() })
        .await
        .unwrap();
    // What needs the store says that it is away, and in whose words.
    let refused = world.owner.users().list_users(pb::ListUsersRequest::default()).await.unwrap_err();
    let details = refused.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "STORE_UNAVAILABLE");
    assert!(details.retry_info().is_some() && !refused.message().to_lowercase().contains("pool"));
}

#[tokio::test]
async fn a_revision_that_does_not_arrive_is_unavailable_with_a_hint() {
    let world = World::sqlite().await;
    let model = world.model("m").await;
    let token = world.owner.authorization().check(ask(&model)).await.unwrap().into_inner().token;
    let request = pb::CheckRequest { at_least_as_fresh: ahead(&token, 1), ..ask(&model) };
    let status = world.owner.authorization().check(request).await.unwrap_err();
    let details = status.get_error_details();
    assert_eq!(
        (status.code(), details.error_info().unwrap().reason.as_str()),
        (Code::Unavailable, "REVISION_NOT_YET_APPLIED")
    );
    assert!(details.retry_info().and_then(|retry| retry.retry_delay).is_some());
}

#[tokio::test]
async fn a_token_of_another_store_or_none_at_all_is_refused() {
    let world = World::sqlite().await;
    let model = world.model("m").await;
    let foreign = URL_SAFE_NO_PAD.encode([7; 24]);
    let request = pb::CheckRequest { at_least_as_fresh: foreign, ..ask(&model) };
    let refused = world.owner.authorization().check(request).await;
    assert_refused(refused, Code::InvalidArgument, "TOKEN_OF_ANOTHER_EPOCH");
    for nonsense in ["x", "!!!!", "AAAA"] {
        let request = pb::CheckRequest { at_least_as_fresh: nonsense.to_owned(), ..ask(&model) };
        assert_invalid(world.owner.authorization().check(request).await, "at_least_as_fresh");
    }
}

#[tokio::test]
async fn one_asks_for_oneself_unless_one_runs_the_house() {
    let world = World::sqlite().await;
    let (member, model) = (world.user(Role::Member).await, world.model("m").await);
    let about = || pb::CheckRequest { user_id: member.id.clone(), ..ask(&model) };
    member.authorization().check(about()).await.unwrap();
    for role in [Role::Operator, Role::Developer, Role::Member] {
        let other = world.user(role).await;
        assert_refused(other.authorization().check(about()).await, Code::PermissionDenied, "NOT_YOURSELF");
        let refused = other.authorization().list_accessible_models(list(&member.id)).await;
        assert_refused(refused, Code::PermissionDenied, "NOT_YOURSELF");
    }
    for role in [Role::Owner, Role::Admin, Role::Auditor] {
        let other = world.user(role).await;
        other.authorization().check(about()).await.unwrap();
        other.authorization().list_accessible_models(list(&member.id)).await.unwrap();
    }
    world.service().authorization().check(about()).await.unwrap();
    assert_invalid(world.service().authorization().check(ask(&model)).await, "user_id");
}

#[tokio::test]
async fn the_unknown_is_denied_and_the_malformed_refused() {
    let world = World::sqlite().await;
    let model = world.model("m").await;
    assert_eq!(
        world.owner.may(&uuid(), &model, Action::Use).await,
        (Verdict::Denied, "UNKNOWN_USER".to_owned())
    );
    assert_eq!(
        world.owner.may("", &uuid(), Action::Use).await,
        (Verdict::Denied, "UNKNOWN_MODEL".to_owned())
    );
    let by_name = pb::CheckRequest { model: Some(Model::ModelName("none".to_owned())), ..ask(&model) };
    let answer = world.owner.authorization().check(by_name).await.unwrap().into_inner();
    assert_eq!((answer.verdict(), answer.reason.as_str()), (Verdict::Denied, "UNKNOWN_MODEL"));
    let cases = [
        (pb::CheckRequest { model: None, ..ask(&model) }, "model"),
        (ask("m"), "model_id"),
        (pb::CheckRequest { model: Some(Model::ModelName(String::new())), ..ask(&model) }, "model_name"),
        (pb::CheckRequest { action: 0, ..ask(&model) }, "action"),
        (pb::CheckRequest { action: 9, ..ask(&model) }, "action"),
        (pb::CheckRequest { user_id: "ana".to_owned(), ..ask(&model) }, "user_id"),
    ];
    for (request, field) in cases {
        assert_invalid(world.owner.authorization().check(request).await, field);
    }
}

#[tokio::test]
async fn an_answer_says_until_when_it_holds() {
    let world = World::sqlite().await;
    let (member, model, end) = (world.user(Role::Member).await, world.model("m").await, in_seconds(3_600));
    let grantee = pb::grant::Grantee::UserId(member.id.clone());
    let new = pb::Grant { expire_time: Some(end), ..grant(&model, grantee, Action::Use, Effect::Allow) };
    world
        .owner
        .grants()
        .create_grant(pb::CreateGrantRequest { grant: Some(new), ..Default::default() })
        .await
        .unwrap();
    let answer = member.authorization().check(ask(&model)).await.unwrap().into_inner();
    assert_eq!((answer.verdict(), answer.valid_until), (Verdict::Allowed, Some(end)));
}

#[tokio::test]
async fn accessible_models_are_listed_by_name_page_by_page() {
    let world = World::sqlite().await;
    let member = world.user(Role::Member).await;
    for name in ["c", "a", "b"] {
        let model = world.model(name).await;
        world.allow(&member.id, &model).await;
    }
    world.model("d").await;
    let (mut found, mut page) = (Vec::new(), pb::ListAccessibleModelsRequest { page_size: 2, ..list("") });
    loop {
        let answer = member.authorization().list_accessible_models(page.clone()).await.unwrap().into_inner();
        assert!(!answer.token.is_empty());
        found.extend(answer.models.into_iter().map(|model| model.name));
        if answer.next_page_token.is_empty() {
            break;
        }
        page.page_token = answer.next_page_token;
    }
    assert_eq!(found, ["a", "b", "c"]);
    let manage = pb::ListAccessibleModelsRequest { action: Action::Manage.into(), ..list("") };
    assert_eq!(member.authorization().list_accessible_models(manage).await.unwrap().into_inner().models, []);
    for (request, field) in [
        (pb::ListAccessibleModelsRequest { page_size: 1_001, ..list("") }, "page_size"),
        (pb::ListAccessibleModelsRequest { page_token: "x".to_owned(), ..list("") }, "page_token"),
        (pb::ListAccessibleModelsRequest { action: 5, ..list("") }, "action"),
    ] {
        assert_invalid(member.authorization().list_accessible_models(request).await, field);
    }
}

#[tokio::test]
async fn a_stale_replica_says_so_and_one_too_old_refuses() {
    let world = World::sqlite().await;
    let model = world.model("m").await;
    let stale = world.another_with(&Config { fresh_within: Duration::ZERO, ..crate::world::config() }).await;
    assert!(stale.owner.authorization().check(ask(&model)).await.unwrap().into_inner().stale);
    let strict =
        Config { fresh_within: Duration::ZERO, serve_stale_for: Duration::ZERO, ..crate::world::config() };
    let strict = world.another_with(&strict).await;
    let refused = strict.owner.authorization().check(ask(&model)).await;
    assert_refused(refused, Code::Unavailable, "AUTHENTICATION_UNAVAILABLE");
    let request = pb::CheckRequest { user_id: world.owner.id.clone(), ..ask(&model) };
    let refused = strict.service().authorization().check(request).await;
    assert_refused(refused, Code::Unavailable, "POLICY_STALE");
    assert!(!strict.health.ready().ok && world.health.live().ok);
    stale.end().await;
    strict.end().await;
}
