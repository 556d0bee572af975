//! The recording: when each request came and how long prompt and answer were.

use anyhow::Context;
use serde::Deserialize;
use simulate::workload::Recorded;
use std::{fs::File, io::Read, path::Path, time::Duration};

/// One recorded request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// Since the first one.
    pub(crate) at: Duration,
    pub(crate) context_tokens: u32,
    pub(crate) generated_tokens: u32,
}

impl From<&Row> for Recorded {
    fn from(row: &Row) -> Self {
        Self { at: row.at, prompt: row.context_tokens, output: row.generated_tokens }
    }
}

#[derive(Debug, Deserialize)]
struct Line {
    #[serde(rename = "TIMESTAMP")]
    timestamp: String,
    #[serde(rename = "ContextTokens")]
    context_tokens: u32,
    #[serde(rename = "GeneratedTokens")]
    generated_tokens: u32,
}

/// Reads a file, oldest request first.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Row>> {
    let file = File::open(path).with_context(|| format!("cannot read the trace {}", path.display()))?;
    let rows = parse(file).with_context(|| format!("the trace {} cannot be used", path.display()))?;
    anyhow::ensure!(!rows.is_empty(), "the trace {} has no requests in it", path.display());
    Ok(rows)
}

/// Recordings are merged from several machines, so a row may come a little after its time: they are sorted here.
fn parse(input: impl Read) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (line, record) in csv::Reader::from_reader(input).into_deserialize().enumerate() {
        let line_number = line + 2;
        let line: Line = record.with_context(|| format!("line {line_number}"))?;
        let at = since_midnight_of_day_zero(&line.timestamp).with_context(|| {
            format!("line {line_number}: {:?} is no time like 2023-11-16 18:15:46.68", line.timestamp)
        })?;
        rows.push((at, line));
    }
    rows.sort_by_key(|(at, _)| *at);
    let first = rows.first().map_or(Duration::ZERO, |(at, _)| *at);
    let row = |(at, line): (Duration, Line)| Row {
        at: at - first,
        context_tokens: line.context_tokens,
        generated_tokens: line.generated_tokens,
    };
    Ok(rows.into_iter().map(row).collect())
}

/// A time without zone, as a span since year 0; only differences of it are used.
fn since_midnight_of_day_zero(text: &str) -> Option<Duration> {
    let time: jiff::civil::DateTime = text.trim().parse().ok()?;
    let zero = jiff::civil::DateTime::constant(0, 1, 1, 0, 0, 0, 0);
    time.duration_since(zero).try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n";

    fn parsed(lines: &str) -> anyhow::Result<Vec<Row>> {
        parse(format!("{HEADER}{lines}").as_bytes())
    }

    #[test]
    fn times_count_from_the_first_request_to_the_last_digit() {
        let lines = "2023-11-16 23:59:59.9799600,4808,10\n2023-11-17 00:00:00.0319601,3180,8\n";
        let row = |nanos, context_tokens, generated_tokens| Row {
            at: Duration::from_nanos(nanos),
            context_tokens,
            generated_tokens,
        };
        assert_eq!(parsed(lines).unwrap(), [row(0, 4808, 10), row(52_000_100, 3180, 8)]);
    }

    #[test]
    fn rows_out_of_order_and_whole_seconds_are_taken() {
        let lines = "2023-11-16 18:17:05,2,2\r\n2023-11-16 18:17:03.5,1,1\r\n";
        let at: Vec<_> =
            parsed(lines).unwrap().iter().map(|row| (row.at.as_millis(), row.context_tokens)).collect();
        assert_eq!(at, [(0, 1), (1500, 2)]);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (lines, word) in [
            ("2023-11-16 18:17:05,2,2\nyesterday,1,1\n", "line 3"),
            ("2023-11-16 18:17:05,-2,2\n", "line 2"),
            ("2023-11-16 18:17:05,2\n", "line 2"),
        ] {
            let error = parsed(lines).unwrap_err();
            assert!(format!("{error:#}").contains(word), "{error:#}");
        }
        assert!(parse(&b"time,prompt\n1,2\n"[..]).is_err(), "other columns are another format");
    }
}
