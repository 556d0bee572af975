//! The life of users, groups, models, aliases and sets, each step once.

#![expect(clippy::needless_update, reason = "a line here does not change when a request gets another field")]

use crate::{
    exercise::call,
    load::{self, Size},
    world::World,
};
use proto::permissions::v1 as pb;

pub(crate) async fn directory(world: &World, size: &Size) {
    users(world).await;
    groups(world, size).await;
    models(world).await;
}

async fn users(world: &World) {
    let mut users = world.owner.users();
    let new = call!(
        users,
        create_user,
        CreateUserRequest { email: "gone@example.org".into(), display_name: "Gone".into() }
    );
    let user_id = new.user.unwrap().user_id;
    call!(users, list_users, ListUsersRequest { email: "gone@example.org".into() });
    call!(users, delete_user, DeleteUserRequest { user_id: user_id.clone() });
    call!(users, list_users, ListUsersRequest { show_deleted: true, page_size: 10 });
    call!(users, undelete_user, UndeleteUserRequest { user_id });
    let row = pb::UserRow {
        email: "imported@example.org".into(),
        display_name: "Imported".into(),
        ..Default::default()
    };
    use pb::import_users_request::{Begin, Part, Rows};
    let import_id = uuid::Uuid::now_v7().to_string();
    let begin = Part::Begin(Begin { import_id: import_id.clone(), ..Default::default() });
    let rows = Part::Rows(Rows { offset: 0, rows: vec![row] });
    let parts = [begin, rows].map(|part| pb::ImportUsersRequest { part: Some(part) });
    users.import_users(tokio_stream::iter(parts)).await.unwrap();
    call!(users, get_user_import, GetUserImportRequest { import_id });
}

async fn groups(world: &World, size: &Size) {
    let mut groups = world.owner.groups();
    let new = call!(groups, create_group, CreateGroupRequest { name: "coming and going".into() });
    let group_id = new.group.unwrap().group_id;
    call!(groups, get_group, GetGroupRequest { group_id: group_id.clone() });
    call!(groups, list_groups, ListGroupsRequest { search: "coming".into() });
    let description = Some("changed".into());
    call!(groups, update_group, UpdateGroupRequest { group_id: group_id.clone(), description });
    let user_id = load::user(size.users / 4).to_string();
    let inner = load::group(size.groups - 2).to_string();
    let members = [
        pb::membership::Member::UserId(user_id.clone()),
        pb::membership::Member::MemberGroupId(inner.clone()),
    ];
    let memberships: Vec<_> =
        members.map(|member| pb::Membership { member: Some(member), ..Default::default() }).into();
    call!(groups, batch_add_members, BatchAddMembersRequest { group_id: group_id.clone(), memberships });
    call!(groups, list_members, ListMembersRequest { group_id: group_id.clone(), transitive: true });
    call!(groups, list_memberships, ListMembershipsRequest { user_id: user_id.clone() });
    call!(groups, list_memberships, ListMembershipsRequest { user_id: user_id.clone(), transitive: true });
    call!(groups, list_memberships, ListMembershipsRequest { group_id: inner.clone(), transitive: true });
    call!(groups, delete_group, DeleteGroupRequest { group_id: group_id.clone() });
    call!(groups, undelete_group, UndeleteGroupRequest { group_id: group_id.clone() });
    let (user_ids, member_group_ids) = (vec![user_id], vec![inner]);
    call!(groups, batch_remove_members, BatchRemoveMembersRequest { group_id, user_ids, member_group_ids });
}

async fn models(world: &World) {
    let (mut models, mut aliases, mut sets) =
        (world.owner.models(), world.owner.aliases(), world.owner.sets());
    let new = call!(models, register_model, RegisterModelRequest { name: "coming-and-going".into() });
    let model_id = new.model.unwrap().model_id;
    call!(aliases, set_alias, SetAliasRequest { name: "nick".into(), model_id: model_id.clone() });
    call!(aliases, list_aliases, ListAliasesRequest { page_size: 10 });
    call!(aliases, list_aliases, ListAliasesRequest { model_id: model_id.clone() });
    let set = call!(sets, create_model_set, CreateModelSetRequest { name: "set".into() });
    let model_set_id = set.model_set.unwrap().model_set_id;
    call!(sets, get_model_set, GetModelSetRequest { model_set_id: model_set_id.clone() });
    call!(sets, list_model_sets, ListModelSetsRequest { search: "s".into() });
    let description = Some("changed".into());
    call!(sets, update_model_set, UpdateModelSetRequest { model_set_id: model_set_id.clone(), description });
    let items = vec![pb::SetItem { item: Some(pb::set_item::Item::ModelId(model_id.clone())) }];
    let add = items.clone();
    call!(sets, add_set_items, AddSetItemsRequest { model_set_id: model_set_id.clone(), items: add });
    call!(sets, list_set_items, ListSetItemsRequest { model_set_id: model_set_id.clone() });
    let grant = pb::Grant {
        model_set_id: model_set_id.clone(),
        grantee: Some(pb::grant::Grantee::Everyone(true)),
        action: pb::Action::Use.into(),
        ..Default::default()
    };
    call!(world.owner.grants(), create_grant, CreateGrantRequest { grant: Some(grant) });
    call!(models, delete_model, DeleteModelRequest { model_id: model_id.clone() });
    call!(models, list_models, ListModelsRequest { show_deleted: true, page_size: 10 });
    call!(models, undelete_model, UndeleteModelRequest { model_id });
    call!(sets, remove_set_items, RemoveSetItemsRequest { model_set_id: model_set_id.clone(), items });
    call!(sets, delete_model_set, DeleteModelSetRequest { model_set_id: model_set_id.clone() });
    call!(sets, undelete_model_set, UndeleteModelSetRequest { model_set_id });
    call!(aliases, delete_alias, DeleteAliasRequest { name: "nick".into() });
}
