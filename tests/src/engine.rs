//! A simulated engine in a process of its own, which can be killed, frozen and made to misbehave.

use crate::{
    http::Client,
    metrics,
    process::{Process, free_address},
    until,
};
use serde_json::Value;
use std::net::SocketAddr;
use tempfile::TempDir;

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    /// Its base URL.
    pub url: String,
    /// Its process.
    pub process: Process,
    arguments: String,
    address: SocketAddr,
    folder: TempDir,
}

impl Engine {
    /// Starts an engine that does chat and embeddings and takes faults, with further flags.
    pub async fn start(flags: &str) -> Self {
        let (folder, address) = (TempDir::new().unwrap(), free_address());
        let arguments = format!("engine --listen {address} --task both --faults {flags}");
        let process = run(&arguments, &folder);
        let url = format!("http://{address}");
        let mut engine = Self { url, process, arguments, address, folder };
        engine.process.until_ok(address, "/health").await;
        engine
    }

    /// Starts it again where it was, after it was killed.
    pub async fn start_again(&mut self) {
        self.process = run(&self.arguments, &self.folder);
        self.process.until_ok(self.address, "/health").await;
    }

    /// Makes it misbehave; `{}` makes it well again.
    pub async fn fault(&self, faults: &Value) {
        let _ = self.client().post("/simulator/fault", faults).await.ok();
    }

    /// The sum of a metric of its page, by the name after `vllm:`.
    pub async fn metric(&self, name: &str) -> u64 {
        let page = self.client().get("/metrics").await.text();
        metrics::sum(&page, &format!("vllm:{name}"), "") as u64
    }

    /// Requests in its batch and in its queue.
    pub async fn load(&self) -> (u64, u64) {
        (self.metric("num_requests_running").await, self.metric("num_requests_waiting").await)
    }

    /// Waits until it holds so many requests, in its batch and in its queue.
    pub async fn until_load(&self, load: (u64, u64)) {
        until(&format!("load {load:?} of an engine"), async || (self.load().await == load).then_some(()))
            .await;
    }

    /// Most requests that it ever held at once.
    pub async fn most_held(&self) -> u64 {
        self.client().get("/simulator/most").await.ok().json()["sequences"].as_u64().unwrap()
    }

    fn client(&self) -> Client {
        Client::new(self.address, None)
    }
}

fn run(arguments: &str, folder: &TempDir) -> Process {
    Process::start("engine", &arguments.split_whitespace().collect::<Vec<_>>(), &[], folder.path())
}
