//! Models: registering, listing, changing, and who may (P1).

use crate::world::{
    Caller, World, assert_invalid, assert_missing, assert_refused, grant, on_both_engines, uuid,
};
use proto::{
    common::v1::Role,
    permissions::v1::{self as pb, model_owner::Owner},
};
use tonic::Code;

fn register(name: &str) -> pb::RegisterModelRequest {
    pb::RegisterModelRequest {
        name: name.to_owned(),
        description: "A model".to_owned(),
        ..Default::default()
    }
}

fn change(model: &str) -> pb::UpdateModelRequest {
    pb::UpdateModelRequest { model_id: model.to_owned(), ..Default::default() }
}

fn owner(owner: Owner) -> Option<pb::ModelOwner> {
    Some(pb::ModelOwner { owner: Some(owner) })
}

async fn names(caller: &Caller, request: pb::ListModelsRequest) -> Vec<String> {
    let (mut names, mut request) = (Vec::new(), request);
    loop {
        let page = caller.models().list_models(request.clone()).await.unwrap().into_inner();
        names.extend(page.models.into_iter().map(|model| model.name));
        if page.next_page_token.is_empty() {
            return names;
        }
        request.page_token = page.next_page_token;
    }
}

on_both_engines! {
    async fn a_model_is_registered_read_and_changed(world: World) {
        let operator = world.user(Role::Operator).await;
        let model = operator.models().register_model(register("org/Model-1.5:q4")).await.unwrap().into_inner().model.unwrap();
        assert_eq!((model.state(), model.description.as_str()), (pb::ModelState::Active, "A model"));
        assert_eq!(model.owner, owner(Owner::UserId(operator.id.clone())));
        let get = pb::GetModelRequest { model_id: model.model_id.clone() };
        assert_eq!(operator.models().get_model(get).await.unwrap().into_inner().model.unwrap(), model);
        let team = world.group("team").await;
        let request = pb::UpdateModelRequest {
            description: Some(String::new()),
            state: Some(pb::ModelState::Deprecated.into()),
            owner: owner(Owner::GroupId(team.clone())),
            ..change(&model.model_id)
        };
        let changed = operator.models().update_model(request).await.unwrap().into_inner().model.unwrap();
        assert_eq!((changed.state(), changed.description.as_str()), (pb::ModelState::Deprecated, ""));
        assert_eq!((changed.owner, changed.name), (owner(Owner::GroupId(team)), model.name));
    }

    async fn a_name_is_one_models_and_case_counts(world: World) {
        world.model("llama").await;
        world.model("Llama").await;
        let again = world.owner.models().register_model(register("llama")).await;
        assert_refused(again, Code::AlreadyExists, "ALREADY_EXISTS");
    }

    async fn models_are_listed_by_name_page_by_page(world: World) {
        for name in ["b", "a_1", "A", "a-1", "a1"] {
            world.model(name).await;
        }
        let all = pb::ListModelsRequest { page_size: 2, ..Default::default() };
        assert_eq!(names(&world.owner, all.clone()).await, ["A", "a-1", "a1", "a_1", "b"]);
        for (search, expected) in [("A", vec!["A", "a-1", "a1", "a_1"]), ("_", vec!["a_1"]), ("%", vec![]), ("!", vec![])] {
            let found = pb::ListModelsRequest { search: search.to_owned(), ..all.clone() };
            assert_eq!(names(&world.owner, found).await, expected, "{search}");
        }
        assert_eq!(names(&world.service(), all).await.len(), 5);
    }

    async fn accessible_only_lists_what_the_caller_may_use(world: World) {
        let member = world.user(Role::Member).await;
        let mut ids = Vec::new();
        for name in ["c", "a", "b", "x"] {
            ids.push(world.model(name).await);
        }
        for model in &ids[..3] {
            world.allow(&member.id, model).await;
        }
        let disabled = pb::UpdateModelRequest { state: Some(pb::ModelState::Disabled.into()), ..change(&ids[2]) };
        world.owner.models().update_model(disabled).await.unwrap();
        let mine = pb::ListModelsRequest { accessible_only: true, page_size: 1, ..Default::default() };
        assert_eq!(names(&member, mine.clone()).await, ["a", "c"]);
        let found = pb::ListModelsRequest { search: "C".to_owned(), ..mine.clone() };
        assert_eq!(names(&member, found).await, ["c"]);
        // A role lets nobody use a model.
        assert_eq!(names(&world.owner, mine.clone()).await, Vec::<String>::new());
        assert_invalid(world.service().models().list_models(mine).await, "accessible_only");
    }

    async fn a_deleted_model_is_gone_at_once_and_comes_back_as_it_was(world: World) {
        let (manager, user) = (world.user(Role::Operator).await, world.user(Role::Member).await);
        let model = manager.models().register_model(register("m")).await.unwrap().into_inner().model.unwrap();
        world.allow(&user.id, &model.model_id).await;
        let before = world.policy().await;
        let delete = pb::DeleteModelRequest { model_id: model.model_id.clone(), etag: model.etag.clone(), ..Default::default() };
        let undelete = || pb::UndeleteModelRequest { model_id: model.model_id.clone(), ..Default::default() };
        assert_refused(user.models().delete_model(delete.clone()).await, Code::PermissionDenied, "MANAGE_REQUIRED");
        manager.models().delete_model(delete.clone()).await.unwrap();
        assert_eq!(user.may("", &model.model_id, pb::Action::Use).await, (pb::Verdict::Denied, "UNKNOWN_MODEL".to_owned()));
        assert_missing(manager.models().delete_model(delete).await, "model", &model.model_id);
        let get = pb::GetModelRequest { model_id: model.model_id.clone() };
        assert_missing(user.models().get_model(get).await, "model", &model.model_id);
        assert_eq!(names(&user, pb::ListModelsRequest::default()).await, Vec::<String>::new());
        let grants = world.owner.grants().list_grants(pb::ListGrantsRequest::default()).await.unwrap().into_inner();
        assert_eq!(grants.grants, []);
        let shown = pb::ListModelsRequest { show_deleted: true, ..Default::default() };
        assert_eq!(names(&world.owner, shown.clone()).await, ["m"]);
        assert_refused(manager.models().list_models(shown).await, Code::PermissionDenied, "ADMIN_REQUIRED");
        assert_refused(user.models().undelete_model(undelete()).await, Code::PermissionDenied, "MANAGE_REQUIRED");
        // A key for a model that is gone cannot be made, and the name is free meanwhile.
        let key = pb::CreateKeyRequest { name: "k".to_owned(), model_ids: vec![model.model_id.clone()], ..Default::default() };
        assert_missing(world.owner.keys().create_key(key).await, "model", &model.model_id);
        let other = world.model("m").await;
        assert_refused(manager.models().undelete_model(undelete()).await, Code::AlreadyExists, "ALREADY_EXISTS");
        let delete = pb::DeleteModelRequest { model_id: other, ..Default::default() };
        world.owner.models().delete_model(delete).await.unwrap();
        let back = manager.models().undelete_model(undelete()).await.unwrap().into_inner().model.unwrap();
        assert_eq!(back, model);
        assert_eq!(world.policy().await, before);
    }

    async fn a_deprecated_model_names_its_successor_and_its_last_day(world: World) {
        let (old, new) = (world.model("old").await, world.model("new").await);
        let sunset_time = Some(crate::world::in_seconds(86_400));
        let alone = pb::UpdateModelRequest { sunset_time, ..change(&old) };
        assert_invalid(world.owner.models().update_model(alone).await, "sunset_time");
        let alone = pb::UpdateModelRequest { replacement_model_id: Some(new.clone()), ..change(&old) };
        assert_invalid(world.owner.models().update_model(alone).await, "replacement_model_id");
        let request = pb::UpdateModelRequest {
            state: Some(pb::ModelState::Deprecated.into()), replacement_model_id: Some(new.clone()), sunset_time, ..change(&old)
        };
        let itself = pb::UpdateModelRequest { replacement_model_id: Some(old.clone()), ..request.clone() };
        assert_invalid(world.owner.models().update_model(itself).await, "replacement_model_id");
        let nobody = uuid();
        let missing = pb::UpdateModelRequest { replacement_model_id: Some(nobody.clone()), ..request.clone() };
        assert_missing(world.owner.models().update_model(missing).await, "model", &nobody);
        let both = pb::UpdateModelRequest { clear_sunset_time: true, ..request.clone() };
        assert_invalid(world.owner.models().update_model(both).await, "clear_sunset_time");
        let model = world.owner.models().update_model(request).await.unwrap().into_inner().model.unwrap();
        assert_eq!((model.replacement_model_id, model.sunset_time), (new.clone(), sunset_time));
        let clear = pb::UpdateModelRequest { clear_sunset_time: true, replacement_model_id: Some(String::new()), ..change(&old) };
        let model = world.owner.models().update_model(clear).await.unwrap().into_inner().model.unwrap();
        assert_eq!((model.replacement_model_id.as_str(), model.sunset_time, model.state()), ("", None, pb::ModelState::Deprecated));
        let again = pb::UpdateModelRequest { sunset_time, ..change(&old) };
        world.owner.models().update_model(again).await.unwrap();
        let active = pb::UpdateModelRequest { state: Some(pb::ModelState::Active.into()), ..change(&old) };
        let model = world.owner.models().update_model(active).await.unwrap().into_inner().model.unwrap();
        assert_eq!(model.sunset_time, None);
    }

    async fn models_are_listed_by_state_and_by_owner(world: World) {
        let (operator, team) = (world.user(Role::Operator).await, world.group("team").await);
        let mine = operator.models().register_model(register("mine")).await.unwrap().into_inner().model.unwrap();
        let theirs = pb::RegisterModelRequest { owner: owner(Owner::GroupId(team.clone())), ..register("theirs") };
        world.owner.models().register_model(theirs).await.unwrap();
        let bare = world.model("bare").await;
        let deprecate = pb::UpdateModelRequest { state: Some(pb::ModelState::Deprecated.into()), ..change(&bare) };
        world.owner.models().update_model(deprecate).await.unwrap();
        let by = |states: &[pb::ModelState], user: &str, group: &str| pb::ListModelsRequest {
            states: states.iter().map(|state| (*state).into()).collect(),
            owner_user_id: user.to_owned(),
            owner_group_id: group.to_owned(),
            ..Default::default()
        };
        assert_eq!(names(&operator, by(&[pb::ModelState::Deprecated], "", "")).await, ["bare"]);
        assert_eq!(names(&operator, by(&[pb::ModelState::Active, pb::ModelState::Disabled], "", "")).await, ["mine", "theirs"]);
        assert_eq!(names(&operator, by(&[], &operator.id, "")).await, ["mine"]);
        assert_eq!(names(&operator, by(&[], "", &team)).await, ["theirs"]);
        let usable = pb::ListModelsRequest { accessible_only: true, ..by(&[pb::ModelState::Active], &operator.id, "") };
        assert_eq!(names(&operator, usable).await, ["mine"]);
        assert_invalid(operator.models().list_models(by(&[], &operator.id, &team)).await, "owner_group_id");
        let odd = pb::ListModelsRequest { states: vec![9], ..Default::default() };
        assert_invalid(operator.models().list_models(odd).await, "states");
        let clear = pb::UpdateModelRequest { clear_owner: true, ..change(&mine.model_id) };
        operator.models().update_model(clear.clone()).await.unwrap();
        assert_refused(operator.models().update_model(clear).await, Code::PermissionDenied, "MANAGE_REQUIRED");
        assert_eq!(names(&operator, by(&[], &operator.id, "")).await, Vec::<String>::new());
    }

    async fn a_model_is_changed_only_as_it_was_read(world: World) {
        let model = world.model("m").await;
        let get = || pb::GetModelRequest { model_id: model.clone() };
        let read = world.owner.models().get_model(get()).await.unwrap().into_inner().model.unwrap();
        let update = |etag: &str| pb::UpdateModelRequest { description: Some("new".to_owned()), etag: etag.to_owned(), ..change(&model) };
        let changed = world.owner.models().update_model(update(&read.etag)).await.unwrap().into_inner().model.unwrap();
        assert_refused(world.owner.models().update_model(update(&read.etag)).await, Code::Aborted, "ETAG_MISMATCH");
        world.owner.models().update_model(update(&changed.etag)).await.unwrap();
        let delete = pb::DeleteModelRequest { model_id: model.clone(), etag: read.etag, ..Default::default() };
        assert_refused(world.owner.models().delete_model(delete).await, Code::Aborted, "ETAG_MISMATCH");
    }

    async fn what_is_not_there_is_not_found(world: World) {
        let id = uuid();
        let get = pb::GetModelRequest { model_id: id.clone() };
        assert_missing(world.owner.models().get_model(get).await, "model", &id);
        assert_missing(world.owner.models().update_model(change(&id)).await, "model", &id);
        let owned = pb::RegisterModelRequest { owner: owner(Owner::UserId(id.clone())), ..register("m") };
        assert_missing(world.owner.models().register_model(owned).await, "user", &id);
        let owned = pb::RegisterModelRequest { owner: owner(Owner::GroupId(id.clone())), ..register("m") };
        assert_missing(world.owner.models().register_model(owned).await, "group", &id);
        let member = world.user(Role::Member).await;
        assert_missing(member.models().update_model(change(&id)).await, "model", &id);
    }
}

#[tokio::test]
async fn who_manages_a_model_changes_it_and_nobody_else() {
    let world = World::sqlite().await;
    let (manager, other) = (world.user(Role::Member).await, world.user(Role::Operator).await);
    let model = world.model("m").await;
    let rename = || pb::UpdateModelRequest { description: Some("mine".to_owned()), ..change(&model) };
    assert_refused(manager.models().update_model(rename()).await, Code::PermissionDenied, "MANAGE_REQUIRED");
    let grantee = pb::grant::Grantee::UserId(manager.id.clone());
    let grant = Some(grant(&model, grantee, pb::Action::Manage, pb::Effect::Allow));
    world.owner.grants().create_grant(pb::CreateGrantRequest { grant, ..Default::default() }).await.unwrap();
    manager.models().update_model(rename()).await.unwrap();
    assert_refused(other.models().update_model(rename()).await, Code::PermissionDenied, "MANAGE_REQUIRED");
    world.user(Role::Admin).await.models().update_model(rename()).await.unwrap();
}

#[tokio::test]
async fn a_service_registers_models_that_nobody_owns() {
    let world = World::sqlite().await;
    let answer = world.service().models().register_model(register("m")).await.unwrap().into_inner();
    assert_eq!(answer.model.unwrap().owner, None);
}

#[tokio::test]
async fn a_field_that_breaks_its_rules_is_named() {
    let world = World::sqlite().await;
    let cases = [
        (register(""), "name"),
        (register("two words"), "name"),
        (register(&"x".repeat(201)), "name"),
        (register("<script>"), "name"),
        (pb::RegisterModelRequest { description: "x".repeat(2_001), ..register("m") }, "description"),
        (pb::RegisterModelRequest { owner: Some(pb::ModelOwner::default()), ..register("m") }, "owner"),
        (
            pb::RegisterModelRequest { owner: owner(Owner::UserId("x".to_owned())), ..register("m") },
            "owner.user_id",
        ),
    ];
    for (request, field) in cases {
        assert_invalid(world.owner.models().register_model(request).await, field);
    }
    let model = world.model("m").await;
    for state in [0, 4] {
        let request = pb::UpdateModelRequest { state: Some(state), ..change(&model) };
        assert_invalid(world.owner.models().update_model(request).await, "state");
    }
    assert_invalid(world.owner.models().update_model(change("m")).await, "model_id");
    // A token of one search does not lead into another.
    world.model("m2").await;
    let page = pb::ListModelsRequest { page_size: 1, ..Default::default() };
    let token = world.owner.models().list_models(page.clone()).await.unwrap().into_inner().next_page_token;
    let other = pb::ListModelsRequest { page_token: token, search: "m".to_owned(), ..page };
    assert_invalid(world.owner.models().list_models(other).await, "page_token");
}
