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
