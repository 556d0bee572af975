//! UserService.

use super::{
    Api,
    imports::{Import, fits, sender},
    person, role,
};
use crate::{
    error::Error,
    field,
    imports::{self, Kind, Progress},
    list::Page,
    models::may_see_deleted,
    users::{self, Filter, NewRow, NewUser, User, UserPatch},
    write::Write,
};
use policy::Role;
use proto::permissions::v1::{self as pb, user_service_server::UserService};
use shared::{
    auth::{self, RequestExt},
    time,
};
use tonic::{Request, Response, Status, Streaming};

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
        request: Request<Streaming<pb::ImportUsersRequest>>,
    ) -> Result<Response<pb::ImportUsersResponse>, Status> {
        use pb::import_users_request::Part;
        let (sender, mut parts) = (sender(&request)?, request.into_inner());
        let begin = parts.message().await?.and_then(|first| first.part);
        let Some(Part::Begin(begin)) = begin else {
            return Err(Error::invalid("begin", "must be the first part of an import").into());
        };
        let import = Import::new(sender, &begin.import_id, begin.reason, begin.validate_only)?;
        let (mut progress, mut token) = (None, String::new());
        while let Some(part) = parts.message().await? {
            let Some(Part::Rows(part)) = part.part else {
                return Err(Error::invalid("rows", "must be every part but the first").into());
            };
            let (taken, at) = self.import_rows(&import, part, progress).await?;
            (progress, token) = (Some(taken), at);
        }
        let progress = progress.ok_or_else(|| Error::invalid("rows", "are needed: at least one part"))?;
        Ok(Response::new(pb::ImportUsersResponse { progress: Some(progress.into()), token }))
    }

    async fn get_user_import(
        &self,
        request: Request<pb::GetUserImportRequest>,
    ) -> Result<Response<pb::GetUserImportResponse>, Status> {
        let (person, id) = (person(&request)?, field::id("import_id", &request.get_ref().import_id)?);
        let progress = imports::progress(&self.db, person.user, Kind::Users, id).await?;
        Ok(Response::new(pb::GetUserImportResponse { progress: Some(progress.into()) }))
    }
}

impl Api {
    /// Takes one part in. `before` is how far the stream has come.
    async fn import_rows(
        &self,
        import: &Import,
        part: pb::import_users_request::Rows,
        before: Option<Progress>,
    ) -> Result<(Progress, String), Status> {
        fits("rows", &part.rows)?;
        let rows = part.rows.iter().map(row).collect();
        let take = async |write: &mut Write| users::import(write, import.id, part.offset, rows, before).await;
        let (progress, token) = self.writer.make(import.origin(), take).await?;
        let token = if import.validate_only { String::new() } else { self.tail.tokens().encode(token) };
        Ok((progress, token))
    }
}

/// Groups of one row.
const GROUPS: usize = 100;

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
