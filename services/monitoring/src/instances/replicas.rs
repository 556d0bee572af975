//! How many replicas each pool should have: looked at every few seconds by whichever replica of this service comes
//! first, kept in the database, and read from there by all, so that all say the same.

use crate::{
    error::Error,
    events,
    instances::Instance,
    moment::{at, since},
    store::{self, instances as instance_rows, replicas as rows},
};
use policy::Time;
use scaling::{Fleet, Inputs, Load, Policy, Recommendation, Scaler};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::{
    db::Db,
    event::{Change, Origin},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Between two looks at a pool.
pub(crate) const EVERY: Duration = Duration::from_secs(10);
/// What a gateway said longer ago than this is forgotten.
const FORGET: Duration = Duration::from_secs(3_600);

/// What an operator put for a pool.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Put {
    pub(crate) pool: String,
    pub(crate) models: Vec<String>,
    pub(crate) policy: Policy,
    /// How often it was put; 0 for the default policy.
    pub(crate) revision: i64,
    pub(crate) update_time: Option<Time>,
    pub(crate) updated_by: String,
}

/// What a gateway said of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) model: String,
    pub(crate) gateway: String,
    pub(crate) load: Load,
}

/// What is kept of a pool.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    pub(crate) pool: String,
    /// How often it was looked at; 0 for one that never was.
    pub(crate) version: i64,
    pub(crate) look_time: Time,
    pub(crate) scaler: Scaler,
    /// What was seen and recommended at the last look at which anything was known; none when the last one was blind.
    pub(crate) seen: Option<Recommendation>,
    /// Why, in words.
    pub(crate) reason: String,
}

impl Put {
    /// As the log of changes has it.
    fn logged(&self) -> Value {
        json!({ "models": self.models, "policy": self.policy, "revision": self.revision })
    }

    /// What counts for a pool for which nothing was put.
    pub(crate) fn default_of(pool: &str) -> Self {
        Self {
            pool: pool.to_owned(),
            models: Vec::new(),
            policy: Policy::default(),
            revision: 0,
            update_time: None,
            updated_by: String::new(),
        }
    }

    /// The models whose requests count.
    fn counts(&self, model: &str) -> bool {
        if self.models.is_empty() { self.pool == model } else { self.models.iter().any(|one| one == model) }
    }
}

/// Takes in what a gateway says.
///
/// # Errors
/// When the store is away.
pub(crate) async fn report(db: &Db, loads: &[Said]) -> Result<(), Error> {
    Ok(store::timed(db, "report_load", rows::say(db, loads)).await?)
}

/// What counts for a pool.
///
/// # Errors
/// When the store is away.
pub(crate) async fn policy(db: &Db, pool: &str) -> Result<Put, Error> {
    let put = store::timed(db, "get_scaling_policy", rows::policy(db, pool)).await?;
    Ok(put.unwrap_or_else(|| Put::default_of(pool)))
}

/// Puts what counts for a pool. `expected` is the revision that the caller has seen, where it matters to the caller.
///
/// # Errors
/// [`Error::Etag`] when the policy is another one by now.
pub(crate) async fn put(db: &Db, new: Put, expected: Option<i64>, origin: &Origin) -> Result<Put, Error> {
    let before = policy(db, &new.pool).await?;
    let known = before.revision;
    if expected.is_some_and(|expected| expected != known) {
        return Err(Error::Etag);
    }
    let new = Put { revision: known + 1, ..new };
    if !store::timed(db, "put_scaling_policy", rows::put(db, &new)).await? {
        return Err(if expected.is_some() { Error::Etag } else { Error::Busy });
    }
    let change = Change::updated("scaling_policy", new.pool.clone(), before.logged(), new.logged());
    events::note(db, origin, change).await;
    Ok(new)
}

/// Where a page of policies starts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct After(String);

impl crate::place::Place for After {
    fn is_possible(&self) -> bool {
        !self.0.chars().any(char::is_control)
    }
}

/// One page of the policies that were put, and the token of the next.
pub(crate) async fn policies(db: &Db, size: u32, token: &str) -> Result<(Vec<Put>, String), Error> {
    const LIST: &str = "scaling_policies";
    let after: Option<After> = crate::place::read(LIST, token)?;
    let after = after.map(|after| after.0).unwrap_or_default();
    let mut page = store::timed(db, "list_scaling_policies", rows::policies(db, &after, size + 1)).await?;
    let next = crate::place::next(LIST, &mut page, size, |last| After(last.pool.clone()));
    Ok((page, next))
}

/// What is recommended for a pool.
///
/// # Errors
/// [`Error::Stale`] when nothing was known at the last look, or that is too long ago.
pub(crate) async fn recommended(db: &Db, pool: &str, now: Time) -> Result<(Kept, Recommendation), Error> {
    let stale = |problem| Error::Stale { pool: pool.to_owned(), problem };
    let put = policy(db, pool).await?;
    let kept = store::timed(db, "get_scaling_recommendation", rows::kept(db, pool)).await?;
    let kept = kept.ok_or_else(|| stale("there is no instance of it and no policy for it"))?;
    let seen = kept.seen.ok_or_else(|| stale("no gateway says how many of its requests wait"))?;
    if since(now).saturating_sub(seen.inputs.at) > put.policy.fresh_within + EVERY {
        return Err(stale("what is known is too old"));
    }
    Ok((kept, seen))
}

/// How many requests wait for a pool, as far as anybody says.
///
/// # Errors
/// When the store is away.
pub(crate) async fn queue_length(db: &Db, pool: &str, now: Time) -> Result<Option<u32>, Error> {
    match recommended(db, pool, now).await {
        Ok((_, seen)) => Ok(Some(seen.inputs.queue)),
        Err(Error::Stale { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Looks at every pool that nobody has looked at since `EVERY`.
///
/// # Errors
/// When the store is away.
pub(crate) async fn look(db: &Db, now: Time) -> Result<(), sqlx::Error> {
    store::timed(db, "look_at_pools", async {
        let puts = rows::policies(db, "", u32::MAX).await?;
        let instances = instance_rows::living(db).await?;
        let said = rows::said(db, at(since(now).saturating_sub(FORGET))).await?;
        let kept = rows::all_kept(db).await?;
        let mut kept: BTreeMap<_, _> = kept.into_iter().map(|kept| (kept.pool.clone(), kept)).collect();
        let mut puts: BTreeMap<_, _> = puts.into_iter().map(|put| (put.pool.clone(), put)).collect();
        let of_instances = instances.iter().map(|instance| instance.spec.pool.clone());
        let pools: BTreeSet<String> = puts.keys().cloned().chain(of_instances).collect();
        for pool in pools {
            let put = puts.remove(&pool).unwrap_or_else(|| Put::default_of(&pool));
            let before = kept.remove(&pool);
            let looked = before.as_ref().map_or(Duration::ZERO, |kept| since(kept.look_time));
            // A little early is in time: replicas that look in step would else take turns at every second look.
            if since(now).saturating_sub(looked) < EVERY * 4 / 5 {
                continue;
            }
            let after = next(&put, &instances, &said, before, now);
            rows::keep(db, &after).await?;
        }
        rows::forget(db, at(since(now).saturating_sub(FORGET))).await
    })
    .await
}

/// What becomes of a pool at this look.
fn next(put: &Put, instances: &[Instance], said: &[Said], before: Option<Kept>, now: Time) -> Kept {
    let mine = || instances.iter().filter(|instance| instance.spec.pool == put.pool);
    let fleet = Fleet::count(mine().map(|instance| instance.record.state));
    let counted = said.iter().filter(|said| put.counts(&said.model));
    // A gateway serves several models of a pool: together they are what it says.
    let mut loads: BTreeMap<&str, Load> = BTreeMap::new();
    for Said { gateway, load, .. } in counted {
        let known = loads.entry(gateway).or_insert(Load { queue: 0, first_token: None, at: load.at });
        known.queue = known.queue.saturating_add(load.queue);
        known.first_token = known.first_token.max(load.first_token);
        known.at = known.at.min(load.at);
    }
    let loads: Vec<Load> = loads.into_values().collect();
    let ready = mine().filter(|instance| instance.record.state == scaling::State::Ready);
    let gpus: Vec<_> =
        ready.filter_map(|instance| Some((since(instance.seen_time), instance.status.gpu_usage?))).collect();
    let mut scaler = before.as_ref().map_or_else(|| Scaler::new(&put.policy, fleet), |before| before.scaler);
    let inputs = Inputs::gather(&loads, &gpus, since(now), put.policy.fresh_within);
    let seen = match inputs {
        Ok(inputs) => Some(scaler.look(&put.policy, inputs, fleet, since(now))),
        Err(_) => {
            scaler.blind();
            None
        }
    };
    let reason = seen.map(|seen| seen.reason.to_string()).unwrap_or_default();
    let version = before.map_or(0, |before| before.version) + 1;
    Kept { pool: put.pool.clone(), version, look_time: now, scaler, seen, reason }
}
