//! The gateway before an engine, over real sockets: what callers see, what the ledger says, and what the engine counted.
//!
//! The same cases run on the simulated engine and on a real vLLM. `TOLLGATE_TEST_VLLM` names a running one for the cases
//! that only talk to it; `TOLLGATE_TEST_VLLM_START` a command that starts further ones, for the cases that kill, stop
//! or overload theirs (see [`engine`]). Without them, and for second engines always, the simulator stands there.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on should say so and stop"
)]

mod answers;
mod background;
mod busy;
mod cached;
mod client;
mod cordons;
mod death;
mod degraded;
mod discovery;
mod engine;
mod gateway;
mod grpc;
mod hang_up;
mod invalidated;
mod joint;
mod judged;
mod kubernetes;
mod ledger;
mod messages;
mod once;
mod peers;
mod queued;
mod readers;
mod recorded;
mod refusals;
mod responses;
mod resumed;
mod retries;
mod scoring;
mod second_tier;
mod warmed;

use std::time::Duration;

/// Within this, everything that should happen has happened; generous, because machines are slow at times.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at something that tells nobody when it changes.
const LOOK: Duration = Duration::from_millis(20);

/// Waits for something that must come.
async fn soon<T>(what: &str, coming: impl Future<Output = T>) -> T {
    let came = tokio::time::timeout(PATIENCE, coming).await;
    came.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Looks again and again until there is something.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    soon(what, found).await
}
