//! One JSON line for each request, written as it ends, so that it can be compared with the ledger afterwards.

use super::call::{Ending, Outcome};
use anyhow::Context;
use serde_json::json;
use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

/// A file of such lines.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    path: PathBuf,
}

impl Log {
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write the log {}", path.display()))?;
        Ok(Self { file, path: path.to_owned() })
    }

    pub(super) fn write(&mut self, outcome: &Outcome) -> anyhow::Result<()> {
        // One write for each line: nothing is held back when the replay itself is killed.
        let line = format!("{}\n", line(outcome));
        let written = self.file.write_all(line.as_bytes());
        written.with_context(|| format!("cannot write the log {}", self.path.display()))
    }
}

fn line(outcome: &Outcome) -> serde_json::Value {
    let millis = |span: Duration| span.as_secs_f64() * 1e3;
    let error = match &outcome.ending {
        Ending::Failed(fault) => Some(fault.to_string()),
        Ending::Finished(_) | Ending::HungUp => None,
    };
    json!({
        "request_id": outcome.request_id,
        "row": outcome.row,
        "status": outcome.status.map(|status| status.as_u16()),
        "finished": matches!(outcome.ending, Ending::Finished(_)),
        "hung_up": outcome.ending == Ending::HungUp,
        "error": error,
        "done": outcome.done,
        "events": outcome.events,
        "sent_tokens": outcome.asked.0,
        "asked_tokens": outcome.asked.1,
        "prompt_tokens": outcome.usage.map(|usage| usage.prompt_tokens),
        "completion_tokens": outcome.usage.map(|usage| usage.completion_tokens),
        "ttft_ms": outcome.first_token.map(millis),
        "e2e_ms": millis(outcome.end),
    })
}
