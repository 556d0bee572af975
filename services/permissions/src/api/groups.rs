//! GroupService.

use super::{Api, instant};
use crate::{
    error::Error,
    field,
    groups::{self, Group},
    list::Page,
    write::Write,
};
use policy::{GroupId, Member, Membership, Time};
use proto::permissions::v1::{self as pb, group_service_server::GroupService};
use shared::time;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl GroupService for Api {
    async fn create_group(
        &self,
        request: Request<pb::CreateGroupRequest>,
    ) -> Result<Response<pb::CreateGroupResponse>, Status> {
        let asked = request.get_ref();
        let name = field::name("name", asked.name.clone())?;
        let description = field::text("description", asked.description.clone(), 500)?;
        let create = async |write: &mut Write| {
            let group = Some(groups::create(write, name, description).await?.into());
            Ok(pb::CreateGroupResponse { group, ..Default::default() })
        };
        self.change(&request, create).await
    }

    async fn list_groups(
        &self,
        request: Request<pb::ListGroupsRequest>,
    ) -> Result<Response<pb::ListGroupsResponse>, Status> {
        let request = request.get_ref();
        let page = Page::new("groups".to_owned(), request.page_size, &request.page_token)?;
        let listed = groups::list(&self.db, &page).await?;
        let groups = listed.rows.into_iter().map(pb::Group::from).collect();
        Ok(Response::new(pb::ListGroupsResponse { groups, next_page_token: listed.next }))
    }

    async fn delete_group(
        &self,
        request: Request<pb::DeleteGroupRequest>,
    ) -> Result<Response<pb::DeleteGroupResponse>, Status> {
        let id = field::id("group_id", &request.get_ref().group_id)?;
        let delete = async |write: &mut Write| {
            groups::delete(write, id).await?;
            Ok(pb::DeleteGroupResponse::default())
        };
        self.change(&request, delete).await
    }

    async fn add_member(
        &self,
        request: Request<pb::AddMemberRequest>,
    ) -> Result<Response<pb::AddMemberResponse>, Status> {
        let membership = membership(request.get_ref(), time::now())?;
        let add = async |write: &mut Write| {
            groups::add_member(write, membership).await?;
            Ok(pb::AddMemberResponse { membership: Some(to_proto(&membership)), ..Default::default() })
        };
        self.change(&request, add).await
    }

    async fn remove_member(
        &self,
        request: Request<pb::RemoveMemberRequest>,
    ) -> Result<Response<pb::RemoveMemberResponse>, Status> {
        let (group, member) = removed(request.get_ref())?;
        let remove = async |write: &mut Write| {
            groups::remove_member(write, group, member).await?;
            Ok(pb::RemoveMemberResponse::default())
        };
        self.change(&request, remove).await
    }

    async fn list_members(
        &self,
        request: Request<pb::ListMembersRequest>,
    ) -> Result<Response<pb::ListMembersResponse>, Status> {
        let request = request.get_ref();
        let group: GroupId = field::id("group_id", &request.group_id)?;
        let page = Page::new(format!("members {group}"), request.page_size, &request.page_token)?;
        let listed = groups::members(&self.db, group, &page).await?;
        let memberships = listed.rows.iter().map(to_proto).collect();
        Ok(Response::new(pb::ListMembersResponse { memberships, next_page_token: listed.next }))
    }
}

fn membership(request: &pb::AddMemberRequest, now: Time) -> Result<Membership, Error> {
    use pb::membership::Member as Wire;
    const NEEDED: &str = "must name a user or a group";
    let group = field::id("group_id", &request.group_id)?;
    let asked = request.membership.as_ref().ok_or_else(|| Error::invalid("membership", NEEDED))?;
    let member = match &asked.member {
        Some(Wire::UserId(id)) => Member::User(field::id("membership.user_id", id)?),
        Some(Wire::MemberGroupId(id)) => Member::Group(field::id("membership.member_group_id", id)?),
        None => return Err(Error::invalid("membership.member", NEEDED)),
    };
    let end = instant("membership.expire_time", asked.expire_time.as_ref())?;
    Ok(Membership { group, member, expires_at: field::end("membership.expire_time", end, now)? })
}

fn removed(request: &pb::RemoveMemberRequest) -> Result<(GroupId, Member), Error> {
    use pb::remove_member_request::Member as Wire;
    let group = field::id("group_id", &request.group_id)?;
    let member = match &request.member {
        Some(Wire::UserId(id)) => Member::User(field::id("user_id", id)?),
        Some(Wire::MemberGroupId(id)) => Member::Group(field::id("member_group_id", id)?),
        None => return Err(Error::invalid("member", "must name a user or a group")),
    };
    Ok((group, member))
}

fn to_proto(membership: &Membership) -> pb::Membership {
    use pb::membership::Member as Wire;
    pb::Membership {
        member: Some(match membership.member {
            Member::User(id) => Wire::UserId(id.to_string()),
            Member::Group(id) => Wire::MemberGroupId(id.to_string()),
        }),
        expire_time: membership.expires_at.map(time::to_proto),
    }
}

impl From<Group> for pb::Group {
    fn from(group: Group) -> Self {
        Self {
            group_id: group.id.to_string(),
            name: group.name,
            description: group.description,
            create_time: Some(time::to_proto(group.created_at)),
        }
    }
}
