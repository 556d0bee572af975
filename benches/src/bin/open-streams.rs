//! `open-streams`: opens streams one after the other, keeps them open, and reports what memory each costs a process.

use anyhow::{Context, ensure};
use benches::target::{Address, Credentials, Mode, Prepared};
use clap::Parser;
use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    path::PathBuf,
    thread,
    time::Duration,
};

/// What an open stream costs in memory.
#[derive(Debug, Parser)]
struct Args {
    /// The gateway, as http://HOST:PORT. Its engine is a `mock-engine --hold`.
    #[arg(long)]
    url: Address,
    /// The gateway's first-run.json, for key and model.
    #[arg(long)]
    credentials: PathBuf,
    /// The gateway's process.
    #[arg(long)]
    pid: u32,
    /// Streams to open, below the 10,000 connections that a listener takes.
    #[arg(long, default_value_t = 9_700)]
    streams: usize,
}

/// Memory is looked at when nothing has happened for so long.
const SETTLED: Duration = Duration::from_secs(3);
/// Streams that come before the others, so that what is made once is not charged to them.
const FIRST: usize = 100;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let credentials = Credentials::from_file(&args.credentials)?;
    let mut prepared = Prepared::new(Mode::Stream, &args.url, &credentials);
    let mut open = Vec::with_capacity(args.streams);
    let mut before = 0;
    for number in 0..args.streams + FIRST {
        if number == FIRST {
            before = settled(args.pid)?;
        }
        let mut stream = TcpStream::connect(args.url.authority())?;
        stream.write_all(prepared.numbered(number as u64))?;
        let mut head = [0; 4096];
        let length = stream.read(&mut head).with_context(|| format!("stream {number}"))?;
        let answer = String::from_utf8_lossy(&head[..length]);
        ensure!(answer.starts_with("HTTP/1.1 200"), "stream {number}: {answer}");
        open.push(stream);
    }
    let with = settled(args.pid)?;
    drop(open);
    let after = settled(args.pid)?;
    let each = (with.saturating_sub(before)) as f64 / args.streams as f64;
    let mut out = io::stdout().lock();
    writeln!(out, "| streams | KiB before | KiB with them | KiB after | KiB per stream |")?;
    writeln!(out, "|--:|--:|--:|--:|--:|")?;
    writeln!(out, "| {} | {before} | {with} | {after} | {each:.1} |", args.streams)?;
    Ok(())
}

/// Resident memory of a process, in KiB, once it has had time to settle.
fn settled(pid: u32) -> anyhow::Result<u64> {
    thread::sleep(SETTLED);
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    let status = status.with_context(|| format!("no process {pid}; give the pid of the gateway"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
    resident.and_then(|kib| kib.parse().ok()).context("no VmRSS in /proc")
}
