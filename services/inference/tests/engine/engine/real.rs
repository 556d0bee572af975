//! A real vLLM as a process of its own.

use std::net::{Ipv4Addr, TcpListener};

use tokio::{process::Command, sync::MutexGuard};

/// One that was started for a case and ends with it.
#[derive(Debug)]
pub(super) struct Real {
    command: Vec<String>,
    port: u16,
    pid: String,
    _turn: MutexGuard<'static, ()>,
}

/// The base URL of one that is running.
pub(super) fn running() -> Option<String> {
    setting("TOLLGATE_TEST_VLLM").map(|url| url.trim_end_matches('/').to_owned())
}

/// How further ones are started.
pub(super) fn command() -> Option<Vec<String>> {
    let command = setting("TOLLGATE_TEST_VLLM_START")?;
    Some(command.split_whitespace().map(str::to_owned).collect())
}

#[expect(clippy::disallowed_methods, reason = "which engine to test is the one thing a test run is told")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Real {
    pub(super) async fn start(command: &[String], flags: &[&str], turn: MutexGuard<'static, ()>) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut starting = Command::new(&command[0]);
        starting.args(&command[1..]).args(["start", &port.to_string()]).args(flags);
        let output = starting.output().await.expect("TOLLGATE_TEST_VLLM_START is a command");
        let said = String::from_utf8_lossy(&output.stdout);
        let pid = said.rsplit_once("pid ").map(|(_, pid)| pid.trim().to_owned());
        let pid = pid.unwrap_or_else(|| {
            panic!("no engine started: {said}{}", String::from_utf8_lossy(&output.stderr));
        });
        Self { command: command.to_vec(), port, pid, _turn: turn }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) async fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid]).status().await.unwrap();
        assert!(sent.success(), "{name} could not be sent");
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let mut stopping = std::process::Command::new(&self.command[0]);
        // One that ended during its case needs no stopping.
        let _ = stopping.args(&self.command[1..]).args(["stop", &self.port.to_string(), "KILL"]).status();
    }
}
