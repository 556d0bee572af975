//! A private Alertmanager from the system's packages.

use crate::{http::Client, process::free_address};
use serde_json::Value;
use std::{
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Alertmanager {
    address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Alertmanager {
    /// Starts one that tells nobody, and waits until it is ready.
    pub async fn start() -> Self {
        let (address, folder) = (free_address(), TempDir::new().unwrap());
        let config = folder.path().join("alertmanager.yml");
        fs::write(&config, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n").unwrap();
        let child = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.path().display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus-alertmanager cannot be started: {error}"));
        let server = Self { address, child, _folder: folder };
        crate::until("an Alertmanager is ready", async || {
            let client = server.client();
            let answer = client.try_send(client.request("GET", "/-/ready")).await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
        server
    }

    /// Hands it alerts.
    pub async fn post(&self, alerts: &Value) {
        assert_eq!(self.client().post("/api/v2/alerts", alerts).await.status, 200, "it takes them");
    }

    /// The alerts that it has.
    pub async fn alerts(&self) -> Value {
        self.client().get("/api/v2/alerts").await.ok().json()
    }

    fn client(&self) -> Client {
        Client::new(self.address, None)
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        // One that ended by itself is as dead.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
