//! `InstanceService`, call by call.

use super::{
    Api, field,
    instance::{self, MAX_REASON},
};
use crate::instances::{self, Wish};
use futures_util::Stream;
use proto::monitoring::v1 as pb;
use shared::{event::Origin, time};
use std::pin::Pin;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl pb::instance_service_server::InstanceService for Api {
    async fn register_instance(
        &self,
        request: Request<pb::RegisterInstanceRequest>,
    ) -> Result<Response<pb::RegisterInstanceResponse>, Status> {
        let pb::RegisterInstanceRequest { instance_id, spec, detail } = request.into_inner();
        let (id, spec) = (instance::id(&instance_id)?, instance::spec(spec)?);
        let detail = field::text("detail", detail, MAX_REASON)?;
        let now = time::now();
        let registered = instances::register(&self.db, &id, spec, &detail, now).await?;
        Ok(Response::new(pb::RegisterInstanceResponse {
            instance: Some(instance::shown(registered, now)),
            heartbeat_interval: Some(time::duration_to_proto(instance::HEARTBEAT)),
            lease: Some(time::duration_to_proto(instance::lease().suspect)),
        }))
    }

    async fn heartbeat(
        &self,
        request: Request<pb::HeartbeatRequest>,
    ) -> Result<Response<pb::HeartbeatResponse>, Status> {
        let pb::HeartbeatRequest { instance_id, epoch, status } = request.into_inner();
        let (id, status) = (instance::id(&instance_id)?, instance::status(status.unwrap_or_default())?);
        let now = time::now();
        let known = instances::heartbeat(&self.db, &id, epoch, &status, now).await?;
        let pool_queue_length =
            crate::instances::replicas::queue_length(&self.db, &known.spec.pool, now).await?;
        let drain = known.wish.map(|Wish { reason, limit }| pb::DrainWish {
            reason,
            limit: limit.map(time::duration_to_proto),
        });
        Ok(Response::new(pb::HeartbeatResponse { drain, pool_queue_length }))
    }

    async fn report_move(
        &self,
        request: Request<pb::ReportMoveRequest>,
    ) -> Result<Response<pb::ReportMoveResponse>, Status> {
        let told = instance::told(request.into_inner())?;
        let moved = instances::report(&self.db, &told.id, &told.claim, &told.detail).await?;
        Ok(Response::new(pb::ReportMoveResponse { instance: Some(instance::shown(moved, time::now())) }))
    }

    async fn report_preemption(
        &self,
        request: Request<pb::ReportPreemptionRequest>,
    ) -> Result<Response<pb::ReportPreemptionResponse>, Status> {
        let preemption = instance::preemption(request.into_inner())?;
        let kept = instances::preempt(&self.db, &preemption).await?;
        Ok(Response::new(pb::ReportPreemptionResponse { preemption: Some(kept.into()) }))
    }

    async fn drain_instance(
        &self,
        request: Request<pb::DrainInstanceRequest>,
    ) -> Result<Response<pb::DrainInstanceResponse>, Status> {
        let origin = Origin::of(&request, &request.get_ref().reason)?;
        let pb::DrainInstanceRequest { instance_id, limit, reason } = request.into_inner();
        let wish = Wish { reason: instance::wish(reason)?, limit: instance::limit(limit.as_ref())? };
        let drained = instances::drain(&self.db, &instance::id(&instance_id)?, &wish, &origin).await?;
        Ok(Response::new(pb::DrainInstanceResponse { instance: Some(instance::shown(drained, time::now())) }))
    }

    async fn list_instances(
        &self,
        request: Request<pb::ListInstancesRequest>,
    ) -> Result<Response<pb::ListInstancesResponse>, Status> {
        let pb::ListInstancesRequest { pool, state, page_size, page_token } = request.into_inner();
        let filter = instance::filter(pool, state)?;
        let size = field::page_size(page_size)?;
        let (page, next_page_token) = instances::list(&self.db, &filter, size, &page_token).await?;
        let now = time::now();
        let instances = page.into_iter().map(|one| instance::shown(one, now)).collect();
        Ok(Response::new(pb::ListInstancesResponse { instances, next_page_token }))
    }

    async fn list_instance_events(
        &self,
        request: Request<pb::ListInstanceEventsRequest>,
    ) -> Result<Response<pb::ListInstanceEventsResponse>, Status> {
        let pb::ListInstanceEventsRequest { instance_id, page_size, page_token } = request.into_inner();
        let (id, size) = (instance::optional_id(&instance_id)?, field::page_size(page_size)?);
        let (page, next_page_token) = instances::events(&self.db, id.as_deref(), size, &page_token).await?;
        let events = page.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListInstanceEventsResponse { events, next_page_token }))
    }

    async fn list_preemptions(
        &self,
        request: Request<pb::ListPreemptionsRequest>,
    ) -> Result<Response<pb::ListPreemptionsResponse>, Status> {
        let pb::ListPreemptionsRequest { instance_id, page_size, page_token } = request.into_inner();
        let (id, size) = (instance::optional_id(&instance_id)?, field::page_size(page_size)?);
        let (page, next_page_token) =
            instances::preemptions(&self.db, id.as_deref(), size, &page_token).await?;
        let preemptions = page.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListPreemptionsResponse { preemptions, next_page_token }))
    }

    type WatchInstancesStream =
        Pin<Box<dyn Stream<Item = Result<pb::WatchInstancesResponse, Status>> + Send>>;

    async fn watch_instances(
        &self,
        request: Request<pb::WatchInstancesRequest>,
    ) -> Result<Response<Self::WatchInstancesStream>, Status> {
        let filter = instance::filter(request.into_inner().pool, 0)?;
        let watch = instance::watch(self.db.clone(), filter, self.stop.clone()).await?;
        Ok(Response::new(Box::pin(watch)))
    }
}
