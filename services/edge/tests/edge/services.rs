//! Small servers of the contract that keep what they are told in memory.

use proto::{inference::v1 as inference, monitoring::v1 as monitoring, permissions::v1 as pb};
use std::{collections::BTreeMap, pin::Pin, sync::Mutex, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Code, Request, Response, Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, PreconditionViolation, StatusExt};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Users by id. Some ids make it fail in a certain way.
#[derive(Default)]
pub(crate) struct People {
    users: Mutex<BTreeMap<String, pb::User>>,
    pub(crate) metadata: Mutex<MetadataMap>,
}

fn with_reason(code: Code, reason: &str, message: &str, more: impl FnOnce(&mut ErrorDetails)) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, "tollgate", std::collections::HashMap::new());
    more(&mut details);
    Status::with_error_details(code, message, details)
}

/// Methods that these servers do not have.
macro_rules! refused {
    ($($name:ident($request:ty) -> $answer:ty;)+) => {$(
        fn $name<'a, 'b>(
            &'a self,
            _: Request<$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<$answer>, Status>> + Send + 'b>>
        where
            'a: 'b,
            Self: 'b,
        {
            Box::pin(async { Err(Status::unimplemented("this server has no such method")) })
        }
    )+};
}

#[tonic::async_trait]
impl pb::user_service_server::UserService for People {
    refused! {
        delete_user(pb::DeleteUserRequest) -> pb::DeleteUserResponse;
        undelete_user(pb::UndeleteUserRequest) -> pb::UndeleteUserResponse;
        import_users(tonic::Streaming<pb::ImportUsersRequest>) -> pb::ImportUsersResponse;
        get_user_import(pb::GetUserImportRequest) -> pb::GetUserImportResponse;
    }

    async fn create_user(
        &self,
        request: Request<pb::CreateUserRequest>,
    ) -> Result<Response<pb::CreateUserResponse>, Status> {
        *self.metadata.lock().unwrap() = request.metadata().clone();
        let asked = request.into_inner();
        if !asked.email.contains('@') {
            return Err(with_reason(
                Code::InvalidArgument,
                "INVALID_EMAIL",
                "email: is no address",
                |details| {
                    details.add_bad_request_violation("email", "is no address");
                },
            ));
        }
        let mut users = self.users.lock().unwrap();
        let user = pb::User {
            user_id: format!("u{}", users.len() + 1),
            email: asked.email,
            display_name: asked.display_name,
            role: asked.role,
            disabled: false,
            create_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            ..Default::default()
        };
        users.insert(user.user_id.clone(), user.clone());
        Ok(Response::new(pb::CreateUserResponse { user: Some(user), token: "r1".to_owned() }))
    }

    async fn get_user(
        &self,
        request: Request<pb::GetUserRequest>,
    ) -> Result<Response<pb::GetUserResponse>, Status> {
        let id = request.into_inner().user_id;
        match id.split_once('-') {
            Some(("code", code)) => {
                return Err(Status::new(Code::from(code.parse::<i32>().unwrap()), "driver says no"));
            }
            Some(("reason", code)) => {
                let code = Code::from(code.parse::<i32>().unwrap());
                return Err(with_reason(code, "STORE_UNAVAILABLE", "the store is away", |_| {}));
            }
            Some(("busy", _)) => {
                return Err(with_reason(
                    Code::ResourceExhausted,
                    "RATE_LIMIT",
                    "too many requests",
                    |details| {
                        details.set_retry_info(Some(Duration::from_millis(1_500)));
                        details.add_quota_failure_violation("key:k1", "60 requests a minute");
                        details.set_debug_info(vec!["secret stack".to_owned()], "secret detail");
                    },
                ));
            }
            Some(("last", _)) => {
                return Err(with_reason(
                    Code::FailedPrecondition,
                    "LAST_OWNER",
                    "an owner must remain",
                    |details| {
                        details.set_precondition_failure(vec![PreconditionViolation::new(
                            "OWNER",
                            "user:u1",
                            "last owner",
                        )]);
                        details.set_resource_info("user", "u1", "", "the last owner");
                    },
                ));
            }
            Some(("never", _)) => std::future::pending().await,
            _ => {}
        }
        let user = self.users.lock().unwrap().get(&id).cloned();
        let user = user
            .ok_or_else(|| with_reason(Code::NotFound, "USER_NOT_FOUND", &format!("no user {id}"), |_| {}))?;
        Ok(Response::new(pb::GetUserResponse { user: Some(user) }))
    }

    async fn list_users(
        &self,
        request: Request<pb::ListUsersRequest>,
    ) -> Result<Response<pb::ListUsersResponse>, Status> {
        let asked = request.into_inner();
        let users = self.users.lock().unwrap();
        let after = users.values().filter(|user| user.user_id > asked.page_token);
        let size = if asked.page_size == 0 { 50 } else { usize::try_from(asked.page_size).unwrap() };
        let mut page: Vec<_> = after.take(size + 1).cloned().collect();
        let more = page.len() > size;
        page.truncate(size);
        let next_page_token = if more { page.last().unwrap().user_id.clone() } else { String::new() };
        Ok(Response::new(pb::ListUsersResponse { users: page, next_page_token }))
    }

    async fn update_user(
        &self,
        request: Request<pb::UpdateUserRequest>,
    ) -> Result<Response<pb::UpdateUserResponse>, Status> {
        let asked = request.into_inner();
        let mut users = self.users.lock().unwrap();
        let user = users.get_mut(&asked.user_id).ok_or_else(|| Status::not_found("no such user"))?;
        user.display_name = asked.display_name.unwrap_or_else(|| user.display_name.clone());
        user.role = asked.role.unwrap_or(user.role);
        user.disabled = asked.disabled.unwrap_or(user.disabled);
        Ok(Response::new(pb::UpdateUserResponse {
            user: Some(user.clone()),
            token: "r2".to_owned(),
            ..Default::default()
        }))
    }
}

/// Members by group.
#[derive(Default)]
pub(crate) struct Groups {
    members: Mutex<BTreeMap<String, Vec<pb::Membership>>>,
}

#[tonic::async_trait]
impl pb::group_service_server::GroupService for Groups {
    refused! {
        get_group(pb::GetGroupRequest) -> pb::GetGroupResponse;
        update_group(pb::UpdateGroupRequest) -> pb::UpdateGroupResponse;
        undelete_group(pb::UndeleteGroupRequest) -> pb::UndeleteGroupResponse;
        batch_add_members(pb::BatchAddMembersRequest) -> pb::BatchAddMembersResponse;
        batch_remove_members(pb::BatchRemoveMembersRequest) -> pb::BatchRemoveMembersResponse;
        list_memberships(pb::ListMembershipsRequest) -> pb::ListMembershipsResponse;
    }

    async fn create_group(
        &self,
        _: Request<pb::CreateGroupRequest>,
    ) -> Result<Response<pb::CreateGroupResponse>, Status> {
        Err(Status::unimplemented("groups exist by having members"))
    }

    async fn list_groups(
        &self,
        _: Request<pb::ListGroupsRequest>,
    ) -> Result<Response<pb::ListGroupsResponse>, Status> {
        Err(Status::unimplemented("groups exist by having members"))
    }

    async fn delete_group(
        &self,
        request: Request<pb::DeleteGroupRequest>,
    ) -> Result<Response<pb::DeleteGroupResponse>, Status> {
        let asked = request.into_inner();
        self.members
            .lock()
            .unwrap()
            .remove(&asked.group_id)
            .ok_or_else(|| Status::not_found("no such group"))?;
        Ok(Response::new(pb::DeleteGroupResponse { token: asked.reason, ..Default::default() }))
    }

    async fn add_member(
        &self,
        request: Request<pb::AddMemberRequest>,
    ) -> Result<Response<pb::AddMemberResponse>, Status> {
        let asked = request.into_inner();
        let mut members = self.members.lock().unwrap();
        members.entry(asked.group_id).or_default().extend(asked.membership.clone());
        Ok(Response::new(pb::AddMemberResponse { membership: asked.membership, token: "r3".to_owned() }))
    }

    async fn remove_member(
        &self,
        request: Request<pb::RemoveMemberRequest>,
    ) -> Result<Response<pb::RemoveMemberResponse>, Status> {
        let asked = request.into_inner();
        let mut members = self.members.lock().unwrap();
        members.get_mut(&asked.group_id).ok_or_else(|| Status::not_found("no such group"))?.clear();
        Ok(Response::new(pb::RemoveMemberResponse { token: "r4".to_owned(), ..Default::default() }))
    }

    async fn list_members(
        &self,
        request: Request<pb::ListMembersRequest>,
    ) -> Result<Response<pb::ListMembersResponse>, Status> {
        let members = self.members.lock().unwrap();
        let memberships = members.get(&request.into_inner().group_id).cloned().unwrap_or_default();
        Ok(Response::new(pb::ListMembersResponse { memberships, next_page_token: String::new() }))
    }
}

/// Streams whatever the test sends.
#[derive(Default)]
pub(crate) struct Policy {
    next: Mutex<Option<mpsc::Receiver<Result<pb::WatchPolicyResponse, Status>>>>,
}

impl Policy {
    /// What is sent here goes to the next watch.
    pub(crate) fn feed(&self) -> mpsc::Sender<Result<pb::WatchPolicyResponse, Status>> {
        let (sender, receiver) = mpsc::channel(1);
        *self.next.lock().unwrap() = Some(receiver);
        sender
    }
}

#[tonic::async_trait]
impl pb::policy_service_server::PolicyService for Policy {
    type WatchPolicyStream = Answers<pb::WatchPolicyResponse>;

    async fn watch_policy(
        &self,
        request: Request<pb::WatchPolicyRequest>,
    ) -> Result<Response<Self::WatchPolicyStream>, Status> {
        if request.into_inner().epoch == "lost" {
            return Err(with_reason(Code::Unavailable, "STORE_UNAVAILABLE", "the store is away", |_| {}));
        }
        let feed = self.next.lock().unwrap().take().ok_or_else(|| Status::internal("nothing to watch"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(feed))))
    }
}

/// Answers a report with rows that say what was asked.
pub(crate) struct Usage;

#[tonic::async_trait]
impl monitoring::usage_service_server::UsageService for Usage {
    async fn record_usage(
        &self,
        request: Request<monitoring::RecordUsageRequest>,
    ) -> Result<Response<monitoring::RecordUsageResponse>, Status> {
        let recorded = u32::try_from(request.into_inner().records.len()).unwrap();
        Ok(Response::new(monitoring::RecordUsageResponse { recorded, duplicates: 0 }))
    }

    async fn get_usage(
        &self,
        request: Request<monitoring::GetUsageRequest>,
    ) -> Result<Response<monitoring::GetUsageResponse>, Status> {
        let asked = request.into_inner();
        let rows = asked.group_by.iter().map(|dimension| monitoring::UsageRow {
            bucket_time: asked.start_time,
            model: asked.model.clone(),
            endpoint: format!("{dimension}/{}", asked.bucket),
            requests: u64::MAX,
            ..monitoring::UsageRow::default()
        });
        Ok(Response::new(monitoring::GetUsageResponse {
            rows: rows.collect(),
            next_page_token: String::new(),
        }))
    }

    async fn list_usage_records(
        &self,
        _: Request<monitoring::ListUsageRecordsRequest>,
    ) -> Result<Response<monitoring::ListUsageRecordsResponse>, Status> {
        Ok(Response::new(monitoring::ListUsageRecordsResponse::default()))
    }

    type ExportUsageStream = tonic::codegen::BoxStream<monitoring::ExportUsageResponse>;

    async fn export_usage(
        &self,
        _: Request<monitoring::ExportUsageRequest>,
    ) -> Result<Response<Self::ExportUsageStream>, Status> {
        Err(Status::unimplemented("nobody asks this here"))
    }

    async fn correct_usage(
        &self,
        _: Request<monitoring::CorrectUsageRequest>,
    ) -> Result<Response<monitoring::CorrectUsageResponse>, Status> {
        Err(Status::unimplemented("nobody asks this here"))
    }

    async fn rerate_usage(
        &self,
        _: Request<monitoring::RerateUsageRequest>,
    ) -> Result<Response<monitoring::RerateUsageResponse>, Status> {
        Err(Status::unimplemented("nobody asks this here"))
    }

    async fn reconcile_usage(
        &self,
        _: Request<monitoring::ReconcileUsageRequest>,
    ) -> Result<Response<monitoring::ReconcileUsageResponse>, Status> {
        Err(Status::unimplemented("nobody asks this here"))
    }
}

/// Repeats the prompt: whole, word by word, or as the lengths of the texts.
pub(crate) struct Inference;

fn choice(text: impl Into<String>) -> inference::Choice {
    inference::Choice { index: 0, text: text.into(), finish_reason: String::new() }
}

#[tonic::async_trait]
impl inference::inference_service_server::InferenceService for Inference {
    type InferStreamStream = Answers<inference::InferStreamResponse>;

    async fn infer(
        &self,
        request: Request<inference::InferRequest>,
    ) -> Result<Response<inference::InferResponse>, Status> {
        let deadline = request.metadata().get("grpc-timeout").map(|value| value.to_str().unwrap().to_owned());
        let prompt = request.into_inner().prompt.unwrap_or_default();
        let turns = prompt.messages.iter().map(|turn| choice(format!("{}: {}", turn.role, turn.content)));
        let extra = choice(format!("{} extra fields", prompt.extra.unwrap_or_default().fields.len()));
        Ok(Response::new(inference::InferResponse {
            usage_id: deadline.unwrap_or_default(),
            model: prompt.model,
            choices: turns.chain([extra]).collect(),
            usage: None,
        }))
    }

    async fn infer_stream(
        &self,
        request: Request<inference::InferStreamRequest>,
    ) -> Result<Response<Self::InferStreamStream>, Status> {
        let text = request.into_inner().prompt.unwrap_or_default().text;
        let words: Vec<_> = text
            .split_whitespace()
            .map(|word| {
                Ok(inference::InferStreamResponse { choices: vec![choice(word)], ..Default::default() })
            })
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(words))))
    }

    async fn embed(
        &self,
        request: Request<inference::EmbedRequest>,
    ) -> Result<Response<inference::EmbedResponse>, Status> {
        let asked = request.into_inner();
        let lengths = asked
            .inputs
            .iter()
            .zip(0..)
            .map(|(text, index)| inference::Embedding { index, values: vec![text.len() as f32] });
        let embeddings = lengths.collect();
        Ok(Response::new(inference::EmbedResponse { model: asked.model, embeddings, ..Default::default() }))
    }
}
