//! A replay through the gateway over two engines of which one is killed (SIGKILL) every so often, in turns. Prints what
//! clients and the ledger saw; fails when a request that had no byte yet was refused, one that was cut off was not told
//! so, or the ledger differs from what clients saw by more than it may.
//!
//! `just killed --trace azure-llm-2023-conv.csv --seconds 200`

use clap::Parser;
use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};
use tests::killing::{Killing, Moment};

/// What to do.
#[derive(Debug, Parser)]
struct Args {
    /// CSV file with the columns TIMESTAMP,ContextTokens,GeneratedTokens.
    #[arg(long)]
    trace: PathBuf,
    /// How many times faster than recorded requests arrive.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// How long requests arrive, seconds.
    #[arg(long, default_value_t = 200)]
    seconds: u64,
    /// Seconds from one kill to the next.
    #[arg(long, default_value_t = 30)]
    every: u64,
    /// Seconds that a killed engine is away.
    #[arg(long, default_value_t = 5)]
    away: u64,
    /// What engines are like.
    #[arg(long, default_value = "reference")]
    profile: String,
    /// Decides prompts.
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

#[tokio::main]
async fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let replay = format!(
        "--trace {} --speed {} --duration {} --seed {} --json",
        // The replay runs in a folder of its own.
        fs::canonicalize(&args.trace)?.display(),
        args.speed,
        args.seconds,
        args.seed
    );
    let killing = Killing {
        engine: &format!("--profile {}", args.profile),
        replay: &replay,
        settings: &[],
        between: Moment::In(Duration::from_secs(args.every.saturating_sub(args.away))),
        away: Moment::In(Duration::from_secs(args.away)),
    };
    let found = killing.run().await;
    writeln!(io::stdout(), "{found}")?;
    Ok(if found.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
