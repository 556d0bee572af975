//! `UsageService`, call by call.

use super::{Api, query, record};
use crate::{record::record, records::list, report::report};
use proto::monitoring::v1 as pb;
use shared::{auth::RequestExt, time};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl pb::usage_service_server::UsageService for Api {
    async fn record_usage(
        &self,
        request: Request<pb::RecordUsageRequest>,
    ) -> Result<Response<pb::RecordUsageResponse>, Status> {
        let entries = record::entries(request.into_inner())?;
        let recorded = record(&self.db, entries).await?;
        Ok(Response::new(recorded.into()))
    }

    async fn get_usage(
        &self,
        request: Request<pb::GetUsageRequest>,
    ) -> Result<Response<pb::GetUsageResponse>, Status> {
        let caller = request.caller()?;
        let asked = query::Report::read(request.into_inner(), &caller, time::now())?;
        let group_by = asked.query.group_by;
        let report = report(&self.db, asked.query, asked.open_ended, asked.size, &asked.token).await?;
        Ok(Response::new(query::answer(report, group_by)))
    }

    async fn list_usage_records(
        &self,
        request: Request<pb::ListUsageRecordsRequest>,
    ) -> Result<Response<pb::ListUsageRecordsResponse>, Status> {
        let caller = request.caller()?;
        let asked = query::List::read(request.into_inner(), &caller)?;
        let page = list(&self.db, &asked.query, asked.size, &asked.token).await?;
        Ok(Response::new(page.into()))
    }
}
