//! Carries out a plan in open loop: every request goes when it is due, whether or not earlier ones have ended.

use super::{
    call::{self, Ending, Outcome},
    client::Client,
    plan::Plan,
};
use hdrhistogram::Histogram;
use std::{collections::BTreeMap, pin::pin, time::Duration};
use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};

/// Longest time told apart, in microseconds; longer ones count as this.
const LONGEST: u64 = 3_600_000_000;

/// What came of all requests together.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) requests: u64,
    /// Of these, shorter than recorded.
    pub(super) clipped: u64,
    pub(super) finished: u64,
    pub(super) hung_up: u64,
    /// Open when the replay was interrupted.
    pub(super) interrupted: u64,
    /// By word.
    pub(super) faults: BTreeMap<String, u64>,
    /// What the engines told those clients that finished.
    pub(super) exact_tokens: u64,
    /// Requests that got as far as an answer, so that each must be in the ledger.
    pub(super) at_engines: u64,
    /// All in microseconds.
    pub(super) first_token: Histogram<u64>,
    pub(super) per_token: Histogram<u64>,
    pub(super) end_to_end: Histogram<u64>,
    pub(super) elapsed: Duration,
}

/// When to stop.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limit {
    /// Nothing is sent after that.
    pub(super) sending: Option<Duration>,
    /// Nothing is waited for after that.
    pub(super) waiting: Option<Duration>,
}

/// Sends everything, or as much as goes before the limit and Ctrl-C, and tells `hear` how each request ended.
pub(super) async fn all(
    client: &Client,
    plan: &Plan,
    limit: Limit,
    mut hear: impl FnMut(&Outcome) -> anyhow::Result<()>,
) -> anyhow::Result<Sent> {
    let start = Instant::now();
    let (mut sent, mut open) = (Sent::new()?, JoinSet::new());
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    let due_in_time = |at: Duration| limit.sending.is_none_or(|limit| at < limit);
    let until = limit.waiting.map(|limit| start + limit);
    let mut calls = plan.calls.iter().take_while(|call| due_in_time(call.at)).peekable();
    loop {
        let due = calls.peek().map(|call| start + call.at);
        tokio::select! {
            () = sleep_until(due.unwrap_or(start)), if due.is_some() => {
                if let Some((call, due)) = calls.next().zip(due) {
                    sent.requests += 1;
                    sent.clipped += u64::from(call.clipped);
                    open.spawn(call::carry_out(client.clone(), call.clone(), due, until));
                }
            }
            Some(ended) = open.join_next() => sent.note(ended, &mut hear)?,
            _ = &mut interrupt => break,
            else => break,
        }
        if calls.peek().is_none() && open.is_empty() {
            break;
        }
    }
    sent.elapsed = start.elapsed();
    open.abort_all();
    while let Some(ended) = open.join_next().await {
        sent.note(ended, &mut hear)?;
    }
    Ok(sent)
}

impl Sent {
    pub(super) fn new() -> anyhow::Result<Self> {
        let histogram = Histogram::new_with_bounds(1, LONGEST, 3)?;
        Ok(Self {
            requests: 0,
            clipped: 0,
            finished: 0,
            hung_up: 0,
            interrupted: 0,
            faults: BTreeMap::new(),
            exact_tokens: 0,
            at_engines: 0,
            first_token: histogram.clone(),
            per_token: histogram.clone(),
            end_to_end: histogram,
            elapsed: Duration::ZERO,
        })
    }

    /// Requests that went wrong.
    pub(super) fn errors(&self) -> u64 {
        self.faults.values().sum()
    }

    fn note(
        &mut self,
        ended: Result<Outcome, JoinError>,
        hear: &mut impl FnMut(&Outcome) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        match ended {
            Ok(outcome) => {
                self.count(&outcome);
                hear(&outcome)
            }
            Err(error) if error.is_cancelled() => {
                self.interrupted += 1;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn count(&mut self, outcome: &Outcome) {
        match &outcome.ending {
            Ending::Finished(usage) => {
                self.finished += 1;
                self.exact_tokens += usage.prompt_tokens + usage.completion_tokens;
                self.end_to_end.saturating_record(micros(outcome.end));
            }
            Ending::HungUp => self.hung_up += 1,
            Ending::Failed(fault) => *self.faults.entry(fault.to_string()).or_default() += 1,
        }
        self.at_engines += u64::from(outcome.status == Some(http::StatusCode::OK));
        if let Some(first) = outcome.first_token {
            self.first_token.saturating_record(micros(first));
        }
        if let Some(each) = outcome.time_per_token() {
            self.per_token.saturating_record(micros(each));
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
