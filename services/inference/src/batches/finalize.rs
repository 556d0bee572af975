//! Last step: the answers go into files, in the order of the input, and the batch is over.

use super::{Batch, Counts, Fault, Status, line};
use crate::{
    error::Error,
    files::{self, Upload, lines::Lines},
    store::{
        self,
        batches::{Finish, Line},
        files::File,
    },
};
use shared::{
    claims::{self, End, Ended, Failure, Held, Tallied},
    seal::rows::Vault,
    time,
};
use std::time::Duration;

/// Lines that are read, or written, at once.
const MOST: u32 = 200;

/// How long what came of it is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    /// Its files.
    pub(super) files: Duration,
    /// All else.
    pub(super) rest: Duration,
}

/// Ends a batch whose file cannot be run, or that was given up.
pub(super) async fn fail(
    vault: &Vault,
    held: &Held,
    batch: &Batch,
    faults: &[Fault],
    keep: Keep,
) -> Result<Ended, Error> {
    let first = faults.first();
    let message = first.map_or_else(String::new, |fault| match fault.line {
        Some(line) => format!("line {line}: {}", fault.message),
        None => fault.message.clone(),
    });
    let end = End::Failed(Failure { reason: "BATCH_FAILED".to_owned(), message });
    let status = if batch.status == Status::Cancelling { Status::Cancelled } else { Status::Failed };
    let finish = Finish { status, output: None, error_output: None, faults, counts: Counts::default() };
    over(vault, held, batch, &finish, &[], &end, keep).await
}

/// Ends a batch with what was answered.
pub(super) async fn finalize(
    vault: &Vault,
    held: &Held,
    batch: &Batch,
    status: Status,
    counts: Counts,
    keep: Keep,
) -> Result<Ended, Error> {
    let mut tx = vault.begin().await?;
    if !claims::holds(&mut tx, held.claim.ticket).await? {
        return Ok(Ended::Lost);
    }
    store::batches::finalizing(&mut tx, batch.id, time::now()).await?;
    tx.commit().await?;
    let mut counts = counts;
    if status == Status::Expired && !expire(vault, held, batch, &mut counts).await? {
        return Ok(Ended::Lost);
    }
    let output = write(vault, batch, false, keep).await?;
    let errors = write(vault, batch, true, keep).await?;
    let files: Vec<File> = output.iter().chain(&errors).cloned().collect();
    let (output, error_output) = (output.map(|file| file.id), errors.map(|file| file.id));
    let finish = Finish { status, output, error_output, faults: &batch.faults, counts };
    let end = match status {
        Status::Cancelled => End::Cancelled,
        Status::Expired => {
            let message = "its completion window was over before all lines were answered".to_owned();
            End::Failed(Failure { reason: "BATCH_EXPIRED".to_owned(), message })
        }
        _ => End::Succeeded(summary(batch, &finish)),
    };
    over(vault, held, batch, &finish, &files, &end, keep).await
}

/// What the job says of it.
fn summary(batch: &Batch, finish: &Finish<'_>) -> Vec<u8> {
    let file = |id: Option<uuid::Uuid>| id.map(files::name);
    let summary = serde_json::json!({
        "batch_id": super::name(batch.id),
        "output_file_id": file(finish.output),
        "error_file_id": file(finish.error_output),
        "request_counts": {"total": batch.total, "completed": finish.counts.completed, "failed": finish.counts.failed},
    });
    summary.to_string().into_bytes()
}

/// All that ends it, at once.
async fn over(
    vault: &Vault,
    held: &Held,
    batch: &Batch,
    finish: &Finish<'_>,
    files: &[File],
    end: &End,
    keep: Keep,
) -> Result<Ended, Error> {
    let (now, mut tx) = (time::now(), vault.begin().await?);
    if !claims::end_held(&mut tx, &vault.sealer, held.claim.ticket, end, (now, now.plus(keep.rest))).await? {
        return Ok(Ended::Lost);
    }
    for file in files {
        store::files::ready(&mut tx, file).await?;
    }
    store::batches::finish(&mut tx, &vault.sealer, batch.id, finish, now).await?;
    tx.commit().await?;
    Ok(Ended::Written(Tallied::from(end)))
}

/// Notes each line that was not answered in time. Returns whether the batch is still held.
async fn expire(vault: &Vault, held: &Held, batch: &Batch, counts: &mut Counts) -> Result<bool, Error> {
    let answered = store::batches::answered(vault, batch.id).await?;
    let (mut lines, mut late) = (Lines::of(vault.clone(), batch.input), Vec::new());
    loop {
        let next = lines.next().await?;
        let is_last = next.is_none();
        if let Some((number, text)) = next.filter(|(number, _)| !answered.contains_key(number))
            && let Ok(ask) = line::read(number, &text, batch.endpoint)
        {
            late.push(expired(batch, number, &ask));
        }
        if late.len() >= MOST as usize || (is_last && !late.is_empty()) {
            counts.failed += u32::try_from(late.len()).unwrap_or(0);
            let mut tx = vault.begin().await?;
            if !claims::holds(&mut tx, held.claim.ticket).await? {
                return Ok(false);
            }
            store::batches::add(&mut tx, &vault.sealer, batch.id, &late, *counts).await?;
            tx.commit().await?;
            late.clear();
        }
        if is_last {
            return Ok(true);
        }
    }
}

fn expired(batch: &Batch, number: u32, ask: &line::Ask) -> Line {
    let message = "the completion window was over before this line was answered";
    line::given_up(batch.id, number, ask, "batch_expired", message)
}

/// A file of the answers or of the failures; nothing when there are none. It is not ready yet.
async fn write(vault: &Vault, batch: &Batch, failed: bool, keep: Keep) -> Result<Option<File>, Error> {
    let (mut after, mut file) = (0, None);
    loop {
        let bodies = store::batches::bodies(vault, batch.id, failed, after, MOST).await?;
        let Some((last, _)) = bodies.last() else { break };
        after = *last;
        if file.is_none() {
            let name =
                format!("{}_{}.jsonl", super::name(batch.id), if failed { "errors" } else { "output" });
            file = Some(Upload::output(vault, batch.owner, name, keep.files).await?);
        }
        let Some(file) = &mut file else { break };
        for (_, body) in &bodies {
            file.feed(body).await?;
            file.feed(b"\n").await?;
        }
    }
    match file {
        Some(file) => Ok(Some(file.written().await?)),
        None => Ok(None),
    }
}
