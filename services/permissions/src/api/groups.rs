//! GroupService.

use super::{Api, MANY, asked, each_once, instant};
use crate::{
    error::{Error, Forbidden},
    field,
    groups::{self, Filter, Group, GroupPatch, Way},
    list::Page,
    models::may_see_deleted,
    questions,
    write::Write,
};
use policy::{GroupId, Member, Membership, Policy, Role, Time};
use proto::permissions::v1::{self as pb, group_service_server::GroupService};
use shared::{
    auth::{Refusal, RequestExt},
    time,
};
use std::collections::HashSet;
use tonic::{Request, Response, Status};
use uuid::Uuid;

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

    async fn get_group(
        &self,
        request: Request<pb::GetGroupRequest>,
    ) -> Result<Response<pb::GetGroupResponse>, Status> {
        let group = groups::get(&self.db, id(&request.get_ref().group_id)?).await?;
        Ok(Response::new(pb::GetGroupResponse { group: Some(group.into()) }))
    }

    async fn list_groups(
        &self,
        request: Request<pb::ListGroupsRequest>,
    ) -> Result<Response<pb::ListGroupsResponse>, Status> {
        let caller = request.caller()?;
        let request = request.into_inner();
        let filter = Filter { search: field::search(request.search)?, deleted: request.show_deleted };
        if filter.deleted {
            may_see_deleted(caller.person()).map_err(Error::from)?;
        }
        let page = Page::new(format!("groups {filter:?}"), request.page_size, &request.page_token)?;
        let listed = groups::list(&self.db, &filter, &page).await?;
        let groups = listed.rows.into_iter().map(pb::Group::from).collect();
        Ok(Response::new(pb::ListGroupsResponse { groups, next_page_token: listed.next }))
    }

    async fn update_group(
        &self,
        request: Request<pb::UpdateGroupRequest>,
    ) -> Result<Response<pb::UpdateGroupResponse>, Status> {
        let patch = request.get_ref().clone().try_into()?;
        let update = async |write: &mut Write| {
            let group = Some(groups::update(write, patch).await?.into());
            Ok(pb::UpdateGroupResponse { group, ..Default::default() })
        };
        self.change(&request, update).await
    }

    async fn delete_group(
        &self,
        request: Request<pb::DeleteGroupRequest>,
    ) -> Result<Response<pb::DeleteGroupResponse>, Status> {
        let (group, etag) = (id(&request.get_ref().group_id)?, request.get_ref().etag.clone());
        let delete = async |write: &mut Write| {
            groups::delete(write, group, &etag).await?;
            Ok(pb::DeleteGroupResponse::default())
        };
        self.change(&request, delete).await
    }

    async fn undelete_group(
        &self,
        request: Request<pb::UndeleteGroupRequest>,
    ) -> Result<Response<pb::UndeleteGroupResponse>, Status> {
        let group = id(&request.get_ref().group_id)?;
        let undelete = async |write: &mut Write| {
            let group = Some(groups::undelete(write, group).await?.into());
            Ok(pb::UndeleteGroupResponse { group, ..Default::default() })
        };
        self.change(&request, undelete).await
    }

    async fn add_member(
        &self,
        request: Request<pb::AddMemberRequest>,
    ) -> Result<Response<pb::AddMemberResponse>, Status> {
        let (group, asked) = (id(&request.get_ref().group_id)?, request.get_ref().membership.as_ref());
        let asked = asked.ok_or_else(|| Error::invalid("membership", NEEDED))?;
        let new = membership(group, asked, time::now()).map_err(|error| error.within("membership"))?;
        let add = async |write: &mut Write| {
            groups::add_members(write, group, &[new]).await?;
            Ok(pb::AddMemberResponse { membership: Some(to_proto(&new)), ..Default::default() })
        };
        self.change(&request, add).await
    }

    async fn batch_add_members(
        &self,
        request: Request<pb::BatchAddMembersRequest>,
    ) -> Result<Response<pb::BatchAddMembersResponse>, Status> {
        let (group, now) = (id(&request.get_ref().group_id)?, time::now());
        let read = |asked: &pb::Membership| membership(group, asked, now);
        let asked = &request.get_ref().memberships;
        let new = each_once("memberships", asked, read, |membership| membership.member)?;
        let add = async |write: &mut Write| {
            groups::add_members(write, group, &new).await?;
            let memberships = new.iter().map(to_proto).collect();
            Ok(pb::BatchAddMembersResponse { memberships, ..Default::default() })
        };
        self.change(&request, add).await
    }

    async fn remove_member(
        &self,
        request: Request<pb::RemoveMemberRequest>,
    ) -> Result<Response<pb::RemoveMemberResponse>, Status> {
        let (group, member) = removed(request.get_ref())?;
        let remove = async |write: &mut Write| {
            groups::remove_members(write, group, &[member]).await?;
            Ok(pb::RemoveMemberResponse::default())
        };
        self.change(&request, remove).await
    }

    async fn batch_remove_members(
        &self,
        request: Request<pb::BatchRemoveMembersRequest>,
    ) -> Result<Response<pb::BatchRemoveMembersResponse>, Status> {
        let (group, members) = (id(&request.get_ref().group_id)?, all_removed(request.get_ref())?);
        let remove = async |write: &mut Write| {
            groups::remove_members(write, group, &members).await?;
            Ok(pb::BatchRemoveMembersResponse::default())
        };
        self.change(&request, remove).await
    }

    async fn list_members(
        &self,
        request: Request<pb::ListMembersRequest>,
    ) -> Result<Response<pb::ListMembersResponse>, Status> {
        let request = request.get_ref();
        let (group, now) = (id(&request.group_id)?, request.transitive.then(time::now));
        let filter = format!("members {group} {}", request.transitive);
        let page = Page::new(filter, request.page_size, &request.page_token)?;
        let listed = groups::members(&self.db, group, &page, now).await?;
        let memberships = listed.rows.iter().map(listed_to_proto).collect();
        Ok(Response::new(pb::ListMembersResponse { memberships, next_page_token: listed.next }))
    }

    async fn list_memberships(
        &self,
        request: Request<pb::ListMembershipsRequest>,
    ) -> Result<Response<pb::ListMembershipsResponse>, Status> {
        let member = whose(self.tail.replica().policy(), &request)?;
        let request = request.get_ref();
        let filter = format!("memberships {member:?} {}", request.transitive);
        let page = Page::new(filter, request.page_size, &request.page_token)?;
        let now = request.transitive.then(time::now);
        let listed = groups::memberships(&self.db, member, &page, now).await?;
        let memberships = listed.rows.iter().map(listed_to_proto).collect();
        Ok(Response::new(pb::ListMembershipsResponse { memberships, next_page_token: listed.next }))
    }
}

const NEEDED: &str = "must name a user or a group";

fn id(text: &str) -> Result<GroupId, Error> {
    field::id("group_id", text)
}

/// Whose memberships are asked for. Of groups whoever may list groups may ask.
fn whose(policy: &Policy, request: &Request<pb::ListMembershipsRequest>) -> Result<Member, Error> {
    let (about, caller) = (request.get_ref(), request.caller().map_err(|_| Refusal::Missing)?);
    if about.group_id.is_empty() {
        let user = asked(&caller, &about.user_id)?;
        questions::may_ask(policy, &caller, Some(user), None, time::now())?;
        return Ok(Member::User(user));
    }
    if !about.user_id.is_empty() {
        return Err(Error::invalid("group_id", "cannot be given together with user_id"));
    }
    if !caller.has_role(&[Role::Owner, Role::Admin, Role::Operator, Role::Auditor]) {
        return Err(Forbidden::NotYourself.into());
    }
    id(&about.group_id).map(Member::Group)
}

fn membership(group: GroupId, asked: &pb::Membership, now: Time) -> Result<Membership, Error> {
    use pb::membership::Member as Wire;
    let member = match &asked.member {
        Some(Wire::UserId(id)) => Member::User(field::id("user_id", id)?),
        Some(Wire::MemberGroupId(id)) => Member::Group(field::id("member_group_id", id)?),
        None => return Err(Error::invalid("member", NEEDED)),
    };
    let end = instant("expire_time", asked.expire_time.as_ref())?;
    Ok(Membership { group, member, expires_at: field::end("expire_time", end, now)? })
}

fn all_removed(request: &pb::BatchRemoveMembersRequest) -> Result<Vec<Member>, Error> {
    let users = numbered("user_ids", &request.user_ids);
    let all: Vec<_> = users.chain(numbered("member_group_ids", &request.member_group_ids)).collect();
    if all.is_empty() || all.len() > MANY {
        let problem = format!("must have, together with member_group_ids, 1 to {MANY} entries");
        return Err(Error::invalid("user_ids", problem));
    }
    let mut members = HashSet::with_capacity(all.len());
    for (field, place, text) in all {
        let wrong = |problem: &str| Error::invalid(format!("{field}[{place}]"), problem);
        let id = Uuid::try_parse(text).map_err(|_| wrong("must be a UUID"))?;
        let member = if field == "user_ids" { Member::User(id.into()) } else { Member::Group(id.into()) };
        if !members.insert(member) {
            return Err(wrong("was named before in this call"));
        }
    }
    Ok(members.into_iter().collect())
}

fn numbered<'a>(
    field: &'static str,
    ids: &'a [String],
) -> impl Iterator<Item = (&'static str, usize, &'a String)> {
    ids.iter().enumerate().map(move |(place, id)| (field, place, id))
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
        ..Default::default()
    }
}

fn listed_to_proto((membership, way): &(Membership, Way)) -> pb::Membership {
    pb::Membership {
        group_id: membership.group.to_string(),
        depth: i32::try_from(way.between.len() + 1).unwrap_or(i32::MAX),
        path: way.between.iter().map(GroupId::to_string).collect(),
        ..to_proto(membership)
    }
}

impl TryFrom<pb::UpdateGroupRequest> for GroupPatch {
    type Error = Error;

    fn try_from(request: pb::UpdateGroupRequest) -> Result<Self, Error> {
        let text = |text| field::text("description", text, 500);
        Ok(Self {
            id: id(&request.group_id)?,
            etag: request.etag,
            name: request.name.map(|name| field::name("name", name)).transpose()?,
            description: request.description.map(text).transpose()?,
            disabled: request.disabled,
        })
    }
}

impl From<Group> for pb::Group {
    fn from(group: Group) -> Self {
        Self {
            etag: group.etag(),
            disabled: group.disabled,
            delete_time: group.deleted_at.map(time::to_proto),
            group_id: group.id.to_string(),
            name: group.name,
            description: group.description,
            create_time: Some(time::to_proto(group.created_at)),
        }
    }
}
