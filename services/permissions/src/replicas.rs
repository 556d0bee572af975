//! Who holds a copy of the policy, how far each copy is, and the wait until all of them have an urgent change.
//!
//! Each permissions process writes its own row about every second, and soon after it moved; each gateway has a row
//! written for it. An urgent change is committed first and waited for afterwards: it holds whatever becomes of the wait.

mod roll;

use crate::{
    error::Error,
    store::{self, StoreError},
    tail::Tail,
    token::Token,
};
use policy::Time;
use roll::Roll;
use shared::{db::Db, server::Tasks};
use std::time::Duration;
use uuid::Uuid;

/// How long after a report a replica still counts as alive.
const LEASE: Duration = Duration::from_secs(3);
/// Longest time between two reports of this process.
const BEAT: Duration = Duration::from_secs(1);
/// Shortest time between two reports of this process.
const REST: Duration = Duration::from_millis(50);
/// Longest time that an urgent change is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// What is left of a deadline for the answer itself.
const MARGIN: Duration = Duration::from_millis(50);
/// Between two looks at the reports while a change is waited for.
const LOOK: Duration = Duration::from_millis(20);
/// Between two times of forgetting replicas that have been gone for long.
const FORGET: Duration = Duration::from_secs(600);
/// Named instead of replicas when nobody can say which ones lag.
const UNKNOWN: &str = "unknown: the store could not be read";

/// What a replica is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Permissions,
    Inference,
}

/// What a replica says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) id: Uuid,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) place: Token,
    /// What it says to the other gateways.
    pub(crate) gateway: Option<Gateway>,
}

/// What a gateway says to the others. Permissions keeps it for them and does not read it.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    /// Counts what it says.
    pub(crate) sequence: i64,
    pub(crate) said: Vec<u8>,
}

/// A report, when it was made, and when it was read.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) report: Report,
    pub(crate) at: Time,
    pub(crate) now: Time,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Permissions => "permissions",
            Self::Inference => "inference",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Permissions, Self::Inference].into_iter().find(|kind| kind.as_str() == word)
    }
}

impl Seen {
    /// Whether an urgent change would wait for it.
    pub(crate) fn is_live(&self) -> bool {
        self.now.since(self.at) <= LEASE
    }
}

/// The replicas of one store, and the one in this process.
#[derive(Debug, Clone)]
pub(crate) struct Replicas {
    db: Db,
    tail: Tail,
    /// The replica of this process.
    id: Uuid,
}

impl Replicas {
    /// Begins to report the replica of this process.
    pub(crate) fn start(db: Db, tail: Tail, tasks: &Tasks) -> Self {
        let replicas = Self { db, tail, id: Uuid::new_v4() };
        let (reporting, stop) = (replicas.clone(), tasks.stopping());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = reporting.report_on() => {}
            }
            // Nobody needs to wait for it any more.
            let left = tokio::time::timeout(BEAT, store::replicas::remove(&reporting.db, reporting.id)).await;
            if !matches!(left, Ok(Ok(()))) {
                tracing::debug!("this replica stays listed until its lease is over");
            }
        });
        let forgetting = replicas.clone();
        tasks.repeat(FORGET, move || {
            let db = forgetting.db.clone();
            async move {
                if let Err(error) = store::replicas::forget(&db).await {
                    tracing::debug!(%error, "replicas of long ago were not forgotten");
                }
            }
        });
        replicas
    }

    async fn report_on(&self) {
        let name = shared::process::name();
        let mut moves = self.tail.moves();
        loop {
            let place = *moves.borrow_and_update();
            if let Some(place) = place {
                let name = name.clone();
                let report = Report { id: self.id, kind: Kind::Permissions, name, place, gateway: None };
                if let Err(error) = store::replicas::report(&self.db, &report).await {
                    tracing::debug!(%error, "this replica was not reported");
                }
            }
            tokio::time::sleep(REST).await;
            // An error means that the tail has ended, and this task is about to.
            let _ = tokio::time::timeout(BEAT - REST, moves.changed()).await;
        }
    }

    /// Takes the report of a replica in another process.
    pub(crate) async fn report(&self, report: &Report) -> Result<(), Error> {
        Ok(store::replicas::report(&self.db, report).await?)
    }

    /// Everyone who said something as a gateway. After a report it holds whatever was reported before.
    pub(crate) async fn gateways(&self) -> Result<Vec<Seen>, Error> {
        let mut seen = store::replicas::list(&self.db).await?;
        seen.retain(|seen| seen.report.gateway.is_some());
        Ok(seen)
    }

    /// Forgets a replica that is about to end.
    pub(crate) async fn leave(&self, id: Uuid) -> Result<(), Error> {
        Ok(store::replicas::remove(&self.db, id).await?)
    }

    /// Every replica that is known, by name.
    pub(crate) async fn list(&self) -> Result<Vec<Seen>, Error> {
        Ok(store::replicas::list(&self.db).await?)
    }

    /// Waits until every live replica has this revision, at most as long as the caller does. Returns the names of
    /// those that do not have it then.
    pub(crate) async fn everyone(&self, wanted: Token, left: Duration) -> Vec<String> {
        let end = tokio::time::Instant::now() + PATIENCE.min(left.saturating_sub(MARGIN));
        let mut roll = Roll::new(LEASE);
        loop {
            let laggards = self.laggards(&mut roll, wanted).await;
            if laggards.as_ref().is_ok_and(Vec::is_empty) || tokio::time::Instant::now() >= end {
                return laggards.unwrap_or_else(|_| vec![UNKNOWN.to_owned()]);
            }
            tokio::time::sleep_until(end.min(tokio::time::Instant::now() + LOOK)).await;
        }
    }

    async fn laggards(&self, roll: &mut Roll, wanted: Token) -> Result<Vec<String>, StoreError> {
        let seen = store::replicas::list(&self.db).await?;
        let mut now = Time(0);
        for Seen { report, at, now: read_at } in seen {
            now = read_at;
            // What this process knows of itself is newer than its row.
            let place = if report.id == self.id && self.tail.has(wanted) { wanted } else { report.place };
            roll.hear(report.id, &report.name, place, at);
        }
        Ok(roll.laggards(wanted, now))
    }
}
