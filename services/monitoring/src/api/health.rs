//! `HealthService`, call by call. [`read`] understands what processes say, [`answer`] says how everything is.

mod answer;
mod read;

use super::Api;
use crate::health::watch::changes;
use futures_util::{Stream, StreamExt, stream};
use proto::monitoring::v1 as pb;
use shared::time;
use std::pin::Pin;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl pb::health_service_server::HealthService for Api {
    async fn get_health(
        &self,
        _: Request<pb::GetHealthRequest>,
    ) -> Result<Response<pb::GetHealthResponse>, Status> {
        Ok(Response::new(answer::overall(self.board.picture(time::now()))))
    }

    async fn list_dependencies(
        &self,
        request: Request<pb::ListDependenciesRequest>,
    ) -> Result<Response<pb::ListDependenciesResponse>, Status> {
        let kind = read::optional_kind("kind", request.into_inner().kind)?;
        let picture = self.board.picture(time::now());
        Ok(Response::new(answer::dependencies(picture, kind)))
    }

    type WatchHealthStream = Pin<Box<dyn Stream<Item = Result<pb::WatchHealthResponse, Status>> + Send>>;

    async fn watch_health(
        &self,
        _: Request<pb::WatchHealthRequest>,
    ) -> Result<Response<Self::WatchHealthStream>, Status> {
        let changes = changes(self.board.clone(), self.stop.clone());
        Ok(Response::new(Box::pin(changes.map(|picture| Ok(answer::change(picture))))))
    }

    async fn check_now(
        &self,
        _: Request<pb::CheckNowRequest>,
    ) -> Result<Response<pb::CheckNowResponse>, Status> {
        Ok(Response::new(answer::checked(self.board.check().await?)))
    }

    type ReportHealthStream = Pin<Box<dyn Stream<Item = Result<pb::ReportHealthResponse, Status>> + Send>>;

    async fn report_health(
        &self,
        request: Request<pb::ReportHealthRequest>,
    ) -> Result<Response<Self::ReportHealthStream>, Status> {
        let mut wishes = self.board.take(read::told(request.into_inner(), time::now())?);
        let stop = self.stop.clone();
        let wished = stream::once(async move {
            tokio::select! {
                () = stop.cancelled() => None,
                wished = wishes.changed() => wished.ok().map(|()| Ok(pb::ReportHealthResponse {})),
            }
        });
        Ok(Response::new(Box::pin(wished.filter_map(std::future::ready))))
    }
}
