//! Questions about the state of an earlier revision or instant, whichever process is asked and however long ago that
//! was, as far back as events are kept (P4, P7, P8).

use crate::{
    freshness::wanted,
    questions::{House, house},
    time_travel::{checkpoints, forgetful, number, often, until},
    world::{Caller, World, assert_refused, now, on_both_engines},
};
use pb::{Action, check_request::Model, consistency::Requirement};
use proto::permissions::v1 as pb;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use shared::{db::Db, status, time};
use std::{fmt::Debug, time::Duration};
use tonic::{Code, Request};
use tonic_types::StatusExt;

type How = Option<pb::Consistency>;

/// Every question that can be asked of a state, as text, without what names the state.
async fn answers(caller: &Caller, house: &House, how: &How) -> Vec<String> {
    let mut said = checks(caller, house, how).await;
    for user in &house.users {
        said.push(accessible(caller, user, how).await);
        said.push(effective(caller, user, how).await);
    }
    for model in &house.models {
        said.push(subjects(caller, model, how).await);
        let request =
            pb::ExpandRequest { model_id: model.clone(), consistency: how.clone(), ..Default::default() };
        let mut answer = caller.authorization().expand(request).await.unwrap().into_inner();
        answer.token.clear();
        said.push(text(&answer));
    }
    for (user, model) in house.users.iter().zip(house.models.iter().cycle()) {
        let request = pb::ExplainRequest {
            user_id: user.clone(),
            model: Some(pb::explain_request::Model::ModelId(model.clone())),
            action: Action::Use.into(),
            consistency: how.clone(),
        };
        let mut answer = caller.authorization().explain(request).await.unwrap().into_inner();
        answer.token.clear();
        said.push(text(&answer));
    }
    said
}

async fn checks(caller: &Caller, house: &House, how: &How) -> Vec<String> {
    let pairs = house.users.iter().flat_map(|user| house.models.iter().map(move |model| (user, model)));
    let item = |(user, model): (&String, &String)| pb::CheckItem {
        user_id: user.clone(),
        model: Some(pb::check_item::Model::ModelId(model.clone())),
        action: Action::Use.into(),
        ..Default::default()
    };
    let request = pb::BatchCheckRequest { items: pairs.map(item).collect(), consistency: how.clone() };
    let batch = caller.authorization().batch_check(request).await.unwrap().into_inner();
    let mut said = vec![text(&batch.results)];
    let mut single = caller.authorization().check(check(house, how)).await.unwrap().into_inner();
    single.token.clear();
    said.push(text(&single));
    said
}

fn check(house: &House, how: &How) -> pb::CheckRequest {
    pb::CheckRequest {
        user_id: house.users[1].clone(),
        model: Some(Model::ModelId(house.models[1].clone())),
        action: Action::Use.into(),
        consistency: how.clone(),
        ..Default::default()
    }
}

/// All pages of a list, each of which must be of the state that was asked for.
async fn accessible(caller: &Caller, user: &str, how: &How) -> String {
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListAccessibleModelsRequest {
            user_id: user.to_owned(),
            page_size: 2,
            page_token,
            consistency: how.clone(),
            ..Default::default()
        };
        let answer = caller.authorization().list_accessible_models(request).await.unwrap().into_inner();
        assert!(!answer.drifted);
        found.extend(answer.models);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return text(&found);
        }
    }
}

async fn subjects(caller: &Caller, model: &str, how: &How) -> String {
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListSubjectsRequest {
            model_id: model.to_owned(),
            page_size: 2,
            page_token,
            consistency: how.clone(),
            ..Default::default()
        };
        let answer = caller.authorization().list_subjects(request).await.unwrap().into_inner();
        assert!(!answer.drifted);
        found.extend(answer.subjects);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return text(&found);
        }
    }
}

async fn effective(caller: &Caller, user: &str, how: &How) -> String {
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::GetEffectivePermissionsRequest {
            user_id: user.to_owned(),
            page_size: 2,
            page_token,
            consistency: how.clone(),
        };
        let answer = caller.authorization().get_effective_permissions(request).await.unwrap().into_inner();
        assert!(!answer.drifted);
        found.extend(answer.permissions);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return text(&found);
        }
    }
}

fn text(answer: &impl Debug) -> String {
    format!("{answer:?}")
}

/// Grants or revokes something.
async fn change(world: &World, house: &House, random: &mut StdRng) -> String {
    let grants =
        world.owner.grants().list_grants(pb::ListGrantsRequest::default()).await.unwrap().into_inner();
    let known = grants.grants.choose(random).filter(|_| random.random_bool(0.5));
    if let Some(known) = known {
        let request = pb::RevokeGrantRequest { grant_id: known.grant_id.clone(), ..Default::default() };
        return world.owner.grants().revoke_grant(request).await.unwrap().into_inner().token;
    }
    let grantee = pb::grant::Grantee::GroupId(house.groups.choose(random).unwrap().clone());
    let model = house.models.choose(random).unwrap();
    let new = crate::world::grant(model, grantee, Action::Use, pb::Effect::Allow);
    let request = pb::CreateGrantRequest { grant: Some(new), ..Default::default() };
    // One that is there already changes nothing; another thing does.
    match world.owner.grants().create_grant(request).await {
        Ok(answer) => answer.into_inner().token,
        Err(_) => world.allow(&world.user(proto::common::v1::Role::Member).await.id, model).await.1,
    }
}

async fn token(caller: &Caller, house: &House) -> String {
    let how = wanted(Requirement::FullyConsistent(true));
    caller.authorization().check(check(house, &how)).await.unwrap().into_inner().token
}

on_both_engines! {
    async fn a_process_that_was_not_there_answers_every_question_as_it_was_answered_then(world: World) {
        let house = house(world, 19).await;
        let writer = world.another_with(&often()).await;
        let mut random = StdRng::seed_from_u64(5);
        let mut states = Vec::new();
        for _ in 0..8 {
            let said = answers(&world.owner, &house, &None).await;
            states.push((token(&world.owner, &house).await, time::to_proto(now()), said));
            for _ in 0..3 {
                change(world, &house, &mut random).await;
            }
        }
        while checkpoints(world).await < 2 {
            change(world, &house, &mut random).await;
        }
        writer.end().await;
        assert!(states.iter().any(|(_, _, said)| *said != states[0].2), "something changed meanwhile");
        let late = world.another().await;
        for (token, at, said) in states.iter().rev().step_by(2).chain(&states) {
            for requirement in [Requirement::AtRevision(token.clone()), Requirement::AtTime(*at)] {
                let how = wanted(requirement);
                assert_eq!(answers(&late.owner, &house, &how).await, *said);
                let answer = late.owner.authorization().check(check(&house, &how)).await.unwrap().into_inner();
                assert_eq!(answer.token, *token);
            }
        }
        late.end().await;
    }

    async fn only_what_was_deleted_is_out_of_range(world: World) {
        let house = house(world, 29).await;
        let (early, then) = (token(&world.owner, &house).await, time::to_proto(now()));
        let mut random = StdRng::seed_from_u64(6);
        for _ in 0..10 {
            change(world, &house, &mut random).await;
        }
        let cleaner = world.another_with(&forgetful()).await;
        let events = "SELECT count(*) FROM events";
        until(async || number(world, events).await < 7 && checkpoints(world).await == 1).await;
        cleaner.end().await;
        let earliest = number(world, "SELECT revision FROM checkpoints").await.to_string();
        for requirement in [Requirement::AtRevision(early), Requirement::AtTime(then)] {
            let how = wanted(requirement);
            let status = world.owner.authorization().check(check(&house, &how)).await.unwrap_err();
            assert_eq!((status.code(), status::reason(&status).as_str()), (Code::OutOfRange, "REVISION_OUT_OF_RANGE"));
            let info = status.get_details_error_info().unwrap();
            assert_eq!(info.metadata["earliest_revision"], earliest);
            assert!(status.message().contains(&earliest) && status.message().contains("events are kept"));
            let request = pb::ExpandRequest { model_id: house.models[0].clone(), consistency: how, ..Default::default() };
            assert_refused(world.owner.authorization().expand(request).await, Code::OutOfRange, "REVISION_OUT_OF_RANGE");
        }
        let kept = token(&world.owner, &house).await;
        let said = answers(&world.owner, &house, &None).await;
        change(world, &house, &mut random).await;
        let late = world.another().await;
        assert_eq!(answers(&late.owner, &house, &wanted(Requirement::AtRevision(kept))).await, said);
        late.end().await;
    }
}

#[tokio::test]
async fn who_cannot_wait_is_told_so_and_finds_the_state_when_asking_again() {
    let world = World::postgres().await;
    let house = house(&world, 3).await;
    let then = token(&world.owner, &house).await;
    let said = answers(&world.owner, &house, &None).await;
    world.model("later").await;
    let late = world.another().await;
    let Db::Postgres(pool) = &world.db else { panic!("asked for PostgreSQL") };
    let mut held = pool.unwatched().begin().await.unwrap();
    sqlx::query("LOCK TABLE events IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await.unwrap();
    let how = wanted(Requirement::AtRevision(then));
    for _ in 0..3 {
        let mut request = Request::new(check(&house, &how));
        request.set_timeout(Duration::from_millis(100));
        assert_refused(
            late.owner.authorization().check(request).await,
            Code::DeadlineExceeded,
            "DEADLINE_EXCEEDED",
        );
    }
    held.rollback().await.unwrap();
    assert_eq!(answers(&late.owner, &house, &how).await, said);
    late.end().await;
    world.end().await;
}
