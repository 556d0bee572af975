//! ModelService.

use super::{Api, owner};
use crate::{
    error::Error,
    field,
    list::Page,
    models::{self, Model, ModelPatch, NewModel},
    write::Write,
};
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
        let search = field::search(request.search)?;
        let whose = caller.person().filter(|_| request.accessible_only);
        let scope = whose.map(|person| person.user.to_string()).unwrap_or_default();
        let page = Page::new(format!("models {scope} {search}"), request.page_size, &request.page_token)?;
        let listed = match whose {
            Some(person) => models::list_usable(&self.writer, person, &search, &page, time::now()).await?,
            None if request.accessible_only => return Err(no_person().into()),
            None => models::list(&self.db, &search, &page).await?,
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
        let state = |number| {
            wire::state_from_proto(number)
                .ok_or_else(|| Error::invalid("state", "must be one of the states 1 to 3"))
        };
        Ok(Self {
            id: field::id("model_id", &request.model_id)?,
            description: request.description.map(text).transpose()?,
            owner: owner(request.owner.as_ref())?,
            state: request.state.map(state).transpose()?,
        })
    }
}

impl From<Model> for pb::Model {
    fn from(model: Model) -> Self {
        Self {
            model_id: model.id.to_string(),
            name: model.name,
            description: model.description,
            owner: model.owner.map(wire::owner_to_proto),
            state: wire::state_to_proto(model.state).into(),
            create_time: Some(time::to_proto(model.created_at)),
        }
    }
}
