//! ModelService.

use super::{Api, instant, owner, owner_patch};
use crate::{
    error::Error,
    field,
    list::Page,
    models::{self, Filter, Model, ModelPatch, NewModel},
    write::Write,
};
use policy::{Member, ModelId, ModelState};
use proto::permissions::v1::{self as pb, model_service_server::ModelService};
use shared::{auth::RequestExt, time, wire};
use tonic::{Request, Response, Status};

/// Longest description of a model, in characters.
const DESCRIPTION: usize = 2_000;

#[tonic::async_trait]
impl ModelService for Api {
    async fn register_model(
        &self,
        request: Request<pb::RegisterModelRequest>,
    ) -> Result<Response<pb::RegisterModelResponse>, Status> {
        let new = request.get_ref().clone().try_into()?;
        let register = async |write: &mut Write| {
            let model = Some(models::register(write, new).await?.into());
            Ok(pb::RegisterModelResponse { model, ..Default::default() })
        };
        self.change(&request, register).await
    }

    async fn get_model(
        &self,
        request: Request<pb::GetModelRequest>,
    ) -> Result<Response<pb::GetModelResponse>, Status> {
        let model = models::get(&self.db, field::id("model_id", &request.get_ref().model_id)?).await?;
        Ok(Response::new(pb::GetModelResponse { model: Some(model.into()) }))
    }

    async fn list_models(
        &self,
        request: Request<pb::ListModelsRequest>,
    ) -> Result<Response<pb::ListModelsResponse>, Status> {
        let caller = request.caller()?;
        let request = request.into_inner();
        let filter = filter(&request)?;
        let whose = caller.person().filter(|_| request.accessible_only);
        let scope = whose.map(|person| person.user.to_string()).unwrap_or_default();
        let page = Page::new(format!("models {scope} {filter:?}"), request.page_size, &request.page_token)?;
        if filter.deleted {
            models::may_see_deleted(caller.person()).map_err(Error::from)?;
        }
        let listed = match whose {
            Some(person) => models::list_usable(&self.writer, person, &filter, &page, time::now()).await?,
            None if request.accessible_only => return Err(no_person().into()),
            None => models::list(&self.db, &filter, &page).await?,
        };
        let models = listed.rows.into_iter().map(pb::Model::from).collect();
        Ok(Response::new(pb::ListModelsResponse { models, next_page_token: listed.next }))
    }

    async fn update_model(
        &self,
        request: Request<pb::UpdateModelRequest>,
    ) -> Result<Response<pb::UpdateModelResponse>, Status> {
        let patch = request.get_ref().clone().try_into()?;
        let update = async |write: &mut Write| {
            let model = Some(models::update(write, patch).await?.into());
            Ok(pb::UpdateModelResponse { model, ..Default::default() })
        };
        self.change(&request, update).await
    }

    async fn delete_model(
        &self,
        request: Request<pb::DeleteModelRequest>,
    ) -> Result<Response<pb::DeleteModelResponse>, Status> {
        let asked = request.get_ref();
        let (id, etag) = (field::id("model_id", &asked.model_id)?, asked.etag.clone());
        let delete = async |write: &mut Write| {
            models::delete(write, id, &etag).await?;
            Ok(pb::DeleteModelResponse::default())
        };
        self.change(&request, delete).await
    }

    async fn undelete_model(
        &self,
        request: Request<pb::UndeleteModelRequest>,
    ) -> Result<Response<pb::UndeleteModelResponse>, Status> {
        let id = field::id("model_id", &request.get_ref().model_id)?;
        let undelete = async |write: &mut Write| {
            let model = Some(models::undelete(write, id).await?.into());
            Ok(pb::UndeleteModelResponse { model, ..Default::default() })
        };
        self.change(&request, undelete).await
    }
}

fn filter(request: &pb::ListModelsRequest) -> Result<Filter, Error> {
    let user = field::optional_id("owner_user_id", &request.owner_user_id)?;
    let group = field::optional_id("owner_group_id", &request.owner_group_id)?;
    if user.is_some() && group.is_some() {
        return Err(Error::invalid("owner_group_id", "cannot be given together with owner_user_id"));
    }
    if request.show_deleted && request.accessible_only {
        return Err(Error::invalid("show_deleted", "cannot be given together with accessible_only"));
    }
    Ok(Filter {
        search: field::search(request.search.clone())?,
        states: states(&request.states)?,
        owner: user.map(Member::User).or_else(|| group.map(Member::Group)),
        deleted: request.show_deleted,
    })
}

/// States, each of them once: a statement does not take any number of them.
fn states(numbers: &[i32]) -> Result<Vec<ModelState>, Error> {
    let mut states = Vec::new();
    for number in numbers {
        let state = state("states", *number)?;
        if !states.contains(&state) {
            states.push(state);
        }
    }
    Ok(states)
}

fn state(field: &'static str, number: i32) -> Result<ModelState, Error> {
    wire::state_from_proto(number).ok_or_else(|| Error::invalid(field, "must be one of the states 1 to 3"))
}

fn no_person() -> Error {
    Error::invalid("accessible_only", "is for users; a service has no models of its own")
}

impl TryFrom<pb::RegisterModelRequest> for NewModel {
    type Error = Error;

    fn try_from(request: pb::RegisterModelRequest) -> Result<Self, Error> {
        Ok(Self {
            name: field::model_name("name", request.name)?,
            description: field::text("description", request.description, DESCRIPTION)?,
            owner: owner(request.owner.as_ref())?,
        })
    }
}

impl TryFrom<pb::UpdateModelRequest> for ModelPatch {
    type Error = Error;

    fn try_from(request: pb::UpdateModelRequest) -> Result<Self, Error> {
        let text = |text| field::text("description", text, DESCRIPTION);
        let replacement = |id: String| field::optional_id("replacement_model_id", &id);
        let sunset_at = instant("sunset_time", request.sunset_time.as_ref())?;
        if sunset_at.is_some() && request.clear_sunset_time {
            return Err(Error::invalid("clear_sunset_time", "cannot be given together with sunset_time"));
        }
        Ok(Self {
            id: field::id("model_id", &request.model_id)?,
            etag: request.etag,
            description: request.description.map(text).transpose()?,
            owner: owner_patch(request.owner.as_ref(), request.clear_owner)?,
            state: request.state.map(|number| state("state", number)).transpose()?,
            replacement: request.replacement_model_id.map(replacement).transpose()?,
            sunset_at: sunset_at.map(Some).or_else(|| request.clear_sunset_time.then_some(None)),
        })
    }
}

impl From<Model> for pb::Model {
    fn from(model: Model) -> Self {
        Self {
            etag: model.etag(),
            model_id: model.id.to_string(),
            name: model.name,
            description: model.description,
            owner: model.owner.map(wire::owner_to_proto),
            state: wire::state_to_proto(model.state).into(),
            create_time: Some(time::to_proto(model.created_at)),
            replacement_model_id: model.replacement.as_ref().map(ModelId::to_string).unwrap_or_default(),
            sunset_time: model.sunset_at.map(time::to_proto),
            delete_time: model.deleted_at.map(time::to_proto),
        }
    }
}
