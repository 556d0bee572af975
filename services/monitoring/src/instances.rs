//! Instances: registered by their agents, heard of every few seconds, moved by whoever holds the latest registration,
//! and given up when nothing is heard of them.
//!
//! Every move is decided by [`scaling::Record`] and kept together with its event, if the instance is still as it was when
//! that was decided; otherwise it is decided again.

pub(crate) mod replicas;
pub(crate) mod sweep;

use crate::{
    error::{Ended, Error},
    events,
    moment::{at, since},
    place,
    store::{self, instances as rows},
};
use policy::Time;
use scaling::{Cause, Claim, Entry, Record, Refused, State};
use serde::{Deserialize, Serialize};
use shared::{
    db::Db,
    event::{Change, Origin},
};
use std::time::Duration;
use uuid::Uuid;

/// How often two that change the same instance at the same moment try to get a word in.
const TRIES: u32 = 5;

/// What an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) pool: String,
    pub(crate) node: String,
    pub(crate) engine_url: String,
    pub(crate) provider: String,
    pub(crate) spot: bool,
    pub(crate) gpus: Vec<String>,
}

/// What was seen of it; what was not seen is none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Status {
    pub(crate) running: Option<f64>,
    pub(crate) waiting: Option<f64>,
    pub(crate) kv_usage: Option<f64>,
    pub(crate) gpu_usage: Option<f64>,
    pub(crate) gpu_memory_used: Option<i64>,
    pub(crate) gpu_memory_total: Option<i64>,
}

/// That somebody wants it drained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) reason: String,
    pub(crate) limit: Option<Duration>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) spec: Spec,
    pub(crate) record: Record,
    pub(crate) state_time: Time,
    pub(crate) seen_time: Time,
    pub(crate) status: Status,
    pub(crate) wish: Option<Wish>,
}

/// One move of one instance.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: Uuid,
    pub(crate) instance: String,
    pub(crate) pool: String,
    pub(crate) entry: Entry,
    pub(crate) detail: String,
}

/// Something that a cloud took away.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Preemption {
    pub(crate) place: Uuid,
    pub(crate) instance: String,
    pub(crate) event: String,
    pub(crate) action: String,
    pub(crate) notice: Time,
    pub(crate) deadline: Option<Time>,
    pub(crate) end: Option<Time>,
    pub(crate) in_flight: Option<u32>,
    pub(crate) finished: Option<u32>,
    pub(crate) unfinished: Option<u32>,
}

/// Registers an instance; its life begins anew.
///
/// # Errors
/// When the store is away.
pub(crate) async fn register(
    db: &Db,
    id: &str,
    spec: Spec,
    detail: &str,
    now: Time,
) -> Result<Instance, Error> {
    for _ in 0..TRIES {
        let registered = store::timed(db, "register_instance", begin(db, id, &spec, detail, now)).await?;
        if let Some(instance) = registered {
            return Ok(instance);
        }
    }
    Err(Error::Busy)
}

/// Registers an instance, unless somebody else changes it at this moment.
async fn begin(
    db: &Db,
    id: &str,
    spec: &Spec,
    detail: &str,
    now: Time,
) -> Result<Option<Instance>, sqlx::Error> {
    let before = rows::get(db, id).await?.map(|known| known.record);
    let (record, entry) = Record::register(before, since(now));
    let (id, spec, status) = (id.to_owned(), spec.clone(), Status::default());
    let instance = Instance { id, spec, record, state_time: now, seen_time: now, status, wish: None };
    let event = event(&instance, entry, detail);
    let mut tx = db.begin().await?;
    if !rows::put(&mut tx, &instance, before).await? {
        return Ok(None);
    }
    rows::note(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(Some(instance))
}

/// Takes in that an instance is there. Answers with the instance.
///
/// # Errors
/// When nobody knows it, it was registered again, or it is over.
pub(crate) async fn heartbeat(
    db: &Db,
    id: &str,
    epoch: u64,
    status: &Status,
    now: Time,
) -> Result<Instance, Error> {
    store::timed(db, "heartbeat", rows::seen(db, id, epoch, status, now)).await?;
    let instance = get(db, id).await?;
    if instance.record.epoch != epoch {
        return Err(Error::Instance(id.to_owned(), Ended::Replaced));
    }
    if instance.record.state == State::Terminated {
        return Err(Error::Instance(id.to_owned(), Ended::Over));
    }
    Ok(instance)
}

/// Takes in a move that its agent reports.
///
/// # Errors
/// When nobody knows the instance, or the move does not count.
pub(crate) async fn report(db: &Db, id: &str, claim: &Claim, detail: &str) -> Result<Instance, Error> {
    for _ in 0..TRIES {
        let known = get(db, id).await?;
        let (record, entry) = known.record.accept(claim).map_err(|refused| refusal(id, refused))?;
        let Some(entry) = entry else { return Ok(known) };
        let moving = step(db, known, record, entry, detail);
        if let Some(moved) = store::timed(db, "report_move", moving).await? {
            return Ok(moved);
        }
    }
    Err(Error::Busy)
}

/// Asks for an instance to be drained.
///
/// # Errors
/// When nobody knows it, or it is over.
pub(crate) async fn drain(db: &Db, id: &str, wish: &Wish, origin: &Origin) -> Result<Instance, Error> {
    let known = get(db, id).await?;
    if known.record.state == State::Terminated {
        return Err(Error::Instance(id.to_owned(), Ended::Over));
    }
    store::timed(db, "drain_instance", rows::wish(db, id, wish)).await?;
    let limit = wish.limit.map(|limit| limit.as_secs());
    let after = serde_json::json!({ "pool": known.spec.pool, "drain_within_seconds": limit });
    events::note(db, origin, Change::created("instance", id, after).called("drained")).await;
    get(db, id).await
}

/// Takes in what a cloud does; what an earlier report of the same event said stays.
///
/// # Errors
/// When nobody knows the instance.
pub(crate) async fn preempt(db: &Db, preemption: &Preemption) -> Result<Preemption, Error> {
    get(db, &preemption.instance).await?;
    Ok(store::timed(db, "report_preemption", rows::preempt(db, preemption)).await?)
}

/// One instance.
pub(crate) async fn get(db: &Db, id: &str) -> Result<Instance, Error> {
    let found = store::timed(db, "get_instance", rows::get(db, id)).await?;
    found.ok_or_else(|| Error::Instance(id.to_owned(), Ended::Unknown))
}

/// Which instances are listed.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Filter {
    pub(crate) pool: Option<String>,
    /// The number of a state; all but the terminated when there is none.
    pub(crate) state: Option<i32>,
}

/// Where a page of instances starts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct After(pub(crate) String);

impl place::Place for After {
    fn is_possible(&self) -> bool {
        !self.0.chars().any(char::is_control)
    }
}

/// Where a page of what happened starts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Before(pub(crate) Uuid);

impl place::Place for Before {
    fn is_possible(&self) -> bool {
        true
    }
}

/// One page of instances and the token of the next.
pub(crate) async fn list(
    db: &Db,
    filter: &Filter,
    size: u32,
    token: &str,
) -> Result<(Vec<Instance>, String), Error> {
    let bound = serde_json::to_string(&("instances", filter)).unwrap_or_default();
    let after: Option<After> = place::read(&bound, token)?;
    let after = after.map(|after| after.0).unwrap_or_default();
    let mut page = store::timed(db, "list_instances", rows::page(db, filter, &after, size + 1)).await?;
    let next = place::next(&bound, &mut page, size, |last| After(last.id.clone()));
    Ok((page, next))
}

/// One page of what happened, the newest first, and the token of the next.
pub(crate) async fn events(
    db: &Db,
    instance: Option<&str>,
    size: u32,
    token: &str,
) -> Result<(Vec<Event>, String), Error> {
    let bound = serde_json::to_string(&("instance_events", instance)).unwrap_or_default();
    let before: Option<Before> = place::read(&bound, token)?;
    let before = before.map_or(Uuid::max(), |before| before.0);
    let mut page =
        store::timed(db, "list_instance_events", rows::events(db, instance, before, size + 1)).await?;
    let next = place::next(&bound, &mut page, size, |last| Before(last.id));
    Ok((page, next))
}

/// One page of what clouds took away, the newest first, and the token of the next.
pub(crate) async fn preemptions(
    db: &Db,
    instance: Option<&str>,
    size: u32,
    token: &str,
) -> Result<(Vec<Preemption>, String), Error> {
    let bound = serde_json::to_string(&("preemptions", instance)).unwrap_or_default();
    let before: Option<Before> = place::read(&bound, token)?;
    let before = before.map_or(Uuid::max(), |before| before.0);
    let mut page =
        store::timed(db, "list_preemptions", rows::preemptions(db, instance, before, size + 1)).await?;
    let next = place::next(&bound, &mut page, size, |last| Before(last.place));
    Ok((page, next))
}

/// Moves an instance and notes it, unless it is no longer as it was known.
async fn step(
    db: &Db,
    known: Instance,
    record: Record,
    entry: Entry,
    detail: &str,
) -> Result<Option<Instance>, sqlx::Error> {
    let before = known.record;
    let moved = Instance { record, state_time: at(entry.at), ..known };
    let event = event(&moved, entry, detail);
    let mut tx = db.begin().await?;
    if !rows::moved(&mut tx, &moved, before).await? {
        return Ok(None);
    }
    rows::note(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(Some(moved))
}

fn event(instance: &Instance, entry: Entry, detail: &str) -> Event {
    Event {
        id: Uuid::now_v7(),
        instance: instance.id.clone(),
        pool: instance.spec.pool.clone(),
        entry,
        detail: detail.to_owned(),
    }
}

fn refusal(id: &str, refused: Refused) -> Error {
    match refused {
        Refused::Replaced { .. } => Error::Instance(id.to_owned(), Ended::Replaced),
        Refused::OutOfTurn { version } => Error::OutOfTurn { version },
        Refused::Illegal { from, to } => Error::IllegalMove { from, to },
    }
}

/// Ends an instance that nothing is heard of. Nothing happens when something is, meanwhile.
async fn give_up(db: &Db, known: Instance, now: Time) -> Result<bool, sqlx::Error> {
    let followed = known.record.follow(State::Terminated, Cause::LeaseLost, since(now));
    let Ok((record, entry)) = followed else { return Ok(false) };
    let silent = since(now).saturating_sub(since(known.seen_time)).as_secs();
    Ok(step(db, known, record, entry, &format!("silent for {silent} s")).await?.is_some())
}
