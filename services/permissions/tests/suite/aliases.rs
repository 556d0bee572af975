//! Further names of models (P1): one name space, and who may give, move and take them.

use crate::world::{Caller, World, assert_invalid, assert_missing, assert_refused, on_both_engines, uuid};
use proto::{common::v1::Role, permissions::v1 as pb};
use tonic::Code;

fn set(name: &str, model: &str) -> pb::SetAliasRequest {
    pb::SetAliasRequest { name: name.to_owned(), model_id: model.to_owned(), ..Default::default() }
}

fn delete(name: &str) -> pb::DeleteAliasRequest {
    pb::DeleteAliasRequest { name: name.to_owned(), ..Default::default() }
}

fn register(name: &str) -> pb::RegisterModelRequest {
    pb::RegisterModelRequest { name: name.to_owned(), ..Default::default() }
}

async fn list(caller: &Caller, model: &str) -> Vec<String> {
    let request = pb::ListAliasesRequest { model_id: model.to_owned(), ..Default::default() };
    let answer = caller.aliases().list_aliases(request).await.unwrap().into_inner();
    answer.aliases.into_iter().map(|alias| alias.name).collect()
}

/// Whether the caller may use what has this name.
async fn may(caller: &Caller, name: &str) -> (pb::Verdict, String) {
    let request = pb::CheckRequest {
        model: Some(pb::check_request::Model::ModelName(name.to_owned())),
        action: pb::Action::Use.into(),
        ..Default::default()
    };
    let answer = caller.authorization().check(request).await.unwrap().into_inner();
    (answer.verdict(), answer.reason)
}

on_both_engines! {
    async fn an_alias_stands_for_its_model_until_it_is_moved_or_deleted(world: World) {
        let (one, two, user) = (world.model("one").await, world.model("two").await, world.user(Role::Member).await);
        world.allow(&user.id, &one).await;
        world.owner.aliases().set_alias(set("fast", &one)).await.unwrap();
        world.owner.aliases().set_alias(set("fast", &one)).await.unwrap();
        assert_eq!(may(&user, "fast").await.0, pb::Verdict::Allowed);
        assert_eq!((list(&user, &one).await, list(&user, "").await), (vec!["fast".to_owned()], vec!["fast".to_owned()]));
        let moved = world.owner.aliases().set_alias(set("fast", &two)).await.unwrap().into_inner().alias.unwrap();
        assert_eq!(moved.model_id, two);
        assert_eq!(may(&user, "fast").await, (pb::Verdict::Denied, "NO_GRANT".to_owned()));
        world.policy().await;
        world.owner.aliases().delete_alias(delete("fast")).await.unwrap();
        assert_eq!(may(&user, "fast").await, (pb::Verdict::Denied, "UNKNOWN_MODEL".to_owned()));
        assert_missing(world.owner.aliases().delete_alias(delete("fast")).await, "alias", "fast");
    }

    async fn no_name_stands_for_two_models(world: World) {
        let (one, two) = (world.model("one").await, world.model("two").await);
        world.owner.aliases().set_alias(set("fast", &one)).await.unwrap();
        assert_refused(world.owner.aliases().set_alias(set("two", &one)).await, Code::AlreadyExists, "ALREADY_EXISTS");
        assert_refused(world.owner.models().register_model(register("fast")).await, Code::AlreadyExists, "ALREADY_EXISTS");
        world.owner.aliases().set_alias(set("FAST", &two)).await.unwrap();
    }

    async fn the_aliases_of_a_deleted_model_are_free_and_come_back_with_it(world: World) {
        let (one, two) = (world.model("one").await, world.model("two").await);
        world.owner.aliases().set_alias(set("fast", &one)).await.unwrap();
        let before = world.policy().await;
        let gone = pb::DeleteModelRequest { model_id: one.clone(), ..Default::default() };
        let back = || pb::UndeleteModelRequest { model_id: one.clone(), ..Default::default() };
        world.owner.models().delete_model(gone).await.unwrap();
        assert_eq!(list(&world.owner, "").await, Vec::<String>::new());
        world.owner.aliases().set_alias(set("fast", &two)).await.unwrap();
        assert_refused(world.owner.models().undelete_model(back()).await, Code::AlreadyExists, "ALREADY_EXISTS");
        world.owner.aliases().delete_alias(delete("fast")).await.unwrap();
        world.owner.aliases().set_alias(set("one", &two)).await.unwrap();
        assert_refused(world.owner.models().undelete_model(back()).await, Code::AlreadyExists, "ALREADY_EXISTS");
        world.owner.aliases().delete_alias(delete("one")).await.unwrap();
        world.owner.models().undelete_model(back()).await.unwrap();
        assert_eq!(world.policy().await, before);
    }

    async fn who_moves_an_alias_manages_both_models(world: World) {
        let (one, two) = (world.user(Role::Operator).await, world.user(Role::Operator).await);
        let mine = one.models().register_model(register("mine")).await.unwrap().into_inner().model.unwrap().model_id;
        let theirs = two.models().register_model(register("theirs")).await.unwrap().into_inner().model.unwrap().model_id;
        one.aliases().set_alias(set("name", &mine)).await.unwrap();
        let denied = Code::PermissionDenied;
        assert_refused(one.aliases().set_alias(set("name", &theirs)).await, denied, "MANAGE_REQUIRED");
        assert_refused(two.aliases().set_alias(set("name", &theirs)).await, denied, "MANAGE_REQUIRED");
        assert_refused(two.aliases().delete_alias(delete("name")).await, denied, "MANAGE_REQUIRED");
        one.aliases().delete_alias(delete("name")).await.unwrap();
        two.aliases().set_alias(set("name", &theirs)).await.unwrap();
    }
}

#[tokio::test]
async fn a_field_that_breaks_its_rules_is_named() {
    let world = World::sqlite().await;
    let model = world.model("m").await;
    assert_invalid(world.owner.aliases().set_alias(set("two words", &model)).await, "name");
    assert_invalid(world.owner.aliases().set_alias(set("a", "m")).await, "model_id");
    assert_invalid(world.owner.aliases().delete_alias(delete("")).await, "name");
    let nobody = uuid();
    assert_missing(world.owner.aliases().set_alias(set("a", &nobody)).await, "model", &nobody);
}
