//! `UsageService`, call by call.

use super::{
    Api, change,
    prices::user,
    query::{self, Export},
    record,
};
use crate::{
    usage::correct::correct,
    usage::export::export,
    usage::reconcile::{counted, reconcile},
    usage::record::record,
    usage::records::list,
    usage::report::report,
    usage::rerate::rerate,
};
use futures_util::{Stream, TryStreamExt};
use proto::monitoring::v1 as pb;
use shared::{auth::RequestExt, event::Origin, time};
use std::pin::Pin;
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

    type ExportUsageStream = Pin<Box<dyn Stream<Item = Result<pb::ExportUsageResponse, Status>> + Send>>;

    async fn export_usage(
        &self,
        request: Request<pb::ExportUsageRequest>,
    ) -> Result<Response<Self::ExportUsageStream>, Status> {
        let caller = request.caller()?;
        let Export { query, format } = Export::read(request.into_inner(), &caller, time::now())?;
        let pieces = export(self.db.clone(), query, format).map_err(Status::from);
        let pieces = pieces.map_ok(|piece| pb::ExportUsageResponse { data: piece.into() });
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn correct_usage(
        &self,
        request: Request<pb::CorrectUsageRequest>,
    ) -> Result<Response<pb::CorrectUsageResponse>, Status> {
        let by = user(&request.caller()?);
        let origin = Origin::of(&request, &request.get_ref().reason)?;
        let (id, truth, cause) = change::correction(request.into_inner(), by, time::now())?;
        let kept = correct(&self.db, id, truth, &cause, &origin).await?;
        Ok(Response::new(pb::CorrectUsageResponse { record: Some((&kept).into()) }))
    }

    async fn rerate_usage(
        &self,
        request: Request<pb::RerateUsageRequest>,
    ) -> Result<Response<pb::RerateUsageResponse>, Status> {
        let by = user(&request.caller()?);
        let origin = Origin::of(&request, &request.get_ref().reason)?;
        let validate_only = request.get_ref().validate_only;
        let (query, model, cause) = change::rerating(request.into_inner(), by, time::now())?;
        let told = rerate(&self.db, &query, model.as_deref(), &cause, validate_only, &origin).await?;
        Ok(Response::new(told.into()))
    }

    async fn reconcile_usage(
        &self,
        request: Request<pb::ReconcileUsageRequest>,
    ) -> Result<Response<pb::ReconcileUsageResponse>, Status> {
        let (asked, now) = (request.into_inner(), time::now());
        let (start, end) = change::reconciling(&asked, now)?;
        let told = reconcile(&self.db, start, end).await?;
        let engines = match asked.engines.is_empty() {
            true => counted(&self.signals, start, end, now).await?.into_iter().map(Into::into).collect(),
            false => asked.engines,
        };
        Ok(Response::new(change::reconciled(&told, engines)))
    }
}
