//! Users: what is stored, what is refused, and what admins and owners may do to each other (P2, A5).

use crate::world::{Caller, World, assert_invalid, assert_missing, assert_refused, on_both_engines, uuid};
use proto::{common::v1::Role, permissions::v1 as pb};
use tonic::Code;

fn new(email: &str) -> pb::CreateUserRequest {
    pb::CreateUserRequest { email: email.to_owned(), display_name: "Ana".to_owned(), ..Default::default() }
}

fn change(user: &str) -> pb::UpdateUserRequest {
    pb::UpdateUserRequest { user_id: user.to_owned(), ..Default::default() }
}

async fn create(caller: &Caller, request: pb::CreateUserRequest) -> pb::User {
    caller.users().create_user(request).await.unwrap().into_inner().user.unwrap()
}

on_both_engines! {
    async fn a_user_is_created_read_and_changed(world: World) {
        let user = create(&world.owner, new("Ana@Example.org")).await;
        assert_eq!((user.role(), user.disabled, user.email.as_str()), (Role::Member, false, "Ana@Example.org"));
        let get = pb::GetUserRequest { user_id: user.user_id.clone() };
        let read = world.owner.users().get_user(get).await.unwrap().into_inner().user.unwrap();
        assert_eq!(read, user);
        let request = pb::UpdateUserRequest {
            display_name: Some("Ana B.".to_owned()),
            role: Some(Role::Auditor.into()),
            disabled: Some(true),
            ..change(&user.user_id)
        };
        let changed = world.owner.users().update_user(request).await.unwrap().into_inner().user.unwrap();
        assert_eq!((changed.display_name.as_str(), changed.role(), changed.disabled), ("Ana B.", Role::Auditor, true));
        let unchanged = world.owner.users().update_user(change(&user.user_id)).await.unwrap().into_inner();
        assert_eq!(unchanged.user.unwrap(), changed);
    }

    async fn an_address_belongs_to_one_user_in_any_case(world: World) {
        create(&world.owner, new("ana@example.org")).await;
        let second = world.owner.users().create_user(new("ANA@example.ORG")).await;
        assert_refused(second, Code::AlreadyExists, "ALREADY_EXISTS");
    }

    async fn pages_of_users_are_in_order_and_complete(world: World) {
        for n in 0..4 {
            create(&world.owner, new(&format!("user{n}@example.org"))).await;
        }
        let (mut found, mut request) = (Vec::new(), pb::ListUsersRequest { page_size: 2, ..Default::default() });
        loop {
            let page = world.owner.users().list_users(request.clone()).await.unwrap().into_inner();
            assert!(page.users.len() <= 2);
            found.extend(page.users.into_iter().map(|user| user.email));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        let expected = ["owner@localhost", "user0@example.org", "user1@example.org", "user2@example.org", "user3@example.org"];
        assert_eq!(found, expected);
    }

    async fn who_is_not_there_is_not_found(world: World) {
        let id = uuid();
        let get = pb::GetUserRequest { user_id: id.clone() };
        assert_missing(world.owner.users().get_user(get).await, "user", &id);
        assert_missing(world.owner.users().update_user(change(&id)).await, "user", &id);
    }

    async fn a_deleted_user_is_nobody_at_once_and_comes_back_whole(world: World) {
        let (user, team, model) = (world.user(Role::Operator).await, world.group("team").await, world.model("m").await);
        let owned = pb::RegisterModelRequest { name: "owned".to_owned(), ..Default::default() };
        user.models().register_model(owned).await.unwrap();
        world.allow(&user.id, &model).await;
        let member = Some(pb::membership::Member::UserId(user.id.clone()));
        let membership = Some(pb::Membership { member, ..Default::default() });
        let add = pb::AddMemberRequest { group_id: team.clone(), membership, ..Default::default() };
        world.owner.groups().add_member(add).await.unwrap();
        let read = world.owner.users().get_user(pb::GetUserRequest { user_id: user.id.clone() }).await.unwrap().into_inner().user.unwrap();
        let before = world.policy().await;
        let delete = |etag: &str| pb::DeleteUserRequest { user_id: user.id.clone(), etag: etag.to_owned(), ..Default::default() };
        let undelete = || pb::UndeleteUserRequest { user_id: user.id.clone(), ..Default::default() };
        assert_refused(world.owner.users().delete_user(delete("other")).await, Code::Aborted, "ETAG_MISMATCH");
        world.owner.users().delete_user(delete(&read.etag)).await.unwrap();
        let refused = user.models().list_models(pb::ListModelsRequest::default()).await;
        assert_refused(refused, Code::Unauthenticated, "KEY_UNKNOWN");
        assert_missing(world.owner.users().delete_user(delete("")).await, "user", &user.id);
        let list = |show_deleted| pb::ListUsersRequest { show_deleted, ..Default::default() };
        assert_eq!(world.owner.users().list_users(list(false)).await.unwrap().into_inner().users.len(), 1);
        assert_eq!(world.owner.users().list_users(list(true)).await.unwrap().into_inner().users.len(), 2);
        let auditor = world.user(Role::Auditor).await;
        assert_refused(auditor.users().list_users(list(true)).await, Code::PermissionDenied, "ADMIN_REQUIRED");
        // Its address is free, which bars the way back while another has it.
        let second = create(&world.owner, new(&read.email.to_uppercase())).await;
        assert_refused(world.owner.users().undelete_user(undelete()).await, Code::AlreadyExists, "ALREADY_EXISTS");
        let other = pb::DeleteUserRequest { user_id: second.user_id, ..Default::default() };
        world.owner.users().delete_user(other).await.unwrap();
        let other = pb::DeleteUserRequest { user_id: auditor.id.clone(), ..Default::default() };
        world.owner.users().delete_user(other).await.unwrap();
        let back = world.owner.users().undelete_user(undelete()).await.unwrap().into_inner().user.unwrap();
        assert_eq!(back, read);
        assert_eq!(world.policy().await, before);
        user.models().list_models(pb::ListModelsRequest::default()).await.unwrap();
    }

    async fn after_thirty_days_nothing_is_left_of_users_and_models(world: World) {
        use pb::access_request_service_client::AccessRequestServiceClient;
        let (user, model, other) = (world.user(Role::Member).await, world.model("m").await, world.model("other").await);
        let set = pb::CreateModelSetRequest { name: "set".to_owned(), ..Default::default() };
        let set = user.sets().create_model_set(set).await.unwrap().into_inner().model_set.unwrap().model_set_id;
        let items = vec![pb::SetItem { item: Some(pb::set_item::Item::ModelId(model.clone())) }];
        let add = pb::AddSetItemsRequest { model_set_id: set.clone(), items, ..Default::default() };
        world.owner.sets().add_set_items(add).await.unwrap();
        let alias = pb::SetAliasRequest { name: "alias".to_owned(), model_id: model.clone(), ..Default::default() };
        world.owner.aliases().set_alias(alias).await.unwrap();
        for model in [&model, &other] {
            let wish = pb::CreateAccessRequestRequest { model_id: model.clone(), justification: "why".to_owned(), ..Default::default() };
            AccessRequestServiceClient::new(user.channel()).create_access_request(wish).await.unwrap();
        }
        world.allow(&user.id, &other).await;
        let gone = pb::DeleteModelRequest { model_id: model, ..Default::default() };
        world.owner.models().delete_model(gone).await.unwrap();
        let gone = pb::DeleteUserRequest { user_id: user.id.clone(), ..Default::default() };
        world.owner.users().delete_user(gone).await.unwrap();
        let gone = pb::DeleteModelSetRequest { model_set_id: set, ..Default::default() };
        world.owner.sets().delete_model_set(gone).await.unwrap();
        world.age("UPDATE models SET deleted_at = $1 WHERE deleted_at IS NOT NULL").await;
        world.age("UPDATE users SET deleted_at = $1 WHERE deleted_at IS NOT NULL").await;
        world.age("UPDATE model_sets SET deleted_at = $1 WHERE deleted_at IS NOT NULL").await;
        let other = world.another().await;
        let left = async || -> i64 {
            shared::on!(&world.db, |pool| {
                sqlx::query_scalar("SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM models) \
                    + (SELECT count(*) FROM model_sets) + (SELECT count(*) FROM set_items) + (SELECT count(*) FROM aliases) \
                    + (SELECT count(*) FROM grants) + (SELECT count(*) FROM access_requests)").fetch_one(pool).await
            })
            .unwrap()
        };
        // The owner and the other model stay.
        let purged = async { while left().await > 2 {} };
        tokio::time::timeout(std::time::Duration::from_secs(20), purged).await.expect("what is due is purged");
        assert_eq!(left().await, 2);
        other.end().await;
    }

    async fn users_are_found_by_their_address_in_any_case(world: World) {
        for email in ["ana@example.org", "Anton@Example.org"] {
            create(&world.owner, new(email)).await;
        }
        let cases = [("ANA@example.org", vec!["ana@example.org"]), ("anton@example.org", vec!["Anton@Example.org"]),
            ("ana@example.or", vec![])];
        for (email, expected) in cases {
            let list = pb::ListUsersRequest { email: email.to_owned(), ..Default::default() };
            let found = world.owner.users().list_users(list).await.unwrap().into_inner().users;
            assert_eq!(found.iter().map(|user| user.email.as_str()).collect::<Vec<_>>(), expected, "{email}");
        }
        let list = pb::ListUsersRequest { email: "an".to_owned(), ..Default::default() };
        assert_invalid(world.owner.users().list_users(list).await, "email");
    }

    async fn the_last_owner_stays(world: World) {
        let demoted = pb::UpdateUserRequest { role: Some(Role::Admin.into()), ..change(&world.owner.id) };
        let refused = world.owner.users().update_user(demoted.clone()).await;
        assert_refused(refused, Code::FailedPrecondition, "LAST_OWNER");
        let disabled = pb::UpdateUserRequest { disabled: Some(true), ..change(&world.owner.id) };
        let refused = world.owner.users().update_user(disabled).await;
        assert_refused(refused, Code::FailedPrecondition, "LAST_OWNER");
        // A disabled owner is none.
        let second = world.user(Role::Owner).await;
        let disabled = pb::UpdateUserRequest { disabled: Some(true), ..change(&second.id) };
        world.owner.users().update_user(disabled).await.unwrap();
        let refused = world.owner.users().update_user(demoted.clone()).await;
        assert_refused(refused, Code::FailedPrecondition, "LAST_OWNER");
        // Neither is a deleted one.
        let third = world.user(Role::Owner).await;
        let delete = |id: &str| pb::DeleteUserRequest { user_id: id.to_owned(), ..Default::default() };
        world.owner.users().delete_user(delete(&third.id)).await.unwrap();
        let refused = world.owner.users().delete_user(delete(&world.owner.id)).await;
        assert_refused(refused, Code::FailedPrecondition, "LAST_OWNER");
        let admin = world.user(Role::Admin).await;
        assert_refused(admin.users().delete_user(delete(&second.id)).await, Code::PermissionDenied, "OWNER_REQUIRED");
        let back = pb::UndeleteUserRequest { user_id: third.id.clone(), ..Default::default() };
        assert_refused(admin.users().undelete_user(back.clone()).await, Code::PermissionDenied, "OWNER_REQUIRED");
        world.owner.users().undelete_user(back).await.unwrap();
        world.owner.users().update_user(demoted).await.unwrap();
    }
}

#[tokio::test]
async fn an_admin_touches_everybody_but_owners() {
    let world = World::sqlite().await;
    let admin = world.user(Role::Admin).await;
    let owner = pb::CreateUserRequest { role: Role::Owner.into(), ..new("other@example.org") };
    assert_refused(admin.users().create_user(owner).await, Code::PermissionDenied, "OWNER_REQUIRED");
    let rename = pb::UpdateUserRequest { display_name: Some("X".to_owned()), ..change(&world.owner.id) };
    assert_refused(admin.users().update_user(rename).await, Code::PermissionDenied, "OWNER_REQUIRED");
    let second = world.user(Role::Owner).await;
    let demote = pb::UpdateUserRequest { role: Some(Role::Member.into()), ..change(&second.id) };
    assert_refused(admin.users().update_user(demote).await, Code::PermissionDenied, "OWNER_REQUIRED");
    let promote = pb::UpdateUserRequest { role: Some(Role::Owner.into()), ..change(&admin.id) };
    assert_refused(admin.users().update_user(promote).await, Code::PermissionDenied, "OWNER_REQUIRED");
    create(&admin, pb::CreateUserRequest { role: Role::Admin.into(), ..new("second@example.org") }).await;
}

#[tokio::test]
async fn a_disabled_user_is_let_in_nowhere_and_again_when_enabled() {
    let world = World::sqlite().await;
    let user = world.user(Role::Auditor).await;
    let list = || pb::ListKeysRequest::default();
    user.keys().list_keys(list()).await.unwrap();
    let disable = |disabled| pb::UpdateUserRequest { disabled: Some(disabled), ..change(&user.id) };
    world.owner.users().update_user(disable(true)).await.unwrap();
    assert_refused(user.keys().list_keys(list()).await, Code::Unauthenticated, "ACCOUNT_DISABLED");
    world.owner.users().update_user(disable(false)).await.unwrap();
    user.keys().list_keys(list()).await.unwrap();
}

#[tokio::test]
async fn a_role_is_taken_away_at_once() {
    let world = World::sqlite().await;
    let admin = world.user(Role::Admin).await;
    admin.users().list_users(pb::ListUsersRequest::default()).await.unwrap();
    let demote = pb::UpdateUserRequest { role: Some(Role::Member.into()), ..change(&admin.id) };
    world.owner.users().update_user(demote).await.unwrap();
    let refused = admin.users().list_users(pb::ListUsersRequest::default()).await;
    assert_refused(refused, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
}

#[tokio::test]
async fn a_field_that_breaks_its_rules_is_named() {
    let world = World::sqlite().await;
    let cases = [
        (new("not an address"), "email"),
        (new(""), "email"),
        (pb::CreateUserRequest { display_name: String::new(), ..new("a@b") }, "display_name"),
        (pb::CreateUserRequest { display_name: "a\u{202e}b".to_owned(), ..new("a@b") }, "display_name"),
        (pb::CreateUserRequest { display_name: "x".repeat(101), ..new("a@b") }, "display_name"),
        (pb::CreateUserRequest { role: 7, ..new("a@b") }, "role"),
        (pb::CreateUserRequest { reason: "x".repeat(501), ..new("a@b") }, "reason"),
    ];
    for (request, field) in cases {
        assert_invalid(world.owner.users().create_user(request).await, field);
    }
    let stated = pb::UpdateUserRequest { role: Some(0), ..change(&world.owner.id) };
    assert_invalid(world.owner.users().update_user(stated).await, "role");
    assert_invalid(world.owner.users().update_user(change("1234")).await, "user_id");
    let get = pb::GetUserRequest { user_id: String::new() };
    assert_invalid(world.owner.users().get_user(get).await, "user_id");
    for page_size in [-1, 101] {
        let list = pb::ListUsersRequest { page_size, ..Default::default() };
        assert_invalid(world.owner.users().list_users(list).await, "page_size");
    }
    for page_token in ["x".to_owned(), shared::page::token("groups", "1"), shared::page::token("users", "1")]
    {
        let list = pb::ListUsersRequest { page_token, ..Default::default() };
        assert_invalid(world.owner.users().list_users(list).await, "page_token");
    }
}

#[tokio::test]
async fn nothing_is_kept_of_a_write_that_is_refused() {
    let world = World::sqlite().await;
    let before = create(&world.owner, new("a@example.org")).await;
    world.owner.users().create_user(new("a@example.org")).await.unwrap_err();
    let list = world.owner.users().list_users(pb::ListUsersRequest::default()).await.unwrap().into_inner();
    assert_eq!(list.users.last(), Some(&before));
    let shared::db::Db::Sqlite(pool) = &world.db else { panic!("memory is SQLite") };
    let gaps: i64 =
        sqlx::query_scalar("SELECT (SELECT revision FROM head) - COUNT(DISTINCT revision) FROM events")
            .fetch_one(pool)
            .await
            .unwrap();
    assert_eq!(gaps, 0, "a refused write takes no revision");
}
