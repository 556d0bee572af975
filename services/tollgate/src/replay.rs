//! `tollgate replay`: sends recorded traffic through a gateway and says how it went and whether the books agree.
//!
//! A [`trace`](crate::trace) becomes a [`plan`] (when, how long a prompt, how long an answer, who hangs up); [`send`] carries it out
//! in open loop, one task for each [`call`]; [`balance`] compares what clients, ledger and engines counted; [`report`]
//! prints it. It only reads: nothing of the gateway is changed but what requests change.

mod balance;
mod call;
mod client;
mod credentials;
mod judged;
mod log;
mod plan;
mod report;
mod send;
mod sse;

use crate::{secured::Secured, trace};
use anyhow::Context;
use balance::Books;
use call::Outcome;
use client::Client;
use log::Log;
use plan::{Limits, Plan};
use report::Report;
use secrecy::SecretString;
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

/// Sends a recorded workload through a running gateway.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// CSV file with the columns TIMESTAMP,ContextTokens,GeneratedTokens.
    #[arg(long)]
    trace: PathBuf,
    /// How many times faster than recorded requests arrive.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// The gateway's data directory; its first-run.json says address, key and model.
    #[arg(long, default_value = ".tollgate")]
    data_dir: PathBuf,
    /// Address of the gateway, instead of the one in first-run.json.
    #[arg(long)]
    url: Option<String>,
    #[command(flatten)]
    secured: Secured,
    /// API key, instead of the one in first-run.json.
    #[arg(long)]
    api_key: Option<SecretString>,
    /// Model, instead of the one in first-run.json.
    #[arg(long)]
    model: Option<String>,
    /// Longest prompt and answer together, where the gateway's model list does not say.
    #[arg(long)]
    max_model_len: Option<u32>,
    /// Sends only so many of the recorded requests.
    #[arg(long)]
    limit: Option<usize>,
    /// Stops sending after so many seconds.
    #[arg(long)]
    duration: Option<f64>,
    /// Share of the clients, 0 to 1, that hang up at a random point of their answer.
    #[arg(long, default_value_t = 0.0)]
    hangup: f64,
    /// Decides prompts, and who hangs up and where.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    judged: judged::Options,
    /// Prints one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Writes one JSON line for each request, as it ends.
    #[arg(long)]
    log: Option<PathBuf>,
}

impl Args {
    fn check(&self) -> anyhow::Result<Option<Duration>> {
        anyhow::ensure!(self.speed.is_finite() && self.speed > 0.0, "--speed must be greater than 0");
        anyhow::ensure!((0.0..=1.0).contains(&self.hangup), "--hangup is a share, from 0 to 1");
        let seconds = self.duration.map(Duration::try_from_secs_f64).transpose();
        seconds.context("--duration counts seconds and cannot be negative")
    }
}

/// Replays the trace and prints the report.
///
/// # Errors
/// When there is nothing to send, or no gateway that answers the first request.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut report = Vec::new();
    replay(args, &mut report).await?;
    io::stdout().lock().write_all(&report)?;
    Ok(ExitCode::SUCCESS)
}

async fn replay(args: Args, out: &mut Vec<u8>) -> anyhow::Result<()> {
    let stop_after = args.check()?;
    let mut rows = trace::read(&args.trace)?;
    rows.truncate(args.limit.unwrap_or(usize::MAX));
    let mut log = args.log.as_deref().map(Log::create).transpose()?;
    let known = credentials::Given { url: args.url, api_key: args.api_key, model: args.model };
    let mut judged = args.judged.judged(&rows, args.seed, args.duration)?;
    let client = Client::new(known.complete(&args.data_dir)?, &args.secured.dialer()?)?;
    let client = client.with_keys(judged.as_ref().map(|judged| judged.keys.clone()).unwrap_or_default());

    let opening = balance::ledger(&client).await;
    let limits = learn(&client, args.max_model_len).await?;
    let lots = plan::Lots { hang_up: args.hangup, seed: args.seed };
    let plan = match &judged {
        Some(judged) => Plan::simulated(&judged.workload, limits, args.seed),
        None => Plan::new(&rows, args.speed, limits, lots),
    };
    note_clipped(&plan, limits.max_model_len)?;

    // The probe must be in the ledger before the books are opened, or it would be counted as traffic.
    let books = Books::open(&client, opening, PROBES).await;
    let limit = match &judged {
        Some(judged) => send::Limit { sending: None, waiting: Some(judged.workload.settled) },
        None => send::Limit { sending: stop_after, waiting: None },
    };
    let hear = |outcome: &Outcome| {
        if let Some(judged) = &mut judged {
            judged.hear(outcome);
        }
        log.as_mut().map_or(Ok(()), |log| log.write(outcome))
    };
    let sent = send::all(&client, &plan, limit, hear).await?;
    let balance = books.close(&client, sent.at_engines).await;

    let judged = judged.map(|judged| judged.report());
    let report = Report { sent: &sent, balance: &balance, judged: judged.as_ref() };
    if args.json {
        writeln!(out, "{}", report.to_json())?
    } else {
        report.write(out)?
    }
    Ok(())
}

/// Requests sent to learn what the engine counts.
const PROBES: u64 = 1;

async fn learn(client: &Client, fallback: Option<u32>) -> anyhow::Result<Limits> {
    let overhead = call::probe(client).await?;
    let max_model_len = client.max_model_len().await?.or(fallback).context(
        "the gateway's model list does not say how long a context may be; say it with --max-model-len",
    )?;
    Ok(Limits { max_model_len, overhead })
}

fn note_clipped(plan: &Plan, max_model_len: u32) -> io::Result<()> {
    let (clipped, all) = (plan.clipped(), plan.calls.len());
    if clipped > 0 {
        let note = "recorded requests are longer than the engine takes and are clipped to";
        writeln!(io::stderr(), "{clipped} of {all} {note} {max_model_len} tokens")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
