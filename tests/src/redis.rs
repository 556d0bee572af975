//! A Redis for the tests: a private one from the system's packages that can be killed and started again.

use std::{
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Redis {
    address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Redis {
    /// Starts one that keeps nothing.
    #[must_use]
    pub fn start() -> Self {
        let (address, folder) = (crate::process::free_address(), TempDir::new().unwrap());
        let child = run(address, &folder);
        Self { address, child, folder }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        // One that ended by itself is as dead.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }

    /// Starts it again at the same address.
    pub fn start_again(&mut self) {
        self.child = run(self.address, &self.folder);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run(address: SocketAddr, folder: &TempDir) -> Child {
    let port = address.port().to_string();
    let child = Command::new("redis-server")
        .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    let child = child.unwrap_or_else(|_| panic!("no Redis server: install the package redis-server"));
    let end = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < end, "Redis did not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}
