//! `MetricsService`, call by call. [`read`] understands what is asked, [`answer`] says what was found.

mod answer;
mod read;

use super::Api;
use crate::signals::{calls::calls, llm::summaries, scalability, system::readings, watch};
use futures_util::{Stream, StreamExt};
use proto::monitoring::v1 as pb;
use shared::time;
use std::pin::Pin;
use tonic::{Request, Response, Status};

/// Names of a page when none are asked for, and at most.
const PAGE: (u32, u32) = (50, 1_000);

#[tonic::async_trait]
impl pb::metrics_service_server::MetricsService for Api {
    async fn report_series(
        &self,
        request: Request<pb::ReportSeriesRequest>,
    ) -> Result<Response<pb::ReportSeriesResponse>, Status> {
        let request = request.into_inner();
        let turned = request.turned;
        let taken = self.signals.hear(time::now(), &read::report(request)?, turned).await;
        Ok(Response::new(pb::ReportSeriesResponse { taken: taken.taken, refused: taken.refused }))
    }

    async fn record_sample(
        &self,
        request: Request<pb::RecordSampleRequest>,
    ) -> Result<Response<pb::RecordSampleResponse>, Status> {
        let sample = read::sample(request.into_inner())?;
        self.signals.record(time::now(), &sample)?;
        Ok(Response::new(pb::RecordSampleResponse {}))
    }

    async fn list_metrics(
        &self,
        request: Request<pb::ListMetricsRequest>,
    ) -> Result<Response<pb::ListMetricsResponse>, Status> {
        let asked = read::List::read(request.into_inner())?;
        let names = self.signals.names(&asked.prefix, asked.after.as_deref(), asked.size + 1);
        Ok(Response::new(answer::list(names, &asked)))
    }

    async fn query_series(
        &self,
        request: Request<pb::QuerySeriesRequest>,
    ) -> Result<Response<pb::QuerySeriesResponse>, Status> {
        let now = time::now();
        let asked = read::query(request.into_inner(), now, &self.signals)?;
        let found = self.signals.ask(&asked, now).await?;
        Ok(Response::new(answer::found(found)))
    }

    type WatchMetricsStream = Pin<Box<dyn Stream<Item = Result<pb::WatchMetricsResponse, Status>> + Send>>;

    async fn watch_metrics(
        &self,
        request: Request<pb::WatchMetricsRequest>,
    ) -> Result<Response<Self::WatchMetricsStream>, Status> {
        let (asked, every) = read::watch(request.into_inner(), &self.signals)?;
        let looks = watch::looks(self.signals.clone(), asked, every, self.stop.clone());
        Ok(Response::new(Box::pin(looks.map(|look| Ok(answer::look(look?))))))
    }

    async fn get_llm_summary(
        &self,
        request: Request<pb::GetLlmSummaryRequest>,
    ) -> Result<Response<pb::GetLlmSummaryResponse>, Status> {
        let (model, window) = read::summary(request.into_inner())?;
        let found = summaries(&self.signals, model.as_deref(), window, time::now());
        Ok(Response::new(answer::summaries(found)))
    }

    async fn get_system(
        &self,
        _: Request<pb::GetSystemRequest>,
    ) -> Result<Response<pb::GetSystemResponse>, Status> {
        let found = readings(&self.signals, &self.thresholds(), time::now());
        Ok(Response::new(answer::system(found)))
    }

    async fn get_call_summary(
        &self,
        request: Request<pb::GetCallSummaryRequest>,
    ) -> Result<Response<pb::GetCallSummaryResponse>, Status> {
        let window = read::window(request.into_inner().window.as_ref())?;
        Ok(Response::new(answer::calls(calls(&self.signals, window, time::now()))))
    }

    async fn get_scalability(
        &self,
        _: Request<pb::GetScalabilityRequest>,
    ) -> Result<Response<pb::GetScalabilityResponse>, Status> {
        let load = scalability::load(&self.signals, &self.thresholds(), time::now());
        Ok(Response::new(answer::scalability(load)))
    }

    async fn get_concurrency(
        &self,
        _: Request<pb::GetConcurrencyRequest>,
    ) -> Result<Response<pb::GetConcurrencyResponse>, Status> {
        Ok(Response::new(answer::concurrency(scalability::concurrency(&self.signals, time::now()))))
    }
}
