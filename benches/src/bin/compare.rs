//! `compare`: measures targets side by side and prints a table for each kind of request.
//!
//! `benches/run.sh` starts engine, gateway and reference proxy and then calls this.

use anyhow::Context;
use benches::{
    compare::{self, Plan, Target},
    pace,
    target::{Credentials, Mode},
};
use clap::Parser;
use std::{io, path::PathBuf, time::Duration};

/// Measures targets side by side.
#[derive(Debug, Parser)]
struct Args {
    /// NAME=URL or NAME=URL,PID,…: the processes whose processor time counts. The first is the bare engine.
    #[arg(long, required = true, value_parser = target)]
    target: Vec<Target>,
    /// Kinds of requests.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "chat,stream")]
    mode: Vec<Mode>,
    /// Chat completions and embeddings a second at which latency is measured.
    #[arg(long, default_value_t = 5000.0)]
    rate: f64,
    /// Streams a second at which latency is measured.
    #[arg(long, default_value_t = 100.0)]
    stream_rate: f64,
    /// Requests at once.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Turns that every target has.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each half of a turn.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// The gateway's first-run.json, for key and model; sent to the others as well.
    #[arg(long)]
    credentials: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    pace::sharpen_timers();
    let nobody = Credentials { api_key: "none".to_owned(), model: "bench".to_owned() };
    let credentials = args.credentials.as_deref().map_or(Ok(nobody), Credentials::from_file)?;
    for mode in args.mode {
        let plan = Plan {
            credentials: credentials.clone(),
            mode,
            rate: if mode == Mode::Stream { args.stream_rate } else { args.rate },
            connections: args.connections.max(1),
            rounds: args.rounds.max(1),
            length: Duration::try_from_secs_f64(args.seconds).context("--seconds cannot be negative")?,
        };
        let findings = compare::compare(&args.target, &plan)?;
        compare::write(&mut io::stdout().lock(), &plan, &findings)?;
    }
    Ok(())
}

fn target(text: &str) -> anyhow::Result<Target> {
    let (name, rest) = text.split_once('=').context("must be NAME=URL or NAME=URL,PID,…")?;
    let mut parts = rest.split(',');
    let address = parts.next().unwrap_or_default().parse()?;
    let pids = parts.map(|pid| pid.parse().with_context(|| format!("{pid} is no process id")));
    Ok(Target { name: name.to_owned(), address, pids: pids.collect::<anyhow::Result<_>>()? })
}
