//! InferenceBatchService: files of requests, as callers of gRPC and REST see them.

use super::{
    Api,
    jobs::{asker, new_batch, next, paged, request_id},
};
use crate::{
    batches::{self, Batch, Status as Stands},
    files,
    jobs::submit::{Submission, Task},
};
use proto::inference::v1::{self as pb, inference_batch_service_server::InferenceBatchService};
use shared::time;
use tonic::{Request, Response, Status};

/// Rows of a page when nothing is said, and at most.
const PAGE: (u32, u32) = (20, 100);

#[tonic::async_trait]
impl InferenceBatchService for Api {
    async fn create_batch(
        &self,
        request: Request<pb::CreateBatchRequest>,
    ) -> Result<Response<pb::CreateBatchResponse>, Status> {
        let person = asker(&request)?;
        let asked = request.into_inner();
        let (request, validate_only) = (request_id(&asked.request_id)?, asked.validate_only);
        let task = Task::Batch(new_batch(asked)?).alone();
        let task = Submission { request, validate_only, ..task };
        let submitted = self.jobs.submit(&self.inference, &person, task, time::now()).await?;
        let batch = match submitted.batch {
            Some(would_be) => pb::Batch { batch_id: String::new(), ..described(would_be) },
            None => described(self.jobs.batch(submitted.job.id, person.user).await?),
        };
        Ok(Response::new(pb::CreateBatchResponse { batch: Some(batch) }))
    }

    async fn get_batch(
        &self,
        request: Request<pb::GetBatchRequest>,
    ) -> Result<Response<pb::GetBatchResponse>, Status> {
        let owner = asker(&request)?.user;
        let batch = self.jobs.batch(batches::id(&request.get_ref().batch_id)?, owner).await?;
        Ok(Response::new(pb::GetBatchResponse { batch: Some(described(batch)) }))
    }

    async fn list_batches(
        &self,
        request: Request<pb::ListBatchesRequest>,
    ) -> Result<Response<pb::ListBatchesResponse>, Status> {
        let owner = asker(&request)?.user;
        let asked = request.into_inner();
        let list = format!("batches {owner}");
        let (size, before) = paged(&list, asked.page_size, &asked.page_token, PAGE)?;
        let mut found = self.jobs.batches(owner, before, size + 1).await?;
        let next_page_token = next(&list, &mut found, size, |batch| batch.id);
        let batches = found.into_iter().map(described).collect();
        Ok(Response::new(pb::ListBatchesResponse { batches, next_page_token }))
    }

    async fn cancel_batch(
        &self,
        request: Request<pb::CancelBatchRequest>,
    ) -> Result<Response<pb::CancelBatchResponse>, Status> {
        let owner = asker(&request)?.user;
        let batch = self.jobs.cancel_batch(batches::id(&request.get_ref().batch_id)?, owner).await?;
        Ok(Response::new(pb::CancelBatchResponse { batch: Some(described(batch)) }))
    }
}

fn described(batch: Batch) -> pb::Batch {
    let file = |id: Option<uuid::Uuid>| id.map(files::name).unwrap_or_default();
    let faults = batch.faults.into_iter().map(|fault| pb::BatchFault {
        code: fault.code,
        message: fault.message,
        param: fault.param.unwrap_or_default(),
        line: fault.line.unwrap_or(0),
    });
    pb::Batch {
        batch_id: batches::name(batch.id),
        status: number(batch.status).into(),
        endpoint: batch.endpoint.path().to_owned(),
        input_file_id: files::name(batch.input),
        output_file_id: file(batch.output),
        error_file_id: file(batch.error_output),
        completion_window: batch.window,
        metadata: batch.metadata.into_iter().collect(),
        faults: faults.collect(),
        total: batch.total,
        completed: batch.counts.completed,
        failed: batch.counts.failed,
        created_time: Some(time::to_proto(batch.created)),
        in_progress_time: batch.in_progress.map(time::to_proto),
        expire_time: Some(time::to_proto(batch.expires)),
        finalizing_time: batch.finalizing.map(time::to_proto),
        cancelling_time: batch.cancelling.map(time::to_proto),
        end_time: batch.ended.map(time::to_proto),
    }
}

const fn number(status: Stands) -> pb::BatchStatus {
    match status {
        Stands::Validating => pb::BatchStatus::Validating,
        Stands::Failed => pb::BatchStatus::Failed,
        Stands::InProgress => pb::BatchStatus::InProgress,
        Stands::Finalizing => pb::BatchStatus::Finalizing,
        Stands::Completed => pb::BatchStatus::Completed,
        Stands::Expired => pb::BatchStatus::Expired,
        Stands::Cancelling => pb::BatchStatus::Cancelling,
        Stands::Cancelled => pb::BatchStatus::Cancelled,
    }
}
