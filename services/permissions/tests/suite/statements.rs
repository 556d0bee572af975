//! What is asked of the database: as many statements for a hundred rows as for one (P11), slow ones listed, grants
//! readable by people (P10).

#![expect(clippy::needless_update, reason = "a line here does not change when a request gets another field")]

use crate::world::{Caller, World, grant, on_both_engines};
use pb::{
    Action, Effect, access_request_service_client::AccessRequestServiceClient, approval_policy::Target,
    audit_service_client::AuditServiceClient, database_service_client::DatabaseServiceClient, grant::Grantee,
    membership::Member, provider_service_client::ProviderServiceClient,
};
use proto::{common::v1::Role, permissions::v1 as pb};
use shared::on;
use tests::statements::Recorder;

const PACKAGE: &str = "/tollgate.permissions.v1.";

/// Calls a method and tells it from the others in the same breath.
macro_rules! count {
    ($recorder:ident, $counts:ident, $client:expr, $method:ident, $request:ident { $($field:ident $(: $value:expr)?),* $(,)? }) => {
        $recorder.clear();
        $client.$method(pb::$request { $($field $(: $value)?,)* ..Default::default() }).await.unwrap();
        let path = $recorder.only();
        $counts.push((path.clone(), $recorder.of(&path).len()));
    };
}

/// A model, a group and a user with `many` of everything that can hang on them; then every method whose work grows
/// with that, and how many statements each took.
async fn counts(world: &World, many: usize) -> Vec<(String, usize)> {
    let things = Things::new(world, many).await;
    let owner = &world.owner;
    let (recorder, mut counts) = (Recorder::start(), Vec::new());
    let page_size = 100;
    let Things { group_id, model_id, model_set_id, user, model_ids } = things;
    let things_model = model_id.clone();
    let user_id = user.id.clone();
    count!(recorder, counts, owner.users(), list_users, ListUsersRequest { page_size });
    count!(recorder, counts, owner.groups(), list_groups, ListGroupsRequest { page_size });
    count!(
        recorder,
        counts,
        owner.groups(),
        list_members,
        ListMembersRequest { page_size, group_id: group_id.clone() }
    );
    count!(recorder, counts, owner.models(), list_models, ListModelsRequest { page_size });
    count!(
        recorder,
        counts,
        user.models(),
        list_models,
        ListModelsRequest { page_size, accessible_only: true }
    );
    count!(
        recorder,
        counts,
        owner.grants(),
        list_grants,
        ListGrantsRequest { page_size, user_id: user_id.clone() }
    );
    count!(recorder, counts, owner.grants(), list_grants, ListGrantsRequest { page_size, model_id });
    count!(
        recorder,
        counts,
        owner.keys(),
        list_keys,
        ListKeysRequest { page_size, user_id: user_id.clone() }
    );
    count!(
        recorder,
        counts,
        user.authorization(),
        list_accessible_models,
        ListAccessibleModelsRequest { page_size }
    );
    count!(
        recorder,
        counts,
        owner.keys(),
        create_key,
        CreateKeyRequest { name: "many".into(), user_id, model_ids }
    );
    count!(recorder, counts, owner.groups(), delete_group, DeleteGroupRequest { group_id });
    count!(
        recorder,
        counts,
        DatabaseServiceClient::new(owner.channel()),
        list_slow_queries,
        ListSlowQueriesRequest {}
    );
    count!(recorder, counts, user.sessions(), list_sessions, ListSessionsRequest { page_size });
    let requests = || AccessRequestServiceClient::new(owner.channel());
    let view = pb::AccessRequestView::All.into();
    count!(recorder, counts, requests(), list_access_requests, ListAccessRequestsRequest { page_size, view });
    count!(recorder, counts, requests(), list_approval_policies, ListApprovalPoliciesRequest { page_size });
    count!(recorder, counts, requests(), list_notifications, ListNotificationsRequest { page_size });
    let audit = || AuditServiceClient::new(owner.channel());
    count!(recorder, counts, audit(), list_events, ListEventsRequest { page_size });
    count!(recorder, counts, owner.incidents(), list_incidents, ListIncidentsRequest { page_size });
    count!(recorder, counts, owner.replicas(), list_replicas, ListReplicasRequest {});
    let providers = || ProviderServiceClient::new(owner.channel());
    count!(recorder, counts, providers(), list_identity_providers, ListIdentityProvidersRequest {});
    count!(
        recorder,
        counts,
        providers(),
        list_identities,
        ListIdentitiesRequest { user_id: user.id.clone() }
    );
    let model_id = things_model.clone();
    count!(recorder, counts, owner.aliases(), list_aliases, ListAliasesRequest { page_size });
    count!(recorder, counts, owner.sets(), list_model_sets, ListModelSetsRequest { page_size });
    count!(recorder, counts, owner.sets(), list_set_items, ListSetItemsRequest { page_size, model_set_id });
    let user_id = user.id.clone();
    count!(recorder, counts, owner.groups(), list_memberships, ListMembershipsRequest { page_size, user_id });
    count!(
        recorder,
        counts,
        owner.authorization(),
        list_subjects,
        ListSubjectsRequest { page_size, model_id }
    );
    counts
}

struct Things {
    group_id: String,
    model_id: String,
    model_set_id: String,
    user: Caller,
    model_ids: Vec<String>,
}

impl Things {
    async fn new(world: &World, many: usize) -> Self {
        let user = world.user(Role::Developer).await;
        let group_id = world.group(&format!("group-of-{many}")).await;
        let mut model_ids = Vec::new();
        for number in 0..many {
            let model = world.model(&format!("model-{number}-of-{many}")).await;
            world.allow(&user.id, &model).await;
            model_ids.push(model.clone());
            let member = world.group(&format!("member-{number}-of-{many}")).await;
            for grantee in [Grantee::GroupId(group_id.clone()), Grantee::GroupId(member.clone())] {
                let model = if matches!(&grantee, Grantee::GroupId(id) if *id == member) {
                    &model_ids[0]
                } else {
                    &model
                };
                let grant = Some(grant(model, grantee, Action::Use, Effect::Allow));
                let request = pb::CreateGrantRequest { grant, ..Default::default() };
                world.owner.grants().create_grant(request).await.unwrap();
            }
            let membership =
                Some(pb::Membership { member: Some(Member::MemberGroupId(member)), ..Default::default() });
            let request =
                pb::AddMemberRequest { group_id: group_id.clone(), membership, ..Default::default() };
            world.owner.groups().add_member(request).await.unwrap();
            let (name, user_id) = (format!("key {number}"), user.id.clone());
            let request = pb::CreateKeyRequest { name, user_id, ..Default::default() };
            world.owner.keys().create_key(request).await.unwrap();
        }
        for model_id in &model_ids {
            want(world, model_id).await;
        }
        let model_set_id = set_of(world, &format!("set-of-{many}"), &model_ids).await;
        Self { group_id, model_id: model_ids[0].clone(), model_set_id, user, model_ids }
    }
}

/// A set of these models, each of which has another name too.
async fn set_of(world: &World, name: &str, model_ids: &[String]) -> String {
    let request = pb::CreateModelSetRequest { name: name.to_owned(), ..Default::default() };
    let set = world.owner.sets().create_model_set(request).await.unwrap().into_inner().model_set.unwrap();
    let items = model_ids
        .iter()
        .map(|id| pb::SetItem { item: Some(pb::set_item::Item::ModelId(id.clone())) })
        .collect();
    let model_set_id = set.model_set_id;
    let request = pb::AddSetItemsRequest { model_set_id: model_set_id.clone(), items, ..Default::default() };
    world.owner.sets().add_set_items(request).await.unwrap();
    for model_id in model_ids {
        let (name, model_id) = (format!("also-{model_id}"), model_id.clone());
        let request = pb::SetAliasRequest { name, model_id, ..Default::default() };
        world.owner.aliases().set_alias(request).await.unwrap();
    }
    model_set_id
}

/// Somebody asks for a model and says more, somebody else decides by a policy of its own.
async fn want(world: &World, model_id: &str) {
    let model_id = model_id.to_owned();
    let mut owner = AccessRequestServiceClient::new(world.owner.channel());
    let mut somebody = AccessRequestServiceClient::new(world.user(Role::Member).await.channel());
    let policy = pb::ApprovalPolicy { target: Some(Target::ModelId(model_id.clone())), ..Default::default() };
    let request = pb::CreateApprovalPolicyRequest { approval_policy: Some(policy), ..Default::default() };
    owner.create_approval_policy(request).await.unwrap();
    let justification = "to work".to_owned();
    let request = pb::CreateAccessRequestRequest { model_id, justification, ..Default::default() };
    let created = somebody.create_access_request(request).await.unwrap().into_inner();
    let access_request_id = created.access_request.unwrap().access_request_id;
    let text = "please".to_owned();
    let request = pb::CommentAccessRequestRequest {
        access_request_id: access_request_id.clone(),
        text,
        ..Default::default()
    };
    somebody.comment_access_request(request).await.unwrap();
    let request = pb::ApproveAccessRequestRequest { access_request_id, ..Default::default() };
    owner.approve_access_request(request).await.unwrap();
}

on_both_engines! {
    async fn a_hundred_rows_take_as_many_statements_as_one(world: World) {
        let one = counts(world, 1).await;
        let hundred = counts(world, 100).await;
        assert_eq!(one, hundred);
        assert!(one.iter().filter(|(_, count)| *count > 0).count() >= 9, "statements were heard: {one:?}");
        let lists = proto::ACCESS.iter().map(|row| row.path).filter(|path| path.starts_with(PACKAGE));
        let lists = lists.filter(|path| path.split('/').nth(2).is_some_and(|method| method.starts_with("List")));
        let missing: Vec<_> =
            lists.filter(|path| !one.iter().any(|(counted, _)| path[1..] == *counted)).collect();
        assert!(missing.is_empty(), "add a line to `counts` for {missing:#?}");
    }

    async fn grants_are_readable_with_the_names_of_who_and_by_whom(world: World) {
        let (model, group) = (world.model("small").await, world.group("readers").await);
        let user = world.user(Role::Member).await;
        world.allow(&user.id, &model).await;
        for grantee in [Grantee::GroupId(group), Grantee::Everyone(true)] {
            let grant = Some(grant(&model, grantee, Action::Use, Effect::Deny));
            let request = pb::CreateGrantRequest { grant, ..Default::default() };
            world.owner.grants().create_grant(request).await.unwrap();
        }
        const READ: &str = "SELECT model_name, grantee_kind, grantee_name, effect, granted_by_name \
            FROM model_permissions_detailed ORDER BY grantee_kind";
        type Row = (String, String, String, String, Option<String>);
        let rows: Vec<Row> = on!(&world.db, |pool| sqlx::query_as(READ).fetch_all(pool).await).unwrap();
        // Names of people are encrypted.
        let granter = &world.owner.id;
        let row = |kind: &str, name: &str, effect: &str| {
            ("small".to_owned(), kind.to_owned(), name.to_owned(), effect.to_owned(), Some(granter.clone()))
        };
        let expected = [
            row("everyone", "everyone", "deny"), row("group", "readers", "deny"), row("user", &user.id, "allow"),
        ];
        assert_eq!(rows, expected);
    }
}
