//! An engine that things are done to: a simulated one, or a real vLLM that a command starts.
//!
//! The command is that of the engine suite (`TOLLGATE_TEST_VLLM_START`): with `start PORT [flags]` it starts a server
//! on that port of the loopback and prints a line with `pid N` once it answers, with `stop PORT KILL` it ends it.

use crate::{engine::Engine, http::Client, metrics, process::free_address};
use std::{net::SocketAddr, process::Command};

/// What is done to an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL, and another is started in its place.
    Kill,
    /// SIGSTOP, and SIGCONT.
    Stop,
    /// SIGTERM, on which it finishes what it has, and another is started in its place.
    Drain,
}

/// An engine.
#[derive(Debug)]
pub enum Subject {
    /// A simulated one.
    Simulated(Engine),
    /// A vLLM.
    Real(Real),
}

/// A vLLM that a command started. Dropping it ends it.
#[derive(Debug)]
pub struct Real {
    command: String,
    flags: String,
    address: SocketAddr,
    pid: String,
}

/// Seconds that an engine which drains has.
const DRAIN: &str = "--shutdown-timeout 20";

impl Subject {
    /// Starts a simulated engine with flags.
    pub async fn simulated(flags: &str) -> Self {
        Self::Simulated(Engine::start(&format!("{flags} {DRAIN}")).await)
    }

    /// Starts a real one by a command.
    #[must_use]
    pub fn real(command: &str) -> Self {
        let (command, address) = (command.to_owned(), free_address());
        let mut real = Real { command, flags: DRAIN.to_owned(), address, pid: String::new() };
        real.start();
        Self::Real(real)
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Simulated(engine) => engine.url.clone(),
            Self::Real(real) => format!("http://{}", real.address),
        }
    }

    /// Does it.
    pub fn strike(&mut self, blow: Blow) {
        match (self, blow) {
            (Self::Simulated(engine), Blow::Kill) => engine.process.kill(),
            (Self::Simulated(engine), blow) => engine.process.signal(signal(blow)),
            (Self::Real(real), blow) => real.signal(signal(blow)),
        }
    }

    /// Makes it well again, once it is over.
    pub async fn heal(&mut self, blow: Blow) {
        match (self, blow) {
            (Self::Simulated(engine), Blow::Stop) => engine.process.signal("CONT"),
            (Self::Simulated(engine), _) => {
                let _ = engine.process.over().await;
                engine.start_again().await;
            }
            (Self::Real(real), Blow::Stop) => real.signal("CONT"),
            (Self::Real(real), _) => {
                real.stop("TERM");
                real.start();
            }
        }
    }

    /// First tokens that it made since it was started.
    pub async fn begun(&self) -> u64 {
        let address = match self {
            Self::Simulated(engine) => return engine.metric("time_to_first_token_seconds_count").await,
            Self::Real(real) => real.address,
        };
        let page = Client::new(address, None).get("/metrics").await.text();
        metrics::sum(&page, "vllm:time_to_first_token_seconds_count", "") as u64
    }
}

const fn signal(blow: Blow) -> &'static str {
    match blow {
        Blow::Kill => "KILL",
        Blow::Stop => "STOP",
        Blow::Drain => "TERM",
    }
}

impl Real {
    fn start(&mut self) {
        let port = self.address.port().to_string();
        let output = self.run(&format!("start {port} {}", self.flags)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let pid = said.rsplit_once("pid ").map(|(_, pid)| pid.trim().to_owned());
        self.pid = pid.unwrap_or_else(|| {
            panic!("no engine started: {said}{}", String::from_utf8_lossy(&output.stderr));
        });
    }

    /// Waits until it is gone.
    fn stop(&self, signal: &str) {
        let _ = self.run(&format!("stop {} {signal}", self.address.port())).status();
    }

    fn run(&self, arguments: &str) -> Command {
        let mut words = self.command.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(arguments.split_whitespace());
        command
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid]).status().unwrap();
        assert!(sent.success(), "{name} could not be sent");
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        // One that is stopped hears nothing else.
        self.stop("KILL");
    }
}
