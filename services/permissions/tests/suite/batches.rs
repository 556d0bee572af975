//! Many grants at once: all or nothing, each for itself, imports that are taken up again, the export.

use crate::world::{Caller, World, assert_invalid, assert_refused, grant, on_both_engines, refusal, uuid};
use futures_util::stream;
use proto::{
    common::v1::Role,
    permissions::v1::{
        self as pb, batch_service_client::BatchServiceClient, grant_operation::Operation as Op,
        grant_result::Result as Outcome, import_grants_request as import,
    },
};
use shared::{channel::Channel, on};
use tonic::{Code, Request, Response, Status};

pub(crate) fn batches(caller: &Caller) -> BatchServiceClient<Channel> {
    BatchServiceClient::new(caller.channel())
}

fn allow(model: &str, user: &str) -> pb::Grant {
    let grantee = pb::grant::Grantee::UserId(user.to_owned());
    grant(model, grantee, pb::Action::Use, pb::Effect::Allow)
}

fn create(model: &str, user: &str) -> pb::GrantOperation {
    pb::GrantOperation { operation: Some(Op::Create(allow(model, user))), ..Default::default() }
}

fn revoke(id: &str) -> pb::GrantOperation {
    pb::GrantOperation { operation: Some(Op::Revoke(id.to_owned())), ..Default::default() }
}

fn batch(mode: pb::BatchMode, operations: Vec<pb::GrantOperation>) -> pb::BatchGrantsRequest {
    pb::BatchGrantsRequest { operations, mode: mode.into(), ..Default::default() }
}

async fn models(world: &World, count: usize) -> Vec<String> {
    let mut models = Vec::new();
    for number in 0..count {
        models.push(world.model(&format!("m{number}")).await);
    }
    models
}

async fn count(world: &World) -> i64 {
    on!(&world.db, |pool| sqlx::query_scalar("SELECT count(*) FROM grants").fetch_one(pool).await).unwrap()
}

async fn revisions(world: &World) -> i64 {
    on!(&world.db, |pool| sqlx::query_scalar("SELECT revision FROM head").fetch_one(pool).await).unwrap()
}

fn part(offset: u64, grants: Vec<pb::Grant>) -> pb::ImportGrantsRequest {
    pb::ImportGrantsRequest { part: Some(import::Part::Grants(import::Grants { offset, grants })) }
}

fn begin(id: &str) -> pb::ImportGrantsRequest {
    let begin = import::Begin { import_id: id.to_owned(), reason: "moving in".to_owned() };
    pb::ImportGrantsRequest { part: Some(import::Part::Begin(begin)) }
}

/// Sends an import of a grant that cannot be made.
pub(crate) async fn import(caller: &Caller, id: &str) -> Result<Response<pb::ImportGrantsResponse>, Status> {
    let parts = vec![begin(id), part(0, vec![allow(&uuid(), &uuid())])];
    batches(caller).import_grants(Request::new(stream::iter(parts))).await
}

on_both_engines! {
    async fn an_atomic_batch_is_one_revision(world: World) {
        let user = world.user(Role::Member).await;
        let models = models(world, 3).await;
        let (old, _) = world.allow(&user.id, &models[0]).await;
        let before = revisions(world).await;
        let operations = vec![create(&models[1], &user.id), revoke(&old), create(&models[2], &user.id)];
        let answer = batches(&world.owner).batch_grants(batch(pb::BatchMode::Atomic, operations)).await.unwrap().into_inner();
        assert_eq!((answer.succeeded, answer.failed, revisions(world).await), (3, 0, before + 1));
        assert!(matches!(&answer.results[1].result, Some(Outcome::Revoked(id)) if *id == old));
        for (model, verdict) in models.iter().zip([pb::Verdict::Denied, pb::Verdict::Allowed, pb::Verdict::Allowed]) {
            assert_eq!(user.may(&user.id, model, pb::Action::Use).await.0, verdict);
        }
    }

    async fn one_failure_undoes_an_atomic_batch_and_is_named(world: World) {
        let user = world.user(Role::Member).await;
        let models = models(world, 2).await;
        let operations = vec![create(&models[0], &user.id), create(&uuid(), &user.id), create(&models[1], &user.id)];
        let answer = batches(&world.owner).batch_grants(batch(pb::BatchMode::Atomic, operations)).await;
        let message = answer.as_ref().unwrap_err().message().to_owned();
        assert!(message.starts_with("operations[1]: there is no model"), "{message}");
        assert_refused(answer, Code::NotFound, "NOT_FOUND");
        let twice = vec![create(&models[0], &user.id), create(&models[0], &user.id)];
        let answer = batches(&world.owner).batch_grants(batch(pb::BatchMode::Atomic, twice)).await;
        assert_refused(answer, Code::AlreadyExists, "ALREADY_EXISTS");
        assert_eq!(count(world).await, 0);
    }

    async fn each_operation_of_a_best_effort_batch_has_its_own_result(world: World) {
        let user = world.user(Role::Member).await;
        let models = models(world, 2).await;
        world.allow(&user.id, &models[0]).await;
        let mut operations = vec![
            create(&models[0], &user.id), create(&models[1], &user.id), create("no id", &user.id), revoke(&uuid()),
            pb::GrantOperation::default(), create(&models[1], &uuid()),
        ];
        for (number, operation) in operations.iter_mut().enumerate() {
            operation.correlation_id = format!("c{number}");
        }
        let answer = batches(&world.owner).batch_grants(batch(pb::BatchMode::BestEffort, operations)).await.unwrap().into_inner();
        assert_eq!((answer.succeeded, answer.failed), (1, 5));
        let codes: Vec<i32> = answer.results.iter().map(|result| match &result.result {
            Some(Outcome::Error(error)) => { assert!(!error.details.is_empty()); error.code }
            _ => 0,
        }).collect();
        let expected = [Code::AlreadyExists, Code::Ok, Code::InvalidArgument, Code::NotFound, Code::InvalidArgument, Code::NotFound];
        assert_eq!(codes, expected.map(i32::from));
        let ids: Vec<_> = answer.results.iter().map(|result| result.correlation_id.as_str()).collect();
        assert_eq!(ids, ["c0", "c1", "c2", "c3", "c4", "c5"]);
        assert_eq!(user.may(&user.id, &models[1], pb::Action::Use).await.0, pb::Verdict::Allowed);
    }

    async fn a_long_best_effort_batch_is_done_in_parts_and_once(world: World) {
        let group = world.group("team").await;
        let models = models(world, 2).await;
        let users: Vec<String> = {
            let mut users = Vec::new();
            for _ in 0..3 { users.push(world.user(Role::Member).await.id); }
            users
        };
        let mut operations: Vec<_> = (0..450).map(|n| create(&models[n % 2], &users[n % 3])).collect();
        operations.push(pb::GrantOperation { operation: Some(Op::Create(grant(&models[0],
            pb::grant::Grantee::GroupId(group), pb::Action::Use, pb::Effect::Deny))), ..Default::default() });
        let request = pb::BatchGrantsRequest { request_id: uuid(), ..batch(pb::BatchMode::BestEffort, operations) };
        let before = revisions(world).await;
        let answer = batches(&world.owner).batch_grants(request.clone()).await.unwrap().into_inner();
        assert_eq!((answer.results.len(), answer.succeeded, answer.failed), (451, 7, 444));
        assert_eq!(revisions(world).await, before + 2, "the part in the middle changed nothing");
        assert_eq!(batches(&world.owner).batch_grants(request).await.unwrap().into_inner(), answer);
        assert_eq!(count(world).await, 7);
    }

    async fn a_batch_needs_manage_on_every_model_it_touches(world: World) {
        let manager = world.user(Role::Developer).await;
        let user = world.user(Role::Member).await;
        let models = models(world, 2).await;
        let manage = grant(&models[0], pb::grant::Grantee::UserId(manager.id.clone()), pb::Action::Manage, pb::Effect::Allow);
        world.owner.grants().create_grant(pb::CreateGrantRequest { grant: Some(manage), ..Default::default() }).await.unwrap();
        let operations = vec![create(&models[0], &user.id), create(&models[1], &user.id)];
        let answer = batches(&manager).batch_grants(batch(pb::BatchMode::Atomic, operations.clone())).await;
        assert_refused(answer, Code::PermissionDenied, "MANAGE_REQUIRED");
        let answer = batches(&manager).batch_grants(batch(pb::BatchMode::BestEffort, operations)).await.unwrap().into_inner();
        assert_eq!((answer.succeeded, answer.failed), (1, 1));
    }

    async fn sizes_are_bounded(world: World) {
        for count in [0, 1_001] {
            let operations = vec![create(&uuid(), &uuid()); count];
            assert_invalid(batches(&world.owner).batch_grants(batch(pb::BatchMode::Atomic, operations)).await, "operations");
        }
    }

    async fn an_import_is_taken_up_where_it_broke(world: World) {
        let users = [world.user(Role::Member).await.id, world.user(Role::Member).await.id];
        let models = models(world, 4).await;
        let grants: Vec<pb::Grant> = models.iter().flat_map(|model| users.iter().map(|user| allow(model, user))).collect();
        let id = uuid();
        let first = vec![begin(&id), part(0, grants[..3].to_vec())];
        let answer = batches(&world.owner).import_grants(Request::new(stream::iter(first))).await.unwrap().into_inner();
        assert_eq!(answer.progress.unwrap().next_offset, 3);
        let gap = vec![begin(&id), part(5, grants[5..].to_vec())];
        assert_eq!(refusal(batches(&world.owner).import_grants(Request::new(stream::iter(gap))).await), (Code::OutOfRange, "IMPORT_GAP".to_owned()));
        let again = vec![begin(&id), part(0, grants[..5].to_vec()), part(5, [&grants[5..], &[allow(&uuid(), &users[0])]].concat())];
        let answer = batches(&world.owner).import_grants(Request::new(stream::iter(again))).await.unwrap().into_inner();
        let progress = answer.progress.unwrap();
        assert_eq!((progress.next_offset, progress.created, progress.failed), (9, 8, 1));
        assert_eq!((progress.failures[0].offset, progress.failures[0].error.as_ref().unwrap().code), (8, Code::NotFound.into()));
        let known = batches(&world.owner).get_import(pb::GetImportRequest { import_id: id.clone() }).await.unwrap().into_inner();
        assert_eq!(known.progress.unwrap(), progress);
        let other = world.user(Role::Admin).await;
        assert_refused(batches(&other).get_import(pb::GetImportRequest { import_id: id }).await, Code::NotFound, "NOT_FOUND");
        assert_eq!(count(world).await, 8);
    }

    async fn an_import_says_first_which_it_is(world: World) {
        let parts = vec![part(0, vec![allow(&uuid(), &uuid())])];
        assert_invalid(batches(&world.owner).import_grants(Request::new(stream::iter(parts))).await, "begin");
        assert_invalid(batches(&world.owner).import_grants(Request::new(stream::iter(vec![begin("no id")]))).await, "begin.import_id");
        assert_invalid(batches(&world.owner).import_grants(Request::new(stream::iter(vec![begin(&uuid())]))).await, "grants");
    }

    async fn the_export_is_as_of_one_revision_and_can_be_imported(world: World) {
        let user = world.user(Role::Member).await;
        for model in models(world, 3).await {
            world.allow(&user.id, &model).await;
        }
        let mut export = batches(&world.owner).export_grants(pb::ExportGrantsRequest::default()).await.unwrap().into_inner();
        let mut all = Vec::new();
        let mut token = String::new();
        while let Some(part) = export.message().await.unwrap() {
            if all.is_empty() { token = part.token; } else { assert_eq!(part.token, ""); }
            all.extend(part.grants);
        }
        assert_eq!((all.len(), token.is_empty()), (3, false));
        for grant in &all {
            let request = pb::RevokeGrantRequest { grant_id: grant.grant_id.clone(), ..Default::default() };
            world.owner.grants().revoke_grant(request).await.unwrap();
        }
        let parts = vec![begin(&uuid()), part(0, all)];
        let answer = batches(&world.owner).import_grants(Request::new(stream::iter(parts))).await.unwrap().into_inner();
        assert_eq!(answer.progress.unwrap().created, 3);
    }
}
