//! A Redis with a replica, and a Sentinel that puts the replica in its place when it is gone.

use super::{ask, run_with, until_sync};
use crate::process::free_address;
use std::{
    fs,
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// The name that the Sentinel knows them by.
const NAME: &str = "main";

/// Two servers and their Sentinel. Dropping them kills them.
#[derive(Debug)]
pub struct Sentinel {
    address: SocketAddr,
    /// The primary is the first.
    children: Vec<Child>,
    _folders: Vec<TempDir>,
}

impl Sentinel {
    /// Starts them, and waits until the Sentinel knows both.
    #[must_use]
    pub fn start() -> Self {
        let (primary, replica, address) = (free_address(), free_address(), free_address());
        let folders: Vec<TempDir> = (0..3).map(|_| TempDir::new().unwrap()).collect();
        let first = run_with(primary, &folders[0], &["--repl-diskless-sync-delay", "0"]);
        let port = primary.port().to_string();
        let second = run_with(replica, &folders[1], &["--replicaof", "127.0.0.1", &port]);
        until_sync("the replica", || {
            ask(replica, &["info", "replication"]).contains("master_link_status:up")
        });
        let file = folders[2].path().join("sentinel.conf");
        let text = format!(
            "port {}\nbind 127.0.0.1\nsentinel monitor {NAME} 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds {NAME} 500\nsentinel failover-timeout {NAME} 5000\n",
            address.port()
        );
        fs::write(&file, text).unwrap();
        let third = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .current_dir(folders[2].path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let all = Self { address, children: vec![first, second, third], _folders: folders };
        until_sync("the Sentinel", || TcpStream::connect(address).is_ok());
        until_sync("the Sentinel to know both", || {
            ask(address, &["sentinel", "replicas", NAME]).contains(&replica.port().to_string())
        });
        all
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis-sentinel://{}?sentinelServiceName={NAME}", self.address)
    }

    /// Kills the primary, and waits until the Sentinel names the replica in its place.
    pub fn fail_over(&mut self) {
        let named = || ask(self.address, &["sentinel", "get-master-addr-by-name", NAME]);
        let before = named();
        // One that ended by itself is as dead.
        let _ = self.children[0].kill();
        self.children[0].wait().unwrap();
        until_sync("another primary", || named() != before);
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
