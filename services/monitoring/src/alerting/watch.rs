//! The evaluator: of all replicas one looks at the rules, by a lease in the database, and another one goes on where it was
//! when it is gone. It looks at its times, and at once when something is said to have turned. While the database is away whoever evaluated goes on from memory, and its letters leave without the
//! outbox: that the database is away is one of the things that have to be told.

use super::{
    kept::{Desk, KeptRule},
    known::Known,
    letter::Letter,
    outbox::Outbox,
    past::Reading,
};
use crate::{
    config::Alerts,
    signals::Signals,
    store::alerts::{self as store, history, rules, silences},
};
use ::alerts::{Measured, Routing};
use policy::Time;
use shared::{db::Db, server::Tasks, time};
use std::{collections::BTreeSet, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use uuid::Uuid;

/// After so long without a word from the evaluator another replica is it.
const LEASE: Duration = Duration::from_secs(15);
/// How long the database may take before it counts as away.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same for writing what came of a round, and for trying that when the database was away a moment ago.
const WRITE: Duration = Duration::from_secs(2);
const TRY: Duration = Duration::from_millis(250);
/// Between two looks because something turned.
const LEAST: Duration = Duration::from_secs(1);
/// Silences that are over are shown for so long.
const OVER: Duration = Duration::from_secs(5 * 86_400);
/// Between two looks for what is kept no longer.
const CLEAN: Duration = Duration::from_secs(600);

/// Looks at the rules.
pub(super) struct Watch {
    db: Db,
    outbox: Outbox,
    signals: Signals,
    reading: Reading,
    settings: Alerts,
    name: String,
    /// Until when it is known that nobody else evaluates.
    sure: Time,
    known: Option<Known>,
}

impl Watch {
    /// Looks from now on until the process ends, whenever it is this replica's turn.
    pub(super) fn start(db: Db, outbox: Outbox, signals: Signals, settings: Alerts, tasks: &Tasks) {
        clean(&db, &signals, &outbox, settings.keep_history_for, tasks);
        let name = Uuid::now_v7().simple().to_string();
        let reading = Reading::start(signals.clone(), tasks);
        let mut watch = Self { db, outbox, signals, reading, settings, name, sure: Time(0), known: None };
        let (stop, mut news) = (tasks.stopping(), watch.signals.news());
        tasks.spawn(async move {
            let mut ticks = interval(watch.settings.evaluate_every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let soonest = Instant::now() + LEAST;
                tokio::select! {
                    () = stop.cancelled() => break,
                    _ = ticks.tick() => {}
                    () = turn(news.clone(), soonest) => {}
                }
                // What turns while it looks is looked at again.
                news.mark_unchanged();
                Box::pin(watch.round(time::now())).await;
            }
            if watch.known.is_some() {
                // Another replica has its turn at once.
                drop(timeout(PATIENCE, store::release(&watch.db, &watch.name, time::now())).await);
            }
        });
    }

    async fn round(&mut self, now: Time) {
        let mut patience = TRY;
        match timeout(PATIENCE, self.turn(now)).await {
            Ok(Ok(true)) => {
                patience = WRITE;
                self.signals.looks(true);
            }
            Ok(Ok(false)) => {
                self.known = None;
                self.signals.looks(false);
                self.reading.want(BTreeSet::new());
                return;
            }
            Ok(Err(error)) => tracing::debug!(%error, "rules are looked at as they were"),
            Err(_) => tracing::debug!("the database is slow; rules are looked at as they were"),
        }
        let Some(known) = &mut self.known else { return };
        let letters = {
            let (remembered, past) = (self.signals.remembering(), self.reading.past());
            let measured = Measured::new(&remembered, self.signals.step(), &past);
            known.round(&measured, now, &self.settings.external_url)
        };
        let is_same =
            known.unsaved.is_empty() && known.events.is_empty() && known.desk.groups == known.saved_groups;
        if letters.is_empty() && is_same {
            return;
        }
        match timeout(patience, self.write(&letters, now)).await {
            Ok(Ok(true)) => self.outbox.wake(),
            // Somebody else evaluates, and tells of it.
            Ok(Ok(false)) => self.known = None,
            Ok(Err(_)) | Err(_) => letters.into_iter().for_each(|letter| self.outbox.carry(letter)),
        }
    }

    /// Whether it is this replica's turn; then it knows what people wrote since.
    async fn turn(&mut self, now: Time) -> Result<bool, sqlx::Error> {
        let desk = if now.0 < self.sure.0 && self.known.is_some() {
            store::desk(&self.db).await?
        } else {
            let Some(desk) = store::lease(&self.db, &self.name, now, now.plus(LEASE)).await? else {
                return Ok(false);
            };
            self.sure = now.plus(LEASE / 3);
            desk
        };
        match &self.known {
            Some(known) if known.version == desk.version => {}
            Some(_) => self.refresh(&desk, now).await?,
            None => self.load(&desk, now).await?,
        }
        self.signals.read_turned(now).await?;
        Ok(true)
    }

    async fn load(&mut self, desk: &Desk, now: Time) -> Result<(), sqlx::Error> {
        if !desk.seeded {
            self.seed(now).await?;
        }
        let mut known = Known::default();
        known.set_alerts(store::all(&self.db).await?, now);
        known.saved_groups = store::groups(&self.db).await?.into_iter().collect();
        known.desk.groups.clone_from(&known.saved_groups);
        self.known = Some(known);
        self.refresh(desk, now).await.inspect_err(|_| self.known = None)
    }

    async fn refresh(&mut self, desk: &Desk, now: Time) -> Result<(), sqlx::Error> {
        let rules = rules::page(&self.db, None, None).await?;
        let silences = silences::page(&self.db, (None, now), None, None).await?;
        let alerts = store::all(&self.db).await?;
        let Some(known) = &mut self.known else { return Ok(()) };
        known.set_rules(rules);
        self.reading.want(known.windows());
        known.set_acknowledged(&alerts);
        known.desk.silences = silences.into_iter().map(|kept| kept.silence).collect();
        let usual = || self.settings.first_receiver().map(Routing::to).unwrap_or_default();
        known.desk.routing = desk.routing.clone().unwrap_or_else(usual);
        known.version = desk.version;
        Ok(())
    }

    /// Gives the installation its first rules, once.
    async fn seed(&self, now: Time) -> Result<(), sqlx::Error> {
        let mut tx = self.db.begin().await?;
        if !store::seeded(&mut tx).await? {
            return Ok(());
        }
        let shipped = ::alerts::defaults().unwrap_or_default();
        let shipped: Vec<_> = shipped.into_iter().map(|text| KeptRule::new(text, true, now)).collect();
        rules::insert(&mut tx, &shipped).await?;
        tx.commit().await
    }

    /// Writes what came of a round, letters included, if it is still this replica's turn.
    async fn write(&mut self, letters: &[Letter], now: Time) -> Result<bool, sqlx::Error> {
        let Some(known) = &mut self.known else { return Ok(false) };
        let mut tx = self.db.begin().await?;
        if !store::hold(&mut tx, &self.name, now.plus(LEASE)).await? {
            return Ok(false);
        }
        for fingerprint in &known.unsaved {
            match known.kept(*fingerprint) {
                Some(kept) => store::put(&mut tx, &kept).await?,
                None => store::remove(&mut tx, *fingerprint).await?,
            }
        }
        for (key, group) in &known.desk.groups {
            if known.saved_groups.get(key) != Some(group) {
                store::put_group(&mut tx, key, group).await?;
            }
        }
        for key in known.saved_groups.keys().filter(|key| !known.desk.groups.contains_key(*key)) {
            store::remove_group(&mut tx, key).await?;
        }
        for event in &known.events {
            history::insert(&mut tx, event).await?;
        }
        for letter in letters {
            self.outbox.enter(&mut tx, letter, None, now).await?;
        }
        tx.commit().await?;
        known.unsaved.clear();
        known.events.clear();
        known.saved_groups.clone_from(&known.desk.groups);
        Ok(true)
    }
}

/// Waits until something turned, and then until `soonest`.
async fn turn(mut news: watch::Receiver<()>, soonest: Instant) {
    // Its sender lives as long as whoever waits.
    let _ = news.changed().await;
    sleep_until(soonest).await;
}

/// Forgets what is kept no longer.
fn clean(db: &Db, signals: &Signals, outbox: &Outbox, keep: Duration, tasks: &Tasks) {
    let (db, signals, outbox) = (db.clone(), signals.clone(), outbox.clone());
    tasks.repeat(CLEAN, move || {
        let (db, signals, outbox) = (db.clone(), signals.clone(), outbox.clone());
        async move {
            let ago = |duration: Duration| {
                Time(time::now().0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(0)))
            };
            let cleaned = async {
                history::purge(&db, ago(keep)).await?;
                silences::purge(&db, ago(OVER)).await?;
                signals.purge_turned(time::now()).await?;
                outbox.purge().await
            };
            // Its absence is said where it is watched.
            drop(cleaned.await);
        }
    });
}
