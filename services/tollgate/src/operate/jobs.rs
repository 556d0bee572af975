//! Jobs: entering them, and how they stand.

use super::{
    call::Client,
    names::in_future,
    plan::{Column, Plan, request},
};
use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

const JOBS: &[Column] = &[
    ("ID", "job_id"),
    ("KIND", "kind"),
    ("QUEUE", "queue"),
    ("STATE", "state"),
    ("%", "percent"),
    ("ATTEMPTS", "attempts"),
    ("CREATED", "created_time"),
    ("ERROR", "error.reason"),
];

pub(super) const WATCHED: &[Column] =
    &[("STATE", "state"), ("%", "percent"), ("ATTEMPTS", "attempts"), ("ERROR", "error.message")];

const QUEUES: &[Column] = &[
    ("QUEUE", "queue"),
    ("PENDING", "pending"),
    ("IN PROGRESS", "in_progress"),
    ("SUCCEEDED", "succeeded"),
    ("FAILED", "failed"),
    ("CANCELLED", "cancelled"),
    ("AT ONCE HERE", "concurrency"),
    ("BUSY HERE", "busy"),
    ("TRIED AGAIN", "retried"),
    ("LOST", "lost"),
    ("MEAN", "mean_duration"),
];

const WORKERS: &[Column] =
    &[("WORKER", "worker"), ("QUEUE", "queue"), ("JOBS", "jobs"), ("SINCE", "since_time")];

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A chat or completion.
    Completion,
    /// Vectors.
    Embedding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    Pending,
    Progress,
    Success,
    Failure,
    Cancelled,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Jobs {
    /// Enters a job: one request to a model, done in the background.
    Submit {
        kind: Kind,
        /// A file with the body of the request as JSON; `-`: standard input.
        file: PathBuf,
        /// Like /v1/chat/completions; what the kind and the body say when left out.
        #[arg(long, default_value = "")]
        endpoint: String,
        /// `resource/kind`: nothing else with this lock is taken until the job is over.
        #[arg(long, default_value = "")]
        lock: String,
        /// How often it may be begun.
        #[arg(long)]
        attempts: Option<u32>,
        /// Not before that has passed: 30m, 12h.
        #[arg(long)]
        after: Option<String>,
        /// A UUID: entered again under it, the same job is shown.
        #[arg(long, default_value = "")]
        request_id: String,
    },
    /// Lists your jobs, the newest first.
    List {
        #[arg(long)]
        state: Option<State>,
    },
    /// Shows a job of yours and what came of it.
    Get { job_id: String },
    /// Cancels a job of yours.
    Cancel { job_id: String },
    /// Shows a job of yours now and whenever it changes, until it is over.
    Watch { job_id: String },
    /// How many jobs there are, by queue.
    Queues,
    /// Who works on jobs at the moment.
    Workers,
}

impl Jobs {
    #[expect(clippy::unused_async, reason = "as the other nouns, some of which look names up")]
    pub(crate) async fn plan(self, _client: &Client) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::Submit { kind, file, endpoint, lock, attempts, after, request_id } => {
                let kind = if kind == Kind::Completion { "completion" } else { "embedding" };
                let work = json!({ "endpoint": endpoint, "body": body(&file)? });
                let asked = request([
                    (kind, Some(work)),
                    ("lock", Some(json!(lock))),
                    ("max_attempts", attempts.map(Value::from)),
                    ("due_time", after.as_deref().map(in_future).transpose()?),
                    ("request_id", Some(json!(request_id))),
                ]);
                Plan::thing("JobService/SubmitJob", asked, "job")
            }
            Self::List { state } => {
                let state = state.map(|state| json!(format!("JOB_STATE_{}", word(state))));
                Plan::list("JobService/ListJobs", request([("state", state)]), "jobs", JOBS)
            }
            Self::Get { job_id } => Plan::thing("JobService/GetJob", json!({ "job_id": job_id }), "job"),
            Self::Cancel { job_id } => {
                Plan::thing("JobService/CancelJob", json!({ "job_id": job_id }), "job")
            }
            Self::Watch { job_id } => {
                Plan::stream("JobService/WatchJob", json!({ "job_id": job_id }), "job", WATCHED)
            }
            Self::Queues => Plan::list("JobService/GetJobStatistics", json!({}), "queues", QUEUES),
            Self::Workers => Plan::list("JobService/GetJobStatistics", json!({}), "workers", WORKERS),
        })
    }
}

fn body(file: &Path) -> anyhow::Result<Value> {
    let text = if file.as_os_str() == "-" {
        io::read_to_string(io::stdin())?
    } else {
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
    };
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))
}

fn word(state: State) -> String {
    state.to_possible_value().map(|value| value.get_name().to_uppercase()).unwrap_or_default()
}
