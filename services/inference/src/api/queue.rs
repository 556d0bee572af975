//! QueueService: who waits at this gateway and why, and how well promises are kept.

use super::{
    Api,
    engines::{actor, checked},
};
use crate::{
    error::Error,
    goodput::{End, Time, Totals, WINDOWS, Window},
    queue::{Class, Waits, Who},
};
use proto::inference::v1::{self as pb, queue_service_server::QueueService};
use schedule::{Wait, Why};
use shared::{page, time};
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// Rows of a page when nothing is said, and at most.
const PAGE: (u32, u32) = (50, 100);

#[tonic::async_trait]
impl QueueService for Api {
    async fn list_queues(
        &self,
        request: Request<pb::ListQueuesRequest>,
    ) -> Result<Response<pb::ListQueuesResponse>, Status> {
        let mut queues = Vec::new();
        for model in self.models(request.into_inner().model) {
            queues.extend(self.queue.look(&model).await.map(|waits| self.summary(&waits)));
        }
        Ok(Response::new(pb::ListQueuesResponse { queues }))
    }

    async fn list_queued(
        &self,
        request: Request<pb::ListQueuedRequest>,
    ) -> Result<Response<pb::ListQueuedResponse>, Status> {
        let asked = request.into_inner();
        let user = Some(asked.user_id).filter(|user| !user.is_empty());
        let user = user.map(|user| id("user_id", &user)).transpose()?;
        let filter = format!("queued {:?} {user:?}", asked.model);
        let size = page::size(asked.page_size, PAGE.0, PAGE.1).map_err(|_| SIZE)?;
        let from = page::start(&filter, &asked.page_token).map_err(|_| TOKEN)?;
        let from = from.map(|from| Place::read(&from).ok_or(TOKEN)).transpose()?;
        let (mut requests, mut last) = (Vec::new(), None);
        for model in self.models(asked.model) {
            if from.as_ref().is_some_and(|from| model < from.model) {
                continue;
            }
            let Some(Waits { waits, now, .. }) = self.queue.look(&model).await else { continue };
            for (wait, who) in &waits {
                let place = Place { model: model.clone(), at: wait.place() };
                if from.as_ref().is_some_and(|from| place <= *from)
                    || user.is_some_and(|user| user != who.user.0)
                {
                    continue;
                }
                if requests.len() == size as usize {
                    let next_page_token = last.map(|last: Place| page::token(&filter, &last.write()));
                    let next_page_token = next_page_token.unwrap_or_default();
                    return Ok(Response::new(pb::ListQueuedResponse { requests, next_page_token }));
                }
                requests.push(self.row(&model, wait, who, now));
                last = Some(place);
            }
        }
        Ok(Response::new(pb::ListQueuedResponse { requests, next_page_token: String::new() }))
    }

    async fn cancel_queued(
        &self,
        request: Request<pb::CancelQueuedRequest>,
    ) -> Result<Response<pb::CancelQueuedResponse>, Status> {
        let actor = actor(&request)?;
        let pb::CancelQueuedRequest { usage_id, reason } = request.into_inner();
        let (usage_id, reason) = (id("usage_id", &usage_id)?, checked(reason)?);
        self.queue.withdraw(usage_id, &reason).await?;
        tracing::info!(%usage_id, actor, reason, "a request was taken out of the queue");
        Ok(Response::new(pb::CancelQueuedResponse {}))
    }

    async fn get_goodput(
        &self,
        request: Request<pb::GetGoodputRequest>,
    ) -> Result<Response<pb::GetGoodputResponse>, Status> {
        let asked = request.into_inner();
        let invalid = Error::Invalid { param: "window", problem: "must be 60 s, 300 s or 3600 s" };
        let windows = match asked.window {
            None => WINDOWS.to_vec(),
            Some(window) => {
                let window = time::duration_from_proto(&window).filter(|window| WINDOWS.contains(window));
                vec![window.ok_or(invalid)?]
            }
        };
        let model = Some(asked.model.as_str()).filter(|model| !model.is_empty());
        let mut goodput = Vec::new();
        for window in windows {
            let rows = self.inference.goodput.within(window, model).into_iter();
            goodput.extend(rows.map(|(model, class, seen)| row_of(model, class, window, &seen)));
        }
        goodput.sort_by(|one, other| {
            (&one.model, one.priority_class).cmp(&(&other.model, other.priority_class))
        });
        Ok(Response::new(pb::GetGoodputResponse { goodput }))
    }
}

const SIZE: Error = Error::Invalid { param: "page_size", problem: "must be between 0 and 100" };
const TOKEN: Error =
    Error::Invalid { param: "page_token", problem: "is not a token of this list with this filter" };

fn id(param: &'static str, text: &str) -> Result<Uuid, Error> {
    text.parse().map_err(|_| Error::Invalid { param, problem: "must be a UUID" })
}

/// Where a request stands in the list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    model: String,
    at: (bool, u8, i64, u64),
}

impl Place {
    fn write(&self) -> String {
        let (far, level, rank, ticket) = self.at;
        format!("{} {level} {rank} {ticket} {}", u8::from(far), self.model)
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, ' ');
        let far: u8 = parts.next()?.parse().ok()?;
        let at =
            (far != 0, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { model: parts.next()?.to_owned(), at })
    }
}

impl Api {
    /// One model, or all of them.
    fn models(&self, model: String) -> Vec<String> {
        if model.is_empty() { self.queue.models() } else { vec![model] }
    }

    /// An instant of the queue's clock, as it was by the clock on the wall.
    fn instant(&self, at: Duration, now: Instant) -> prost_types::Timestamp {
        let now = self.queue.at(now);
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4);
        let shift = micros(at).saturating_sub(micros(now)).clamp(-DECADE, DECADE);
        time::to_proto(policy::Time(time::now().0.saturating_add(shift)))
    }

    fn row(&self, model: &str, wait: &Wait, who: &Who, now: Instant) -> pb::QueuedRequest {
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
        }
    }

    fn summary(&self, waits: &Waits) -> pb::ModelQueue {
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

fn row_of(model: String, of: Class, window: Duration, seen: &Window) -> pb::Goodput {
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
