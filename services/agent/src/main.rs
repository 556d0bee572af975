//! The agent as a program of its own: what `tollgate agent` does, without the rest of the suite in memory.
//!
//! It allocates little, so the system's allocator serves it: mimalloc, which the suite has, would take a megabyte more.

use clap::Parser;
use shared::config;
use std::path::PathBuf;

/// Looks after the engine on this machine: warm-up, drain, notices of the cloud, figures to scale by.
#[derive(Debug, Parser)]
#[command(name = "tollgate-agent", version, about)]
struct Cli {
    /// A TOML file; TOLLGATE_CONFIG names it otherwise.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> Result<(), agent::Error> {
    let cli = Cli::parse();
    let loaded = config::load(cli.config.as_deref(), &config::environment(), config::Dict::new())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Box::pin(agent::run(loaded)))
}
