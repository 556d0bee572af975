//! BatchService.

use super::{
    Api, grants,
    imports::{Import, fits, sender},
    origin, person,
};
use crate::{
    batches::{self, Done, MOST, Malformed, Operation},
    error::Error,
    export, field,
    imports::{self, Kind, Progress},
    write::{Origin, Write},
};
use futures_util::{Stream, StreamExt};
use policy::Time;
use prost::Message;
use proto::permissions::v1::{self as pb, batch_service_server::BatchService, grant_result};
use shared::time;
use std::pin::Pin;
use tonic::{Request, Response, Status, Streaming};
use tonic_types::pb::Status as ItemStatus;

#[tonic::async_trait]
impl BatchService for Api {
    type ExportGrantsStream = Pin<Box<dyn Stream<Item = Result<pb::ExportGrantsResponse, Status>> + Send>>;

    async fn batch_grants(
        &self,
        request: Request<pb::BatchGrantsRequest>,
    ) -> Result<Response<pb::BatchGrantsResponse>, Status> {
        let asked = request.get_ref();
        if asked.operations.is_empty() || asked.operations.len() > MOST {
            return Err(Error::invalid("operations", format!("must be 1 to {MOST}")).into());
        }
        let ids = correlation_ids(&asked.operations)?;
        let now = time::now();
        let operations: Vec<Operation> = asked.operations.iter().map(|one| operation(one, now)).collect();
        let mode = asked.mode();
        let mut answer = match mode {
            pb::BatchMode::BestEffort => self.best_effort(&origin(&request)?, operations).await,
            pb::BatchMode::Unspecified | pb::BatchMode::Atomic => {
                let atomic = async |write: &mut Write| {
                    let done = batches::all(write, operations).await?;
                    Ok(answered(done.into_iter().map(Ok)))
                };
                self.change(&request, atomic).await?.into_inner()
            }
        };
        for (result, id) in answer.results.iter_mut().zip(ids) {
            result.correlation_id = id;
        }
        Ok(Response::new(answer))
    }

    async fn import_grants(
        &self,
        request: Request<Streaming<pb::ImportGrantsRequest>>,
    ) -> Result<Response<pb::ImportGrantsResponse>, Status> {
        use pb::import_grants_request::Part;
        let (sender, mut parts) = (sender(&request)?, request.into_inner());
        let begin = parts.message().await?.and_then(|first| first.part);
        let Some(Part::Begin(begin)) = begin else {
            return Err(Error::invalid("begin", "must be the first part of an import").into());
        };
        let import = Import::new(sender, &begin.import_id, begin.reason, false)?;
        let (mut progress, mut token) = (None, String::new());
        while let Some(part) = parts.message().await? {
            let Some(Part::Grants(part)) = part.part else {
                return Err(Error::invalid("grants", "must be every part but the first").into());
            };
            let (taken, at) = self.import_part(&import, part).await?;
            (progress, token) = (Some(taken), at);
        }
        let progress = progress.ok_or_else(|| Error::invalid("grants", "are needed: at least one part"))?;
        Ok(Response::new(pb::ImportGrantsResponse { progress: Some(progress.into()), token }))
    }

    async fn get_import(
        &self,
        request: Request<pb::GetImportRequest>,
    ) -> Result<Response<pb::GetImportResponse>, Status> {
        let (person, id) = (person(&request)?, field::id("import_id", &request.get_ref().import_id)?);
        let progress = imports::progress(&self.db, person.user, Kind::Grants, id).await?;
        Ok(Response::new(pb::GetImportResponse { progress: Some(progress.into()) }))
    }

    async fn export_grants(
        &self,
        request: Request<pb::ExportGrantsRequest>,
    ) -> Result<Response<Self::ExportGrantsStream>, Status> {
        let model = field::optional_id("model_id", &request.get_ref().model_id)?;
        let parts = export::grants(&self.db, self.tail.tokens(), model).await?;
        let answers = parts.map(|part| {
            let part = part.map_err(Status::from)?;
            let grants = part.grants.into_iter().map(pb::Grant::from).collect();
            Ok(pb::ExportGrantsResponse { token: part.token, grants })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

impl Api {
    async fn best_effort(&self, origin: &Origin, operations: Vec<Operation>) -> pb::BatchGrantsResponse {
        let mut whole = pb::BatchGrantsResponse::default();
        for (place, part) in batches::parts(operations).enumerate() {
            let count = part.len();
            let each = async |write: &mut Write| Ok(answered(batches::each(write, part).await?));
            let done = self.writer.perform(batches::part_of(origin, place), each).await;
            let done: pb::BatchGrantsResponse = done.unwrap_or_else(|error| {
                let error = item_status(&error.into());
                let failed = (0..count).map(|_| failure(error.clone()));
                pb::BatchGrantsResponse {
                    results: failed.collect(),
                    failed: u32::try_from(count).unwrap_or(u32::MAX),
                    ..Default::default()
                }
            });
            whole.results.extend(done.results);
            whole.succeeded += done.succeeded;
            whole.failed += done.failed;
            if !done.token.is_empty() {
                whole.token = done.token;
            }
        }
        whole
    }

    async fn import_part(
        &self,
        import: &Import,
        part: pb::import_grants_request::Grants,
    ) -> Result<(Progress, String), Status> {
        fits("grants", &part.grants)?;
        let origin = import.origin();
        let operations = part.grants.iter().map(|grant| created(Some(grant), origin.now)).collect();
        let take = async |write: &mut Write| batches::import(write, import.id, part.offset, operations).await;
        let (progress, token) = self.writer.make(origin, take).await?;
        Ok((progress, self.tail.tokens().encode(token)))
    }
}

fn correlation_ids(operations: &[pb::GrantOperation]) -> Result<Vec<String>, Error> {
    let id =
        |one: &pb::GrantOperation| field::text("operations.correlation_id", one.correlation_id.clone(), 100);
    operations.iter().map(id).collect()
}

fn operation(operation: &pb::GrantOperation, now: Time) -> Operation {
    use pb::grant_operation::Operation as Wire;
    match &operation.operation {
        Some(Wire::Create(grant)) => created(Some(grant), now),
        Some(Wire::Revoke(id)) => well_formed(field::id("revoke", id).map(Operation::Revoke)),
        None => well_formed(Err(Error::invalid("operation", "must create or revoke"))),
    }
}

fn created(grant: Option<&pb::Grant>, now: Time) -> Operation {
    well_formed(grants::new_grant(grant, now).map(Operation::Create))
}

fn well_formed(operation: Result<Operation, Error>) -> Operation {
    operation.unwrap_or_else(|error| {
        Operation::Malformed(match error {
            Error::Invalid { field, problem } => Malformed { field, problem },
            error => Malformed { field: "operation".into(), problem: error.to_string() },
        })
    })
}

fn answered(results: impl IntoIterator<Item = Result<Done, Error>>) -> pb::BatchGrantsResponse {
    let mut answer = pb::BatchGrantsResponse::default();
    for result in results {
        let result = match result {
            Ok(Done::Created(grant)) => grant_result::Result::Created(grant.into()),
            Ok(Done::Revoked(id)) => grant_result::Result::Revoked(id.to_string()),
            Err(error) => {
                answer.failed += 1;
                answer.results.push(failure(item_status(&error.into())));
                continue;
            }
        };
        answer.succeeded += 1;
        answer.results.push(pb::GrantResult { result: Some(result), ..Default::default() });
    }
    answer
}

fn failure(error: ItemStatus) -> pb::GrantResult {
    pb::GrantResult { result: Some(grant_result::Result::Error(error)), ..Default::default() }
}

/// A status inside of an answer: the same details that a call of its own would have got.
pub(super) fn item_status(status: &Status) -> ItemStatus {
    ItemStatus::decode(status.details()).unwrap_or_else(|_| ItemStatus {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}
