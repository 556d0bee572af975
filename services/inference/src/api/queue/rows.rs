//! What the queue and the judge of promises know, in the contract's messages.

use super::Api;
use crate::{
    goodput::{End, Time, Totals, Window},
    queue::{Class, Waits, Who},
};
use proto::inference::v1 as pb;
use schedule::{Wait, Why};
use shared::time;
use std::time::Duration;
use tokio::time::Instant;

impl Api {
    /// An instant of the queue's clock, as it was by the clock on the wall.
    fn instant(&self, at: Duration, now: Instant) -> prost_types::Timestamp {
        let now = self.queue.at(now);
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4);
        let shift = micros(at).saturating_sub(micros(now)).clamp(-DECADE, DECADE);
        time::to_proto(policy::Time(time::now().0.saturating_add(shift)))
    }

    pub(super) fn row(&self, model: &str, wait: &Wait, who: &Who, now: Instant) -> pb::QueuedRequest {
        let at = |time| Some(self.instant(time, now));
        pb::QueuedRequest {
            usage_id: who.usage_id.to_string(),
            request_id: who.request_id.to_string(),
            user_id: who.user.to_string(),
            group_id: who.group.map(|group| group.to_string()).unwrap_or_default(),
            key_id: who.key.map(|key| key.to_string()).unwrap_or_default(),
            model: model.to_owned(),
            priority_class: class(wait.class).into(),
            prompt_tokens: wait.prompt,
            since_time: at(wait.arrived),
            expire_time: at(wait.expires),
            predicted_start_time: at(wait.starts),
            predicted_finish_time: at(wait.finishes),
            wait_reason: reason(wait.why).into(),
            preemptions: wait.preempted.into(),
            gateway: self.address().to_owned(),
        }
    }

    pub(super) fn summary(&self, waits: &Waits) -> pb::ModelQueue {
        let line = &waits.line;
        let waiting = line.waiting.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let oldest = waits.waits.iter().map(|(wait, _)| wait.arrived).min();
        let oldest = oldest.map(|arrived| self.queue.at(waits.now).saturating_sub(arrived));
        let engines = line.engines.iter().filter_map(|&engine| {
            let (requests, requests_limit, tokens) = self.queue.held(engine);
            let engine_id = self.fleet.get(engine)?.name.clone();
            Some(pb::QueueEngine { engine_id, requests, requests_limit, tokens })
        });
        pb::ModelQueue {
            model: waits.model.clone(),
            waiting_system: waiting[Class::System.index()],
            waiting_interactive: waiting[Class::Interactive.index()],
            waiting_default: waiting[Class::Default.index()],
            waiting_batch: waiting[Class::Batch.index()],
            oldest_wait: oldest.map(time::duration_to_proto),
            predicted_drain: Some(time::duration_to_proto(line.drains)),
            wait_reason: line.why.map_or(pb::WaitReason::Unspecified, reason).into(),
            preemptions: line.stopped,
            engines: engines.collect(),
            gateway: self.address().to_owned(),
        }
    }
}

/// Ten years in microseconds: what is further away is never.
const DECADE: i64 = 10 * 365 * 86_400 * 1_000_000;

const fn class(class: Class) -> pb::PriorityClass {
    match class {
        Class::System => pb::PriorityClass::System,
        Class::Interactive => pb::PriorityClass::Interactive,
        Class::Default => pb::PriorityClass::Default,
        Class::Batch => pb::PriorityClass::Batch,
    }
}

const fn reason(why: Why) -> pb::WaitReason {
    match why {
        Why::NoEngine => pb::WaitReason::NoEngine,
        Why::Full => pb::WaitReason::EnginesFull,
        Why::Paced => pb::WaitReason::Paced,
        Why::Elsewhere => pb::WaitReason::Elsewhere,
        Why::Share => pb::WaitReason::FairShare,
        Why::Class => pb::WaitReason::Class,
        Why::Turn => pb::WaitReason::Turn,
    }
}

pub(super) fn row_of(
    gateway: &str,
    model: String,
    of: Class,
    window: Duration,
    seen: &Window,
) -> pb::Goodput {
    let totals = &seen.totals;
    let per_second = |count: u64| rounded(count as f64 / seen.covered.as_secs_f64().max(1.0));
    let (met, offered) = (totals.of(End::Met), totals.offered());
    let times = |time| {
        let part = |part| seen.quantile(time, part).map(time::duration_to_proto);
        Some(pb::Times { p50: Some(part(0.5)?), p95: part(0.95), p99: part(0.99) })
    };
    pb::Goodput {
        model,
        priority_class: class(of).into(),
        window: Some(time::duration_to_proto(window)),
        covered: Some(time::duration_to_proto(seen.covered)),
        offered,
        met,
        missed: Some(missed(totals)),
        attainment: (offered > 0).then(|| rounded(met as f64 / offered as f64)),
        left: totals.of(End::Left),
        invalid: totals.of(End::Invalid),
        requests_per_second: per_second(met),
        tokens_per_second: per_second(totals.met_tokens),
        prefill_tokens_per_second: per_second(totals.prefill),
        cached_tokens_per_second: per_second(totals.cached),
        decode_tokens_per_second: per_second(totals.decode),
        first_token: times(Time::FirstToken),
        per_token: times(Time::PerToken),
        end_to_end: times(Time::EndToEnd),
        queued: times(Time::Queued),
        prefill: times(Time::Prefill),
        decode: times(Time::Decode),
        gateway: gateway.to_owned(),
    }
}

/// What further digits say is noise.
fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

const fn missed(totals: &Totals) -> pb::Missed {
    pb::Missed {
        refused: totals.of(End::Refused),
        deadline: totals.of(End::Deadline),
        late_first_token: totals.of(End::LateFirstToken),
        slow_tokens: totals.of(End::SlowTokens),
        cut: totals.of(End::Cut),
        engine_failed: totals.of(End::EngineFailed),
        no_engine: totals.of(End::NoEngine),
        withdrawn: totals.of(End::Withdrawn),
        gateway_failed: totals.of(End::GatewayFailed),
    }
}
