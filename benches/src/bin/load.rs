//! `load`: sends requests at a constant rate and reports what they took.
//!
//! Latency counts from the moment a request was meant to go, so a stall shows in full.

use anyhow::Context;
use benches::{
    pace::{self, Pace},
    run::{Load, Outcome, run},
    tally::micros,
    target::{Address, Credentials, Mode},
};
use clap::Parser;
use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

/// Open-loop load on an OpenAI-compatible server.
#[derive(Debug, Parser)]
struct Args {
    /// What to send.
    #[arg(value_enum)]
    mode: Mode,
    /// Where to, as http://HOST:PORT.
    #[arg(long)]
    url: Address,
    /// Requests a second; 0 sends as fast as the connections allow.
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// Seconds to measure.
    #[arg(long, default_value_t = 10.0)]
    duration: f64,
    /// Seconds of the same load before that, which do not count.
    #[arg(long, default_value_t = 2.0)]
    warmup: f64,
    /// Requests at once, each on a connection of its own; more wait, and their waiting counts.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// The gateway's first-run.json, for key and model.
    #[arg(long)]
    credentials: Option<PathBuf>,
    /// The key, when it is not in a file.
    #[arg(long, default_value = "none")]
    api_key: String,
    /// The model, when it is not in a file.
    #[arg(long, default_value = "bench")]
    model: String,
    /// Process whose processor time is charged to the requests; may be given several times.
    #[arg(long)]
    pid: Vec<u32>,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    pace::sharpen_timers();
    let warmup = load(&args, args.warmup)?;
    if !warmup.length.is_zero() {
        run(&warmup)?;
    }
    let outcome = run(&load(&args, args.duration)?)?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", outcome.to_json())?;
    } else {
        print(&mut out, &outcome)?;
    }
    Ok(())
}

fn load(args: &Args, seconds: f64) -> anyhow::Result<Load> {
    let given = Credentials { api_key: args.api_key.clone(), model: args.model.clone() };
    let credentials = args.credentials.as_deref().map_or(Ok(given), Credentials::from_file)?;
    Ok(Load {
        address: args.url.clone(),
        credentials,
        mode: args.mode,
        pace: if args.rate > 0.0 { Pace::Open { rate: args.rate } } else { Pace::Closed },
        connections: args.concurrency.max(1),
        length: Duration::try_from_secs_f64(seconds)
            .context("--duration and --warmup count seconds from 0")?,
        pids: args.pid.clone(),
    })
}

fn print(out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    let tally = &outcome.tally;
    writeln!(out, "answered    {:>12}", tally.answered())?;
    writeln!(out, "errors      {:>12}", tally.failed())?;
    for (word, count) in &tally.failures {
        writeln!(out, "  {word}: {count}")?;
    }
    writeln!(out, "requests/s  {:>12.1}", outcome.per_second())?;
    for (name, histogram) in [("latency", &tally.whole), ("first byte", &tally.first_byte)] {
        let [p50, p99, p999] = [50.0, 99.0, 99.9].map(|percentile| micros(histogram, percentile));
        writeln!(out, "{name:<11} p50 {p50:.0} µs, p99 {p99:.0} µs, p99.9 {p999:.0} µs")?;
    }
    if let Some((each, cores)) = outcome.cpu_micros().zip(outcome.cores()) {
        writeln!(out, "processor   {each:.1} µs per request, {cores:.2} cores")?;
    }
    Ok(())
}
