//! Keeping what was answered: whatever is there is written at once, in one transaction that names the claim.

use super::{Batch, Counts};
use crate::{
    error::Error,
    store::{self, batches::Line},
};
use shared::{
    claims::{self, Held},
    seal::rows::Vault,
};
use std::time::Duration;
use tokio::sync::mpsc;

/// Lines that are written at once.
const MOST: usize = 500;
/// Between two tries while the database is away.
const AGAIN: Duration = Duration::from_millis(500);

/// Somebody else has the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost;

/// Keeps lines until there are no more; returns how many there are in all.
pub(super) async fn keep(
    vault: &Vault,
    held: &Held,
    batch: &Batch,
    mut counts: Counts,
    mut lines: mpsc::Receiver<Line>,
) -> Result<Counts, Lost> {
    let mut some = Vec::new();
    while lines.recv_many(&mut some, MOST).await > 0 {
        for line in &some {
            if line.failed { counts.failed += 1 } else { counts.completed += 1 }
        }
        while !write(vault, held, batch, &some, counts).await? {
            tokio::time::sleep(AGAIN).await;
        }
        let done = u64::from(counts.completed) + u64::from(counts.failed);
        let percent = (done * 100).checked_div(batch.total.into()).unwrap_or(0);
        held.progress(u8::try_from(percent.min(100)).unwrap_or(100));
        some.clear();
    }
    Ok(counts)
}

/// Whether they were written; it can be tried again when not.
async fn write(
    vault: &Vault,
    held: &Held,
    batch: &Batch,
    lines: &[Line],
    counts: Counts,
) -> Result<bool, Lost> {
    let writing = async {
        let mut tx = vault.begin().await?;
        if !claims::holds(&mut tx, held.claim.ticket).await? {
            return Ok(false);
        }
        store::batches::add(&mut tx, &vault.sealer, batch.id, lines, counts).await?;
        tx.commit().await?;
        Ok::<_, Error>(true)
    };
    match writing.await {
        Ok(true) => Ok(true),
        Ok(false) => Err(Lost),
        // What is known to be answered was paid for, so it is kept as long as that may take.
        Err(error) => {
            tracing::debug!(%error, "lines of a batch could not be written yet");
            Ok(false)
        }
    }
}
