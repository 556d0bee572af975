//! Sending a file of any length as an import, from where that stands.

use super::{call::Client, plan::Plan};
use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use std::{
    fs,
    io::BufRead,
    path::{Path, PathBuf},
};

/// Rows of one part.
const PART: usize = 500;

/// What is imported from where.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// `-`: standard input.
    file: PathBuf,
    /// The same UUID goes on with the same import.
    #[arg(long, value_name = "UUID")]
    id: Option<String>,
    #[arg(long, default_value = "")]
    reason: String,
}

/// The methods of an import, and what its parts are called.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) upload: &'static str,
    pub(crate) stand: &'static str,
    pub(crate) part: &'static str,
    pub(crate) rows: &'static str,
}

impl Import {
    /// Sends the file from where the import stands, then shows how far it has come.
    pub(crate) async fn plan(self, client: &Client, way: &Way) -> anyhow::Result<Plan> {
        let known = self.id.is_some();
        let id = self.id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let asked = json!({ "import_id": id });
        let done = if known {
            let answer = client.unary(way.stand, &asked).await?;
            answer["progress"]["next_offset"].as_u64().unwrap_or(0)
        } else {
            0
        };
        let all = lines(&self.file)?;
        let skip = usize::try_from(done)?;
        let mut parts = vec![json!({ "begin": { "import_id": id, "reason": self.reason } })];
        for (number, rows) in all.get(skip..).unwrap_or_default().chunks(PART).enumerate() {
            parts.push(json!({ way.part: { "offset": skip + number * PART, way.rows: rows } }));
        }
        if parts.len() > 1 {
            let sent = client.upload(way.upload, parts).await;
            sent.with_context(|| format!("the import broke off; go on with --id {id}"))?;
        }
        Ok(Plan::thing(way.stand, asked, "progress"))
    }
}

/// The lines of JSON of a file; a line of an export of grants holds many.
pub(crate) fn lines(file: &Path) -> anyhow::Result<Vec<Value>> {
    let reader: Box<dyn BufRead> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let opened = fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        Box::new(std::io::BufReader::new(opened))
    };
    let mut values = Vec::new();
    for (number, line) in reader.lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let mut value: Value =
            serde_json::from_str(&line).with_context(|| format!("line {} is no JSON", number + 1))?;
        match value.get_mut("grants").map(Value::take) {
            Some(Value::Array(grants)) => values.extend(grants),
            _ => values.push(value),
        }
    }
    Ok(values)
}
