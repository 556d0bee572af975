//! Batches: sending a file of requests, and fetching what came of it.

use super::{
    call::Client,
    jobs::WATCHED,
    plan::{Column, Plan, request},
};
use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::{Value, json};
use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

const BATCHES: &[Column] = &[
    ("ID", "batch_id"),
    ("STATUS", "status"),
    ("ENDPOINT", "endpoint"),
    ("LINES", "total"),
    ("ANSWERED", "completed"),
    ("FAILED", "failed"),
    ("CREATED", "created_time"),
    ("UNTIL", "expire_time"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Batches {
    /// Sends a file of requests, one per line, and has them run on what the engines have to spare.
    Submit {
        /// Lines of JSON with `custom_id`, `method`, `url` and `body`; `-`: standard input.
        file: PathBuf,
        /// What every line asks: /v1/chat/completions, /v1/completions, /v1/responses, /v1/embeddings, /v1/rerank
        /// or /v1/score.
        #[arg(long, default_value = "/v1/chat/completions")]
        endpoint: String,
        /// How long it may take: 30m, 24h, 7d.
        #[arg(long, default_value = "24h")]
        window: String,
    },
    /// Lists your batches, the newest first.
    List,
    /// Shows a batch of yours.
    Get { batch_id: String },
    /// Begins no further line; what was answered is in the output.
    Cancel { batch_id: String },
    /// Shows how far a batch of yours is, until it is over.
    Watch { batch_id: String },
    /// Writes what was answered to standard output.
    Output {
        batch_id: String,
        /// What was refused or failed instead.
        #[arg(long)]
        errors: bool,
    },
}

impl Batches {
    pub(crate) async fn plan(self, client: &Client) -> anyhow::Result<Plan> {
        let named = |batch_id: &str| json!({ "batch_id": batch_id });
        Ok(match self {
            Self::Submit { file, endpoint, window } => {
                let asked = request([
                    ("input_file_id", Some(upload(client, &file).await?)),
                    ("endpoint", Some(json!(endpoint))),
                    ("completion_window", Some(json!(window))),
                ]);
                Plan::thing("InferenceBatchService/CreateBatch", asked, "batch")
            }
            Self::List => Plan::list("InferenceBatchService/ListBatches", json!({}), "batches", BATCHES),
            Self::Get { batch_id } => {
                Plan::thing("InferenceBatchService/GetBatch", named(&batch_id), "batch")
            }
            Self::Cancel { batch_id } => {
                Plan::thing("InferenceBatchService/CancelBatch", named(&batch_id), "batch")
            }
            Self::Watch { batch_id } => {
                // A batch is a job of the same id.
                let job_id = batch_id.strip_prefix("batch_").unwrap_or(&batch_id);
                Plan::stream("JobService/WatchJob", json!({ "job_id": job_id }), "job", WATCHED)
            }
            Self::Output { batch_id, errors } => {
                let batch = client.unary("InferenceBatchService/GetBatch", &named(&batch_id)).await?;
                let field = if errors { "error_file_id" } else { "output_file_id" };
                let Some(file) = batch["batch"][field].as_str() else {
                    bail!("there is no such file; `batches get {batch_id}` says how the batch stands")
                };
                Plan::bytes("FileService/DownloadFile", json!({ "file_id": file }), "piece")
            }
        })
    }
}

/// Sends a file, piece by piece.
async fn upload(client: &Client, file: &Path) -> anyhow::Result<Value> {
    let (name, mut bytes) = (file.file_name().unwrap_or_default().to_string_lossy(), Vec::new());
    if file.as_os_str() == "-" {
        io::stdin().read_to_end(&mut bytes)?;
    } else {
        bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    let begin = json!({ "begin": { "filename": name, "purpose": "batch" } });
    let mut answer = client.send_file("FileService/UploadFile", &begin, "piece", bytes).await?;
    Ok(answer["file"]["file_id"].take())
}
