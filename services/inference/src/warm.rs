//! Answers that are made ahead of those who will ask for them: those in use that are about to end, the highest score
//! first; those that are expected in the coming hour; and at set times those that were asked most.
//!
//! What was asked, and how often in which hour of the week, is counted from memory after the fact and kept in the
//! database for four weeks; no request waits for it. What is made runs in class batch and is billed to [`SYSTEM`].

mod hours;

use crate::{
    cache::{Asked, Cache, Chosen, Kept, Key, Origin},
    config,
    error::Error,
    infer::Inference,
    jobs::person::Submitter,
    metrics,
    prompt::Endpoint,
    store::{
        Store,
        popularity::{self, Known},
    },
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hours::{WEEKS, hour_of, until_next, weeks_before};
use policy::{Time, UserId};
use shared::{seal::rows::Vault, server::Tasks, time};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use uuid::Uuid;

/// Whose work it is in the ledger: `system:warm`, who is no user.
pub const SYSTEM: UserId = UserId(Uuid::from_u128(0x0000_0000_0000_8000_8000_7761_726d_0000));

/// Requests whose counts are written at once; those that were asked most.
const COUNTED: usize = 1_000;
/// Longest time for the last count of a process that ends.
const LAST: Duration = Duration::from_secs(2);
/// Between two times of forgetting what is too old.
const PURGES: Duration = Duration::from_secs(3_600);

/// An answer that is to be made.
#[derive(Debug, Clone)]
pub struct Target {
    /// What it is kept under.
    pub key: Key,
    /// What it is of.
    pub of: Origin,
    /// Its route.
    pub endpoint: Endpoint,
    /// What is asked, and in whose name.
    pub asked: Asked,
}

/// Makes answers ahead.
#[derive(Debug, Clone)]
pub struct Warming {
    inference: Inference,
    store: Store,
    tasks: Tasks,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    looked: Option<Time>,
    purged: Option<Time>,
}

impl Warming {
    /// For this gateway.
    #[must_use]
    pub fn new(inference: Inference, store: Store, tasks: &Tasks) -> Self {
        Self { inference, store, tasks: tasks.clone(), state: Arc::default() }
    }

    /// Looks again and again at what is to be made, until the process ends.
    pub fn start(&self) {
        let (this, stop) = (self.clone(), self.tasks.stopping());
        self.tasks.spawn(async move {
            let rounds = async {
                loop {
                    tokio::time::sleep(this.cache().warming().every).await;
                    this.round(time::now()).await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = rounds => {}
            }
            // What was asked since the last look is not forgotten by the next start.
            let settings = this.cache().warming();
            if let Ok(vault) = this.store.vault()
                && settings.enabled
            {
                let _ = tokio::time::timeout(LAST, this.count(vault, &settings, time::now())).await;
            }
        });
    }

    fn cache(&self) -> &Cache {
        &self.inference.cache
    }

    async fn round(&self, now: Time) {
        let settings = self.cache().warming();
        let looked = self.state.lock().unwrap_or_else(PoisonError::into_inner).looked.replace(now);
        if !settings.enabled {
            return;
        }
        if let Ok(vault) = self.store.vault()
            && let Err(error) = self.count(vault, &settings, now).await
        {
            tracing::debug!(%error, "what was asked often could not be counted");
        }
        let due = self.due(&settings, looked, now).await;
        self.make(due, Some(settings.ahead), &settings).await;
    }

    /// What is to be made now, in order, as much as may be.
    async fn due(&self, settings: &config::Warm, looked: Option<Time>, now: Time) -> Vec<Target> {
        let mut due = self.ending(settings, now);
        if let Ok(vault) = self.store.vault() {
            let most = i64::from(settings.most);
            if until_next(now) <= settings.ahead {
                let next = hour_of(now.plus(until_next(now)));
                let expected = popularity::expected(vault, next, WEEKS, most).await.unwrap_or_default();
                let least = i64::from(settings.min_uses) * WEEKS;
                due.extend(expected.iter().filter(|asked| asked.uses >= least).filter_map(target));
            }
            if looked.is_some_and(|looked| settings.times().any(|time| hours::is_between(time, looked, now)))
            {
                let since = weeks_before(now);
                due.extend(
                    popularity::popular(vault, since, most)
                        .await
                        .unwrap_or_default()
                        .iter()
                        .filter_map(target),
                );
            }
        }
        let mut seen = HashSet::new();
        due.retain(|target| seen.insert(target.key));
        due.truncate(settings.most as usize);
        due
    }

    /// Those in memory that are about to end and were used, the highest score first.
    fn ending(&self, settings: &config::Warm, now: Time) -> Vec<Target> {
        let all = self.cache().by_score(&Chosen::default(), usize::MAX).into_iter();
        let ending = all.filter(|(_, kept)| {
            kept.uses() >= u64::from(settings.min_uses) && kept.left(now) <= settings.ahead.min(kept.ttl / 2)
        });
        ending.filter_map(|(key, kept)| in_memory(key, &kept)).take(settings.most as usize).collect()
    }

    async fn make(&self, due: Vec<Target>, good_for: Option<Duration>, settings: &config::Warm) {
        let made = stream::iter(due).for_each_concurrent(settings.at_once, |target| async move {
            // Of several gateways that see the same, one makes it.
            if good_for.is_some() && !self.cache().claims_warming(target.key, settings.ahead).await {
                return;
            }
            let warmed = Box::pin(self.inference.warm(&target, good_for)).await;
            metrics::warmed(&target.of.model, warmed);
        });
        made.await;
    }

    /// Has answers made now that are chosen, the most used first, as many as may be at once. They are made after this
    /// returns how many they are.
    ///
    /// # Errors
    /// [`Error::WarmingOff`], or when the database is away.
    pub async fn now(&self, chosen: &Chosen, most: Option<u32>, only_say: bool) -> Result<u64, Error> {
        let settings = self.cache().warming();
        if !settings.enabled {
            return Err(Error::WarmingOff);
        }
        let most = most.unwrap_or(settings.most) as usize;
        let kept = self.cache().list(chosen, usize::MAX);
        let mut due: Vec<Target> = kept.iter().filter_map(|(key, kept)| in_memory(*key, kept)).collect();
        let (vault, since) = (self.store.vault()?, weeks_before(time::now()));
        let known = popularity::popular(vault, since, i64::from(settings.remembered));
        let known = known.await?;
        let known = known.iter().filter_map(target);
        due.extend(known.filter(|target| chosen.matches(&target.key, &target.of)));
        let mut seen = HashSet::new();
        due.retain(|target| seen.insert(target.key) && self.inference.may_warm(target));
        due.truncate(most);
        let answers = due.len() as u64;
        if !only_say {
            let (this, stop) = (self.clone(), self.tasks.stopping());
            self.tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = this.make(due, None, &settings) => {}
                }
            });
        }
        Ok(answers)
    }

    /// Writes how often what was asked since the last time.
    async fn count(&self, vault: &Vault, settings: &config::Warm, now: Time) -> Result<(), Error> {
        let mut asked = self.cache().newly_asked();
        asked.sort_by_key(|(_, _, uses)| std::cmp::Reverse(*uses));
        asked.truncate(COUNTED);
        let hour = hour_of(now);
        if !asked.is_empty() {
            let mut tx = vault.begin().await?;
            for (key, kept, uses) in &asked {
                if let Some(row) = row(*key, kept, *uses) {
                    popularity::count(&mut tx, &vault.sealer, &row, hour, now).await?;
                }
            }
            tx.commit().await?;
            asked.iter().for_each(|(_, kept, uses)| kept.was_counted(*uses));
        }
        let purged = self.state.lock().unwrap_or_else(PoisonError::into_inner).purged;
        if purged.is_none_or(|at| at.plus(PURGES) <= now) {
            let since = Time(now.0 - hours::WEEK * WEEKS);
            popularity::purge(&vault.db, weeks_before(now), since, i64::from(settings.remembered)).await?;
            self.state.lock().unwrap_or_else(PoisonError::into_inner).purged = Some(now);
        }
        Ok(())
    }
}

fn in_memory(key: Key, kept: &Arc<Kept>) -> Option<Target> {
    let endpoint = endpoint(kept.of.endpoint)?;
    Some(Target { key, of: kept.of.clone(), endpoint, asked: kept.asked.clone()? })
}

fn target(asked: &popularity::Asked) -> Option<Target> {
    let known = Known {
        key: asked.key.clone(),
        model: asked.model.clone(),
        revision: asked.revision.clone(),
        endpoint: asked.endpoint.clone(),
        template: asked.template.clone(),
        tags: asked.tags.clone(),
    };
    let (of, key) = (origin(&known)?, key(&asked.key)?);
    let by = Submitter::kept(asked.owner, asked.owner_key);
    let body = Bytes::copy_from_slice(&asked.body);
    Some(Target { key, endpoint: endpoint(of.endpoint)?, of, asked: Asked { by, body, in_time: false } })
}

fn row(key: Key, kept: &Kept, uses: u64) -> Option<popularity::Asked> {
    let asked = kept.asked.as_ref()?;
    let (owner, owner_key) = asked.by.ids();
    Some(popularity::Asked {
        key: key.0.to_vec(),
        model: kept.of.model.to_string(),
        revision: kept.of.revision.to_string(),
        endpoint: kept.of.endpoint.to_owned(),
        template: kept.of.template.to_string(),
        tags: serde_json::to_string(&*kept.of.tags).ok()?,
        owner,
        owner_key,
        body: asked.body.to_vec(),
        uses: i64::try_from(uses).unwrap_or(i64::MAX),
    })
}

/// What a request is of, as it is kept.
pub(crate) fn origin(known: &Known) -> Option<Origin> {
    let tags: Vec<Box<str>> = serde_json::from_str(&known.tags).ok()?;
    Some(Origin {
        model: known.model.as_str().into(),
        revision: known.revision.as_str().into(),
        endpoint: endpoint(&known.endpoint)?.name(),
        template: known.template.as_str().into(),
        tags: tags.into(),
    })
}

/// What a request's answer is kept under, as it is kept.
pub(crate) fn key(bytes: &[u8]) -> Option<Key> {
    bytes.try_into().ok().map(Key)
}

fn endpoint(name: &str) -> Option<Endpoint> {
    Endpoint::ALL.into_iter().find(|endpoint| endpoint.name() == name)
}
