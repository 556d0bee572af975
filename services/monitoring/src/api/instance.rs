//! Single instances between the contract and the domain.

use super::field;
use crate::{
    error::{Error, Violation},
    instances::{self, Event, Filter, Instance, Preemption, Spec, Status, Wish},
    moment::{at, since},
    store::instances::state_number,
};
use ::policy::Time;
use ::scaling::{Cause, Claim, Lease, Record, Standing, State};
use futures_util::{Stream, stream};
use proto::monitoring::v1 as pb;
use shared::{db::Db, time};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};
use tokio_util::sync::CancellationToken;
use tonic::Status as Refusal;
use uuid::Uuid;

/// How often agents say that they are there.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);
/// Longest words of a reason or a detail, in characters.
pub(super) const MAX_REASON: usize = 500;
/// Longest ids, and longest names of pools, in characters.
const MAX_ID: usize = 200;
pub(super) const MAX_POOL: usize = 100;
/// Most GPUs of an instance.
const MAX_GPUS: usize = 64;
/// Longest time that a drain may take.
const MAX_DRAIN: Duration = Duration::from_secs(24 * 60 * 60);
/// Between two looks of a watch.
const LOOK: Duration = Duration::from_secs(1);

/// A move that an agent tells of.
pub(super) struct Told {
    pub(super) id: String,
    pub(super) claim: Claim,
    pub(super) detail: String,
}

/// How long agents may be silent.
pub(crate) fn lease() -> Lease {
    Lease::default()
}

/// The id of an instance.
pub(super) fn id(text: &str) -> Result<String, Violation> {
    let known = |letter: char| letter.is_ascii_alphanumeric() || ".:_-".contains(letter);
    let good = !text.is_empty() && text.len() <= MAX_ID && text.chars().all(known);
    good.then(|| text.to_owned()).ok_or_else(|| {
        Violation::new("instance_id", "must be 1 to 200 letters, digits and `.`, `:`, `_`, `-`")
    })
}

/// The same, or nothing when the text is empty.
pub(super) fn optional_id(text: &str) -> Result<Option<String>, Violation> {
    if text.is_empty() { Ok(None) } else { id(text).map(Some) }
}

/// The name of a pool.
pub(super) fn pool(field: &str, text: String) -> Result<String, Violation> {
    let text = field::text(field, text, MAX_POOL)?;
    if text.is_empty() { Err(Violation::new(field, "is required")) } else { Ok(text) }
}

/// What an instance is.
pub(super) fn spec(spec: Option<pb::InstanceSpec>) -> Result<Spec, Violation> {
    let spec = spec.ok_or_else(|| Violation::new("spec", "is required"))?;
    if spec.gpus.len() > MAX_GPUS {
        return Err(Violation::new("spec.gpus", format!("must be at most {MAX_GPUS}")));
    }
    if !["", "aws", "gcp", "azure"].contains(&spec.provider.as_str()) {
        return Err(Violation::new("spec.provider", "must be aws, gcp, azure or empty"));
    }
    Ok(Spec {
        pool: pool("spec.pool", spec.pool)?,
        node: field::text("spec.node", spec.node, MAX_ID)?,
        engine_url: field::text("spec.engine_url", spec.engine_url, MAX_REASON)?,
        provider: spec.provider,
        spot: spec.spot,
        gpus: spec
            .gpus
            .into_iter()
            .map(|gpu| field::text("spec.gpus", gpu, MAX_POOL))
            .collect::<Result<_, _>>()?,
    })
}

/// What was seen of an instance.
pub(super) fn status(status: pb::InstanceStatus) -> Result<Status, Violation> {
    let share = |field: &str, share: Option<f64>| match share {
        Some(share) if !(0.0..=1.0).contains(&share) => {
            Err(Violation::new(format!("status.{field}"), "must be from 0 to 1"))
        }
        share => Ok(share),
    };
    let count = |field: &str, count: Option<f64>| match count {
        Some(count) if !(count.is_finite() && count >= 0.0) => {
            Err(Violation::new(format!("status.{field}"), "must be a number that is not negative"))
        }
        count => Ok(count),
    };
    Ok(Status {
        running: count("requests_running", status.requests_running)?,
        waiting: count("requests_waiting", status.requests_waiting)?,
        kv_usage: share("kv_cache_usage", status.kv_cache_usage)?,
        gpu_usage: share("gpu_usage", status.gpu_usage)?,
        gpu_memory_used: status.gpu_memory_used_bytes.filter(|bytes| *bytes >= 0),
        gpu_memory_total: status.gpu_memory_total_bytes.filter(|bytes| *bytes >= 0),
    })
}

/// A move.
pub(super) fn told(told: pb::ReportMoveRequest) -> Result<Told, Violation> {
    let to = State::ALL.into_iter().find(|state| state_number(*state) == told.to);
    let cause = Cause::ALL.into_iter().find(|cause| cause_of(*cause) as i32 == told.cause);
    let time = told.time.as_ref().ok_or_else(|| Violation::new("time", "is required"))?;
    let claim = Claim {
        epoch: told.epoch,
        version: told.version,
        to: to.ok_or_else(|| Violation::new("to", "must be a state"))?,
        cause: cause.ok_or_else(|| Violation::new("cause", "must be a cause"))?,
        at: since(field::instant("time", time)?),
    };
    Ok(Told { id: id(&told.instance_id)?, claim, detail: field::text("detail", told.detail, MAX_REASON)? })
}

/// What a cloud takes away.
pub(super) fn preemption(request: pb::ReportPreemptionRequest) -> Result<Preemption, Violation> {
    let told = request.preemption.ok_or_else(|| Violation::new("preemption", "is required"))?;
    let event = field::text("preemption.event_id", told.event_id, MAX_ID)?;
    if event.is_empty() {
        return Err(Violation::new("preemption.event_id", "is required"));
    }
    let notice = told.notice_time.as_ref();
    let notice = notice.ok_or_else(|| Violation::new("preemption.notice_time", "is required"))?;
    Ok(Preemption {
        place: Uuid::now_v7(),
        instance: id(&request.instance_id)?,
        event,
        action: field::text("preemption.action", told.action, MAX_POOL)?,
        notice: field::instant("preemption.notice_time", notice)?,
        deadline: field::optional_instant("preemption.deadline", told.deadline.as_ref())?,
        end: field::optional_instant("preemption.end_time", told.end_time.as_ref())?,
        in_flight: told.requests_in_flight,
        finished: told.requests_finished,
        unfinished: told.requests_unfinished,
    })
}

/// Why somebody wants an instance drained; it is part of the event.
pub(super) fn wish(reason: String) -> Result<String, Violation> {
    let reason = field::text("reason", reason, MAX_REASON)?;
    Ok(if reason.is_empty() { "no reason was given".to_owned() } else { reason })
}

/// How long a drain may take.
pub(super) fn limit(limit: Option<&prost_types::Duration>) -> Result<Option<Duration>, Violation> {
    let limit = field::duration("limit", limit)?;
    if limit.is_some_and(|limit| limit > MAX_DRAIN) {
        return Err(Violation::new("limit", "must be at most 24 hours"));
    }
    Ok(limit)
}

/// Which instances are asked for.
pub(super) fn filter(pool: String, state: i32) -> Result<Filter, Violation> {
    if !(0..=5).contains(&state) {
        return Err(Violation::new("state", "must be a state"));
    }
    Ok(Filter {
        pool: field::optional_text("pool", pool, MAX_POOL)?,
        state: Some(state).filter(|state| *state != 0),
    })
}

/// An instance as it is shown.
pub(super) fn shown(instance: Instance, now: Time) -> pb::Instance {
    let Instance { id, spec, record, state_time, seen_time, status, wish } = instance;
    let silent = since(now).saturating_sub(since(seen_time));
    pb::Instance {
        instance_id: id,
        spec: Some(pb::InstanceSpec {
            pool: spec.pool,
            node: spec.node,
            engine_url: spec.engine_url,
            provider: spec.provider,
            spot: spec.spot,
            gpus: spec.gpus,
        }),
        state: state_number(record.state),
        state_time: Some(time::to_proto(state_time)),
        epoch: record.epoch,
        version: record.version,
        suspect: lease().standing(record.state, silent) != Standing::Alive,
        seen_time: Some(time::to_proto(seen_time)),
        status: Some(pb::InstanceStatus {
            requests_running: status.running,
            requests_waiting: status.waiting,
            kv_cache_usage: status.kv_usage,
            gpu_usage: status.gpu_usage,
            gpu_memory_used_bytes: status.gpu_memory_used,
            gpu_memory_total_bytes: status.gpu_memory_total,
        }),
        drain_reason: wish.map(|Wish { reason, .. }| reason).unwrap_or_default(),
    }
}

/// A cause as the contract names it.
const fn cause_of(cause: Cause) -> pb::MoveCause {
    match cause {
        Cause::Registered => pb::MoveCause::Registered,
        Cause::EngineUp => pb::MoveCause::EngineUp,
        Cause::WarmedUp => pb::MoveCause::WarmedUp,
        Cause::EngineLost => pb::MoveCause::EngineLost,
        Cause::WarmUpFailed => pb::MoveCause::WarmUpFailed,
        Cause::Preemption => pb::MoveCause::Preemption,
        Cause::Requested => pb::MoveCause::Requested,
        Cause::Stopped => pb::MoveCause::Stopped,
        Cause::Idle => pb::MoveCause::Idle,
        Cause::Drained => pb::MoveCause::Drained,
        Cause::DrainLimit => pb::MoveCause::DrainLimit,
        Cause::LeaseLost => pb::MoveCause::LeaseLost,
    }
}

impl From<Event> for pb::InstanceEvent {
    fn from(event: Event) -> Self {
        let entry = event.entry;
        Self {
            instance_id: event.instance,
            pool: event.pool,
            epoch: entry.epoch,
            version: entry.version,
            from: entry.from.map(state_number).unwrap_or_default(),
            to: state_number(entry.to),
            cause: cause_of(entry.cause).into(),
            detail: event.detail,
            time: Some(time::to_proto(at(entry.at))),
        }
    }
}

impl From<Preemption> for pb::Preemption {
    fn from(preemption: Preemption) -> Self {
        Self {
            event_id: preemption.event,
            action: preemption.action,
            notice_time: Some(time::to_proto(preemption.notice)),
            deadline: preemption.deadline.map(time::to_proto),
            end_time: preemption.end.map(time::to_proto),
            requests_in_flight: preemption.in_flight,
            requests_finished: preemption.finished,
            requests_unfinished: preemption.unfinished,
            instance_id: preemption.instance,
        }
    }
}

/// Where a watch stands.
struct Watch {
    db: Db,
    filter: Filter,
    stop: CancellationToken,
    /// What was shown of each instance.
    shown: BTreeMap<String, (Record, bool)>,
    /// What is still to be shown.
    news: VecDeque<pb::Instance>,
    over: bool,
}

/// Each instance now, and again whenever it moved, registered, or is suspected.
pub(super) async fn watch(
    db: Db,
    filter: Filter,
    stop: CancellationToken,
) -> Result<impl Stream<Item = Result<pb::WatchInstancesResponse, Refusal>> + Send, Error> {
    let mut watch = Watch { db, filter, stop, shown: BTreeMap::new(), news: VecDeque::new(), over: false };
    watch.look().await?;
    Ok(stream::unfold(watch, async |mut watch| {
        loop {
            if let Some(instance) = watch.news.pop_front() {
                let message = pb::WatchInstancesResponse { instance: Some(instance) };
                return Some((Ok(message), watch));
            }
            if watch.over {
                return None;
            }
            tokio::select! {
                () = watch.stop.cancelled() => return None,
                () = tokio::time::sleep(LOOK) => {}
            }
            if let Err(error) = watch.look().await {
                watch.over = true;
                return Some((Err(error.into()), watch));
            }
        }
    }))
}

impl Watch {
    async fn look(&mut self) -> Result<(), Error> {
        let now = time::now();
        let (mut token, mut listed) = (String::new(), BTreeSet::new());
        loop {
            let (page, next) = instances::list(&self.db, &self.filter, 1_000, &token).await?;
            let page_ids: Vec<String> = page.iter().map(|instance| instance.id.clone()).collect();
            for instance in page {
                let record = instance.record;
                let instance = shown(instance, now);
                let standing = (record, instance.suspect);
                if self.shown.insert(instance.instance_id.clone(), standing) != Some(standing) {
                    self.news.push_back(instance);
                }
            }
            listed.extend(page_ids);
            if next.is_empty() {
                break;
            }
            token = next;
        }
        // What is over is listed no more, and shown once.
        let over: Vec<String> = self.shown.keys().filter(|id| !listed.contains(*id)).cloned().collect();
        for id in over {
            self.shown.remove(&id);
            if let Ok(instance) = instances::get(&self.db, &id).await {
                self.news.push_back(shown(instance, now));
            }
        }
        Ok(())
    }
}
