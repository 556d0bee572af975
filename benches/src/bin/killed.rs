//! A replay through the gateway over two engines of which one is killed (SIGKILL) every so often, in turns; or stopped
//! (SIGSTOP), or told to end (SIGTERM), or each of these. Engines are simulated, or real ones. Prints what
//! clients and the ledger saw; fails when a request that had no byte yet was refused, one that was cut off was not told
//! so, or the ledger differs from what clients saw by more than it may.
//!
//! `just killed --trace azure-llm-2023-conv.csv --seconds 200`
//! `just killed --trace azure-llm-2023-conv.csv --speed 0.5 --blows kill,stop,drain --away 15 --impatient --real real-vllm`

use clap::Parser;
use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};
use tests::{
    killing::{Killing, Moment},
    subject::{Blow, Subject},
};

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
    /// What is done, one after the other and then again: kill, stop, drain.
    #[arg(long, value_delimiter = ',', default_value = "kill", value_parser = blow)]
    blows: Vec<Blow>,
    /// Gives up on an engine after five seconds without a token, so that ones that are only stopped are noticed.
    #[arg(long)]
    impatient: bool,
    /// Command that starts a vLLM with `start PORT` and ends it with `stop PORT`, for real engines.
    #[arg(long)]
    real: Option<String>,
    /// What simulated engines are like.
    #[arg(long, default_value = "reference")]
    profile: String,
    /// Decides prompts.
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

const IMPATIENT: [(&str, &str); 2] = [
    ("TOLLGATE_INFERENCE__ENGINE__FIRST_TOKEN_TIMEOUT", "5s"),
    ("TOLLGATE_INFERENCE__ENGINE__IDLE_TIMEOUT", "5s"),
];

fn blow(word: &str) -> Result<Blow, String> {
    match word {
        "kill" => Ok(Blow::Kill),
        "stop" => Ok(Blow::Stop),
        "drain" => Ok(Blow::Drain),
        other => Err(format!("{other}: there are kill, stop, drain")),
    }
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
        blows: &args.blows,
        replay: &replay,
        settings: if args.impatient { &IMPATIENT } else { &[] },
        between: Moment::In(Duration::from_secs(args.every.saturating_sub(args.away))),
        away: Moment::In(Duration::from_secs(args.away)),
    };
    let flags = format!("--profile {}", args.profile);
    let engines = match &args.real {
        Some(command) => (Subject::real(command), Subject::real(command)),
        None => tokio::join!(Subject::simulated(&flags), Subject::simulated(&flags)),
    };
    let found = killing.run(engines.into()).await;
    writeln!(io::stdout(), "{found}")?;
    Ok(if found.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
