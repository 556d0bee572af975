//! What is invalidated at one gateway is gone at all of them: rows in the database, which every gateway reads in turn.
//!
//! Whoever invalidates adds a row and reads on to it before they are answered; the others look every quarter of a second.
//! A gateway reads those of before when it starts, so what lies in Redis does not outlive a restart. Nobody who looks for
//! an answer waits for any of this: while the database is away a gateway serves what it has, and says so.

use crate::{
    cache::{Cache, Chosen, Mark},
    error::Error,
    metrics,
    store::{
        Store,
        dependencies::{self, Edge},
        invalidations::{self, New, Reader},
        popularity::{self, Known},
    },
};
use policy::Time;
use serde_json::json;
use shared::{
    db::{Db, Tx},
    event::{Change, Origin, log},
    health::{Condition, Reporter},
    server::Tasks,
    time,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::sync::Mutex;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(250);
/// Longest time for one look.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two words on how far a gateway is, when nothing happens.
const SAYS: Duration = Duration::from_secs(10);
/// For how long a gateway is remembered that says nothing any more.
const REMEMBERED: Duration = Duration::from_secs(3_600);
/// Between two times of forgetting what is of no use any more.
const PURGES: Duration = Duration::from_secs(600);
/// Rows are kept as long as any answer is, and at least so long: the time may have been longer before.
const LEAST_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// Rows that are read at once.
const PAGE: i64 = 1_000;
/// Tags that one may depend on, and dependencies in all.
const DEPENDENCIES: (usize, i64) = (64, 10_000);

/// Hears what is invalidated, and says it.
#[derive(Debug, Clone)]
pub struct Invalidations(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    cache: Cache,
    gateway: String,
    /// Whoever reads or writes rows holds this, so that they are taken in in their order.
    turn: Mutex<Said>,
    reached: std::sync::Mutex<Option<Time>>,
}

/// What was said last of how far this gateway is.
#[derive(Debug, Default)]
struct Said {
    sequence: u64,
    at: Option<Time>,
    purged: Option<Time>,
}

/// What came of an invalidation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalidated {
    /// Answers that were in this gateway's memory.
    pub answers: u64,
    /// Its number.
    pub sequence: u64,
    /// What was chosen, with the tags that depend on it.
    pub chosen: Chosen,
}

/// How far a gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub gateway: String,
    /// The last that it heard of.
    pub sequence: u64,
    /// When it said so.
    pub seen: Time,
}

impl Invalidations {
    /// Of this gateway, which has heard of none yet.
    #[must_use]
    pub fn new(store: Store, cache: Cache, gateway: String) -> Self {
        let (turn, reached) = (Mutex::default(), std::sync::Mutex::default());
        Self(Arc::new(Inner { store, cache, gateway, turn, reached }))
    }

    /// Looks for further ones until the process ends. The first look is over when this returns, unless the database is
    /// not there.
    pub async fn follow(&self, health: Reporter, tasks: &Tasks) {
        let health = Arc::new(health);
        self.look(&health).await;
        let this = self.clone();
        tasks.repeat(EVERY, move || {
            let (this, health) = (this.clone(), Arc::clone(&health));
            async move { this.look(&health).await }
        });
    }

    async fn look(&self, health: &Reporter) {
        let looked = tokio::time::timeout(PATIENCE, self.catch_up()).await;
        let well = matches!(looked, Ok(Ok(())));
        if well {
            *self.0.reached.lock().unwrap_or_else(PoisonError::into_inner) = Some(time::now());
        }
        metrics::invalidations_heard(well, self.0.cache.mark().sequence);
        health.set(match well {
            true => Condition::Up,
            false => Condition::Degraded(
                "the database cannot be reached; what other gateways invalidate is not heard of".to_owned(),
            ),
        });
    }

    async fn catch_up(&self) -> Result<(), Error> {
        let db = self.0.store.db()?;
        let mut said = self.0.turn.lock().await;
        self.read(db).await?;
        self.say(db, &mut said).await
    }

    /// Takes in what is new. Returns how many answers each found in memory, by its number.
    async fn read(&self, db: &Db) -> Result<BTreeMap<u64, u64>, Error> {
        let (cache, mut found) = (&self.0.cache, BTreeMap::new());
        let head = invalidations::head(db).await?;
        let last = number(head.sequence);
        loop {
            let mark = cache.mark();
            let heard = if mark.epoch == head.epoch { mark.sequence } else { 0 };
            if mark.epoch == head.epoch && heard >= last {
                return Ok(found);
            }
            let rows = invalidations::after(db, i64::try_from(heard).unwrap_or(i64::MAX), PAGE).await?;
            let all = i64::try_from(rows.len()).unwrap_or(PAGE) < PAGE;
            let rows: Vec<(u64, Chosen)> =
                rows.iter().map(|row| (number(row.sequence), chosen(&row.chosen))).collect();
            let end = rows.last().map_or(last, |(sequence, _)| *sequence);
            // Rows that were forgotten leave gaps, so the last of them all counts where there is no further one.
            let sequence = if all { end.max(last) } else { end };
            let counts = cache.hear(Mark { epoch: head.epoch, sequence }, &rows);
            found.extend(rows.iter().zip(counts).map(|((sequence, _), count)| (*sequence, count)));
        }
    }

    /// Says how far this gateway is, and forgets what is of no use any more.
    async fn say(&self, db: &Db, said: &mut Said) -> Result<(), Error> {
        let (now, sequence) = (time::now(), self.0.cache.mark().sequence);
        let past = |at: Option<Time>, rest: Duration| at.is_none_or(|at| at.plus(rest) <= now);
        if said.sequence != sequence || past(said.at, SAYS) {
            invalidations::seen(db, &self.0.gateway, signed(sequence), now).await?;
            (said.sequence, said.at) = (sequence, Some(now));
        }
        if past(said.purged, PURGES) {
            invalidations::purge(db, now, before(now, REMEMBERED)).await?;
            said.purged = Some(now);
        }
        Ok(())
    }

    /// Drops what is chosen: here before this returns, elsewhere soon after.
    ///
    /// # Errors
    /// When the database is away, so that other gateways would not hear of it.
    pub async fn invalidate(&self, chosen: Chosen, origin: &Origin) -> Result<Invalidated, Error> {
        let db = self.0.store.db()?;
        // Nobody else takes it in before its answers can be counted.
        let mut said = self.0.turn.lock().await;
        let mut tx = db.begin().await?;
        let chosen = resolve(&mut tx, chosen).await?;
        forget(&mut tx, &chosen).await?;
        let made = time::now();
        let expires = made.plus(self.0.cache.longest().max(LEAST_KEPT));
        let written = serde_json::to_string(&chosen).map_err(|error| Error::Malformed(error.to_string()))?;
        let Origin { actor, reason, .. } = origin;
        let new = New { chosen: &written, actor, reason, made, expires };
        let sequence = number(invalidations::insert(&mut tx, new).await?.sequence);
        let change = Change::created("cache_invalidation", sequence.to_string(), json!(chosen));
        log::append(&mut tx, origin, vec![change]).await?;
        tx.commit().await?;
        let found = self.read(db).await?;
        self.say(db, &mut said).await?;
        Ok(Invalidated { answers: found.get(&sequence).copied().unwrap_or(0), sequence, chosen })
    }

    /// What would be dropped: the choice with the tags that depend on it, and how many answers that are in memory.
    ///
    /// # Errors
    /// When the database is away and it would be asked.
    pub async fn preview(&self, mut chosen: Chosen) -> Result<Invalidated, Error> {
        if chosen.cascade && !chosen.tag.is_empty() {
            let edges = dependencies::list(self.0.store.db()?, "").await?;
            chosen.follow(edges.iter().map(|edge| (edge.tag.as_str(), edge.depends_on.as_str())));
        }
        let answers = self.0.cache.list(&chosen, usize::MAX).len() as u64;
        Ok(Invalidated { answers, sequence: 0, chosen })
    }

    /// How far every gateway is that said so lately; none when the database is away.
    pub async fn standings(&self) -> Vec<Standing> {
        let Ok(db) = self.0.store.db() else { return Vec::new() };
        let listed = invalidations::gateways(db, before(time::now(), REMEMBERED));
        let standing = |reader: Reader| Standing {
            gateway: reader.name,
            sequence: number(reader.sequence),
            seen: reader.seen.0,
        };
        match tokio::time::timeout(PATIENCE, listed).await {
            Ok(Ok(readers)) => readers.into_iter().map(standing).collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }

    /// Lets a tag depend on these alone.
    ///
    /// # Errors
    /// When there would be too many, or the database is away.
    pub async fn depend(
        &self,
        tag: &str,
        depends_on: &[String],
        origin: &Origin,
        only_check: bool,
    ) -> Result<(), Error> {
        if depends_on.len() > DEPENDENCIES.0 {
            return Err(Error::Invalid { param: "depends_on", problem: "may hold 64 tags" });
        }
        let mut tx = self.0.store.db()?.begin().await?;
        let before = dependencies::of(&mut tx, tag).await?;
        if dependencies::set(&mut tx, tag, depends_on).await? > DEPENDENCIES.1 {
            return Err(Error::Invalid {
                param: "depends_on",
                problem: "would be more than 10,000 dependencies in all; remove some of other tags first",
            });
        }
        if !only_check {
            let change = Change::updated("cache_dependencies", tag, json!(before), json!(depends_on));
            log::append(&mut tx, origin, vec![change]).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// What a tag depends on, or all that do.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn dependencies(&self, tag: &str) -> Result<BTreeMap<String, Vec<String>>, Error> {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for Edge { tag, depends_on } in dependencies::list(self.0.store.db()?, tag).await? {
            all.entry(tag).or_default().push(depends_on);
        }
        Ok(all)
    }
}

/// A choice with the tags that depend on it.
async fn resolve(tx: &mut Tx, mut chosen: Chosen) -> Result<Chosen, Error> {
    if chosen.cascade && !chosen.tag.is_empty() {
        let edges = dependencies::all(tx).await?;
        chosen.follow(edges.iter().map(|edge| (edge.tag.as_str(), edge.depends_on.as_str())));
    }
    Ok(chosen)
}

/// Requests go with their answers when it is their data that is to go; when it is a model or a template that is another
/// now, they are to be made anew.
async fn forget(tx: &mut Tx, chosen: &Chosen) -> Result<(), Error> {
    if chosen.key.is_none() && chosen.tag.is_empty() {
        return Ok(());
    }
    for known in popularity::known(tx).await? {
        if chosen_is(chosen, &known) {
            popularity::forget(tx, &known.key).await?;
        }
    }
    Ok(())
}

fn chosen_is(chosen: &Chosen, known: &Known) -> bool {
    // What cannot be read was written by another version, and is rather forgotten than kept.
    let read = crate::warm::origin(known).zip(crate::warm::key(&known.key));
    read.is_none_or(|(of, key)| chosen.matches(&key, &of))
}

/// What a row chose. One that another version wrote in other words is held to have chosen everything.
fn chosen(written: &str) -> Chosen {
    serde_json::from_str(written).unwrap_or_default()
}

fn number(sequence: i64) -> u64 {
    u64::try_from(sequence).unwrap_or(0)
}

fn signed(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

fn before(now: Time, by: Duration) -> Time {
    Time(now.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
}
