//! Asking for a model, deciding about it, and who is told.

use crate::world::{
    Caller, World, assert_invalid, assert_missing, assert_refused, grant, on_both_engines, uuid,
};
use proto::{
    common::v1::Role,
    permissions::v1::{
        self as pb, AccessRequestState as State, access_request_service_client::AccessRequestServiceClient,
        approval_policy::Target,
    },
};
use shared::{channel::Channel, on};
use tonic::Code;

fn requests(caller: &Caller) -> AccessRequestServiceClient<Channel> {
    AccessRequestServiceClient::new(caller.channel())
}

fn wish(model: &str) -> pb::CreateAccessRequestRequest {
    pb::CreateAccessRequestRequest {
        model_id: model.to_owned(),
        justification: "to answer customers".to_owned(),
        ..Default::default()
    }
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

async fn ask(caller: &Caller, wish: pb::CreateAccessRequestRequest) -> pb::AccessRequest {
    requests(caller).create_access_request(wish).await.unwrap().into_inner().access_request.unwrap()
}

fn approve(request: &pb::AccessRequest) -> pb::ApproveAccessRequestRequest {
    pb::ApproveAccessRequestRequest {
        access_request_id: request.access_request_id.clone(),
        ..Default::default()
    }
}

fn deny(request: &pb::AccessRequest) -> pb::DenyAccessRequestRequest {
    pb::DenyAccessRequestRequest {
        access_request_id: request.access_request_id.clone(),
        ..Default::default()
    }
}

fn cancel(request: &pb::AccessRequest) -> pb::CancelAccessRequestRequest {
    pb::CancelAccessRequestRequest {
        access_request_id: request.access_request_id.clone(),
        ..Default::default()
    }
}

fn review(request: &pb::AccessRequest, accept: bool) -> pb::ReviewAccessRequestRequest {
    let access_request_id = request.access_request_id.clone();
    pb::ReviewAccessRequestRequest { access_request_id, accept, ..Default::default() }
}

async fn policy(world: &World, policy: pb::ApprovalPolicy) -> String {
    let request = pb::CreateApprovalPolicyRequest { approval_policy: Some(policy), ..Default::default() };
    let answer = requests(&world.owner).create_approval_policy(request).await.unwrap().into_inner();
    answer.approval_policy.unwrap().approval_policy_id
}

fn everything_else() -> pb::ApprovalPolicy {
    pb::ApprovalPolicy { target: Some(Target::Default(true)), ..Default::default() }
}

async fn join(world: &World, group: &str, user: &str) {
    let member = Some(pb::membership::Member::UserId(user.to_owned()));
    let request = pb::AddMemberRequest {
        group_id: group.to_owned(),
        membership: Some(pb::Membership { member, ..Default::default() }),
        ..Default::default()
    };
    world.owner.groups().add_member(request).await.unwrap();
}

async fn told(caller: &Caller) -> Vec<(pb::NotificationKind, String)> {
    let request = pb::ListNotificationsRequest { unread: true, ..Default::default() };
    let answer = requests(caller).list_notifications(request).await.unwrap().into_inner();
    answer.notifications.iter().map(|one| (one.kind(), one.access_request_id.clone())).collect()
}

async fn may(user: &Caller, model: &str) -> pb::Verdict {
    user.may(&user.id, model, pb::Action::Use).await.0
}

on_both_engines! {
    async fn a_manager_approves_and_the_grant_is_there_at_once(world: World) {
        let (model, user, manager) = (world.model("m").await, world.user(Role::Member).await, world.user(Role::Developer).await);
        let manage = grant(&model, pb::grant::Grantee::UserId(manager.id.clone()), pb::Action::Manage, pb::Effect::Allow);
        world.owner.grants().create_grant(pb::CreateGrantRequest { grant: Some(manage), ..Default::default() }).await.unwrap();
        let request = ask(&user, wish(&model)).await;
        assert_eq!((request.state(), request.quorum), (State::Pending, 1));
        assert_eq!(told(&manager).await, [(pb::NotificationKind::ToDecide, request.access_request_id.clone())]);
        assert_eq!(may(&user, &model).await, pb::Verdict::Denied);
        let answer = requests(&manager).approve_access_request(approve(&request)).await.unwrap().into_inner();
        let approved = answer.access_request.unwrap();
        assert_eq!((approved.state(), approved.decisions[0].approver_id.as_str()), (State::Approved, manager.id.as_str()));
        assert_eq!(may(&user, &model).await, pb::Verdict::Allowed);
        assert_eq!(told(&user).await, [(pb::NotificationKind::Decided, request.access_request_id.clone())]);
        let list = pb::ListGrantsRequest { user_id: user.id.clone(), ..Default::default() };
        let grants = world.owner.grants().list_grants(list).await.unwrap().into_inner().grants;
        assert_eq!((grants[0].grant_id.as_str(), grants[0].granted_by.as_str()), (approved.grant_id.as_str(), manager.id.as_str()));
        let revisions: (i64,) = on!(&world.db, |pool| sqlx::query_as("SELECT count(DISTINCT revision) FROM events \
            WHERE (kind = 'grant' AND id = $1) OR (kind = 'access_request' AND action = 'approved')")
            .bind(&approved.grant_id).fetch_one(pool).await).unwrap();
        assert_eq!(revisions.0, 1, "grant and approval are one transaction");
    }

    async fn nobody_decides_about_themselves_or_without_standing(world: World) {
        let model = world.model("m").await;
        let admin = world.user(Role::Admin).await;
        let own = ask(&admin, wish(&model)).await;
        assert_refused(requests(&admin).approve_access_request(approve(&own)).await, Code::PermissionDenied, "OWN_REQUEST");
        let (user, other) = (world.user(Role::Member).await, world.user(Role::Member).await);
        let request = ask(&user, wish(&model)).await;
        assert_missing(requests(&other).approve_access_request(approve(&request)).await, "access request", &request.access_request_id);
        assert_refused(requests(&user).deny_access_request(deny(&request)).await, Code::PermissionDenied, "OWN_REQUEST");
        let auditor = world.user(Role::Auditor).await;
        assert_refused(requests(&auditor).approve_access_request(approve(&request)).await, Code::PermissionDenied, "APPROVER_REQUIRED");
        assert_refused(requests(&admin).cancel_access_request(cancel(&request)).await, Code::PermissionDenied, "NOT_YOURSELF");
    }

    async fn a_quorum_of_the_approver_group_decides_and_narrows(world: World) {
        let (model, group) = (world.model("m").await, world.group("approvers").await);
        let (one, two, user) = (world.user(Role::Member).await, world.user(Role::Member).await, world.user(Role::Member).await);
        for approver in [&one, &two] { join(world, &group, &approver.id).await; }
        policy(world, pb::ApprovalPolicy { target: Some(Target::ModelId(model.clone())), approver_group_id: group,
            quorum: 2, max_duration: seconds(86_400), ..Default::default() }).await;
        let request = ask(&user, wish(&model)).await;
        assert_eq!((request.quorum, request.duration.unwrap().seconds), (2, 86_400));
        let narrow = pb::ApproveAccessRequestRequest { duration: seconds(3_600), ..approve(&request) };
        let answer = requests(&one).approve_access_request(narrow).await.unwrap().into_inner().access_request.unwrap();
        assert_eq!(answer.state(), State::Pending);
        assert_refused(requests(&one).approve_access_request(approve(&request)).await, Code::FailedPrecondition, "ALREADY_APPROVED");
        requests(&two).approve_access_request(approve(&request)).await.unwrap();
        let list = pb::ListGrantsRequest { user_id: user.id.clone(), ..Default::default() };
        let grant = &world.owner.grants().list_grants(list).await.unwrap().into_inner().grants[0];
        let lasts = grant.expire_time.unwrap().seconds - grant.create_time.unwrap().seconds;
        assert_eq!(lasts, 3_600);
    }

    async fn one_denial_ends_it(world: World) {
        let (model, user) = (world.model("m").await, world.user(Role::Member).await);
        let request = ask(&user, wish(&model)).await;
        assert_refused(requests(&user).create_access_request(wish(&model)).await, Code::AlreadyExists, "ALREADY_EXISTS");
        let said = pb::DenyAccessRequestRequest { comment: "not yet".to_owned(), ..deny(&request) };
        requests(&world.owner).deny_access_request(said).await.unwrap();
        assert_refused(requests(&world.owner).approve_access_request(approve(&request)).await, Code::FailedPrecondition, "REQUEST_NOT_PENDING");
        assert_eq!(may(&user, &model).await, pb::Verdict::Denied);
        let again = ask(&user, wish(&model)).await;
        requests(&user).cancel_access_request(cancel(&again)).await.unwrap();
        assert_refused(requests(&world.owner).approve_access_request(approve(&again)).await, Code::FailedPrecondition, "REQUEST_NOT_PENDING");
    }

    async fn what_one_has_or_a_deny_forbids_is_not_asked_for(world: World) {
        let (model, user) = (world.model("m").await, world.user(Role::Member).await);
        world.allow(&user.id, &model).await;
        assert_refused(requests(&user).create_access_request(wish(&model)).await, Code::FailedPrecondition, "ALREADY_ALLOWED");
        let deny = grant(&model, pb::grant::Grantee::UserId(user.id.clone()), pb::Action::Use, pb::Effect::Deny);
        world.owner.grants().create_grant(pb::CreateGrantRequest { grant: Some(deny), ..Default::default() }).await.unwrap();
        assert_refused(requests(&user).create_access_request(wish(&model)).await, Code::FailedPrecondition, "DENY_STANDS");
        let unknown = uuid();
        assert_missing(requests(&user).create_access_request(wish(&unknown)).await, "model", &unknown);
    }

    async fn the_policy_approves_by_itself_what_it_covers(world: World) {
        let (model, group) = (world.model("m").await, world.group("trusted").await);
        let (user, stranger) = (world.user(Role::Member).await, world.user(Role::Member).await);
        join(world, &group, &user.id).await;
        let auto_approve = Some(pb::AutoApproval { requester_group_id: group, max_duration: seconds(86_400) });
        policy(world, pb::ApprovalPolicy { auto_approve, ..everything_else() }).await;
        let short = pb::CreateAccessRequestRequest { duration: seconds(3_600), ..wish(&model) };
        assert_eq!(ask(&stranger, short.clone()).await.state(), State::Pending);
        assert_eq!(ask(&user, short).await.state(), State::Approved);
        assert_eq!(may(&user, &model).await, pb::Verdict::Allowed);
    }

    async fn broken_glass_must_be_reviewed(world: World) {
        let (model, other, user) = (world.model("m").await, world.model("n").await, world.user(Role::Member).await);
        let glass = |model: &str| pb::CreateAccessRequestRequest { break_glass: true, ..wish(model) };
        assert_refused(requests(&user).create_access_request(glass(&model)).await, Code::FailedPrecondition, "BREAK_GLASS_NOT_ALLOWED");
        policy(world, pb::ApprovalPolicy { break_glass: seconds(3_600), ..everything_else() }).await;
        let request = ask(&user, glass(&model)).await;
        assert_eq!((request.state(), request.review()), (State::Approved, pb::ReviewState::Pending));
        assert_eq!(may(&user, &model).await, pb::Verdict::Allowed);
        assert_eq!(told(&world.owner).await, [(pb::NotificationKind::ToReview, request.access_request_id.clone())]);
        assert_refused(requests(&user).create_access_request(glass(&other)).await, Code::FailedPrecondition, "REVIEW_OUTSTANDING");
        assert_refused(requests(&user).review_access_request(review(&request, true)).await, Code::PermissionDenied, "OWN_REQUEST");
        requests(&world.owner).review_access_request(review(&request, false)).await.unwrap();
        assert_eq!(may(&user, &model).await, pb::Verdict::Denied);
        assert_refused(requests(&world.owner).review_access_request(review(&request, true)).await, Code::FailedPrecondition, "NOTHING_TO_REVIEW");
        assert_eq!(ask(&user, glass(&other)).await.state(), State::Approved);
    }

    async fn the_nearest_policy_counts(world: World) {
        let (model, user) = (world.model("m").await, world.user(Role::Member).await);
        policy(world, pb::ApprovalPolicy { quorum: 3, ..everything_else() }).await;
        assert_eq!(ask(&user, wish(&model)).await.quorum, 3);
        let own = policy(world, pb::ApprovalPolicy { quorum: 2, target: Some(Target::ModelId(model.clone())), ..Default::default() }).await;
        let other = world.user(Role::Member).await;
        assert_eq!(ask(&other, wish(&model)).await.quorum, 2);
        let request = pb::CreateApprovalPolicyRequest { approval_policy: Some(everything_else()), ..Default::default() };
        assert_refused(requests(&world.owner).create_approval_policy(request).await, Code::AlreadyExists, "ALREADY_EXISTS");
        let update = pb::UpdateApprovalPolicyRequest { approval_policy_id: own.clone(),
            approval_policy: Some(pb::ApprovalPolicy { quorum: 4, ..Default::default() }), ..Default::default() };
        requests(&world.owner).update_approval_policy(update).await.unwrap();
        assert_eq!(ask(&world.user(Role::Member).await, wish(&model)).await.quorum, 4);
        requests(&world.owner).delete_approval_policy(pb::DeleteApprovalPolicyRequest { approval_policy_id: own, ..Default::default() }).await.unwrap();
        assert_eq!(ask(&world.user(Role::Member).await, wish(&model)).await.quorum, 3);
        let policies = requests(&user).list_approval_policies(pb::ListApprovalPoliciesRequest::default()).await.unwrap().into_inner();
        assert_eq!(policies.approval_policies.len(), 1);
    }

    async fn each_sees_what_concerns_them(world: World) {
        let (model, user, other) = (world.model("m").await, world.user(Role::Member).await, world.user(Role::Member).await);
        let request = ask(&user, wish(&model)).await;
        let get = pb::GetAccessRequestRequest { access_request_id: request.access_request_id.clone() };
        assert_missing(requests(&other).get_access_request(get.clone()).await, "access request", &request.access_request_id);
        let text = "which customers?".to_owned();
        let comment = pb::CommentAccessRequestRequest { access_request_id: request.access_request_id.clone(), text, ..Default::default() };
        requests(&world.owner).comment_access_request(comment).await.unwrap();
        assert_eq!(told(&user).await, [(pb::NotificationKind::Comment, request.access_request_id.clone())]);
        let seen = requests(&user).get_access_request(get).await.unwrap().into_inner().access_request.unwrap();
        assert_eq!(seen.comments[0].text, "which customers?");
        let list = |view: pb::AccessRequestView| pb::ListAccessRequestsRequest { view: view.into(), ..Default::default() };
        let count = async |caller: &Caller, view| {
            requests(caller).list_access_requests(list(view)).await.unwrap().into_inner().access_requests.len()
        };
        assert_eq!(count(&user, pb::AccessRequestView::Mine).await, 1);
        assert_eq!(count(&other, pb::AccessRequestView::Mine).await, 0);
        assert_eq!(count(&user, pb::AccessRequestView::ToDecide).await, 0);
        assert_eq!(count(&world.owner, pb::AccessRequestView::ToDecide).await, 1);
        assert_eq!(count(&world.owner, pb::AccessRequestView::All).await, 1);
        assert_refused(requests(&other).list_access_requests(list(pb::AccessRequestView::All)).await, Code::PermissionDenied, "NOT_YOURSELF");
        let newest = requests(&user).list_notifications(pb::ListNotificationsRequest::default()).await.unwrap().into_inner().notifications;
        let read = pb::ReadNotificationsRequest { notification_id: newest[0].notification_id.clone() };
        assert_eq!(requests(&user).read_notifications(read).await.unwrap().into_inner().read, 1);
        assert_eq!(told(&user).await, []);
    }

    async fn undecided_requests_expire(world: World) {
        let (model, user) = (world.model("m").await, world.user(Role::Member).await);
        let request = ask(&user, wish(&model)).await;
        world.sql("UPDATE access_requests SET deadline_at = created_at").await;
        let get = pb::GetAccessRequestRequest { access_request_id: request.access_request_id.clone() };
        let seen = requests(&user).get_access_request(get).await.unwrap().into_inner().access_request.unwrap();
        assert_eq!(seen.state(), State::Expired);
        assert_refused(requests(&world.owner).approve_access_request(approve(&request)).await, Code::FailedPrecondition, "REQUEST_NOT_PENDING");
        let (another, mut state) = (world.another().await, String::new());
        while state != "expired" {
            tokio::task::yield_now().await;
            state = on!(&world.db, |pool| sqlx::query_scalar("SELECT state FROM access_requests").fetch_one(pool).await).unwrap();
        }
        another.end().await;
    }

    async fn fields_are_checked(world: World) {
        let (model, user) = (world.model("m").await, world.user(Role::Member).await);
        let bad = |change: fn(&mut pb::CreateAccessRequestRequest)| { let mut wish = wish(&model); change(&mut wish); wish };
        let mut client = requests(&user);
        assert_invalid(client.create_access_request(bad(|wish| wish.model_id = "x".to_owned())).await, "model_id");
        assert_invalid(client.create_access_request(bad(|wish| wish.justification = " ".to_owned())).await, "justification");
        assert_invalid(client.create_access_request(bad(|wish| wish.action = 9)).await, "action");
        assert_invalid(client.create_access_request(bad(|wish| wish.duration = seconds(1))).await, "duration");
        let policy = |policy| pb::CreateApprovalPolicyRequest { approval_policy: Some(policy), ..Default::default() };
        let mut owner = requests(&world.owner);
        assert_invalid(owner.create_approval_policy(policy(pb::ApprovalPolicy::default())).await, "approval_policy.target");
        assert_invalid(owner.create_approval_policy(policy(pb::ApprovalPolicy { quorum: 11, ..everything_else() })).await, "approval_policy.quorum");
        assert_invalid(owner.create_approval_policy(policy(pb::ApprovalPolicy { timeout: seconds(1), ..everything_else() })).await, "approval_policy.timeout");
        let group = uuid();
        let unknown = pb::ApprovalPolicy { approver_group_id: group.clone(), ..everything_else() };
        assert_missing(owner.create_approval_policy(policy(unknown)).await, "group", &group);
    }
}
