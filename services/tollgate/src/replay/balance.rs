//! Whether the books agree: what the ledger and the engines counted between the first request and the last.

use super::client::Client;
use anyhow::Context;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long records may take from the end of a request to the ledger.
const SETTLING: Duration = Duration::from_secs(15);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// What the ledger says of everything the key may see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    /// Records.
    pub(super) requests: u64,
    pub(super) finished: u64,
    pub(super) cancelled: u64,
    pub(super) failed: u64,
    pub(super) crashed: u64,
    /// Prompt and completion together.
    pub(super) tokens: u64,
    /// Part of them that is a guess.
    pub(super) estimated: u64,
}

/// Both sides as they stood before the traffic.
#[derive(Debug)]
pub(super) struct Books {
    ledger: anyhow::Result<Ledger>,
    engines: anyhow::Result<u64>,
}

/// What the traffic added, as far as it could be read; each side fails on its own.
#[derive(Debug)]
pub(super) struct Balance {
    pub(super) ledger: anyhow::Result<Ledger>,
    pub(super) engine_tokens: anyhow::Result<u64>,
}

impl Books {
    /// Opens the books once `earlier` more requests than in `opening` are recorded.
    pub(super) async fn open(client: &Client, opening: anyhow::Result<Ledger>, earlier: u64) -> Self {
        let ledger = match opening {
            Ok(opening) => settled(client, &opening, earlier).await,
            Err(error) => Err(error),
        };
        Self { ledger, engines: resting(client).await }
    }

    /// Closes them once `expected` more requests are recorded.
    pub(super) async fn close(self, client: &Client, expected: u64) -> Balance {
        let ledger = match self.ledger {
            Ok(before) => settled(client, &before, expected).await.and_then(|after| after.since(&before)),
            Err(error) => Err(error),
        };
        let engine_tokens = match self.engines {
            Ok(before) => {
                resting(client).await.and_then(|after| grown("an engine's token counters", before, after))
            }
            Err(error) => Err(error),
        };
        Balance { ledger, engine_tokens }
    }
}

/// The ledger as it stands.
pub(super) async fn ledger(client: &Client) -> anyhow::Result<Ledger> {
    let mut sum = Ledger::default();
    let mut path = "/api/v1/usage".to_owned();
    loop {
        let page = client.rest(&path).await.context("the ledger cannot be read")?;
        sum.add(&page);
        match page.get("next_page_token").and_then(Value::as_str) {
            Some(token) if !token.is_empty() => path = format!("/api/v1/usage?page_token={}", escaped(token)),
            _ => return Ok(sum),
        }
    }
}

/// Polls until the ledger has so many requests more than before, at most [`SETTLING`] long; then what it has counts.
async fn settled(client: &Client, before: &Ledger, more: u64) -> anyhow::Result<Ledger> {
    let give_up = Instant::now() + SETTLING;
    loop {
        // Errors are waited out too: the gateway may be starting again.
        let now = ledger(client).await;
        let complete = now.as_ref().is_ok_and(|now| now.requests >= before.requests + more);
        if complete || Instant::now() >= give_up {
            return now;
        }
        sleep(PAUSE).await;
    }
}

/// The engines' tokens once they stand still: an engine goes on for a moment after its last client hung up.
async fn resting(client: &Client) -> anyhow::Result<u64> {
    let give_up = Instant::now() + SETTLING;
    let mut last = engine_tokens(client).await;
    loop {
        sleep(PAUSE).await;
        let now = engine_tokens(client).await;
        let still = matches!((&last, &now), (Ok(last), Ok(now)) if last == now);
        if still || now.is_err() || Instant::now() >= give_up {
            return now;
        }
        last = now;
    }
}

async fn engine_tokens(client: &Client) -> anyhow::Result<u64> {
    let list = client.rest("/api/v1/engines").await.context("the list of engines cannot be read")?;
    let engines = list.get("engines").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    anyhow::ensure!(!engines.is_empty(), "the gateway lists no engines");
    let mut sum = 0;
    for engine in engines {
        let url = engine.get("url").and_then(Value::as_str).context("an engine is listed without its url")?;
        sum += counted(&client.metrics(url).await?);
    }
    Ok(sum)
}

/// Tokens in an engine's metrics, over all label sets.
fn counted(metrics: &str) -> u64 {
    let sample = |line: &str| {
        let name = line.split(['{', ' ']).next()?;
        let ours = matches!(name, "vllm:prompt_tokens_total" | "vllm:generation_tokens_total");
        let value: f64 = line.rsplit(' ').next().filter(|_| ours)?.parse().ok()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of whole tokens"
        )]
        Some(value as u64)
    };
    metrics.lines().filter_map(sample).sum()
}

impl Ledger {
    /// Adds the rows of one page.
    fn add(&mut self, page: &Value) {
        for row in page.get("rows").and_then(Value::as_array).map_or(&[][..], Vec::as_slice) {
            let field = |name| row.get(name).and_then(number).unwrap_or(0);
            self.requests += field("requests");
            self.finished += field("finished");
            self.cancelled += field("cancelled");
            self.failed += field("failed");
            self.crashed += field("crashed");
            self.tokens += field("prompt_tokens") + field("completion_tokens");
            self.estimated += field("estimated_tokens");
        }
    }

    fn since(&self, before: &Self) -> anyhow::Result<Self> {
        let grown = |before, after| grown("the ledger", before, after);
        Ok(Self {
            requests: grown(before.requests, self.requests)?,
            finished: grown(before.finished, self.finished)?,
            cancelled: grown(before.cancelled, self.cancelled)?,
            failed: grown(before.failed, self.failed)?,
            crashed: grown(before.crashed, self.crashed)?,
            tokens: grown(before.tokens, self.tokens)?,
            estimated: grown(before.estimated, self.estimated)?,
        })
    }
}

fn grown(what: &str, before: u64, after: u64) -> anyhow::Result<u64> {
    after.checked_sub(before).with_context(|| {
        format!("{what} went back from {before} to {after}: something was started anew during the replay")
    })
}

/// A whole number in JSON, which writes 64 bits as text.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn escaped(token: &str) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    token
        .bytes()
        .map(|byte| if safe(byte) { char::from(byte).into() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_add_up_and_absent_fields_are_zero() {
        let mut ledger = Ledger::default();
        ledger.add(&json!({"rows": [
            {"requests": "3", "finished": "2", "cancelled": "1", "prompt_tokens": "100", "completion_tokens": "20"},
            {"requests": 1, "crashed": 1, "prompt_tokens": 7, "estimated_tokens": 7},
        ]}));
        let expected = Ledger {
            requests: 4,
            finished: 2,
            cancelled: 1,
            failed: 0,
            crashed: 1,
            tokens: 127,
            estimated: 7,
        };
        assert_eq!(ledger, expected);
        ledger.add(&json!({}));
        assert_eq!(ledger, expected);
    }

    #[test]
    fn the_balance_is_what_was_added() {
        let before = Ledger { requests: 5, finished: 5, tokens: 500, ..Ledger::default() };
        let after = Ledger { requests: 9, finished: 7, cancelled: 2, tokens: 800, estimated: 90, ..before };
        let added = Ledger {
            requests: 4,
            finished: 2,
            cancelled: 2,
            tokens: 300,
            estimated: 90,
            ..Ledger::default()
        };
        assert_eq!(after.since(&before).unwrap(), added);
        assert!(before.since(&after).unwrap_err().to_string().contains("went back"));
    }

    #[test]
    fn engines_count_prompt_and_answer_over_all_labels() {
        let metrics = "# TYPE vllm:prompt_tokens_total counter\n\
            vllm:prompt_tokens_total{engine=\"0\",model_name=\"a b\"} 120.0\n\
            vllm:prompt_tokens_total{engine=\"1\",model_name=\"a\"} 1.5e+02\n\
            vllm:prompt_tokens_created{engine=\"0\"} 1.79e+09\n\
            vllm:generation_tokens_total 30\n\
            vllm:generation_tokens_total_more 99\n";
        assert_eq!(counted(metrics), 300);
        assert_eq!(counted(""), 0);
    }

    #[test]
    fn page_tokens_survive_the_query() {
        assert_eq!(escaped("a-b_c=+/"), "a-b_c%3D%2B%2F");
    }
}
