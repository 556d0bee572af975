//! Sets of models (P1, P3): nested, granted on, deleted and taken back, and who may change them.

use crate::world::{
    Caller, World, assert_invalid, assert_missing, assert_refused, grant, on_both_engines, uuid,
};
use pb::{Action, Effect, Verdict, grant::Grantee, set_item::Item};
use proto::{common::v1::Role, permissions::v1 as pb};
use tonic::Code;

fn model(id: &str) -> Item {
    Item::ModelId(id.to_owned())
}

fn set(id: &str) -> Item {
    Item::ItemSetId(id.to_owned())
}

async fn create(caller: &Caller, name: &str) -> String {
    let request = pb::CreateModelSetRequest { name: name.to_owned(), ..Default::default() };
    caller.sets().create_model_set(request).await.unwrap().into_inner().model_set.unwrap().model_set_id
}

fn add(id: &str, items: &[Item]) -> pb::AddSetItemsRequest {
    let items = items.iter().map(|item| pb::SetItem { item: Some(item.clone()) }).collect();
    pb::AddSetItemsRequest { model_set_id: id.to_owned(), items, ..Default::default() }
}

fn remove(id: &str, items: &[Item]) -> pb::RemoveSetItemsRequest {
    let items = items.iter().map(|item| pb::SetItem { item: Some(item.clone()) }).collect();
    pb::RemoveSetItemsRequest { model_set_id: id.to_owned(), items, ..Default::default() }
}

fn change(id: &str) -> pb::UpdateModelSetRequest {
    pb::UpdateModelSetRequest { model_set_id: id.to_owned(), ..Default::default() }
}

fn on_set(set: &str, grantee: Grantee, action: Action, effect: Effect) -> pb::CreateGrantRequest {
    let grant = pb::Grant { model_set_id: set.to_owned(), ..grant("", grantee, action, effect) };
    pb::CreateGrantRequest { grant: Some(grant), ..Default::default() }
}

async fn items(caller: &Caller, id: &str) -> Vec<Item> {
    let (mut found, mut request) = (
        Vec::new(),
        pb::ListSetItemsRequest { model_set_id: id.to_owned(), page_size: 1, ..Default::default() },
    );
    loop {
        let page = caller.sets().list_set_items(request.clone()).await.unwrap().into_inner();
        found.extend(page.items.into_iter().filter_map(|item| item.item));
        if page.next_page_token.is_empty() {
            return found;
        }
        request.page_token = page.next_page_token;
    }
}

on_both_engines! {
    async fn a_grant_on_a_set_covers_what_is_in_it_at_any_depth(world: World) {
        let (one, two, user) = (world.model("one").await, world.model("two").await, world.user(Role::Member).await);
        let (outer, inner) = (create(&world.owner, "outer").await, create(&world.owner, "inner").await);
        world.owner.sets().add_set_items(add(&outer, &[model(&one), set(&inner)])).await.unwrap();
        world.owner.sets().add_set_items(add(&outer, &[model(&one)])).await.unwrap();
        world.owner.sets().add_set_items(add(&inner, &[model(&two)])).await.unwrap();
        assert_eq!(items(&user, &outer).await, [model(&one), set(&inner)]);
        let allow = on_set(&outer, Grantee::UserId(user.id.clone()), Action::Use, Effect::Allow);
        let made = world.owner.grants().create_grant(allow.clone()).await.unwrap().into_inner().grant.unwrap();
        assert_eq!((made.model_id.as_str(), made.model_set_id.as_str()), ("", outer.as_str()));
        assert_refused(world.owner.grants().create_grant(allow).await, Code::AlreadyExists, "ALREADY_EXISTS");
        for id in [&one, &two] {
            assert_eq!(user.may("", id, Action::Use).await.0, Verdict::Allowed);
        }
        let deny = on_set(&inner, Grantee::Everyone(true), Action::Use, Effect::Deny);
        world.owner.grants().create_grant(deny.clone()).await.unwrap();
        assert_refused(world.owner.grants().create_grant(deny).await, Code::AlreadyExists, "ALREADY_EXISTS");
        assert_eq!(user.may("", &two, Action::Use).await.0, Verdict::Denied);
        let list = pb::ListGrantsRequest { model_set_id: outer.clone(), ..Default::default() };
        let listed = world.owner.grants().list_grants(list).await.unwrap().into_inner().grants;
        assert_eq!(listed, std::slice::from_ref(&made));
        world.policy().await;
        world.owner.sets().remove_set_items(remove(&outer, &[model(&one)])).await.unwrap();
        assert_eq!(user.may("", &one, Action::Use).await.0, Verdict::Denied);
        assert_missing(world.owner.sets().remove_set_items(remove(&outer, &[model(&one)])).await, "item", &one);
        let revoke = pb::RevokeGrantRequest { grant_id: made.grant_id, ..Default::default() };
        world.owner.grants().revoke_grant(revoke).await.unwrap();
        world.policy().await;
    }

    async fn a_set_is_never_in_itself(world: World) {
        let (a, b, c) = (create(&world.owner, "a").await, create(&world.owner, "b").await, create(&world.owner, "c").await);
        let refused = world.owner.sets().add_set_items(add(&a, &[set(&a)])).await;
        assert_refused(refused, Code::FailedPrecondition, "SET_CYCLE");
        world.owner.sets().add_set_items(add(&a, &[set(&b)])).await.unwrap();
        world.owner.sets().add_set_items(add(&b, &[set(&c)])).await.unwrap();
        let refused = world.owner.sets().add_set_items(add(&c, &[set(&a)])).await;
        assert_refused(refused, Code::FailedPrecondition, "SET_CYCLE");
        let delete = pb::DeleteModelSetRequest { model_set_id: b.clone(), ..Default::default() };
        world.owner.sets().delete_model_set(delete).await.unwrap();
        world.owner.sets().add_set_items(add(&c, &[set(&a)])).await.unwrap();
        let undelete = pb::UndeleteModelSetRequest { model_set_id: b, ..Default::default() };
        let refused = world.owner.sets().undelete_model_set(undelete).await;
        assert_refused(refused, Code::FailedPrecondition, "SET_CYCLE");
    }

    async fn a_deleted_set_comes_back_with_items_places_and_grants(world: World) {
        let (one, user) = (world.model("one").await, world.user(Role::Member).await);
        let (outer, inner) = (create(&world.owner, "outer").await, create(&world.owner, "inner").await);
        world.owner.sets().add_set_items(add(&outer, &[set(&inner)])).await.unwrap();
        world.owner.sets().add_set_items(add(&inner, &[model(&one)])).await.unwrap();
        let allow = on_set(&outer, Grantee::UserId(user.id.clone()), Action::Use, Effect::Allow);
        world.owner.grants().create_grant(allow).await.unwrap();
        let deny = on_set(&inner, Grantee::UserId(user.id.clone()), Action::Manage, Effect::Deny);
        world.owner.grants().create_grant(deny).await.unwrap();
        let before = world.policy().await;
        let delete = pb::DeleteModelSetRequest { model_set_id: inner.clone(), ..Default::default() };
        world.owner.sets().delete_model_set(delete.clone()).await.unwrap();
        assert_missing(world.owner.sets().delete_model_set(delete).await, "model_set", &inner);
        assert_eq!((items(&user, &outer).await, user.may("", &one, Action::Use).await.0), (vec![], Verdict::Denied));
        let again = create(&world.owner, "inner").await;
        let undelete = pb::UndeleteModelSetRequest { model_set_id: inner.clone(), ..Default::default() };
        let refused = world.owner.sets().undelete_model_set(undelete.clone()).await;
        assert_refused(refused, Code::AlreadyExists, "ALREADY_EXISTS");
        let delete = pb::DeleteModelSetRequest { model_set_id: again, ..Default::default() };
        world.owner.sets().delete_model_set(delete).await.unwrap();
        world.owner.sets().undelete_model_set(undelete).await.unwrap();
        assert_eq!(world.policy().await, before);
        // A model that goes leaves its sets, and is in them again when it returns.
        let gone = pb::DeleteModelRequest { model_id: one.clone(), ..Default::default() };
        world.owner.models().delete_model(gone).await.unwrap();
        assert_eq!(items(&user, &inner).await, []);
        let back = pb::UndeleteModelRequest { model_id: one.clone(), ..Default::default() };
        world.owner.models().undelete_model(back).await.unwrap();
        assert_eq!(world.policy().await, before);
    }

    async fn sets_are_read_listed_changed_and_switched_off(world: World) {
        let (one, user) = (world.model("one").await, world.user(Role::Member).await);
        let (blue, red) = (create(&world.owner, "Blue ones").await, create(&world.owner, "red_ones").await);
        world.owner.sets().add_set_items(add(&blue, &[model(&one)])).await.unwrap();
        let allow = on_set(&blue, Grantee::Everyone(true), Action::Use, Effect::Allow);
        world.owner.grants().create_grant(allow).await.unwrap();
        let list = |search: &str, page_token: String| pb::ListModelSetsRequest { search: search.to_owned(), page_size: 1, page_token, ..Default::default() };
        let first = user.sets().list_model_sets(list("ONES", String::new())).await.unwrap().into_inner();
        assert_eq!(first.model_sets[0].model_set_id, blue);
        let second = user.sets().list_model_sets(list("ONES", first.next_page_token)).await.unwrap().into_inner();
        assert_eq!((second.model_sets[0].model_set_id.as_str(), second.next_page_token.as_str()), (red.as_str(), ""));
        let get = pb::GetModelSetRequest { model_set_id: blue.clone() };
        let read = user.sets().get_model_set(get).await.unwrap().into_inner().model_set.unwrap();
        let off = pb::UpdateModelSetRequest { disabled: Some(true), etag: read.etag.clone(), ..change(&blue) };
        world.owner.sets().update_model_set(off.clone()).await.unwrap();
        assert_eq!(user.may("", &one, Action::Use).await.0, Verdict::Denied);
        assert_refused(world.owner.sets().update_model_set(off).await, Code::Aborted, "ETAG_MISMATCH");
        let taken = pb::UpdateModelSetRequest { name: Some("red_ones".to_owned()), ..change(&blue) };
        assert_refused(world.owner.sets().update_model_set(taken).await, Code::AlreadyExists, "ALREADY_EXISTS");
        let bare = pb::UpdateModelSetRequest { clear_owner: true, disabled: Some(false), ..change(&blue) };
        let changed = world.owner.sets().update_model_set(bare).await.unwrap().into_inner().model_set.unwrap();
        assert_eq!((changed.owner, changed.disabled), (None, false));
        assert_eq!(user.may("", &one, Action::Use).await.0, Verdict::Allowed);
    }

    async fn a_batch_grants_on_sets_as_single_calls_do(world: World) {
        use pb::{batch_service_client::BatchServiceClient, grant_operation::Operation, grant_result::Result as Row};
        let (one, user, other) = (world.model("one").await, world.user(Role::Member).await, world.user(Role::Member).await);
        let own = create(&user, "own").await;
        world.owner.sets().add_set_items(add(&own, &[model(&one)])).await.unwrap();
        let everyone = on_set(&own, Grantee::Everyone(true), Action::Use, Effect::Allow).grant;
        let nowhere = on_set(&uuid(), Grantee::Everyone(true), Action::Use, Effect::Allow).grant;
        let batch = |grants: Vec<Option<pb::Grant>>| pb::BatchGrantsRequest {
            operations: grants.into_iter().map(|grant| pb::GrantOperation {
                operation: grant.map(Operation::Create), ..Default::default()
            }).collect(),
            mode: pb::BatchMode::BestEffort.into(),
            ..Default::default()
        };
        let mut theirs = BatchServiceClient::new(other.channel());
        let refused = theirs.batch_grants(batch(vec![everyone.clone()])).await.unwrap().into_inner();
        assert_eq!((refused.succeeded, refused.failed), (0, 1));
        let mut mine = BatchServiceClient::new(user.channel());
        let answer = mine.batch_grants(batch(vec![everyone.clone(), nowhere, everyone])).await.unwrap().into_inner();
        let codes: Vec<Option<i32>> = answer.results.iter().map(|row| match &row.result {
            Some(Row::Error(status)) => Some(status.code),
            _ => None,
        }).collect();
        assert_eq!(codes, [None, Some(Code::NotFound as i32), Some(Code::AlreadyExists as i32)]);
        assert_eq!(other.may("", &one, Action::Use).await.0, Verdict::Allowed);
        let Some(Row::Created(grant)) = &answer.results[0].result else { panic!("{answer:?}") };
        assert_eq!(grant.model_set_id, own);
        let revoke = pb::GrantOperation { operation: Some(Operation::Revoke(grant.grant_id.clone())), ..Default::default() };
        let revoke = pb::BatchGrantsRequest { operations: vec![revoke], ..Default::default() };
        assert_refused(theirs.batch_grants(revoke.clone()).await, Code::PermissionDenied, "MANAGE_REQUIRED");
        mine.batch_grants(revoke).await.unwrap();
        assert_eq!(other.may("", &one, Action::Use).await.0, Verdict::Denied);
    }

    async fn a_set_is_changed_by_its_owner_and_by_who_manages_all_that_is_in_it(world: World) {
        let denied = Code::PermissionDenied;
        let (one, two) = (world.user(Role::Operator).await, world.user(Role::Operator).await);
        let register = |name: &str| pb::RegisterModelRequest { name: name.to_owned(), ..Default::default() };
        let mine = one.models().register_model(register("mine")).await.unwrap().into_inner().model.unwrap().model_id;
        let theirs = two.models().register_model(register("theirs")).await.unwrap().into_inner().model.unwrap().model_id;
        let own = create(&one, "own").await;
        // To put a model in one must manage it, and the set.
        assert_refused(one.sets().add_set_items(add(&own, &[model(&theirs)])).await, denied, "MANAGE_REQUIRED");
        assert_refused(two.sets().add_set_items(add(&own, &[model(&theirs)])).await, denied, "MANAGE_REQUIRED");
        one.sets().add_set_items(add(&own, &[model(&mine)])).await.unwrap();
        // A set without an owner is everybody's who manages all of it, and nobody's while it is empty.
        let bare = create(&world.owner, "bare").await;
        world.owner.sets().update_model_set(pb::UpdateModelSetRequest { clear_owner: true, ..change(&bare) }).await.unwrap();
        let describe = || pb::UpdateModelSetRequest { description: Some("x".to_owned()), ..change(&bare) };
        assert_refused(one.sets().update_model_set(describe()).await, denied, "MANAGE_REQUIRED");
        world.owner.sets().add_set_items(add(&bare, &[set(&own)])).await.unwrap();
        one.sets().update_model_set(describe()).await.unwrap();
        let allow = on_set(&bare, Grantee::UserId(two.id.clone()), Action::Use, Effect::Allow);
        assert_refused(two.grants().create_grant(allow.clone()).await, denied, "MANAGE_REQUIRED");
        let made = one.grants().create_grant(allow).await.unwrap().into_inner().grant.unwrap();
        assert_eq!(two.may("", &mine, Action::Use).await.0, Verdict::Allowed);
        world.owner.sets().add_set_items(add(&bare, &[model(&theirs)])).await.unwrap();
        assert_refused(one.sets().update_model_set(describe()).await, denied, "MANAGE_REQUIRED");
        let revoke = pb::RevokeGrantRequest { grant_id: made.grant_id, ..Default::default() };
        assert_refused(one.grants().revoke_grant(revoke).await, denied, "MANAGE_REQUIRED");
        // Its owner takes a deletion back; others do not.
        let delete = pb::DeleteModelSetRequest { model_set_id: own.clone(), ..Default::default() };
        assert_refused(two.sets().delete_model_set(delete.clone()).await, denied, "MANAGE_REQUIRED");
        one.sets().delete_model_set(delete).await.unwrap();
        let undelete = pb::UndeleteModelSetRequest { model_set_id: own, ..Default::default() };
        assert_refused(two.sets().undelete_model_set(undelete.clone()).await, denied, "MANAGE_REQUIRED");
        one.sets().undelete_model_set(undelete).await.unwrap();
    }
}

#[tokio::test]
async fn a_field_that_breaks_its_rules_is_named() {
    let world = World::sqlite().await;
    let (own, one) = (create(&world.owner, "own").await, world.model("m").await);
    let unnamed = pb::CreateModelSetRequest::default();
    assert_invalid(world.owner.sets().create_model_set(unnamed).await, "name");
    assert_invalid(world.owner.sets().update_model_set(change("x")).await, "model_set_id");
    let both = pb::UpdateModelSetRequest {
        clear_owner: true,
        owner: Some(pb::ModelOwner { owner: Some(pb::model_owner::Owner::UserId(uuid())) }),
        ..change(&own)
    };
    assert_invalid(world.owner.sets().update_model_set(both).await, "clear_owner");
    assert_invalid(world.owner.sets().add_set_items(add(&own, &[])).await, "items");
    let bad = add(&own, &[model(&one), model("x")]);
    assert_invalid(world.owner.sets().add_set_items(bad).await, "items[1].model_id");
    let twice = add(&own, &[model(&one), model(&one)]);
    assert_invalid(world.owner.sets().add_set_items(twice).await, "items[1]");
    let nobody = uuid();
    assert_missing(world.owner.sets().add_set_items(add(&own, &[set(&nobody)])).await, "model_set", &nobody);
    assert_missing(world.owner.sets().add_set_items(add(&own, &[model(&nobody)])).await, "model", &nobody);
    let everyone = Grantee::Everyone(true);
    let neither = on_set("", everyone.clone(), Action::Use, Effect::Allow);
    assert_invalid(world.owner.grants().create_grant(neither).await, "grant.model_id");
    let mut both = on_set(&own, everyone, Action::Use, Effect::Allow);
    both.grant.as_mut().unwrap().model_id = one;
    assert_invalid(world.owner.grants().create_grant(both).await, "grant.model_set_id");
}
