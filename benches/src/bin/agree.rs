//! One workload twice: simulated by `tollgate simulate`, and replayed in real time by `tollgate replay` through a gateway
//! in front of simulated engines that run as processes. Prints both and their ratios; fails when goodput differs by more
//! than 10 %, or the 99th percentile of the time to the first token by more than 20 %.
//!
//! `just agree --trace azure-llm-2023-conv.csv --engines 2 --load 2`

#![expect(clippy::unwrap_used, reason = "like a test, it fails by panicking")]

use clap::Parser;
use serde_json::Value;
use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};
use tempfile::TempDir;
use tests::{engine::Engine, people, process::Process, suite::Suite};

/// What to compare.
#[derive(Debug, Parser)]
struct Args {
    /// CSV file with the columns TIMESTAMP,ContextTokens,GeneratedTokens.
    #[arg(long)]
    trace: PathBuf,
    /// Engines; this machine has to carry them, and the gateway and the clients beside them.
    #[arg(long, default_value_t = 2)]
    engines: usize,
    /// What is offered, in times of load 1.
    #[arg(long, default_value_t = 2.0)]
    load: f64,
    /// How requests are divided among users: zipf (100) or noisy (16, of which one sends half).
    #[arg(long, default_value = "noisy")]
    users: String,
    /// Seconds of arrivals, a third of them warm-up.
    #[arg(long, default_value_t = 180)]
    duration: u64,
    /// Seconds of arrivals after that; what is not answered by then is late.
    #[arg(long, default_value_t = 30)]
    settle: u64,
    /// Decides users, classes, prompts and the noise of engines.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// What engines are like.
    #[arg(long, default_value = "reference")]
    profile: String,
}

/// How far the replay may be from the simulation.
const GOODPUT: f64 = 0.10;
const FIRST_TOKEN: f64 = 0.20;

#[tokio::main]
async fn main() -> io::Result<ExitCode> {
    let mut args = Args::parse();
    // Programs run in a folder of their own.
    args.trace = fs::canonicalize(&args.trace)?;
    let folder = TempDir::new()?;
    let simulated = simulate(&args, &folder).await;
    let rate = simulated["load_1_rps"].as_f64().unwrap_or_default() * args.load;
    let replayed = replay(&args, &folder, rate).await;
    let mut out = io::stdout();
    writeln!(out, "{} engines, {rate:.2} requests/s offered (load {})\n", args.engines, args.load)?;
    writeln!(out, "{:<34}{:>12}{:>12}{:>8}", "", "simulated", "replayed", "ratio")?;
    for path in FIELDS {
        let value = |report: &Value| report.pointer(path).and_then(Value::as_f64);
        let (Some(one), Some(other)) = (value(&simulated), value(&replayed)) else { continue };
        let name = path[1..].replace('/', " ");
        writeln!(out, "{name:<34}{one:>12.3}{other:>12.3}{:>8.3}", other / one)?;
    }
    writeln!(
        out,
        "\nrefused, simulated: {}\nrefused, replayed:  {}",
        simulated["refused"], replayed["refused"]
    )?;
    writeln!(out, "errors, replayed:   {}", replayed["errors_by_kind"])?;
    let off = |name: &str| {
        let value = |report: &Value| report[name].as_f64().unwrap_or_default();
        (value(&replayed) / value(&simulated) - 1.0).abs()
    };
    let agree = off("goodput_rps") <= GOODPUT && off("ttft_p99_ms") <= FIRST_TOKEN;
    writeln!(out, "{}", if agree { "they agree" } else { "they do not agree" })?;
    Ok(if agree { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

const FIELDS: [&str; 20] = [
    "/offered_rps",
    "/goodput_rps",
    "/goodput_tps",
    "/completed_tps",
    "/attainment",
    "/attainment_by_class/interactive",
    "/attainment_by_class/default",
    "/attainment_by_class/batch",
    "/late",
    "/ttft_p99_ms",
    "/ttft_ms/interactive/p50",
    "/ttft_ms/interactive/p99",
    "/ttft_ms/default/p50",
    "/ttft_ms/default/p99",
    "/tpot_p99_ms",
    "/tpot_ms/interactive/p50",
    "/tpot_ms/default/p50",
    "/jain",
    "/first_user",
    "/max_wait_s",
];

/// What both are told.
fn workload(args: &Args) -> Vec<String> {
    let words = [
        ("--trace", args.trace.display().to_string()),
        ("--users", args.users.clone()),
        ("--seed", args.seed.to_string()),
        ("--duration", args.duration.to_string()),
        ("--settle", args.settle.to_string()),
        ("--profile", args.profile.clone()),
    ];
    words.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
}

/// Runs a command of ours and reads the JSON that it prints.
async fn run(name: &str, words: &[String], folder: &TempDir) -> Value {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut process = Process::start(name, &words, &[], folder.path());
    let status = process.over().await;
    assert!(status.success(), "{name} ended with {status}: {}", process.log());
    let printed = fs::read(folder.path().join(format!("{name}.out"))).unwrap();
    serde_json::from_slice(&printed).unwrap()
}

async fn simulate(args: &Args, folder: &TempDir) -> Value {
    let own = [
        "simulate".to_owned(),
        "--json".to_owned(),
        "--lengths".to_owned(),
        format!("--engines={}", args.engines),
        format!("--load={}", args.load),
    ];
    let words = [own.to_vec(), workload(args)].concat();
    run("simulate", &words, folder).await[0].take()
}

async fn replay(args: &Args, folder: &TempDir, rate: f64) -> Value {
    let mut engines = Vec::new();
    for number in 0..args.engines {
        let flags = format!("--profile {} --seed {}", args.profile, args.seed ^ (number as u64 + 1));
        engines.push(Engine::start(&flags).await);
    }
    let urls: Vec<&str> = engines.iter().map(|engine| engine.url.as_str()).collect();
    let suite = Suite::start(&[("TOLLGATE_ENGINES", &urls.join(","))]).await;
    let keys = folder.path().join("keys");
    let many = if args.users == "noisy" { 16 } else { 100 };
    fs::write(&keys, people::crowd(&suite.owner(), many).await.join("\n")).unwrap();
    let own = [
        "replay".to_owned(),
        "--json".to_owned(),
        format!("--data-dir={}", suite.data().display()),
        format!("--keys={}", keys.display()),
        format!("--rate={rate}"),
    ];
    run("replay", &[own.to_vec(), workload(args)].concat(), folder).await
}
