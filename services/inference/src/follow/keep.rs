//! The policy on disk, for a start while permissions or its database is away.
//!
//! The policy is written when it has changed. That it has not is written too, into a small file beside it: what is kept
//! would otherwise be as old as the last change, and after a quiet hour too old to start with.

use super::PolicyView;
use policy::{Heartbeat, Replica, Revision, Snapshot, Time};
use std::{
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Writes the policy to disk, or that it is still what is there.
#[derive(Debug)]
pub(super) struct Keeper {
    view: PolicyView,
    path: PathBuf,
    last: Mutex<Option<(String, Revision)>>,
}

impl Keeper {
    pub(super) fn new(view: PolicyView, path: PathBuf) -> Self {
        Self { view, path, last: Mutex::default() }
    }

    pub(super) fn keep(&self) -> io::Result<()> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let position = self.view.position();
        if last.as_ref() == Some(&position) {
            return self.still();
        }
        let Some(snapshot) = self.view.snapshot() else { return Ok(()) };
        private(&self.path, &serde_json::to_vec(&snapshot)?)?;
        *last = Some((snapshot.epoch.to_string(), snapshot.revision));
        Ok(())
    }

    fn still(&self) -> io::Result<()> {
        let Some(heard) = self.view.heard() else { return Ok(()) };
        private(&beside(&self.path), &serde_json::to_vec(&heard)?)
    }
}

/// The replica that was kept, as old as it was when it was last heard to be complete.
pub(super) fn restore(path: &Path, now: Time) -> Result<Replica, String> {
    let mut snapshot: Snapshot = read(path)?;
    let heard: Option<Heartbeat> = read(&beside(path)).ok();
    let same = |heard: &Heartbeat| (heard.epoch, heard.head) == (snapshot.epoch, snapshot.revision);
    if let Some(heard) = heard.filter(same) {
        snapshot.at = snapshot.at.max(heard.at);
    }
    Replica::restore(&snapshot, now).map_err(|error| error.to_string())
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("heard.json")
}

/// Writes a file as a whole or not at all. Key hashes are in it, so nobody else reads it.
fn private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let next = path.with_extension("next");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).open(&next)?.write_all(bytes)?;
    std::fs::rename(next, path)
}

#[cfg(test)]
mod tests {
    use super::{Keeper, beside, restore};
    use crate::follow::PolicyView;
    use policy::{Bounds, Epoch, Freshness, Heartbeat, Message, Revision, Snapshot, Time};
    use std::{path::Path, time::Duration};
    use uuid::Uuid;

    const EPOCH: Epoch = Epoch(Uuid::from_u128(1));
    const START: Time = Time(1_700_000_000_000_000);

    fn after(seconds: u64) -> Time {
        START.plus(Duration::from_secs(seconds))
    }

    async fn begin(view: &PolicyView, revision: u64, at: Time) {
        let snapshot = Snapshot { epoch: EPOCH, revision: Revision(revision), at, facts: Vec::new() };
        view.receive(Message::Snapshot(snapshot), at).await;
    }

    async fn hear(view: &PolicyView, head: u64, at: Time) {
        let heartbeat = Heartbeat { epoch: EPOCH, head: Revision(head), at };
        view.receive(Message::Heartbeat(heartbeat), at).await;
    }

    fn kept_at(path: &Path) -> (Revision, Option<Time>) {
        let replica = restore(path, after(100_000)).unwrap();
        (replica.revision(), replica.caught_up_at())
    }

    #[tokio::test]
    async fn after_a_quiet_hour_what_is_kept_is_as_young_as_the_last_word() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.json");
        let view = PolicyView::open(&path, Bounds::default());
        let keeper = Keeper::new(view.clone(), path.clone());
        keeper.keep().unwrap();
        assert!(!path.exists(), "nothing is known yet");

        begin(&view, 7, after(0)).await;
        keeper.keep().unwrap();
        hear(&view, 7, after(3_600)).await;
        keeper.keep().unwrap();
        assert_eq!(kept_at(&path), (Revision(7), Some(after(3_600))));
        let again = restore(&path, after(3_610)).unwrap();
        assert!(matches!(again.freshness(after(3_610), &Bounds::default()), Freshness::Stale { .. }));

        // What was heard of one revision says nothing of the next, and of another log neither.
        begin(&view, 8, after(3_601)).await;
        keeper.keep().unwrap();
        assert_eq!(kept_at(&path), (Revision(8), Some(after(3_601))));
        let other = Heartbeat { epoch: Epoch(Uuid::from_u128(2)), head: Revision(8), at: after(9_000) };
        std::fs::write(beside(&path), serde_json::to_vec(&other).unwrap()).unwrap();
        assert_eq!(kept_at(&path), (Revision(8), Some(after(3_601))));
        std::fs::write(beside(&path), "half a fi").unwrap();
        assert_eq!(kept_at(&path), (Revision(8), Some(after(3_601))));
    }
}
