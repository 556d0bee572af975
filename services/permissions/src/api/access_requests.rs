//! AccessRequestService.

use super::{Api, person};
use crate::{
    access_requests::{self, AccessRequest, NewRequest, Say, View},
    approval::{Auto, Review, Rules, State, Wish},
    approval_policies::{self, ApprovalPolicy, For},
    error::{Error, Forbidden},
    field,
    list::Page,
    notifications::{self, Kind, Notification},
    write::Write,
};
use policy::{Action, GrantId, GroupId, Role, UserId};
use proto::permissions::v1::{self as pb, access_request_service_server::AccessRequestService};
use shared::{auth::Person, time, wire};
use std::{ops::RangeInclusive, time::Duration};
use tonic::{Request, Response, Status};
use uuid::Uuid;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a grant may be asked for.
const GRANT: RangeInclusive<Duration> = MINUTE..=Duration::from_secs(10 * 366 * 24 * 60 * 60);

#[tonic::async_trait]
impl AccessRequestService for Api {
    async fn create_access_request(
        &self,
        request: Request<pb::CreateAccessRequestRequest>,
    ) -> Result<Response<pb::CreateAccessRequestResponse>, Status> {
        let new = new_request(request.get_ref())?;
        let create = async |write: &mut Write| {
            let access_request = Some(access_requests::create(write, new).await?.into());
            Ok(pb::CreateAccessRequestResponse { access_request, ..Default::default() })
        };
        self.change(&request, create).await
    }

    async fn get_access_request(
        &self,
        request: Request<pb::GetAccessRequestRequest>,
    ) -> Result<Response<pb::GetAccessRequestResponse>, Status> {
        let (person, id) = (person(&request)?, id(&request.get_ref().access_request_id)?);
        let found = access_requests::get(&self.db, &self.tail, id, &person).await?;
        Ok(Response::new(pb::GetAccessRequestResponse { access_request: Some(found.into()) }))
    }

    async fn list_access_requests(
        &self,
        request: Request<pb::ListAccessRequestsRequest>,
    ) -> Result<Response<pb::ListAccessRequestsResponse>, Status> {
        let (person, request) = (person(&request)?, request.get_ref());
        let (asked, state) = (request.view(), state(request.state)?);
        let filter = format!("access requests {} {asked:?} {state:?}", person.user);
        let page = Page::new(filter, request.page_size, &request.page_token)?;
        let listed = match view(&person, asked).map_err(Error::from)? {
            View::Open => access_requests::list_to_decide(&self.db, &self.tail, &person, &page).await?,
            view => access_requests::list(&self.db, view, state, &page).await?,
        };
        let access_requests = listed.rows.into_iter().map(pb::AccessRequest::from).collect();
        Ok(Response::new(pb::ListAccessRequestsResponse { access_requests, next_page_token: listed.next }))
    }

    async fn cancel_access_request(
        &self,
        request: Request<pb::CancelAccessRequestRequest>,
    ) -> Result<Response<pb::CancelAccessRequestResponse>, Status> {
        let id = id(&request.get_ref().access_request_id)?;
        let cancel = async |write: &mut Write| {
            let access_request = Some(access_requests::cancel(write, id).await?.into());
            Ok(pb::CancelAccessRequestResponse { access_request, ..Default::default() })
        };
        self.change(&request, cancel).await
    }

    async fn comment_access_request(
        &self,
        request: Request<pb::CommentAccessRequestRequest>,
    ) -> Result<Response<pb::CommentAccessRequestResponse>, Status> {
        let id = id(&request.get_ref().access_request_id)?;
        let text = field::needed_text("text", request.get_ref().text.clone(), 2_000)?;
        let comment = async |write: &mut Write| {
            let access_request = Some(access_requests::comment(write, id, text).await?.into());
            Ok(pb::CommentAccessRequestResponse { access_request, ..Default::default() })
        };
        self.change(&request, comment).await
    }

    async fn approve_access_request(
        &self,
        request: Request<pb::ApproveAccessRequestRequest>,
    ) -> Result<Response<pb::ApproveAccessRequestResponse>, Status> {
        let asked = request.get_ref();
        let id = id(&asked.access_request_id)?;
        let say = Say {
            approved: true,
            comment: field::text("comment", asked.comment.clone(), 500)?,
            duration: field::duration("duration", asked.duration.as_ref(), &GRANT)?,
            use_only: asked.use_only,
        };
        let approve = async |write: &mut Write| {
            let access_request = Some(access_requests::decide(write, id, say).await?.into());
            Ok(pb::ApproveAccessRequestResponse { access_request, ..Default::default() })
        };
        self.change(&request, approve).await
    }

    async fn deny_access_request(
        &self,
        request: Request<pb::DenyAccessRequestRequest>,
    ) -> Result<Response<pb::DenyAccessRequestResponse>, Status> {
        let id = id(&request.get_ref().access_request_id)?;
        let comment = field::text("comment", request.get_ref().comment.clone(), 500)?;
        let say = Say { approved: false, comment, duration: None, use_only: false };
        let deny = async |write: &mut Write| {
            let access_request = Some(access_requests::decide(write, id, say).await?.into());
            Ok(pb::DenyAccessRequestResponse { access_request, ..Default::default() })
        };
        self.change(&request, deny).await
    }

    async fn review_access_request(
        &self,
        request: Request<pb::ReviewAccessRequestRequest>,
    ) -> Result<Response<pb::ReviewAccessRequestResponse>, Status> {
        let (id, accept) = (id(&request.get_ref().access_request_id)?, request.get_ref().accept);
        let comment = field::text("comment", request.get_ref().comment.clone(), 500)?;
        let review = async |write: &mut Write| {
            let access_request = Some(access_requests::review(write, id, accept, comment).await?.into());
            Ok(pb::ReviewAccessRequestResponse { access_request, ..Default::default() })
        };
        self.change(&request, review).await
    }

    async fn create_approval_policy(
        &self,
        request: Request<pb::CreateApprovalPolicyRequest>,
    ) -> Result<Response<pb::CreateApprovalPolicyResponse>, Status> {
        let policy = request.get_ref().approval_policy.as_ref();
        let policy = policy.ok_or_else(|| Error::invalid("approval_policy", "is needed"))?;
        let (target, rules) = (target(policy)?, rules(policy)?);
        let create = async |write: &mut Write| {
            let approval_policy = Some(approval_policies::create(write, target, rules).await?.into());
            Ok(pb::CreateApprovalPolicyResponse { approval_policy, ..Default::default() })
        };
        self.change(&request, create).await
    }

    async fn update_approval_policy(
        &self,
        request: Request<pb::UpdateApprovalPolicyRequest>,
    ) -> Result<Response<pb::UpdateApprovalPolicyResponse>, Status> {
        let id = field::id("approval_policy_id", &request.get_ref().approval_policy_id)?;
        let policy = request.get_ref().approval_policy.as_ref();
        let rules = rules(policy.ok_or_else(|| Error::invalid("approval_policy", "is needed"))?)?;
        let update = async |write: &mut Write| {
            let approval_policy = Some(approval_policies::update(write, id, rules).await?.into());
            Ok(pb::UpdateApprovalPolicyResponse { approval_policy, ..Default::default() })
        };
        self.change(&request, update).await
    }

    async fn delete_approval_policy(
        &self,
        request: Request<pb::DeleteApprovalPolicyRequest>,
    ) -> Result<Response<pb::DeleteApprovalPolicyResponse>, Status> {
        let id = field::id("approval_policy_id", &request.get_ref().approval_policy_id)?;
        let delete = async |write: &mut Write| {
            approval_policies::delete(write, id).await?;
            Ok(pb::DeleteApprovalPolicyResponse::default())
        };
        self.change(&request, delete).await
    }

    async fn list_approval_policies(
        &self,
        request: Request<pb::ListApprovalPoliciesRequest>,
    ) -> Result<Response<pb::ListApprovalPoliciesResponse>, Status> {
        let request = request.get_ref();
        let page = Page::new("approval policies".to_owned(), request.page_size, &request.page_token)?;
        let listed = approval_policies::list(&self.db, &page).await?;
        let approval_policies = listed.rows.into_iter().map(pb::ApprovalPolicy::from).collect();
        let next_page_token = listed.next;
        Ok(Response::new(pb::ListApprovalPoliciesResponse { approval_policies, next_page_token }))
    }

    async fn list_notifications(
        &self,
        request: Request<pb::ListNotificationsRequest>,
    ) -> Result<Response<pb::ListNotificationsResponse>, Status> {
        let (user, request) = (person(&request)?.user, request.get_ref());
        let filter = format!("notifications {user} {}", request.unread);
        let page = Page::new(filter, request.page_size, &request.page_token)?;
        let listed = notifications::list(&self.db, user, request.unread, &page).await?;
        let notifications = listed.rows.into_iter().map(pb::Notification::from).collect();
        Ok(Response::new(pb::ListNotificationsResponse { notifications, next_page_token: listed.next }))
    }

    async fn read_notifications(
        &self,
        request: Request<pb::ReadNotificationsRequest>,
    ) -> Result<Response<pb::ReadNotificationsResponse>, Status> {
        let until: Uuid = field::id("notification_id", &request.get_ref().notification_id)?;
        let read = notifications::read(&self.db, person(&request)?.user, until, time::now()).await?;
        Ok(Response::new(pb::ReadNotificationsResponse { read: u32::try_from(read).unwrap_or(u32::MAX) }))
    }
}

fn id(text: &str) -> Result<Uuid, Error> {
    field::id("access_request_id", text)
}

fn new_request(request: &pb::CreateAccessRequestRequest) -> Result<NewRequest, Error> {
    let action =
        if request.action == 0 { Some(Action::Use) } else { wire::action_from_proto(request.action) };
    Ok(NewRequest {
        model: field::id("model_id", &request.model_id)?,
        wish: Wish {
            action: action.ok_or_else(|| Error::invalid("action", "must be USE or MANAGE"))?,
            duration: field::duration("duration", request.duration.as_ref(), &GRANT)?,
        },
        justification: field::needed_text("justification", request.justification.clone(), 500)?,
        break_glass: request.break_glass,
    })
}

fn view(person: &Person, asked: pb::AccessRequestView) -> Result<View, Forbidden> {
    match asked {
        pb::AccessRequestView::Unspecified | pb::AccessRequestView::Mine => Ok(View::Of(person.user)),
        pb::AccessRequestView::ToDecide => Ok(View::Open),
        pb::AccessRequestView::All => match person.role {
            Role::Owner | Role::Admin | Role::Auditor => Ok(View::All),
            Role::Operator | Role::Developer | Role::Member => Err(Forbidden::NotYourself),
        },
    }
}

fn state(number: i32) -> Result<Option<State>, Error> {
    use pb::AccessRequestState as Wire;
    let unknown = || Error::invalid("state", "must be one of the states 1 to 5");
    Ok(match Wire::try_from(number).map_err(|_| unknown())? {
        Wire::Unspecified => None,
        Wire::Pending => Some(State::Pending),
        Wire::Approved => Some(State::Approved),
        Wire::Denied => Some(State::Denied),
        Wire::Cancelled => Some(State::Cancelled),
        Wire::Expired => Some(State::Expired),
    })
}

fn target(policy: &pb::ApprovalPolicy) -> Result<For, Error> {
    use pb::approval_policy::Target;
    match &policy.target {
        Some(Target::ModelId(id)) => field::id("approval_policy.model_id", id).map(For::Model),
        Some(Target::ModelSetId(id)) => field::id("approval_policy.model_set_id", id).map(For::Set),
        Some(Target::Default(true)) => Ok(For::Others),
        Some(Target::Default(false)) => {
            Err(Error::invalid("approval_policy.default", "must be true or left out"))
        }
        None => Err(Error::invalid("approval_policy.target", "must be a model, a model set or the default")),
    }
}

fn rules(policy: &pb::ApprovalPolicy) -> Result<Rules, Error> {
    let usual = Rules::default();
    let quorum = if policy.quorum == 0 { usual.quorum } else { policy.quorum };
    if quorum > 10 {
        return Err(Error::invalid("approval_policy.quorum", "must be between 1 and 10"));
    }
    let timeout = field::duration("approval_policy.timeout", policy.timeout.as_ref(), &(MINUTE..=90 * DAY))?;
    let (longest, glass) = ("approval_policy.max_duration", "approval_policy.break_glass");
    Ok(Rules {
        approvers: field::optional_id("approval_policy.approver_group_id", &policy.approver_group_id)?,
        quorum,
        timeout: timeout.unwrap_or(usual.timeout),
        max_duration: field::duration(longest, policy.max_duration.as_ref(), &GRANT)?,
        auto: policy.auto_approve.as_ref().map(auto).transpose()?,
        break_glass: field::duration(glass, policy.break_glass.as_ref(), &(MINUTE..=7 * DAY))?,
    })
}

fn auto(auto: &pb::AutoApproval) -> Result<Auto, Error> {
    let (group, longest) =
        ("approval_policy.auto_approve.requester_group_id", "approval_policy.auto_approve.max_duration");
    Ok(Auto {
        group: field::optional_id(group, &auto.requester_group_id)?,
        max_duration: field::duration(longest, auto.max_duration.as_ref(), &GRANT)?,
    })
}

impl From<AccessRequest> for pb::AccessRequest {
    fn from(request: AccessRequest) -> Self {
        let case = request.case;
        let state = case.state_at(time::now());
        let decisions = case.decisions.into_iter().map(|decision| pb::AccessDecision {
            approver_id: decision.approver.as_ref().map(UserId::to_string).unwrap_or_default(),
            approved: decision.approved,
            comment: decision.comment,
            create_time: Some(time::to_proto(decision.at)),
        });
        let comments = request.comments.into_iter().map(|comment| pb::AccessComment {
            author_id: comment.author.to_string(),
            text: comment.text,
            create_time: Some(time::to_proto(comment.at)),
        });
        Self {
            access_request_id: request.id.to_string(),
            requester_id: case.requester.to_string(),
            model_id: request.model.to_string(),
            action: wire::action_to_proto(case.wish.action).into(),
            justification: request.justification,
            duration: case.wish.duration.map(time::duration_to_proto),
            break_glass: case.break_glass,
            state: state_to_proto(state).into(),
            review: review_to_proto(case.review).into(),
            quorum: case.quorum,
            approver_group_id: request.approvers.as_ref().map(GroupId::to_string).unwrap_or_default(),
            decisions: decisions.collect(),
            comments: comments.collect(),
            grant_id: request.grant.as_ref().map(GrantId::to_string).unwrap_or_default(),
            create_time: Some(time::to_proto(request.created_at)),
            deadline_time: Some(time::to_proto(case.deadline)),
            decide_time: case.decided_at.map(time::to_proto),
        }
    }
}

const fn state_to_proto(state: State) -> pb::AccessRequestState {
    match state {
        State::Pending => pb::AccessRequestState::Pending,
        State::Approved => pb::AccessRequestState::Approved,
        State::Denied => pb::AccessRequestState::Denied,
        State::Cancelled => pb::AccessRequestState::Cancelled,
        State::Expired => pb::AccessRequestState::Expired,
    }
}

const fn review_to_proto(review: Option<Review>) -> pb::ReviewState {
    match review {
        None => pb::ReviewState::Unspecified,
        Some(Review::Pending) => pb::ReviewState::Pending,
        Some(Review::Accepted) => pb::ReviewState::Accepted,
        Some(Review::Rejected) => pb::ReviewState::Rejected,
    }
}

impl From<ApprovalPolicy> for pb::ApprovalPolicy {
    fn from(policy: ApprovalPolicy) -> Self {
        use pb::approval_policy::Target;
        let ApprovalPolicy { id, target, rules, created_at: _ } = policy;
        Self {
            approval_policy_id: id.to_string(),
            target: Some(match target {
                For::Model(id) => Target::ModelId(id.to_string()),
                For::Set(id) => Target::ModelSetId(id.to_string()),
                For::Others => Target::Default(true),
            }),
            approver_group_id: rules.approvers.as_ref().map(GroupId::to_string).unwrap_or_default(),
            quorum: rules.quorum,
            timeout: Some(time::duration_to_proto(rules.timeout)),
            max_duration: rules.max_duration.map(time::duration_to_proto),
            auto_approve: rules.auto.map(|auto| pb::AutoApproval {
                requester_group_id: auto.group.as_ref().map(GroupId::to_string).unwrap_or_default(),
                max_duration: auto.max_duration.map(time::duration_to_proto),
            }),
            break_glass: rules.break_glass.map(time::duration_to_proto),
        }
    }
}

impl From<Notification> for pb::Notification {
    fn from(notification: Notification) -> Self {
        let kind = match notification.kind {
            Kind::ToDecide => pb::NotificationKind::ToDecide,
            Kind::ToReview => pb::NotificationKind::ToReview,
            Kind::Decided => pb::NotificationKind::Decided,
            Kind::Comment => pb::NotificationKind::Comment,
        };
        Self {
            notification_id: notification.id.to_string(),
            kind: kind.into(),
            access_request_id: notification.request.to_string(),
            create_time: Some(time::to_proto(notification.created_at)),
            read_time: notification.read_at.map(time::to_proto),
        }
    }
}
