//! UserService.

use super::{Api, role};
use crate::{
    error::Error,
    field,
    list::Page,
    users::{self, NewUser, User, UserPatch},
    write::Write,
};
use policy::Role;
use proto::permissions::v1::{self as pb, user_service_server::UserService};
use shared::{auth, time};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl UserService for Api {
    async fn create_user(
        &self,
        request: Request<pb::CreateUserRequest>,
    ) -> Result<Response<pb::CreateUserResponse>, Status> {
        let new = request.get_ref().clone().try_into()?;
        let create = async |write: &mut Write| {
            let user = Some(users::create(write, new).await?.into());
            Ok(pb::CreateUserResponse { user, ..Default::default() })
        };
        self.change(&request, create).await
    }

    async fn get_user(
        &self,
        request: Request<pb::GetUserRequest>,
    ) -> Result<Response<pb::GetUserResponse>, Status> {
        let user =
            users::get(&self.db, self.writer.sealer(), field::id("user_id", &request.get_ref().user_id)?)
                .await?;
        Ok(Response::new(pb::GetUserResponse { user: Some(user.into()) }))
    }

    async fn list_users(
        &self,
        request: Request<pb::ListUsersRequest>,
    ) -> Result<Response<pb::ListUsersResponse>, Status> {
        let request = request.get_ref();
        let page = Page::new("users".to_owned(), request.page_size, &request.page_token)?;
        let listed = users::list(&self.db, self.writer.sealer(), &page).await?;
        let users = listed.rows.into_iter().map(pb::User::from).collect();
        Ok(Response::new(pb::ListUsersResponse { users, next_page_token: listed.next }))
    }

    async fn update_user(
        &self,
        request: Request<pb::UpdateUserRequest>,
    ) -> Result<Response<pb::UpdateUserResponse>, Status> {
        let patch = request.get_ref().clone().try_into()?;
        let update = async |write: &mut Write| {
            let user = Some(users::update(write, patch).await?.into());
            Ok(pb::UpdateUserResponse { user, ..Default::default() })
        };
        self.change(&request, update).await
    }
}

impl TryFrom<pb::CreateUserRequest> for NewUser {
    type Error = Error;

    fn try_from(request: pb::CreateUserRequest) -> Result<Self, Error> {
        Ok(Self {
            email: field::email("email", request.email)?,
            display_name: field::name("display_name", request.display_name)?,
            role: role(request.role)?.unwrap_or(Role::Member),
        })
    }
}

impl TryFrom<pb::UpdateUserRequest> for UserPatch {
    type Error = Error;

    fn try_from(request: pb::UpdateUserRequest) -> Result<Self, Error> {
        let stated =
            |number| role(number)?.ok_or_else(|| Error::invalid("role", "must be one of the roles 1 to 6"));
        Ok(Self {
            id: field::id("user_id", &request.user_id)?,
            display_name: request.display_name.map(|name| field::name("display_name", name)).transpose()?,
            role: request.role.map(stated).transpose()?,
            disabled: request.disabled,
        })
    }
}

impl From<User> for pb::User {
    fn from(user: User) -> Self {
        Self {
            user_id: user.id.to_string(),
            email: user.email,
            display_name: user.display_name,
            role: auth::role_number(user.role),
            disabled: user.disabled,
            create_time: Some(time::to_proto(user.created_at)),
        }
    }
}
