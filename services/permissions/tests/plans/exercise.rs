//! Calls every method of the contract once or more, so that each statement is run. A new method is a new line here.

use crate::{
    load::{self, Size},
    world::{World, grant},
};
use pb::database_service_client::DatabaseServiceClient;
use proto::{common::v1::Role, permissions::v1 as pb};

/// Calls a method, which must be answered.
macro_rules! call {
    ($client:expr, $method:ident, $request:ident { $($field:ident $(: $value:expr)?),* $(,)? }) => {
        $client.$method(pb::$request { $($field $(: $value)?,)* ..Default::default() }).await.unwrap().into_inner()
    };
}

pub(crate) async fn every_method(world: &World, size: &Size) {
    people(world, size).await;
    models_and_grants(world, size).await;
    questions(world, size).await;
}

async fn people(world: &World, size: &Size) {
    let (mut users, mut groups, mut keys) = (world.owner.users(), world.owner.groups(), world.owner.keys());
    let somebody = load::user(size.users / 2).to_string();
    let created = call!(
        users,
        create_user,
        CreateUserRequest {
            email: "new@example.org".into(),
            display_name: "New".into(),
            role: Role::Admin.into()
        }
    );
    let user_id = created.user.unwrap().user_id;
    call!(users, get_user, GetUserRequest { user_id: somebody.clone() });
    let page = call!(users, list_users, ListUsersRequest { page_size: 100 });
    call!(users, list_users, ListUsersRequest { page_size: 100, page_token: page.next_page_token });
    call!(
        users,
        update_user,
        UpdateUserRequest { user_id: user_id.clone(), display_name: Some("Newer".into()) }
    );
    call!(users, update_user, UpdateUserRequest { user_id: user_id.clone(), role: Some(Role::Owner.into()) });
    call!(users, update_user, UpdateUserRequest { user_id: user_id.clone(), disabled: Some(true) });

    let created = call!(
        groups,
        create_group,
        CreateGroupRequest { name: "new".into(), request_id: uuid::Uuid::new_v4().to_string() }
    );
    let group_id = created.group.unwrap().group_id;
    call!(groups, list_groups, ListGroupsRequest { page_size: 100 });
    let large = load::group(1).to_string();
    let page = call!(groups, list_members, ListMembersRequest { group_id: large.clone(), page_size: 10 });
    call!(
        groups,
        list_members,
        ListMembersRequest { group_id: large, page_size: 10, page_token: page.next_page_token }
    );
    let member = pb::membership::Member::UserId(somebody.clone());
    call!(
        groups,
        add_member,
        AddMemberRequest {
            group_id: group_id.clone(),
            membership: Some(pb::Membership { member: Some(member), expire_time: None })
        }
    );
    let inner = pb::membership::Member::MemberGroupId(load::group(size.groups - 1).to_string());
    call!(
        groups,
        add_member,
        AddMemberRequest {
            group_id: group_id.clone(),
            membership: Some(pb::Membership { member: Some(inner), expire_time: None })
        }
    );
    let member = pb::remove_member_request::Member::UserId(somebody.clone());
    call!(groups, remove_member, RemoveMemberRequest { group_id: group_id.clone(), member: Some(member) });
    call!(groups, delete_group, DeleteGroupRequest { group_id });

    let created = call!(
        keys,
        create_key,
        CreateKeyRequest {
            name: "new".into(),
            user_id: somebody.clone(),
            model_ids: vec![load::model(1).to_string()]
        }
    );
    let page = call!(keys, list_keys, ListKeysRequest { user_id: somebody.clone(), page_size: 1 });
    call!(
        keys,
        list_keys,
        ListKeysRequest { user_id: somebody, page_size: 1, page_token: page.next_page_token }
    );
    call!(keys, revoke_key, RevokeKeyRequest { key_id: created.key.unwrap().key_id });
}

async fn models_and_grants(world: &World, size: &Size) {
    let (mut models, mut grants) = (world.owner.models(), world.owner.grants());
    let created = call!(models, register_model, RegisterModelRequest { name: "new".into() });
    let model_id = created.model.unwrap().model_id;
    call!(models, get_model, GetModelRequest { model_id: model_id.clone() });
    call!(models, list_models, ListModelsRequest { search: "7".into(), page_size: 10 });
    call!(models, list_models, ListModelsRequest { accessible_only: true });
    let owner = pb::ModelOwner { owner: Some(pb::model_owner::Owner::GroupId(load::group(3).to_string())) };
    call!(models, update_model, UpdateModelRequest { model_id: model_id.clone(), owner: Some(owner) });

    for grantee in [
        pb::grant::Grantee::UserId(load::user(size.users / 3).to_string()),
        pb::grant::Grantee::GroupId(load::group(size.groups / 3).to_string()),
        pb::grant::Grantee::Everyone(true),
    ] {
        let grant = grant(&model_id, grantee, pb::Action::Use, pb::Effect::Allow);
        let created = call!(grants, create_grant, CreateGrantRequest { grant: Some(grant) });
        call!(grants, revoke_grant, RevokeGrantRequest { grant_id: created.grant.unwrap().grant_id });
    }
    let (model_id, user_id, group_id) =
        (load::model(1).to_string(), load::user(1).to_string(), load::group(1).to_string());
    let page = call!(grants, list_grants, ListGrantsRequest { page_size: 10 });
    call!(grants, list_grants, ListGrantsRequest { page_size: 10, page_token: page.next_page_token });
    call!(grants, list_grants, ListGrantsRequest { model_id: model_id.clone() });
    call!(grants, list_grants, ListGrantsRequest { user_id: user_id.clone() });
    call!(grants, list_grants, ListGrantsRequest { group_id: group_id.clone() });
    call!(grants, list_grants, ListGrantsRequest { model_id: model_id.clone(), user_id });
    call!(grants, list_grants, ListGrantsRequest { model_id, group_id });
}

async fn questions(world: &World, size: &Size) {
    let (mut service, mut owner) = (world.service().authorization(), world.owner.authorization());
    let user_id = load::user(size.users / 2).to_string();
    let model = pb::check_request::Model::ModelName("model-1".into());
    call!(
        owner,
        check,
        CheckRequest { user_id: user_id.clone(), model: Some(model), action: pb::Action::Use.into() }
    );
    call!(owner, list_accessible_models, ListAccessibleModelsRequest { user_id });
    let key_hash = shared::auth::hash(&world.owner.secret).as_bytes().to_vec();
    call!(service, identify_key, IdentifyKeyRequest { key_hash: key_hash.into() });
    let mut policy = call!(world.service().policy(), watch_policy, WatchPolicyRequest {});
    policy.message().await.unwrap().expect("a stream has a beginning");
    call!(DatabaseServiceClient::new(world.owner.channel()), list_slow_queries, ListSlowQueriesRequest {});
}
