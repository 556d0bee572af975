//! `mock-engine`: answers at once with what it made beforehand, so that a benchmark measures the gateway alone.

use anyhow::Context;
use benches::engine::{self, Answers};
use clap::Parser;
use std::{net::TcpListener, sync::Arc};

/// The fastest engine a gateway can stand in front of.
#[derive(Debug, Parser)]
struct Args {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8000")]
    listen: String,
    /// Name of the model it serves.
    #[arg(long, default_value = "bench")]
    model: String,
    /// Chunks with a word in each stream.
    #[arg(long, default_value_t = 256)]
    chunks: usize,
    /// Streams stop after so many writes, at least one, and stay open until their clients leave.
    #[arg(long)]
    hold: Option<usize>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let listener = TcpListener::bind(&args.listen)
        .with_context(|| format!("cannot listen on {}; choose another with --listen", args.listen))?;
    engine::serve(&listener, &Arc::new(Answers::new(&args.model, args.chunks)), args.hold)?;
    Ok(())
}
