//! A Redis Cluster of three nodes, each with a third of the keys.

use super::{ask, run_with, until_sync};
use crate::process::free_address;
use std::{net::SocketAddr, process::Child};
use tempfile::TempDir;

/// A running cluster. Dropping it kills it.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<(SocketAddr, Child)>,
    _folders: Vec<TempDir>,
}

impl Cluster {
    /// Starts one that keeps nothing, and waits until all of its nodes know it.
    #[must_use]
    pub fn start() -> Self {
        let (mut nodes, mut folders) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (address, bus, folder) = (free_address(), free_address(), TempDir::new().unwrap());
            let bus = bus.port().to_string();
            let flags =
                ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "2000"];
            nodes.push((address, run_with(address, &folder, &flags), bus));
            folders.push(folder);
        }
        let first = nodes[0].0;
        // A third of the slots each.
        for ((address, ..), (from, to)) in nodes.iter().zip([(0, 5_460), (5_461, 10_922), (10_923, 16_383)]) {
            ask(*address, &["cluster", "addslotsrange", &from.to_string(), &to.to_string()]);
        }
        for (address, _, bus) in &nodes[1..] {
            let port = address.port().to_string();
            assert!(ask(first, &["cluster", "meet", "127.0.0.1", &port, bus]).starts_with("OK"));
        }
        let cluster = Self {
            nodes: nodes.into_iter().map(|(address, child, _)| (address, child)).collect(),
            _folders: folders,
        };
        for (address, _) in &cluster.nodes {
            until_sync("the cluster", || {
                let info = ask(*address, &["cluster", "info"]);
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            });
        }
        cluster
    }

    /// Where it is: one node, which tells of the others.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis-cluster://{}", self.nodes[0].0)
    }

    /// How many keys each node has.
    #[must_use]
    pub fn keys(&self) -> Vec<u64> {
        self.nodes.iter().map(|(address, _)| ask(*address, &["dbsize"]).trim().parse().unwrap()).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for (_, child) in &mut self.nodes {
            // One that ended by itself is as dead.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
