//! AliasService.

use super::Api;
use crate::{
    aliases::{self, Alias},
    field,
    list::Page,
    write::Write,
};
use policy::ModelId;
use proto::permissions::v1::{self as pb, alias_service_server::AliasService};
use shared::time;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl AliasService for Api {
    async fn set_alias(
        &self,
        request: Request<pb::SetAliasRequest>,
    ) -> Result<Response<pb::SetAliasResponse>, Status> {
        let asked = request.get_ref();
        let name = field::model_name("name", asked.name.clone())?;
        let model = field::id("model_id", &asked.model_id)?;
        let set = async |write: &mut Write| {
            let alias = Some(aliases::set(write, name, model).await?.into());
            Ok(pb::SetAliasResponse { alias, ..Default::default() })
        };
        self.change(&request, set).await
    }

    async fn delete_alias(
        &self,
        request: Request<pb::DeleteAliasRequest>,
    ) -> Result<Response<pb::DeleteAliasResponse>, Status> {
        let name = field::model_name("name", request.get_ref().name.clone())?;
        let delete = async |write: &mut Write| {
            aliases::delete(write, name).await?;
            Ok(pb::DeleteAliasResponse::default())
        };
        self.change(&request, delete).await
    }

    async fn list_aliases(
        &self,
        request: Request<pb::ListAliasesRequest>,
    ) -> Result<Response<pb::ListAliasesResponse>, Status> {
        let request = request.get_ref();
        let model: Option<ModelId> = field::optional_id("model_id", &request.model_id)?;
        let page = Page::new(format!("aliases {model:?}"), request.page_size, &request.page_token)?;
        let listed = aliases::list(&self.db, model, &page).await?;
        let aliases = listed.rows.into_iter().map(pb::Alias::from).collect();
        Ok(Response::new(pb::ListAliasesResponse { aliases, next_page_token: listed.next }))
    }
}

impl From<Alias> for pb::Alias {
    fn from(alias: Alias) -> Self {
        Self {
            name: alias.fact.name,
            model_id: alias.fact.model.to_string(),
            create_time: Some(time::to_proto(alias.created_at)),
        }
    }
}
