//! ModelSetService.

use super::{Api, each_once, owner, owner_patch};
use crate::{
    error::Error,
    field,
    list::Page,
    models::may_see_deleted,
    sets::{self, Filter, ModelSet, NewSet, SetPatch},
    write::Write,
};
use policy::{ModelSetId, Target};
use proto::permissions::v1::{self as pb, model_set_service_server::ModelSetService};
use shared::{auth::RequestExt, time, wire};
use tonic::{Request, Response, Status};

/// Longest description, in characters.
const DESCRIPTION: usize = 500;

#[tonic::async_trait]
impl ModelSetService for Api {
    async fn create_model_set(
        &self,
        request: Request<pb::CreateModelSetRequest>,
    ) -> Result<Response<pb::CreateModelSetResponse>, Status> {
        let new = request.get_ref().clone().try_into()?;
        let create = async |write: &mut Write| {
            let model_set = Some(sets::create(write, new).await?.into());
            Ok(pb::CreateModelSetResponse { model_set, ..Default::default() })
        };
        self.change(&request, create).await
    }

    async fn get_model_set(
        &self,
        request: Request<pb::GetModelSetRequest>,
    ) -> Result<Response<pb::GetModelSetResponse>, Status> {
        let set = sets::get(&self.db, id(&request.get_ref().model_set_id)?).await?;
        Ok(Response::new(pb::GetModelSetResponse { model_set: Some(set.into()) }))
    }

    async fn list_model_sets(
        &self,
        request: Request<pb::ListModelSetsRequest>,
    ) -> Result<Response<pb::ListModelSetsResponse>, Status> {
        let caller = request.caller()?;
        let request = request.into_inner();
        let filter = Filter { search: field::search(request.search)?, deleted: request.show_deleted };
        if filter.deleted {
            may_see_deleted(caller.person()).map_err(Error::from)?;
        }
        let page = Page::new(format!("sets {filter:?}"), request.page_size, &request.page_token)?;
        let listed = sets::list(&self.db, &filter, &page).await?;
        let model_sets = listed.rows.into_iter().map(pb::ModelSet::from).collect();
        Ok(Response::new(pb::ListModelSetsResponse { model_sets, next_page_token: listed.next }))
    }

    async fn update_model_set(
        &self,
        request: Request<pb::UpdateModelSetRequest>,
    ) -> Result<Response<pb::UpdateModelSetResponse>, Status> {
        let patch = request.get_ref().clone().try_into()?;
        let update = async |write: &mut Write| {
            let model_set = Some(sets::update(write, patch).await?.into());
            Ok(pb::UpdateModelSetResponse { model_set, ..Default::default() })
        };
        self.change(&request, update).await
    }

    async fn delete_model_set(
        &self,
        request: Request<pb::DeleteModelSetRequest>,
    ) -> Result<Response<pb::DeleteModelSetResponse>, Status> {
        let (set, etag) = (id(&request.get_ref().model_set_id)?, request.get_ref().etag.clone());
        let delete = async |write: &mut Write| {
            sets::delete(write, set, &etag).await?;
            Ok(pb::DeleteModelSetResponse::default())
        };
        self.change(&request, delete).await
    }

    async fn undelete_model_set(
        &self,
        request: Request<pb::UndeleteModelSetRequest>,
    ) -> Result<Response<pb::UndeleteModelSetResponse>, Status> {
        let set = id(&request.get_ref().model_set_id)?;
        let undelete = async |write: &mut Write| {
            let model_set = Some(sets::undelete(write, set).await?.into());
            Ok(pb::UndeleteModelSetResponse { model_set, ..Default::default() })
        };
        self.change(&request, undelete).await
    }

    async fn add_set_items(
        &self,
        request: Request<pb::AddSetItemsRequest>,
    ) -> Result<Response<pb::AddSetItemsResponse>, Status> {
        let (set, items) = (id(&request.get_ref().model_set_id)?, items(&request.get_ref().items)?);
        let add = async |write: &mut Write| {
            sets::add_items(write, set, &items).await?;
            Ok(pb::AddSetItemsResponse::default())
        };
        self.change(&request, add).await
    }

    async fn remove_set_items(
        &self,
        request: Request<pb::RemoveSetItemsRequest>,
    ) -> Result<Response<pb::RemoveSetItemsResponse>, Status> {
        let (set, items) = (id(&request.get_ref().model_set_id)?, items(&request.get_ref().items)?);
        let remove = async |write: &mut Write| {
            sets::remove_items(write, set, &items).await?;
            Ok(pb::RemoveSetItemsResponse::default())
        };
        self.change(&request, remove).await
    }

    async fn list_set_items(
        &self,
        request: Request<pb::ListSetItemsRequest>,
    ) -> Result<Response<pb::ListSetItemsResponse>, Status> {
        let request = request.get_ref();
        let set = id(&request.model_set_id)?;
        let page = Page::new(format!("items {set}"), request.page_size, &request.page_token)?;
        let listed = sets::items(&self.db, set, &page).await?;
        let items = listed.rows.into_iter().map(to_proto).collect();
        Ok(Response::new(pb::ListSetItemsResponse { items, next_page_token: listed.next }))
    }
}

fn id(text: &str) -> Result<ModelSetId, Error> {
    field::id("model_set_id", text)
}

fn items(items: &[pb::SetItem]) -> Result<Vec<Target>, Error> {
    use pb::set_item::Item as Wire;
    let item = |item: &pb::SetItem| match &item.item {
        Some(Wire::ModelId(id)) => field::id("model_id", id).map(Target::Model),
        Some(Wire::ItemSetId(id)) => field::id("item_set_id", id).map(Target::Set),
        None => Err(Error::invalid("item", "must name a model or a set")),
    };
    each_once("items", items, item, |item| *item)
}

fn to_proto(item: Target) -> pb::SetItem {
    use pb::set_item::Item as Wire;
    pb::SetItem {
        item: Some(match item {
            Target::Model(id) => Wire::ModelId(id.to_string()),
            Target::Set(id) => Wire::ItemSetId(id.to_string()),
        }),
    }
}

impl TryFrom<pb::CreateModelSetRequest> for NewSet {
    type Error = Error;

    fn try_from(request: pb::CreateModelSetRequest) -> Result<Self, Error> {
        Ok(Self {
            name: field::name("name", request.name)?,
            description: field::text("description", request.description, DESCRIPTION)?,
            owner: owner(request.owner.as_ref())?,
        })
    }
}

impl TryFrom<pb::UpdateModelSetRequest> for SetPatch {
    type Error = Error;

    fn try_from(request: pb::UpdateModelSetRequest) -> Result<Self, Error> {
        let text = |text| field::text("description", text, DESCRIPTION);
        Ok(Self {
            id: id(&request.model_set_id)?,
            etag: request.etag,
            name: request.name.map(|name| field::name("name", name)).transpose()?,
            description: request.description.map(text).transpose()?,
            owner: owner_patch(request.owner.as_ref(), request.clear_owner)?,
            disabled: request.disabled,
        })
    }
}

impl From<ModelSet> for pb::ModelSet {
    fn from(set: ModelSet) -> Self {
        Self {
            etag: set.etag(),
            model_set_id: set.id.to_string(),
            name: set.name,
            description: set.description,
            owner: set.owner.map(wire::owner_to_proto),
            disabled: set.disabled,
            create_time: Some(time::to_proto(set.created_at)),
            delete_time: set.deleted_at.map(time::to_proto),
        }
    }
}
