//! EventService: the log as every service shows its own.

use super::{Api, audit};
use proto::common::v1::{self as pb, event_service_server::EventService};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl EventService for Api {
    async fn list_events(
        &self,
        request: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        Ok(Response::new(audit::list(&self.db, request.into_inner()).await?))
    }
}
