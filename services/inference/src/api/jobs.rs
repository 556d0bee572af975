//! JobService: work that goes on in the background.

use super::{Api, wire};
use crate::{
    batches::{self, NewBatch},
    error::{Error, Kept, Thing},
    files,
    jobs::{
        kind::{Kind, Queue},
        submit::{ATTEMPTS, Submission, Task},
    },
    lock::LockName,
    prompt::Endpoint,
};
use bytes::Bytes;
use futures_util::{Stream, stream};
use policy::UserId;
use proto::inference::v1::{self as pb, job_service_server::JobService, submit_job_request::Work};
use shared::{
    auth::{Person, Refusal, RequestExt},
    claims::{Filter, Row, State, Tallied},
    page, time,
};
use std::{pin::Pin, time::Duration};
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// Rows of a page when nothing is said, and at most.
const PAGE: (u32, u32) = (50, 100);
/// Between two looks at a job that is watched.
const LOOK: Duration = Duration::from_millis(500);

#[tonic::async_trait]
impl JobService for Api {
    async fn submit_job(
        &self,
        request: Request<pb::SubmitJobRequest>,
    ) -> Result<Response<pb::SubmitJobResponse>, Status> {
        let person = asker(&request)?;
        let submission = submission(request.into_inner())?;
        let would_be = submission.validate_only;
        let submitted = self.jobs.submit(&self.inference, &person, submission, time::now()).await?;
        let mut job = described(submitted.job);
        if would_be {
            job.job_id.clear();
        }
        Ok(Response::new(pb::SubmitJobResponse { job: Some(job) }))
    }

    async fn get_job(
        &self,
        request: Request<pb::GetJobRequest>,
    ) -> Result<Response<pb::GetJobResponse>, Status> {
        let owner = asker(&request)?.user;
        let job = self.jobs.get(job_id(&request.get_ref().job_id)?, owner).await?;
        Ok(Response::new(pb::GetJobResponse { job: Some(described(job)) }))
    }

    async fn list_jobs(
        &self,
        request: Request<pb::ListJobsRequest>,
    ) -> Result<Response<pb::ListJobsResponse>, Status> {
        let owner = asker(&request)?.user;
        let asked = request.into_inner();
        let (queue, state, kind) = (asked.queue(), asked.state(), asked.kind());
        let list = format!("jobs {owner} {queue:?} {state:?} {kind:?}");
        let (size, before) = paged(&list, asked.page_size, &asked.page_token, PAGE)?;
        let filter = Filter {
            queue: Queue::ALL.into_iter().find(|known| queue_number(*known) == queue).map(Queue::name),
            state: State::ALL.into_iter().find(|known| state_number(*known) == state),
            kind: Kind::ALL.into_iter().find(|known| kind_number(*known) == kind).map(Kind::name),
        };
        let mut jobs = self.jobs.page(owner, filter, before, size + 1).await?;
        let next_page_token = next(&list, &mut jobs, size, |job| job.id);
        let jobs = jobs.into_iter().map(described).collect();
        Ok(Response::new(pb::ListJobsResponse { jobs, next_page_token }))
    }

    async fn cancel_job(
        &self,
        request: Request<pb::CancelJobRequest>,
    ) -> Result<Response<pb::CancelJobResponse>, Status> {
        let owner = asker(&request)?.user;
        let job = self.jobs.cancel(job_id(&request.get_ref().job_id)?, owner).await?;
        Ok(Response::new(pb::CancelJobResponse { job: Some(described(job)) }))
    }

    type WatchJobStream = Pin<Box<dyn Stream<Item = Result<pb::WatchJobResponse, Status>> + Send>>;

    async fn watch_job(
        &self,
        request: Request<pb::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let owner = asker(&request)?.user;
        let job = self.jobs.get(job_id(&request.get_ref().job_id)?, owner).await?;
        Ok(Response::new(Box::pin(self.clone().changes(job, owner))))
    }

    async fn get_job_statistics(
        &self,
        _request: Request<pb::GetJobStatisticsRequest>,
    ) -> Result<Response<pb::GetJobStatisticsResponse>, Status> {
        let (counts, busy) = self.jobs.statistics().await?;
        let queues = Queue::ALL.into_iter().map(|queue| {
            let count = |state| {
                let of = counts.iter().filter(|count| count.queue == queue.name() && count.state == state);
                of.map(|count| count.number).sum()
            };
            let workers = self.jobs.crew().iter().find(|workers| workers.queue() == queue.name());
            let tallied = |what| workers.map_or(0, |workers| workers.tally().of(what));
            pb::JobQueueStatistics {
                queue: queue_number(queue).into(),
                pending: count(State::Pending),
                in_progress: count(State::Running),
                succeeded: count(State::Succeeded),
                failed: count(State::Failed),
                cancelled: count(State::Cancelled),
                concurrency: workers.map_or(0, |workers| whole(workers.places())),
                busy: workers.map_or(0, |workers| whole(workers.busy())),
                retried: tallied(Tallied::Again),
                given_back: tallied(Tallied::Back),
                lost: tallied(Tallied::Lost),
                mean_duration: workers
                    .and_then(|workers| workers.tally().mean())
                    .map(time::duration_to_proto),
            }
        });
        let workers = busy.into_iter().map(|busy| pb::JobWorker {
            worker: busy.worker,
            queue: Queue::named(&busy.queue).map_or(pb::JobQueue::Unspecified, queue_number).into(),
            jobs: busy.number,
            since_time: busy.since.map(time::to_proto),
        });
        let answer = pb::GetJobStatisticsResponse { queues: queues.collect(), workers: workers.collect() };
        Ok(Response::new(answer))
    }
}

impl Api {
    /// A job now, and whenever it has changed.
    fn changes(
        self,
        job: Row,
        owner: UserId,
    ) -> impl Stream<Item = Result<pb::WatchJobResponse, Status>> + Send {
        enum Next {
            Show(Box<Row>),
            After(Box<Row>),
            Nothing,
        }
        let message = |job: Row| pb::WatchJobResponse { job: Some(described(job)) };
        stream::unfold((self, Next::Show(Box::new(job))), move |(api, next)| async move {
            let shown = match next {
                Next::Show(job) => {
                    let then = if job.state.is_over() { Next::Nothing } else { Next::After(job.clone()) };
                    return Some((Ok(message(*job)), (api, then)));
                }
                Next::After(shown) => shown,
                Next::Nothing => return None,
            };
            loop {
                tokio::time::sleep(LOOK).await;
                if api.health.is_stopping() {
                    // Whoever watches goes on at another gateway.
                    return Some((Err(Error::Stopping.into()), (api, Next::Nothing)));
                }
                match api.jobs.get(shown.id, owner).await {
                    // The end of its lease moves while it is worked on.
                    Ok(job) if is_same(&job, &shown) => {}
                    Ok(job) => {
                        let then = if job.state.is_over() {
                            Next::Nothing
                        } else {
                            Next::After(Box::new(job.clone()))
                        };
                        return Some((Ok(message(job)), (api, then)));
                    }
                    Err(error) => return Some((Err(error.into()), (api, Next::Nothing))),
                }
            }
        })
    }
}

fn is_same(job: &Row, shown: &Row) -> bool {
    let seen = |job: &Row| (job.state, job.percent, job.attempt, job.cancel);
    seen(job) == seen(shown)
}

fn submission(asked: pb::SubmitJobRequest) -> Result<Submission, Error> {
    const WORK: Error =
        Error::Invalid { param: "work", problem: "needs one of `completion`, `embedding` and `batch`" };
    let task = match asked.work.ok_or(WORK)? {
        Work::Completion(asked) => request("completion", asked)?,
        Work::Embedding(asked) => request("embedding", asked)?,
        Work::Batch(asked) if asked.request_id.is_empty() && !asked.validate_only => {
            Task::Batch(new_batch(asked)?)
        }
        Work::Batch(_) => {
            return Err(Error::Invalid {
                param: "batch",
                problem: "must leave `request_id` and `validate_only` to the job",
            });
        }
    };
    let attempts = match asked.max_attempts {
        0 => ATTEMPTS.0,
        attempts if attempts <= ATTEMPTS.1 => attempts,
        _ => return Err(Error::Invalid { param: "max_attempts", problem: "must be from 1 to 20" }),
    };
    let due = asked.due_time.as_ref().map(|due| {
        time::from_proto(due).ok_or(Error::Invalid { param: "due_time", problem: "must be a time" })
    });
    let request = request_id(&asked.request_id)?;
    let lock = LockName::read_optional(Some(asked.lock.as_bytes()))?;
    let (due, validate_only) = (due.transpose()?, asked.validate_only);
    Ok(Submission { task, lock, attempts, due, request, validate_only })
}

pub(super) fn request_id(name: &str) -> Result<Option<Uuid>, Error> {
    if name.is_empty() {
        return Ok(None);
    }
    let invalid = |_| Error::Invalid { param: "request_id", problem: "must be a UUID" };
    name.parse().map(Some).map_err(invalid)
}

fn request(kind: &str, asked: pb::JobRequest) -> Result<Task, Error> {
    let body = asked.body.ok_or(Error::Invalid { param: "body", problem: "is required" })?;
    let vectors = kind == "embedding";
    let endpoint = match asked.endpoint.as_str() {
        "" if vectors => Endpoint::Embeddings,
        "" if body.fields.contains_key("messages") => Endpoint::Chat,
        "" => Endpoint::Completions,
        path => batches::endpoint(path).map_err(|_| ENDPOINT)?,
    };
    if endpoint.makes() == vectors {
        return Err(ENDPOINT);
    }
    Ok(Task::Request { endpoint, body: Bytes::from(wire::json(&body)) })
}

const ENDPOINT: Error = Error::Invalid {
    param: "endpoint",
    problem: "must be /v1/chat/completions, /v1/completions or /v1/responses, or /v1/embeddings, /v1/rerank or /v1/score for vectors",
};

pub(super) fn new_batch(asked: pb::CreateBatchRequest) -> Result<NewBatch, Error> {
    let endpoint = batches::endpoint(&asked.endpoint)?;
    let keep = u64::try_from(asked.output_expires_after).unwrap_or(1);
    Ok(NewBatch {
        input: files::id(&asked.input_file_id)?,
        endpoint,
        window: asked.completion_window,
        metadata: asked.metadata.into_iter().collect(),
        keep: (keep != 0).then(|| files::keep(keep)).transpose()?,
    })
}

/// The person who asks. No service has jobs.
pub(super) fn asker<T>(request: &Request<T>) -> Result<Person, Status> {
    Ok(*request.caller()?.person().ok_or(Refusal::Missing).map_err(Status::from)?)
}

fn job_id(text: &str) -> Result<Uuid, Error> {
    Ok(text.parse().map_err(|_| Kept::missing(Thing::Job, text))?)
}

/// How many rows are asked for, and the one before which they begin.
pub(super) fn paged(
    list: &str,
    size: i32,
    token: &str,
    bounds: (u32, u32),
) -> Result<(u32, Option<Uuid>), Error> {
    const SIZE: Error = Error::Invalid { param: "page_size", problem: "must be between 0 and 100" };
    const TOKEN: Error =
        Error::Invalid { param: "page_token", problem: "is not a token of this list with this filter" };
    let size = page::size(size, bounds.0, bounds.1).map_err(|_| SIZE)?;
    let last = page::start(list, token).map_err(|_| TOKEN)?;
    Ok((size, last.map(|last| last.parse().map_err(|_| TOKEN)).transpose()?))
}

/// The token of the next page, when there is one; `rows` has one more than a page then.
pub(super) fn next<T>(list: &str, rows: &mut Vec<T>, size: u32, id: impl Fn(&T) -> Uuid) -> String {
    if rows.len() <= size as usize {
        return String::new();
    }
    rows.truncate(size as usize);
    rows.last().map(|last| page::token(list, &id(last).to_string())).unwrap_or_default()
}

fn described(job: Row) -> pb::Job {
    let kind = Kind::named(&job.kind).map_or(pb::JobKind::Unspecified, kind_number);
    let queue = Queue::named(&job.queue).map_or(pb::JobQueue::Unspecified, queue_number);
    let due = (job.state == State::Pending).then_some(job.due);
    let error = job.failure.filter(|_| !matches!(job.state, State::Succeeded | State::Cancelled));
    pb::Job {
        job_id: job.id.to_string(),
        kind: kind.into(),
        queue: queue.into(),
        state: state_number(job.state).into(),
        percent: job.percent.into(),
        attempts: job.attempt,
        max_attempts: job.attempts,
        cancel_requested: job.cancel,
        lock: job.lock.unwrap_or_default(),
        created_time: Some(time::to_proto(job.created)),
        start_time: job.started.map(time::to_proto),
        end_time: job.ended.map(time::to_proto),
        due_time: due.map(time::to_proto),
        expire_time: job.expires.map(time::to_proto),
        error: error.map(|failure| pb::JobError { reason: failure.reason, message: failure.message }),
        result: job.result.and_then(|result| wire::object_of(&result)),
    }
}

const fn state_number(state: State) -> pb::JobState {
    match state {
        State::Pending => pb::JobState::Pending,
        State::Running => pb::JobState::Progress,
        State::Succeeded => pb::JobState::Success,
        State::Failed => pb::JobState::Failure,
        State::Cancelled => pb::JobState::Cancelled,
    }
}

const fn kind_number(kind: Kind) -> pb::JobKind {
    match kind {
        Kind::Completion => pb::JobKind::Completion,
        Kind::Embedding => pb::JobKind::Embedding,
        Kind::Batch => pb::JobKind::Batch,
    }
}

const fn queue_number(queue: Queue) -> pb::JobQueue {
    match queue {
        Queue::AiTasks => pb::JobQueue::AiTasks,
        Queue::BulkTasks => pb::JobQueue::BulkTasks,
        Queue::AnalyticsTasks => pb::JobQueue::AnalyticsTasks,
        Queue::NotificationTasks => pb::JobQueue::NotificationTasks,
    }
}

fn whole(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
