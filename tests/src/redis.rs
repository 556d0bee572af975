//! A Redis for the tests: a private one from the system's packages that can be killed and started again, frozen, or be
//! several.

mod cluster;
mod sentinel;

pub use cluster::Cluster;
pub use sentinel::Sentinel;

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

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL.
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

    /// Freezes it (SIGSTOP): connections stay open and nothing is answered.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status();
        assert!(sent.unwrap().success(), "{name} was not sent to Redis");
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
    run_with(address, folder, &[])
}

fn run_with(address: SocketAddr, folder: &TempDir, flags: &[&str]) -> Child {
    let port = address.port().to_string();
    let child = Command::new("redis-server")
        .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
        .arg(folder.path())
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    let child = child.unwrap_or_else(|_| panic!("no Redis server: install the package redis-server"));
    until_sync("Redis", || TcpStream::connect(address).is_ok());
    child
}

/// What a server answers to a command.
fn ask(address: SocketAddr, words: &[&str]) -> String {
    let port = address.port().to_string();
    let asked =
        Command::new("redis-cli").args(["-h", "127.0.0.1", "-p", &port]).args(words).output().unwrap();
    String::from_utf8_lossy(&asked.stdout).into_owned()
}

/// Looks again and again, in a test that waits for nothing else meanwhile.
fn until_sync(what: &str, good: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !good() {
        assert!(Instant::now() < end, "{what} did not come up");
        std::thread::sleep(Duration::from_millis(20));
    }
}
