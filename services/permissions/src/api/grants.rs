//! GrantService.

use super::{Api, instant};
use crate::{
    error::Error,
    field,
    grants::{self, Filter, Grant, NewGrant},
    list::Page,
    write::Write,
};
use policy::{Effect, Grantee, Target, Time, UserId};
use proto::permissions::v1::{self as pb, grant_service_server::GrantService};
use shared::{time, wire};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl GrantService for Api {
    async fn create_grant(
        &self,
        request: Request<pb::CreateGrantRequest>,
    ) -> Result<Response<pb::CreateGrantResponse>, Status> {
        let new = new_grant(request.get_ref().grant.as_ref(), time::now())?;
        let create = async |write: &mut Write| {
            let grant = Some(grants::create(write, new).await?.into());
            Ok(pb::CreateGrantResponse { grant, ..Default::default() })
        };
        self.change(&request, create).await
    }

    async fn revoke_grant(
        &self,
        request: Request<pb::RevokeGrantRequest>,
    ) -> Result<Response<pb::RevokeGrantResponse>, Status> {
        let id = field::id("grant_id", &request.get_ref().grant_id)?;
        let revoke = async |write: &mut Write| {
            grants::revoke(write, id).await?;
            Ok(pb::RevokeGrantResponse::default())
        };
        self.change(&request, revoke).await
    }

    async fn list_grants(
        &self,
        request: Request<pb::ListGrantsRequest>,
    ) -> Result<Response<pb::ListGrantsResponse>, Status> {
        let request = request.get_ref();
        let filter = filter(request)?;
        let page = Page::new(format!("grants {filter:?}"), request.page_size, &request.page_token)?;
        let listed = grants::list(&self.db, &filter, &page).await?;
        let grants = listed.rows.into_iter().map(pb::Grant::from).collect();
        Ok(Response::new(pb::ListGrantsResponse { grants, next_page_token: listed.next }))
    }
}

pub(super) fn new_grant(grant: Option<&pb::Grant>, now: Time) -> Result<NewGrant, Error> {
    let grant = grant.ok_or_else(|| Error::invalid("grant", "is needed"))?;
    let starts_at = instant("grant.start_time", grant.start_time.as_ref())?;
    let end = instant("grant.expire_time", grant.expire_time.as_ref())?;
    let expires_at = field::end("grant.expire_time", end, now)?;
    if starts_at.zip(expires_at).is_some_and(|(start, end)| end <= start) {
        return Err(Error::invalid("grant.expire_time", "must be after start_time"));
    }
    let action = wire::action_from_proto(grant.action);
    let effect = if grant.effect == 0 { Some(Effect::Allow) } else { wire::effect_from_proto(grant.effect) };
    Ok(NewGrant {
        target: target(grant)?,
        grantee: grantee(grant.grantee.as_ref())?,
        action: action.ok_or_else(|| Error::invalid("grant.action", "must be USE or MANAGE"))?,
        effect: effect.ok_or_else(|| Error::invalid("grant.effect", "must be ALLOW or DENY"))?,
        starts_at,
        expires_at,
    })
}

pub(super) fn target(grant: &pb::Grant) -> Result<Target, Error> {
    match (grant.model_id.is_empty(), grant.model_set_id.is_empty()) {
        (false, true) => field::id("grant.model_id", &grant.model_id).map(Target::Model),
        (true, false) => field::id("grant.model_set_id", &grant.model_set_id).map(Target::Set),
        (true, true) => Err(Error::invalid("grant.model_id", "is needed, or model_set_id")),
        (false, false) => Err(Error::invalid("grant.model_set_id", "cannot be given together with model_id")),
    }
}

pub(super) fn grantee(grantee: Option<&pb::grant::Grantee>) -> Result<Grantee, Error> {
    use pb::grant::Grantee as Wire;
    match grantee {
        Some(Wire::UserId(id)) => field::id("grant.user_id", id).map(Grantee::User),
        Some(Wire::GroupId(id)) => field::id("grant.group_id", id).map(Grantee::Group),
        Some(Wire::Everyone(true)) => Ok(Grantee::Everyone),
        Some(Wire::Everyone(false)) => Err(Error::invalid("grant.everyone", "must be true or left out")),
        None => Err(Error::invalid("grant.grantee", "must be a user, a group or everyone")),
    }
}

fn filter(request: &pb::ListGrantsRequest) -> Result<Filter, Error> {
    Ok(Filter {
        model: field::optional_id("model_id", &request.model_id)?,
        set: field::optional_id("model_set_id", &request.model_set_id)?,
        user: field::optional_id("user_id", &request.user_id)?,
        group: field::optional_id("group_id", &request.group_id)?,
    })
}

impl From<Grant> for pb::Grant {
    fn from(grant: Grant) -> Self {
        use pb::grant::Grantee as Wire;
        let Grant { fact, granted_by, created_at } = grant;
        let (model, set) = match fact.target {
            Target::Model(id) => (Some(id), None),
            Target::Set(id) => (None, Some(id)),
        };
        Self {
            grant_id: fact.id.to_string(),
            model_id: model.as_ref().map(ToString::to_string).unwrap_or_default(),
            model_set_id: set.as_ref().map(ToString::to_string).unwrap_or_default(),
            grantee: Some(match fact.grantee {
                Grantee::User(id) => Wire::UserId(id.to_string()),
                Grantee::Group(id) => Wire::GroupId(id.to_string()),
                Grantee::Everyone => Wire::Everyone(true),
            }),
            action: wire::action_to_proto(fact.action).into(),
            effect: wire::effect_to_proto(fact.effect).into(),
            start_time: fact.starts_at.map(time::to_proto),
            expire_time: fact.expires_at.map(time::to_proto),
            granted_by: granted_by.as_ref().map(UserId::to_string).unwrap_or_default(),
            create_time: Some(time::to_proto(created_at)),
        }
    }
}
