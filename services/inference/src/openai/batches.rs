//! `/v1/batches`: files of requests, run on what the engines have to spare.

use super::{Asker, OpenAi, person};
use crate::{
    batches::{self, Batch, Fault, NewBatch, Status},
    error::{Error, Kept, Thing},
    files,
    jobs::submit::Task,
};
use axum::{
    Json,
    extract::{
        Path, Query, Request, State,
        rejection::{PathRejection, QueryRejection},
    },
};
use policy::Time;
use serde::{Deserialize, Serialize};
use shared::{auth::Caller, time};
use std::{collections::BTreeMap, sync::Arc};
use uuid::Uuid;

/// Batches of a list when nothing is said, and at most.
const PAGE: (u32, u32) = (20, 100);

#[derive(Deserialize)]
struct Create {
    input_file_id: String,
    endpoint: String,
    #[serde(default)]
    completion_window: String,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    output_expires_after: Option<ExpiresAfter>,
}

#[derive(Deserialize)]
struct ExpiresAfter {
    seconds: u64,
}

#[derive(Serialize)]
pub(super) struct BatchObject {
    id: String,
    object: &'static str,
    endpoint: &'static str,
    errors: Option<Faults>,
    input_file_id: String,
    completion_window: String,
    status: &'static str,
    output_file_id: Option<String>,
    error_file_id: Option<String>,
    created_at: i64,
    in_progress_at: Option<i64>,
    expires_at: i64,
    finalizing_at: Option<i64>,
    completed_at: Option<i64>,
    failed_at: Option<i64>,
    expired_at: Option<i64>,
    cancelling_at: Option<i64>,
    cancelled_at: Option<i64>,
    request_counts: Counts,
    metadata: Option<BTreeMap<String, String>>,
}

#[derive(Serialize)]
struct Faults {
    object: &'static str,
    data: Vec<Fault>,
}

#[derive(Serialize)]
struct Counts {
    total: u32,
    completed: u32,
    failed: u32,
}

#[derive(Serialize)]
pub(super) struct BatchList {
    object: &'static str,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
    data: Vec<BatchObject>,
}

#[derive(Deserialize)]
pub(super) struct Listed {
    limit: Option<u32>,
    after: Option<String>,
}

type Asked = Result<Path<String>, PathRejection>;

pub(super) async fn create(
    State(openai): State<Arc<OpenAi>>,
    request: Request,
) -> Result<Json<BatchObject>, Error> {
    let (head, body) = request.into_parts();
    let person = person(head.extensions.get::<Caller>())?;
    let body = openai.read(body).await?;
    let asked: Create = serde_json::from_slice(&body)
        .map_err(|error| Error::Malformed(format!("the body is not a batch: {error}")))?;
    let endpoint = batches::endpoint(&asked.endpoint)?;
    let new = NewBatch {
        input: files::id(&asked.input_file_id)?,
        endpoint,
        window: asked.completion_window,
        metadata: asked.metadata.unwrap_or_default(),
        keep: asked.output_expires_after.map(|after| files::keep(after.seconds)).transpose()?,
    };
    let task = Task::Batch(new).alone();
    let job = openai.jobs.submit(&openai.inference, &person, task, time::now()).await?.job;
    Ok(Json(described(openai.jobs.batch(job.id, person.user).await?)))
}

pub(super) async fn retrieve(
    State(openai): State<Arc<OpenAi>>,
    name: Asked,
    caller: Asker,
) -> Result<Json<BatchObject>, Error> {
    let person = person(caller.as_ref().map(|caller| &caller.0))?;
    Ok(Json(described(openai.jobs.batch(asked(name)?, person.user).await?)))
}

pub(super) async fn cancel(
    State(openai): State<Arc<OpenAi>>,
    name: Asked,
    caller: Asker,
) -> Result<Json<BatchObject>, Error> {
    let person = person(caller.as_ref().map(|caller| &caller.0))?;
    Ok(Json(described(openai.jobs.cancel_batch(asked(name)?, person.user).await?)))
}

pub(super) async fn list(
    State(openai): State<Arc<OpenAi>>,
    caller: Asker,
    query: Result<Query<Listed>, QueryRejection>,
) -> Result<Json<BatchList>, Error> {
    let person = person(caller.as_ref().map(|caller| &caller.0))?;
    let Query(asked) = query.map_err(|_| Error::Invalid { param: "limit", problem: "must be a number" })?;
    let limit = super::limit(asked.limit, PAGE.0, PAGE.1)?;
    let after = asked.after.as_deref().map(batches::id).transpose()?;
    let mut found = openai.jobs.batches(person.user, after, limit + 1).await?;
    let has_more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let data: Vec<BatchObject> = found.into_iter().map(described).collect();
    let id = |batch: Option<&BatchObject>| batch.map(|batch| batch.id.clone());
    let (first_id, last_id) = (id(data.first()), id(data.last()));
    Ok(Json(BatchList { object: "list", first_id, last_id, has_more, data }))
}

fn asked(name: Asked) -> Result<Uuid, Error> {
    let Path(name) = name.map_err(|_| Kept::missing(Thing::Batch, ""))?;
    batches::id(&name)
}

fn described(batch: Batch) -> BatchObject {
    let seconds = |time: Time| time.0.div_euclid(1_000_000);
    let ended = |status| batch.ended.filter(|_| batch.status == status).map(seconds);
    let faults = Faults { object: "list", data: batch.faults };
    BatchObject {
        id: batches::name(batch.id),
        object: "batch",
        endpoint: batch.endpoint.path(),
        errors: Some(faults).filter(|faults| !faults.data.is_empty()),
        input_file_id: files::name(batch.input),
        completion_window: batch.window,
        status: batch.status.word(),
        output_file_id: batch.output.map(files::name),
        error_file_id: batch.error_output.map(files::name),
        created_at: seconds(batch.created),
        in_progress_at: batch.in_progress.map(seconds),
        expires_at: seconds(batch.expires),
        finalizing_at: batch.finalizing.map(seconds),
        completed_at: ended(Status::Completed),
        failed_at: ended(Status::Failed),
        expired_at: ended(Status::Expired),
        cancelling_at: batch.cancelling.map(seconds),
        cancelled_at: ended(Status::Cancelled),
        request_counts: Counts {
            total: batch.total,
            completed: batch.counts.completed,
            failed: batch.counts.failed,
        },
        metadata: Some(batch.metadata).filter(|metadata| !metadata.is_empty()),
    }
}
