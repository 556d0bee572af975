//! Questions beyond the single check: many at once, which, who, why, and what if (P4).

use crate::world::{
    Caller, World, assert_invalid, assert_missing, assert_refused, grant, in_seconds, on_both_engines, uuid,
};
use pb::{
    Action, Effect, Standing, Verdict, batch_check_response::result::Outcome, check_item::Model,
    grant::Grantee, hypothetical_change::Change, subject::Subject,
};
use proto::{common::v1::Role, permissions::v1 as pb};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::collections::BTreeSet;
use tonic::Code;

fn item(user: &str, model: &str, action: Action) -> pb::CheckItem {
    pb::CheckItem {
        user_id: user.to_owned(),
        model: Some(Model::ModelId(model.to_owned())),
        action: action.into(),
        ..Default::default()
    }
}

async fn batch(caller: &Caller, items: Vec<pb::CheckItem>) -> pb::BatchCheckResponse {
    let request = pb::BatchCheckRequest { items, consistency: None };
    caller.authorization().batch_check(request).await.unwrap().into_inner()
}

/// The code and the reason of an item that was refused.
fn refused(outcome: &Outcome) -> (i32, String) {
    use prost::Message;
    let Outcome::Error(status) = outcome else { panic!("{outcome:?} should have been refused") };
    let infos = status.details.iter().filter(|any| any.type_url.ends_with("google.rpc.ErrorInfo"));
    let info = infos.map(|any| tonic_types::pb::ErrorInfo::decode(any.value.as_slice()).unwrap()).next();
    (status.code, info.unwrap().reason)
}

pub(crate) struct House {
    pub(crate) users: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) models: Vec<String>,
}

/// People in groups in groups, with all kinds of grants among them.
pub(crate) async fn house(world: &World, seed: u64) -> House {
    let mut random = StdRng::seed_from_u64(seed);
    let mut house = House { users: vec![world.owner.id.clone()], groups: Vec::new(), models: Vec::new() };
    for number in 0..5 {
        house.users.push(world.user(Role::Member).await.id);
        house.groups.push(world.group(&format!("group-{number}")).await);
        house.models.push(world.model(&format!("model-{number}")).await);
    }
    for _ in 0..20 {
        let (one, other) = (random.random_range(0..5), random.random_range(0..5));
        if random.random_bool(0.6) {
            join(world, &house.groups[one], &house.users[other]).await;
        } else if one < other {
            let member = pb::membership::Member::MemberGroupId(house.groups[other].clone());
            add(world, &house.groups[one], member).await;
        }
        let grantee = match random.random_range(0..4) {
            0 => Grantee::Everyone(true),
            1 => Grantee::UserId(house.users[one].clone()),
            _ => Grantee::GroupId(house.groups[one].clone()),
        };
        let effect = if random.random_bool(0.2) { Effect::Deny } else { Effect::Allow };
        let action = if random.random_bool(0.3) { Action::Manage } else { Action::Use };
        let new = Some(grant(&house.models[other], grantee, action, effect));
        // The same one twice is refused, which does not matter here.
        let request = pb::CreateGrantRequest { grant: new, ..Default::default() };
        drop(world.owner.grants().create_grant(request).await);
    }
    house
}

async fn add(world: &World, group: &str, member: pb::membership::Member) {
    let membership = Some(pb::Membership { member: Some(member), ..Default::default() });
    let request = pb::AddMemberRequest { group_id: group.to_owned(), membership, ..Default::default() };
    drop(world.owner.groups().add_member(request).await);
}

async fn join(world: &World, group: &str, user: &str) {
    add(world, group, pb::membership::Member::UserId(user.to_owned())).await;
}

async fn create(caller: &Caller, new: pb::Grant) -> String {
    let request = pb::CreateGrantRequest { grant: Some(new), ..Default::default() };
    caller.grants().create_grant(request).await.unwrap().into_inner().grant.unwrap().grant_id
}

async fn subjects(caller: &Caller, model: &str, action: Action, groups: bool) -> Vec<Subject> {
    let mut request = pb::ListSubjectsRequest {
        model_id: model.to_owned(),
        action: action.into(),
        groups,
        page_size: 2,
        ..Default::default()
    };
    let mut found = Vec::new();
    loop {
        let answer = caller.authorization().list_subjects(request.clone()).await.unwrap().into_inner();
        assert!(!answer.drifted && !answer.stale && answer.subjects.len() <= 2);
        found.extend(answer.subjects.into_iter().map(|one| one.subject.unwrap()));
        if answer.next_page_token.is_empty() {
            return found;
        }
        request.page_token = answer.next_page_token;
    }
}

async fn effective(caller: &Caller, user: &str) -> Vec<pb::EffectivePermission> {
    let mut request =
        pb::GetEffectivePermissionsRequest { user_id: user.to_owned(), page_size: 2, ..Default::default() };
    let mut found = Vec::new();
    loop {
        let mut client = caller.authorization();
        let answer = client.get_effective_permissions(request.clone()).await.unwrap().into_inner();
        found.extend(answer.permissions);
        if answer.next_page_token.is_empty() {
            return found;
        }
        request.page_token = answer.next_page_token;
    }
}

on_both_engines! {
    async fn every_list_says_what_the_single_checks_say(world: World) {
        let house = house(world, 7).await;
        let mut allowed = BTreeSet::new();
        for (user, model) in house.users.iter().flat_map(|user| house.models.iter().map(move |model| (user, model))) {
            for action in [Action::Use, Action::Manage] {
                if world.owner.may(user, model, action).await.0 == Verdict::Allowed {
                    allowed.insert((user.clone(), model.clone(), i32::from(action)));
                }
            }
        }
        assert!((5..60).contains(&allowed.len()), "some may and some may not: {}", allowed.len());

        let mut listed = BTreeSet::new();
        for (model, action) in house.models.iter().flat_map(|model| [Action::Use, Action::Manage].map(|one| (model, one))) {
            for subject in subjects(&world.owner, model, action, false).await {
                let Subject::UserId(user) = subject else { panic!("{subject:?} is no user") };
                assert!(listed.insert((user, model.clone(), action.into())), "nobody is listed twice");
            }
        }
        assert_eq!(listed, allowed, "by model");

        let (mut listed, mut held) = (BTreeSet::new(), BTreeSet::new());
        for user in &house.users {
            for action in [Action::Use, Action::Manage] {
                let request = pb::ListAccessibleModelsRequest { user_id: user.clone(), action: action.into(), ..Default::default() };
                let models = world.owner.authorization().list_accessible_models(request).await.unwrap().into_inner().models;
                listed.extend(models.into_iter().map(|model| (user.clone(), model.model_id, action.into())));
            }
            let permissions = effective(&world.owner, user).await;
            held.extend(permissions.into_iter().filter(|one| one.allowed).map(|one| (user.clone(), one.model_id, one.action)));
        }
        assert_eq!(listed, allowed, "by user");
        assert_eq!(held, allowed, "by user, with the way");
    }

    async fn a_batch_is_as_many_single_checks_at_one_revision(world: World) {
        let house = house(world, 11).await;
        let mut random = StdRng::seed_from_u64(3);
        let mut items: Vec<pb::CheckItem> = (0..1_000)
            .map(|number| pb::CheckItem {
                correlation_id: number.to_string(),
                ..item(&house.users[random.random_range(0..6)], &house.models[random.random_range(0..5)], Action::Use)
            })
            .collect();
        items[3].action = 0;
        items[500].user_id = "x".to_owned();
        let answer = batch(&world.owner, items.clone()).await;
        assert_eq!(answer.results.len(), 1_000);
        for (number, result) in answer.results.iter().enumerate() {
            assert_eq!(result.correlation_id, number.to_string());
            let outcome = result.outcome.as_ref().unwrap();
            if number == 3 || number == 500 {
                assert_eq!(refused(outcome), (Code::InvalidArgument.into(), "INVALID_FIELD".to_owned()));
                continue;
            }
            let Outcome::Answer(many) = outcome else { panic!("{outcome:?}") };
            if number % 50 == 0 {
                let consistency = crate::freshness::wanted(pb::consistency::Requirement::AtRevision(answer.token.clone()));
                let Some(Model::ModelId(model)) = items[number].model.clone() else { panic!() };
                let single = pb::CheckRequest {
                    user_id: items[number].user_id.clone(),
                    model: Some(pb::check_request::Model::ModelId(model)),
                    action: items[number].action,
                    consistency,
                    ..Default::default()
                };
                let single = world.owner.authorization().check(single).await.unwrap().into_inner();
                assert_eq!((single.verdict, single.reason, single.grant_id, single.token), (many.verdict, many.reason.clone(), many.grant_id.clone(), answer.token.clone()));
            }
        }
        items.push(items[0].clone());
        for items in [items, Vec::new()] {
            let request = pb::BatchCheckRequest { items, consistency: None };
            assert_invalid(world.owner.authorization().batch_check(request).await, "items");
        }
    }
}

#[tokio::test]
async fn a_stream_answers_in_order_and_ends_with_the_credential() {
    let world = World::sqlite().await;
    let (member, model) = (world.user(Role::Member).await, world.model("m").await);
    world.allow(&member.id, &model).await;
    let (ask, asked) = tokio::sync::mpsc::channel(1_000);
    let requests = tokio_stream::wrappers::ReceiverStream::new(asked);
    let mut answers = member.authorization().check_stream(requests).await.unwrap().into_inner();
    for number in 0..500 {
        let (user, action) =
            if number % 3 == 0 { (world.owner.id.as_str(), Action::Use) } else { ("", Action::Use) };
        let item = pb::CheckItem { correlation_id: number.to_string(), ..item(user, &model, action) };
        ask.send(pb::CheckStreamRequest { item: Some(item), consistency: None }).await.unwrap();
    }
    for number in 0..500 {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.correlation_id, number.to_string());
        match answer.outcome.unwrap() {
            pb::check_stream_response::Outcome::Answer(answer) => {
                assert_eq!((number % 3 == 0, answer.verdict()), (false, Verdict::Allowed));
            }
            pb::check_stream_response::Outcome::Error(status) => {
                assert_eq!((number % 3 == 0, status.code), (true, Code::PermissionDenied.into()));
            }
        }
    }
    let disable =
        pb::UpdateUserRequest { user_id: member.id.clone(), disabled: Some(true), ..Default::default() };
    world.owner.users().update_user(disable).await.unwrap();
    let last = pb::CheckStreamRequest { item: Some(item("", &model, Action::Use)), consistency: None };
    ask.send(last.clone()).await.unwrap();
    let status = answers.message().await.unwrap_err();
    assert_eq!(shared::status::reason(&status), "ACCOUNT_DISABLED");
}

#[tokio::test]
async fn a_service_asks_by_key_and_learns_what_the_key_is_limited_to() {
    let world = World::sqlite().await;
    let (member, one, other) =
        (world.user(Role::Member).await, world.model("a").await, world.model("b").await);
    for model in [&one, &other] {
        world.allow(&member.id, model).await;
    }
    let request = pb::CreateKeyRequest {
        name: "narrow".to_owned(),
        model_ids: vec![one.clone()],
        ..Default::default()
    };
    let made = member.keys().create_key(request).await.unwrap().into_inner();
    let key_hash: bytes::Bytes = shared::auth::hash(&made.secret).as_bytes().to_vec().into();
    let by_key = |model: &str, hash: &bytes::Bytes| pb::CheckRequest {
        model: Some(pb::check_request::Model::ModelId(model.to_owned())),
        action: Action::Use.into(),
        key_hash: hash.clone(),
        ..Default::default()
    };
    let ask = async |request| {
        let answer = world.service().authorization().check(request).await.unwrap().into_inner();
        (answer.verdict(), answer.reason)
    };
    assert_eq!(ask(by_key(&one, &key_hash)).await, (Verdict::Allowed, "GRANTED".to_owned()));
    assert_eq!(ask(by_key(&other, &key_hash)).await, (Verdict::Denied, "KEY_NARROWED".to_owned()));
    let manage = pb::CheckRequest { action: Action::Manage.into(), ..by_key(&one, &key_hash) };
    assert_eq!(ask(manage).await, (Verdict::Denied, "NO_GRANT".to_owned()));
    let stranger = bytes::Bytes::from(vec![7; 32]);
    assert_eq!(ask(by_key(&one, &stranger)).await, (Verdict::Denied, "KEY_UNKNOWN".to_owned()));
    let refused = world.owner.authorization().check(by_key(&one, &key_hash)).await;
    assert_refused(refused, Code::PermissionDenied, "NOT_YOURSELF");
    for (request, field) in [
        (pb::CheckRequest { user_id: member.id.clone(), ..by_key(&one, &key_hash) }, "user_id"),
        (pb::CheckRequest { peer: "x".to_owned(), ..by_key(&one, &key_hash) }, "peer"),
        (by_key(&one, &bytes::Bytes::from(vec![7; 31])), "key_hash"),
    ] {
        assert_invalid(world.service().authorization().check(request).await, field);
    }
}

#[tokio::test]
async fn pages_of_a_list_are_of_one_revision_or_say_that_they_are_not() {
    let world = World::sqlite().await;
    let member = world.user(Role::Member).await;
    let mut models = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let model = world.model(name).await;
        models.push((world.allow(&member.id, &model).await.0, model));
    }
    let request = pb::ListAccessibleModelsRequest { page_size: 2, ..Default::default() };
    let first = member.authorization().list_accessible_models(request.clone()).await.unwrap().into_inner();
    let revoke = pb::RevokeGrantRequest { grant_id: models[3].0.clone(), ..Default::default() };
    world.owner.grants().revoke_grant(revoke).await.unwrap();
    let next = pb::ListAccessibleModelsRequest { page_token: first.next_page_token, ..request };
    let second = member.authorization().list_accessible_models(next.clone()).await.unwrap().into_inner();
    let names: Vec<_> = second.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!((names, second.drifted, &second.token), (vec!["c", "d"], false, &first.token));
    // A process that was not there then answers the same; of a log that was replaced it goes on from now, and says so.
    for (expected, drifted) in [(vec!["c", "d"], false), (vec!["c"], true)] {
        let late = world.another().await;
        let there = late.with_secret(&member.secret);
        let second = there.authorization().list_accessible_models(next.clone()).await.unwrap().into_inner();
        let names: Vec<_> = second.models.iter().map(|model| model.name.as_str()).collect();
        assert_eq!((names, second.drifted), (expected, drifted));
        late.end().await;
        world.sql("UPDATE head SET epoch = randomblob(16)").await;
    }
}

#[tokio::test]
async fn who_may_ask_is_the_same_for_every_question() {
    let world = World::sqlite().await;
    let (member, model, other) =
        (world.user(Role::Member).await, world.model("m").await, world.model("n").await);
    let manager = world.user(Role::Member).await;
    create(&world.owner, grant(&model, Grantee::UserId(manager.id.clone()), Action::Manage, Effect::Allow))
        .await;
    let about = |model: &str| pb::ListSubjectsRequest { model_id: model.to_owned(), ..Default::default() };
    let tree = |model: &str| pb::ExpandRequest { model_id: model.to_owned(), ..Default::default() };
    let why = |user: &str, model: &str| pb::ExplainRequest {
        user_id: user.to_owned(),
        model: Some(pb::explain_request::Model::ModelId(model.to_owned())),
        action: Action::Use.into(),
        ..Default::default()
    };
    let all =
        |user: &str| pb::GetEffectivePermissionsRequest { user_id: user.to_owned(), ..Default::default() };

    member.authorization().get_effective_permissions(all("")).await.unwrap();
    member.authorization().explain(why("", &model)).await.unwrap();
    let denied = Code::PermissionDenied;
    assert_refused(member.authorization().list_subjects(about(&model)).await, denied, "MANAGE_REQUIRED");
    assert_refused(member.authorization().expand(tree(&model)).await, denied, "MANAGE_REQUIRED");
    assert_refused(member.authorization().explain(why(&manager.id, &model)).await, denied, "NOT_YOURSELF");
    let answer = member.authorization().get_effective_permissions(all(&manager.id)).await;
    assert_refused(answer, denied, "NOT_YOURSELF");
    let items = vec![item(&manager.id, &model, Action::Use), item("", &model, Action::Use)];
    let answer = batch(&member, items).await;
    let first = answer.results[0].outcome.as_ref().unwrap();
    assert_eq!(refused(first), (denied.into(), "NOT_YOURSELF".to_owned()));
    assert!(matches!(answer.results[1].outcome, Some(Outcome::Answer(_))));

    manager.authorization().list_subjects(about(&model)).await.unwrap();
    manager.authorization().expand(tree(&model)).await.unwrap();
    manager.authorization().explain(why(&member.id, &model)).await.unwrap();
    assert_eq!(manager.may(&member.id, &model, Action::Use).await.0, Verdict::Denied);
    assert_refused(manager.authorization().list_subjects(about(&other)).await, denied, "MANAGE_REQUIRED");
    assert_refused(manager.authorization().explain(why(&member.id, &other)).await, denied, "NOT_YOURSELF");

    for role in [Role::Admin, Role::Auditor] {
        let caller = world.user(role).await;
        caller.authorization().list_subjects(about(&model)).await.unwrap();
        caller.authorization().expand(tree(&model)).await.unwrap();
        caller.authorization().explain(why(&member.id, &model)).await.unwrap();
        caller.authorization().get_effective_permissions(all(&member.id)).await.unwrap();
    }
    let missing = uuid();
    assert_missing(world.owner.authorization().list_subjects(about(&missing)).await, "model", &missing);
    assert_missing(world.owner.authorization().expand(tree(&missing)).await, "model", &missing);
}

#[tokio::test]
async fn an_explanation_names_the_way_what_is_missing_and_whom_to_ask() {
    let world = World::sqlite().await;
    let (member, model) = (world.user(Role::Member).await, world.model("m").await);
    let (inner, outer) = (world.group("inner").await, world.group("outer").await);
    join(&world, &inner, &member.id).await;
    add(&world, &outer, pb::membership::Member::MemberGroupId(inner.clone())).await;
    let manager = world.user(Role::Member).await;
    create(&world.owner, grant(&model, Grantee::UserId(manager.id.clone()), Action::Manage, Effect::Allow))
        .await;
    let why = pb::ExplainRequest {
        model: Some(pb::explain_request::Model::ModelName("m".to_owned())),
        action: Action::Use.into(),
        ..Default::default()
    };
    let ask = async || member.authorization().explain(why.clone()).await.unwrap().into_inner();

    let answer = ask().await;
    assert_eq!((answer.allowed, answer.reason.as_str(), answer.causes.len()), (false, "NO_GRANT", 0));
    assert!(answer.missing.contains("grant to the user") && answer.ask_user_ids.contains(&manager.id));

    let late = pb::Grant {
        start_time: Some(in_seconds(600)),
        ..grant(&model, Grantee::GroupId(outer.clone()), Action::Use, Effect::Allow)
    };
    let late = create(&world.owner, late).await;
    let answer = ask().await;
    assert_eq!((answer.allowed, answer.causes[0].standing()), (false, Standing::NotYet));
    assert!(answer.missing.contains(&late) && answer.missing.contains("has not started"));

    let revoke = pb::RevokeGrantRequest { grant_id: late, ..Default::default() };
    world.owner.grants().revoke_grant(revoke).await.unwrap();
    let allow =
        create(&world.owner, grant(&model, Grantee::GroupId(outer.clone()), Action::Use, Effect::Allow))
            .await;
    let answer = ask().await;
    assert_eq!((answer.allowed, &answer.grant_id, answer.missing.as_str()), (true, &allow, ""));
    assert_eq!(answer.causes[0].group_ids, [inner.clone(), outer.clone()]);
    assert!(answer.causes[0].decided && answer.ask_user_ids.is_empty());

    let deny = create(&world.owner, grant(&model, Grantee::Everyone(true), Action::Use, Effect::Deny)).await;
    let answer = ask().await;
    assert_eq!((answer.allowed, &answer.grant_id, answer.causes.len()), (false, &deny, 2));
    assert!(answer.missing.contains(&deny));

    let tree = pb::ExpandRequest { model_id: model.clone(), ..Default::default() };
    let tree = world.owner.authorization().expand(tree).await.unwrap().into_inner();
    let place =
        |leaf: pb::branch::Leaf| tree.branches.iter().position(|one| one.leaf.as_ref() == Some(&leaf));
    let user = place(pb::branch::Leaf::UserId(member.id.clone())).unwrap();
    let below = tree.branches[user].parent.map(|parent| parent as usize);
    assert_eq!(below, place(pb::branch::Leaf::GroupId(inner)));
    let named = subjects(&world.owner, &model, Action::Use, true).await;
    assert_eq!(named, [Subject::GroupId(outer), Subject::UserId(manager.id.clone())]);
}

#[tokio::test]
async fn a_simulation_says_who_would_gain_and_lose_and_changes_nothing() {
    let world = World::sqlite().await;
    let (one, other) = (world.user(Role::Member).await, world.user(Role::Member).await);
    let (model, group) = (world.model("m").await, world.group("g").await);
    join(&world, &group, &one.id).await;
    let (direct, _) = world.allow(&other.id, &model).await;
    let change = |change| pb::HypotheticalChange { change: Some(change) };
    let to_group = grant(&model, Grantee::GroupId(group.clone()), Action::Use, Effect::Allow);
    let member = |user: &str| pb::HypotheticalMember {
        group_id: group.clone(),
        member: Some(pb::hypothetical_member::Member::UserId(user.to_owned())),
        expire_time: None,
    };
    let simulate = async |changes| {
        let request = pb::SimulateRequest { changes, ..Default::default() };
        let answer = world.owner.authorization().simulate(request).await.unwrap().into_inner();
        let told =
            answer.differences.into_iter().map(|one| (one.user_id, one.allowed_before, one.allowed_after));
        told.collect::<BTreeSet<_>>()
    };
    let found = simulate(vec![
        change(Change::CreateGrant(to_group.clone())),
        change(Change::RevokeGrantId(direct.clone())),
    ])
    .await;
    assert_eq!(found, BTreeSet::from([(one.id.clone(), false, true), (other.id.clone(), true, false)]));
    let found = simulate(vec![
        change(Change::CreateGrant(to_group.clone())),
        change(Change::RevokeGrantId(direct)),
        change(Change::AddMember(member(&other.id))),
        change(Change::RemoveMember(member(&one.id))),
    ])
    .await;
    assert_eq!(found, BTreeSet::new(), "one is out again and the other in another way");
    assert_eq!(world.owner.may(&one.id, &model, Action::Use).await.0, Verdict::Denied, "nothing was done");

    let request = |changes| pb::SimulateRequest { changes, ..Default::default() };
    let nobody = uuid();
    let refused = world
        .owner
        .authorization()
        .simulate(request(vec![change(Change::RevokeGrantId(nobody.clone()))]))
        .await;
    assert_missing(refused, "grant", &nobody);
    let refused =
        world.owner.authorization().simulate(request(vec![change(Change::AddMember(member(&nobody)))])).await;
    assert_invalid(refused, "changes");
    assert_invalid(world.owner.authorization().simulate(request(Vec::new())).await, "changes");
    let refused = one.authorization().simulate(request(vec![change(Change::CreateGrant(to_group))])).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
}
