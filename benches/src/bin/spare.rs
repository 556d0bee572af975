//! What a batch leaves to others, in real time: the same recorded requests at the same moments through two gateways side
//! by side, each with simulated engines of its own, one of them with a file of requests under way. Prints both; fails
//! when the file moved the 99th percentile of interactive first tokens by more than 5 %, or kept its engines less than
//! 90 % busy.
//!
//! `just spare --trace azure-llm-2023-conv.csv`

#![expect(clippy::unwrap_used, reason = "like a test, it fails by panicking")]

use clap::Parser;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};
use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};
use tempfile::TempDir;
use tests::{batches, engine::Engine, people, process::Process, suite::MODEL, suite::Suite};
use tokio::time::{Duration, Instant, interval};

/// What to replay.
#[derive(Debug, Parser)]
struct Args {
    /// CSV file with the columns TIMESTAMP,ContextTokens,GeneratedTokens.
    #[arg(long)]
    trace: PathBuf,
    /// Engines of each gateway; this machine has to carry them all.
    #[arg(long, default_value_t = 2)]
    engines: usize,
    /// Requests a second of each gateway.
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// Seconds of arrivals, a third of them warm-up.
    #[arg(long, default_value_t = 240)]
    duration: u64,
    /// Seconds of arrivals after that; what is not answered by then is late.
    #[arg(long, default_value_t = 20)]
    settle: u64,
    /// Lines of the file, long and short as the trace's requests are.
    #[arg(long, default_value_t = 6_000)]
    lines: usize,
    /// Decides users, classes, prompts and the noise of engines.
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// How much the file may move, and how busy it must keep engines.
const MOVED: f64 = 1.05;
const BUSY: f64 = 0.90;

/// A gateway and its engines, and where its replay writes.
struct Side {
    suite: Suite,
    engines: Vec<Engine>,
    folder: TempDir,
}

#[tokio::main]
async fn main() -> io::Result<ExitCode> {
    let mut args = Args::parse();
    // Programs run in a folder of their own.
    args.trace = fs::canonicalize(&args.trace)?;
    let (alone, beside) = (Side::start(&args).await, Side::start(&args).await);
    let batch = batches::begin(&beside.suite.owner(), &lines(&args)?).await;
    let (without, (with, busy, answered)) = tokio::join!(alone.replay(&args), beside.watched(&args, &batch));
    let mut out = io::stdout();
    writeln!(out, "{:<34}{:>12}{:>12}{:>8}", "", "alone", "with a file", "ratio")?;
    for path in FIELDS {
        let value = |report: &Value| report.pointer(path).and_then(Value::as_f64);
        let (Some(one), Some(other)) = (value(&without), value(&with)) else { continue };
        let name = path[1..].replace('/', " ");
        writeln!(out, "{name:<34}{one:>12.3}{other:>12.3}{:>8.3}", other / one)?;
    }
    writeln!(out, "\nengines with the file were busy at {:.1} % of the looks", busy * 100.0)?;
    writeln!(out, "lines answered meanwhile: {answered} of {}", args.lines)?;
    let p99 = |report: &Value| report["ttft_ms"]["interactive"]["p99"].as_f64().unwrap();
    let kept = p99(&with) <= p99(&without) * MOVED && busy >= BUSY;
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

const FIELDS: [&str; 10] = [
    "/offered_rps",
    "/goodput_rps",
    "/attainment_by_class/interactive",
    "/attainment_by_class/default",
    "/attainment_by_class/batch",
    "/ttft_ms/interactive/p50",
    "/ttft_ms/interactive/p99",
    "/ttft_ms/default/p50",
    "/ttft_ms/default/p99",
    "/tpot_ms/interactive/p50",
];

/// Chats of the lengths that the trace has, from its end, so that no prompt is one that is replayed.
fn lines(args: &Args) -> io::Result<String> {
    let trace = fs::read_to_string(&args.trace)?;
    let rows = trace.lines().skip(1).collect::<Vec<_>>();
    let length = |text: Option<&str>| text.and_then(|text| text.trim().parse::<usize>().ok()).unwrap_or(1);
    let line = |(number, row): (usize, &&str)| {
        let mut columns = row.split(',').skip(1);
        let (prompt, answer) = (length(columns.next()), length(columns.next()));
        let mut words = SmallRng::seed_from_u64(!number as u64);
        // As long in letters as the words of a replay: gateways learn how many letters a token has.
        let words: Vec<String> = (0..prompt).map(|_| format!("w{}", words.random_range(0..500))).collect();
        let body = json!({
            "model": MODEL, "max_tokens": answer.max(1), "ignore_eos": true,
            "messages": [{"role": "user", "content": words.join(" ")}],
        });
        let line = json!({
            "custom_id": format!("line-{number}"), "method": "POST", "url": "/v1/chat/completions", "body": body,
        });
        format!("{line}\n")
    };
    Ok(rows.iter().rev().cycle().take(args.lines).enumerate().map(line).collect())
}

impl Side {
    async fn start(args: &Args) -> Self {
        let mut engines = Vec::new();
        for number in 0..args.engines {
            let flags = format!("--profile reference --seed {}", args.seed ^ (number as u64 + 1));
            engines.push(Engine::start(&flags).await);
        }
        let urls: Vec<&str> = engines.iter().map(|engine| engine.url.as_str()).collect();
        let suite = Suite::start(&[("TOLLGATE_ENGINES", &urls.join(","))]).await;
        let folder = TempDir::new().unwrap();
        // `noisy` has so many.
        let keys = people::crowd(&suite.owner(), 16).await;
        fs::write(folder.path().join("keys"), keys.join("\n")).unwrap();
        Self { suite, engines, folder }
    }

    async fn replay(&self, args: &Args) -> Value {
        let folder = self.folder.path();
        let words = [
            "replay".to_owned(),
            "--json".to_owned(),
            "--users=noisy".to_owned(),
            format!("--trace={}", args.trace.display()),
            format!("--data-dir={}", self.suite.data().display()),
            format!("--keys={}", folder.join("keys").display()),
            format!("--rate={}", args.rate),
            format!("--seed={}", args.seed),
            format!("--duration={}", args.duration),
            format!("--settle={}", args.settle),
        ];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut process = Process::start("replay", &words, &[], folder);
        let limit = Instant::now() + Duration::from_secs(2 * (args.duration + args.settle));
        let status = tokio::time::timeout_at(limit, process.over()).await.unwrap();
        assert!(status.success(), "the replay ended with {status}: {}", process.log());
        serde_json::from_slice(&fs::read(folder.join("replay.out")).unwrap()).unwrap()
    }

    /// The replay; the part of looks, one a second and engine, at which an engine had something to do; and the lines
    /// answered meanwhile.
    async fn watched(&self, args: &Args, batch: &str) -> (Value, f64, u64) {
        let mut replay = Box::pin(self.replay(args));
        let mut every = interval(Duration::from_secs(1));
        let (mut looks, mut busy) = (0_u32, 0_u32);
        let report = loop {
            tokio::select! {
                report = &mut replay => break report,
                _ = every.tick() => for engine in &self.engines {
                    looks += 1;
                    busy += u32::from(engine.load().await.0 > 0);
                },
            }
        };
        let answered = batches::answered(&self.suite.owner(), batch).await;
        (report, f64::from(busy) / f64::from(looks), answered)
    }
}
