//! `ScalingService`, call by call.

use super::{Api, field, instance, policy};
use crate::instances::replicas;
use proto::monitoring::v1 as pb;
use shared::{auth::RequestExt, event::Origin, time};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl pb::scaling_service_server::ScalingService for Api {
    async fn get_scaling_recommendation(
        &self,
        request: Request<pb::GetScalingRecommendationRequest>,
    ) -> Result<Response<pb::GetScalingRecommendationResponse>, Status> {
        let pool = instance::pool("pool", request.into_inner().pool)?;
        let (kept, seen) = replicas::recommended(&self.db, &pool, time::now()).await?;
        let recommendation = Some(policy::recommendation(kept, &seen));
        Ok(Response::new(pb::GetScalingRecommendationResponse { recommendation }))
    }

    async fn get_scaling_policy(
        &self,
        request: Request<pb::GetScalingPolicyRequest>,
    ) -> Result<Response<pb::GetScalingPolicyResponse>, Status> {
        let pool = instance::pool("pool", request.into_inner().pool)?;
        let put = replicas::policy(&self.db, &pool).await?;
        Ok(Response::new(pb::GetScalingPolicyResponse { policy: Some(put.into()) }))
    }

    async fn put_scaling_policy(
        &self,
        request: Request<pb::PutScalingPolicyRequest>,
    ) -> Result<Response<pb::PutScalingPolicyResponse>, Status> {
        let (caller, origin) = (request.caller()?, Origin::of(&request, "")?);
        let (new, expected) = policy::put(request.into_inner(), &caller, time::now())?;
        let put = replicas::put(&self.db, new, expected, &origin).await?;
        Ok(Response::new(pb::PutScalingPolicyResponse { policy: Some(put.into()) }))
    }

    async fn list_scaling_policies(
        &self,
        request: Request<pb::ListScalingPoliciesRequest>,
    ) -> Result<Response<pb::ListScalingPoliciesResponse>, Status> {
        let pb::ListScalingPoliciesRequest { page_size, page_token } = request.into_inner();
        let size = field::page_size(page_size)?;
        let (page, next_page_token) = replicas::policies(&self.db, size, &page_token).await?;
        let policies = page.into_iter().map(Into::into).collect();
        Ok(Response::new(pb::ListScalingPoliciesResponse { policies, next_page_token }))
    }

    async fn report_load(
        &self,
        request: Request<pb::ReportLoadRequest>,
    ) -> Result<Response<pb::ReportLoadResponse>, Status> {
        let said = policy::said(request.into_inner(), time::now())?;
        replicas::report(&self.db, &said).await?;
        Ok(Response::new(pb::ReportLoadResponse {}))
    }
}
