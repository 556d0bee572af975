//! The one binary: `tollgate up` runs the whole suite; each service also runs alone, by its own name.

mod adopt;
mod banner;
mod config;
mod door;
mod encryption;
mod engine;
mod first_run;
mod operate;
mod reload;
mod replay;
mod roles;
mod secured;
mod simulate;
mod trace;
mod up;

use clap::{Parser, Subcommand};
use config::Options;
use std::{io, process::ExitCode};
use tokio::runtime::{Builder, Runtime};

/// A request is some forty small values that live as long as it does: the system's allocator took a tenth of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The gateway for self-hosted LLMs.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole suite in one process, on one address. What runs when no command is given.
    Up(Options),
    /// Who may use what: users, groups, models, grants, keys.
    Permissions(Options),
    /// The gateway before the engines.
    Inference(Options),
    /// Usage.
    Monitoring(Options),
    /// REST and OpenAI's API for browsers and SDKs.
    Edge(Options),
    /// Looks after the engine on this machine: warm-up, drain, notices of the cloud, figures to scale by.
    Agent(Options),
    /// A simulated engine that behaves like vLLM on the wire and in time.
    Engine(engine::Options),
    /// Sends a recorded workload through a gateway and reports what came back.
    Replay(replay::Args),
    /// Compares scheduling policies on a recorded workload, in virtual time.
    Simulate(simulate::Args),
    #[command(flatten)]
    Operate(operate::Operate),
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let runtime = runtime(matches!(cli.command, Some(Command::Agent(_))))?;
    // Large futures live on the heap, once.
    runtime.block_on(Box::pin(run(cli)))
}

/// One thread for a small process, and where there is one processor: handing work between threads costs, and buys nothing
/// there.
fn runtime(small: bool) -> io::Result<Runtime> {
    let alone = small || std::thread::available_parallelism().is_ok_and(|processors| processors.get() == 1);
    let mut builder = if alone { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.enable_all().build()
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command.unwrap_or(Command::Up(cli.options)) {
        Command::Up(options) => Box::pin(up::run(options)).await?,
        Command::Permissions(options) => roles::permissions(options).await?,
        Command::Inference(options) => Box::pin(roles::inference(options)).await?,
        Command::Monitoring(options) => roles::monitoring(options).await?,
        Command::Edge(options) => roles::edge(options).await?,
        Command::Agent(options) => roles::agent(options).await?,
        Command::Engine(options) => engine::run(options).await?,
        Command::Replay(args) => return replay::run(args).await,
        Command::Simulate(args) => return simulate::run(&args),
        Command::Operate(command) => return Box::pin(operate::run(command)).await,
    }
    Ok(ExitCode::SUCCESS)
}
