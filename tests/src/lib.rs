//! The harness of the system tests: starts the real binary, talks to it from outside, and cleans up after it.
//!
//! [`binary`] finds the program, [`process`] runs it with a folder and ports of its own; [`suite`] is `tollgate up`,
//! [`apart`] the four services as processes of their own, [`several`] and [`gateways`] one of them several times, [`engine`] a simulated engine. [`http`] and [`rpc`] are the
//! clients, [`people`] makes users and grants, [`batches`] files of requests, [`ledger`] reads usage back, [`metrics`] reads `/metrics`.
//! [`killing`] replays a recording while [`subject`]s, engines simulated or real, are killed.
//! [`steady`] is a load that must go on whatever happens, of callers with keys and of others with a [`session`]; [`relay`]
//! stands before a process that is replaced.
//! [`fuzz`] runs the services' fuzz targets a bounded number of times.
//! [`postgres`] gives the stores' tests their server, [`statements`] hears what they ask of it, [`redis`] is one to be
//! killed, [`slow`] stands before it, [`smtp`] takes mail, [`webhook`] and [`alertmanager`] alerts, [`disk`] can be filled, [`authority`] issues certificates, [`tls`] uses them.
//! Whatever goes wrong here fails the test at once, so nothing returns an error.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a harness has nothing better to do than to fail the test"
)]

pub mod alertmanager;
pub mod apart;
pub mod authority;
pub mod batches;
pub mod binary;
pub mod disk;
pub mod engine;
pub mod fuzz;
pub mod gateways;
pub mod http;
pub mod killing;
pub mod ledger;
pub mod metrics;
pub mod people;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod relay;
pub mod rpc;
pub mod session;
pub mod several;
pub mod slow;
pub mod smtp;
pub mod statements;
pub mod steady;
pub mod subject;
pub mod suite;
pub mod tls;
pub mod webhook;

use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Longest time that anything may take before its test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(10);

/// Waits for something, at most [`PATIENCE`].
pub async fn within<T>(what: &str, wanted: impl Future<Output = T>) -> T {
    timeout(PATIENCE, wanted).await.unwrap_or_else(|_| panic!("{what} took longer than {PATIENCE:?}"))
}

/// Looks again and again until there is something, at most [`PATIENCE`].
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "{what} did not happen within {PATIENCE:?}");
        sleep(LOOK).await;
    }
}
