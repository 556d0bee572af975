//! Calls every method of the contract once or more, so that each statement is run. A new method is a new line here.

#![expect(clippy::needless_update, reason = "a line here does not change when a request gets another field")]

use crate::{
    directory,
    load::{self, Size},
    oversight,
    world::{World, grant, in_seconds},
};
use pb::{
    access_request_service_client::AccessRequestServiceClient, batch_service_client::BatchServiceClient,
    database_service_client::DatabaseServiceClient,
};
use proto::{common::v1::Role, permissions::v1 as pb};

/// Calls a method, which must be answered. While a process reads a million grants on the one thread of a test, nobody hands out
/// connections, and its store may be said to be away.
macro_rules! call {
    ($client:expr, $method:ident, $request:ident { $($field:ident $(: $value:expr)?),* $(,)? }) => {{
        let request = pb::$request { $($field $(: $value)?,)* ..Default::default() };
        let mut answer = $client.$method(request.clone()).await;
        for _ in 0..$crate::exercise::PATIENCE {
            if !answer.as_ref().is_err_and(|status| shared::status::reason(status) == "STORE_UNAVAILABLE") {
                break;
            }
            tokio::time::sleep($crate::exercise::PAUSE).await;
            answer = $client.$method(request.clone()).await;
        }
        answer.unwrap().into_inner()
    }};
}
pub(crate) use call;

/// How often a store that is away is asked again, and how long it says to wait.
pub(crate) const PATIENCE: u32 = 10;
pub(crate) const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

pub(crate) async fn every_method(world: &World, size: &Size) {
    // First: what is loaded is not in the log, so there is no past in which the rest could be understood.
    oversight::audit(world).await;
    people(world, size).await;
    models_and_grants(world, size).await;
    directory::directory(world, size).await;
    batches(world, size).await;
    access_requests(world).await;
    sessions(world).await;
    questions(world, size).await;
    oversight::incidents(world).await;
    oversight::replicas(world).await;
    oversight::privacy(world).await;
    oversight::providers(world).await;
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
            membership: Some(pb::Membership { member: Some(member), ..Default::default() })
        }
    );
    let inner = pb::membership::Member::MemberGroupId(load::group(size.groups - 1).to_string());
    call!(
        groups,
        add_member,
        AddMemberRequest {
            group_id: group_id.clone(),
            membership: Some(pb::Membership { member: Some(inner), ..Default::default() })
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
    let (key_id, secret) = (created.key.unwrap().key_id, created.secret);
    call!(keys, get_key, GetKeyRequest { key_id: key_id.clone() });
    for (state, rotation_due) in [(pb::KeyState::Active, false), (pb::KeyState::Unspecified, true)] {
        call!(keys, list_keys, ListKeysRequest { state: state.into(), rotation_due, page_size: 10 });
    }
    call!(keys, list_keys, ListKeysRequest { stop_before: Some(in_seconds(60)), page_size: 10 });
    call!(keys, update_key, UpdateKeyRequest { key_id: key_id.clone(), name: Some("newer".into()) });
    call!(keys, verify_key, VerifyKeyRequest { secret, model: "model-1".into() });
    call!(keys, rotate_key, RotateKeyRequest { key_id: key_id.clone() });
    let last_use_time = Some(in_seconds(0));
    let uses = vec![pb::KeyUse { key_id: key_id.clone(), count: 1, last_use_time }];
    call!(world.service().keys(), report_key_use, ReportKeyUseRequest { uses });
    call!(keys, revoke_key, RevokeKeyRequest { key_id });
    call!(keys, revoke_keys, RevokeKeysRequest { user_id: load::user(size.users / 4).to_string() });
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
    let credential = Some(pb::identify_request::Credential::KeyHash(key_hash.into()));
    call!(service, identify, IdentifyRequest { credential });
    call!(world.owner.me(), get_me, GetMeRequest {});
    let (user_id, model_id) = (load::user(size.users / 2).to_string(), load::model(1).to_string());
    let model = || Some(pb::check_item::Model::ModelId(model_id.clone()));
    let action = pb::Action::Use.into();
    let item = pb::CheckItem { user_id: user_id.clone(), model: model(), action, ..Default::default() };
    call!(owner, batch_check, BatchCheckRequest { items: vec![item.clone()] });
    let items = tokio_stream::iter([pb::CheckStreamRequest { item: Some(item), ..Default::default() }]);
    let mut answers = owner.check_stream(items).await.unwrap().into_inner();
    answers.message().await.unwrap().expect("the question is answered");
    for groups in [false, true] {
        let model_id = model_id.clone();
        call!(owner, list_subjects, ListSubjectsRequest { model_id, action, groups, page_size: 10 });
    }
    call!(owner, get_effective_permissions, GetEffectivePermissionsRequest { user_id: user_id.clone() });
    call!(owner, expand, ExpandRequest { model_id: model_id.clone(), action, limit: 10 });
    let asked = Some(pb::explain_request::Model::ModelId(model_id.clone()));
    call!(owner, explain, ExplainRequest { user_id: user_id.clone(), model: asked, action });
    let grantee = pb::grant::Grantee::UserId(user_id);
    let grant = grant(&model_id, grantee, pb::Action::Use, pb::Effect::Deny);
    let change = Some(pb::hypothetical_change::Change::CreateGrant(grant));
    call!(owner, simulate, SimulateRequest { changes: vec![pb::HypotheticalChange { change }] });
    let mut policy = call!(world.service().policy(), watch_policy, WatchPolicyRequest {});
    policy.message().await.unwrap().expect("a stream has a beginning");
    call!(DatabaseServiceClient::new(world.owner.channel()), list_slow_queries, ListSlowQueriesRequest {});
}

async fn batches(world: &World, size: &Size) {
    let mut batches = BatchServiceClient::new(world.owner.channel());
    let (model_id, import_id) = (load::model(2).to_string(), uuid::Uuid::new_v4().to_string());
    let new = |number: u128| {
        let grantee = pb::grant::Grantee::UserId(load::user(size.users / 2 + number).to_string());
        grant(&load::model(2).to_string(), grantee, pb::Action::Manage, pb::Effect::Deny)
    };
    let create = |number| pb::grant_operation::Operation::Create(new(number));
    let revoke = pb::grant_operation::Operation::Revoke(load::grant(3).to_string());
    for (mode, wanted) in [
        (pb::BatchMode::Atomic, vec![create(1), create(2), revoke]),
        (pb::BatchMode::BestEffort, vec![create(2), create(3)]),
    ] {
        let operation = |operation| pb::GrantOperation { operation: Some(operation), ..Default::default() };
        let operations = wanted.into_iter().map(operation).collect();
        call!(batches, batch_grants, BatchGrantsRequest { operations, mode: mode.into() });
    }
    use pb::import_grants_request::{Begin, Grants, Part};
    let begin = Part::Begin(Begin { import_id: import_id.clone(), ..Default::default() });
    let grants = Part::Grants(Grants { offset: 0, grants: vec![new(4), new(5)] });
    let parts = [begin, grants].map(|part| pb::ImportGrantsRequest { part: Some(part) });
    batches.import_grants(tokio_stream::iter(parts)).await.unwrap();
    call!(batches, get_import, GetImportRequest { import_id });
    for model_id in [model_id, String::new()] {
        let mut export = call!(batches, export_grants, ExportGrantsRequest { model_id });
        export.message().await.unwrap().expect("there are grants");
    }
}

async fn access_requests(world: &World) {
    let requester = world.user(Role::Member).await;
    let mut requests = AccessRequestServiceClient::new(requester.channel());
    let mut approver = AccessRequestServiceClient::new(world.owner.channel());
    let policy = pb::ApprovalPolicy {
        target: Some(pb::approval_policy::Target::Default(true)),
        break_glass: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
        ..Default::default()
    };
    let created = call!(
        approver,
        create_approval_policy,
        CreateApprovalPolicyRequest { approval_policy: Some(policy) }
    );
    let policy = created.approval_policy.unwrap();
    let mut ids = Vec::new();
    for number in 10..14 {
        let created = call!(
            requests,
            create_access_request,
            CreateAccessRequestRequest {
                model_id: load::model(number).to_string(),
                justification: "to work".into(),
                break_glass: number == 13
            }
        );
        ids.push(created.access_request.unwrap().access_request_id);
    }
    let [approved, denied, cancelled, reviewed]: [String; 4] = ids.try_into().unwrap();
    call!(
        requests,
        comment_access_request,
        CommentAccessRequestRequest { access_request_id: approved.clone(), text: "please".into() }
    );
    call!(requests, get_access_request, GetAccessRequestRequest { access_request_id: approved.clone() });
    call!(requests, cancel_access_request, CancelAccessRequestRequest { access_request_id: cancelled });
    for view in [pb::AccessRequestView::Mine, pb::AccessRequestView::ToDecide, pb::AccessRequestView::All] {
        call!(approver, list_access_requests, ListAccessRequestsRequest { view: view.into() });
        call!(
            approver,
            list_access_requests,
            ListAccessRequestsRequest {
                view: view.into(),
                state: pb::AccessRequestState::Pending.into(),
                page_size: 1
            }
        );
    }
    call!(
        requests,
        list_access_requests,
        ListAccessRequestsRequest { view: pb::AccessRequestView::ToDecide.into() }
    );
    call!(approver, approve_access_request, ApproveAccessRequestRequest { access_request_id: approved });
    call!(approver, deny_access_request, DenyAccessRequestRequest { access_request_id: denied });
    call!(
        approver,
        review_access_request,
        ReviewAccessRequestRequest { access_request_id: reviewed, accept: false }
    );
    call!(approver, list_approval_policies, ListApprovalPoliciesRequest {});
    let approval_policy_id = policy.approval_policy_id.clone();
    call!(
        approver,
        update_approval_policy,
        UpdateApprovalPolicyRequest {
            approval_policy_id: approval_policy_id.clone(),
            approval_policy: Some(policy)
        }
    );
    call!(approver, delete_approval_policy, DeleteApprovalPolicyRequest { approval_policy_id });
    call!(requests, list_notifications, ListNotificationsRequest { unread: true });
    let page = call!(requests, list_notifications, ListNotificationsRequest { page_size: 1 });
    let notification_id = page.notifications[0].notification_id.clone();
    call!(requests, read_notifications, ReadNotificationsRequest { notification_id });
}

async fn sessions(world: &World) {
    const PASSWORD: &str = "correct horse battery";
    let user = world.user(Role::Member).await;
    let found = call!(world.owner.users(), get_user, GetUserRequest { user_id: user.id.clone() });
    let email = found.user.unwrap().email;
    let new_password = PASSWORD.to_owned();
    call!(
        world.owner.sessions(),
        set_password,
        SetPasswordRequest { user_id: user.id.clone(), new_password }
    );
    let mut nobody = world.nobody().sessions();
    let mut signed = Vec::new();
    for _ in 0..3 {
        let password = PASSWORD.to_owned();
        signed.push(call!(nobody, sign_in, SignInRequest { email: email.clone(), password }).tokens.unwrap());
    }
    let [one, two, three]: [pb::SessionTokens; 3] = signed.try_into().unwrap();
    let one = call!(nobody, refresh_session, RefreshSessionRequest { refresh_token: one.refresh_token })
        .tokens
        .unwrap();
    let mut mine = world.with_secret(&one.access_token).sessions();
    let page = call!(mine, list_sessions, ListSessionsRequest { page_size: 1 });
    call!(mine, list_sessions, ListSessionsRequest { page_size: 1, page_token: page.next_page_token });
    call!(mine, end_session, EndSessionRequest { session_id: two.session_id });
    let (current_password, new_password) = (PASSWORD.to_owned(), "another horse battery".to_owned());
    call!(mine, change_password, ChangePasswordRequest { current_password, new_password });
    call!(nobody, sign_out, SignOutRequest { refresh_token: three.refresh_token });
    call!(mine, end_sessions, EndSessionsRequest {});
    call!(world.nobody().signing(), get_jwks, GetJwksRequest {});
    call!(world.owner.signing(), rotate_signing_key, RotateSigningKeyRequest {});
}
