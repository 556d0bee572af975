//! UserService.

use super::{Api, role};
use crate::{
    error::Error,
    field,
    list::Page,
    models::may_see_deleted,
    users::{self, Filter, Imported, NewRow, NewUser, User, UserPatch},
    write::Write,
};
use policy::Role;
use prost::Message;
use proto::permissions::v1::{self as pb, user_service_server::UserService};
use shared::{
    auth::{self, RequestExt},
    time,
};
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
        let caller = request.caller()?;
        let request = request.into_inner();
        let email = Some(request.email).filter(|email| !email.is_empty());
        let email = email.map(|email| field::email("email", email)).transpose()?;
        let filter = Filter { email, deleted: request.show_deleted };
        if filter.deleted {
            may_see_deleted(caller.person()).map_err(Error::from)?;
        }
        let page = Page::new(format!("users {filter:?}"), request.page_size, &request.page_token)?;
        let listed = users::list(&self.db, self.writer.sealer(), &filter, &page).await?;
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

    async fn delete_user(
        &self,
        request: Request<pb::DeleteUserRequest>,
    ) -> Result<Response<pb::DeleteUserResponse>, Status> {
        let asked = request.get_ref();
        let (id, etag) = (field::id("user_id", &asked.user_id)?, asked.etag.clone());
        let delete = async |write: &mut Write| {
            users::delete(write, id, &etag).await?;
            Ok(pb::DeleteUserResponse::default())
        };
        self.change(&request, delete).await
    }

    async fn undelete_user(
        &self,
        request: Request<pb::UndeleteUserRequest>,
    ) -> Result<Response<pb::UndeleteUserResponse>, Status> {
        let id = field::id("user_id", &request.get_ref().user_id)?;
        let undelete = async |write: &mut Write| {
            let user = Some(users::undelete(write, id).await?.into());
            Ok(pb::UndeleteUserResponse { user, ..Default::default() })
        };
        self.change(&request, undelete).await
    }

    async fn import_users(
        &self,
        request: Request<pb::ImportUsersRequest>,
    ) -> Result<Response<pb::ImportUsersResponse>, Status> {
        let rows = rows(&request.get_ref().rows)?;
        let import = async |write: &mut Write| Ok(imported(users::import(write, rows).await?));
        self.change(&request, import).await
    }
}

/// Rows of one import.
const ROWS: usize = 10_000;
/// Groups of one row.
const GROUPS: usize = 100;

fn rows(rows: &[pb::UserRow]) -> Result<Vec<Result<NewRow, Error>>, Error> {
    if rows.is_empty() || rows.len() > ROWS {
        return Err(Error::invalid("rows", format!("must have 1 to {ROWS} entries")));
    }
    Ok(rows.iter().map(row).collect())
}

fn row(row: &pb::UserRow) -> Result<NewRow, Error> {
    if row.groups.len() > GROUPS {
        return Err(Error::invalid("groups", format!("must have at most {GROUPS} entries")));
    }
    let user = NewUser {
        email: field::email("email", row.email.clone())?,
        display_name: field::name("display_name", row.display_name.clone())?,
        role: role(row.role)?.unwrap_or(Role::Member),
    };
    Ok(NewRow { user, groups: row.groups.clone() })
}

fn imported(results: Vec<Imported>) -> pb::ImportUsersResponse {
    use pb::imported_user::Result as Wire;
    let mut answer = pb::ImportUsersResponse::default();
    for result in results {
        let (count, result) = match result {
            Imported::Created(id) => (&mut answer.created, Wire::Created(id.to_string())),
            Imported::Existing(id) => (&mut answer.existing, Wire::Existing(id.to_string())),
            Imported::Failed(error) => (&mut answer.failed, Wire::Error(status(error))),
        };
        *count += 1;
        answer.results.push(pb::ImportedUser { result: Some(result) });
    }
    answer
}

/// An error as a single call would have said it.
fn status(error: Error) -> tonic_types::Status {
    let status = Status::from(error);
    let (code, message) = (status.code().into(), status.message().to_owned());
    let details = tonic_types::Status::decode(status.details()).map(|status| status.details);
    tonic_types::Status { code, message, details: details.unwrap_or_default() }
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
            etag: request.etag,
        })
    }
}

impl From<User> for pb::User {
    fn from(user: User) -> Self {
        Self {
            etag: user.etag(),
            user_id: user.id.to_string(),
            email: user.email,
            display_name: user.display_name,
            role: auth::role_number(user.role),
            disabled: user.disabled,
            create_time: Some(time::to_proto(user.created_at)),
            delete_time: user.deleted_at.map(time::to_proto),
        }
    }
}
