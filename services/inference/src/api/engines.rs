//! EngineService: the fleet as this gateway sees it, and what operators say of it.

use super::Api;
use crate::{
    engines::{Drain, Engine, Standing, breaker::Position, engine::State},
    error::Error,
};
use proto::inference::v1::{self as pb, engine_service_server::EngineService};
use serde_json::{Value, json};
use shared::{
    event::{Change, Origin},
    time,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tonic::{Request, Response, Status};

/// Longest reason, in bytes.
const MAX_REASON: usize = 500;
/// When a drained engine should be empty, when nothing is said of it.
const DRAIN: Duration = Duration::from_secs(30 * 60);
/// And at most.
const MAX_DRAIN: Duration = Duration::from_secs(24 * 60 * 60);

#[tonic::async_trait]
impl EngineService for Api {
    async fn list_engines(
        &self,
        request: Request<pb::ListEnginesRequest>,
    ) -> Result<Response<pb::ListEnginesResponse>, Status> {
        let model = request.into_inner().model;
        let all = self.fleet.all().into_iter();
        let chosen =
            all.filter(|engine| model.is_empty() || engine.state().sight.models.contains_key(&model));
        let engines = chosen.map(|engine| self.describe(&engine)).collect();
        Ok(Response::new(pb::ListEnginesResponse { engines }))
    }

    async fn get_engine(
        &self,
        request: Request<pb::GetEngineRequest>,
    ) -> Result<Response<pb::GetEngineResponse>, Status> {
        let name = request.into_inner().engine_id;
        let engine = self.fleet.named(&name).ok_or(Error::UnknownEngine { name })?;
        Ok(Response::new(pb::GetEngineResponse { engine: Some(self.describe(&engine)) }))
    }

    async fn cordon_engine(
        &self,
        request: Request<pb::CordonEngineRequest>,
    ) -> Result<Response<pb::CordonEngineResponse>, Status> {
        let origin = origin(&request, |asked| &asked.reason)?;
        let engine_id = request.into_inner().engine_id;
        let before = self.cordon_of(&engine_id);
        let engine = self.fleet.cordon(&engine_id, &origin, None).await?;
        self.events.note(&origin, said(&engine, before).called("cordoned")).await;
        Ok(Response::new(pb::CordonEngineResponse { engine: Some(self.describe(&engine)) }))
    }

    async fn drain_engine(
        &self,
        request: Request<pb::DrainEngineRequest>,
    ) -> Result<Response<pb::DrainEngineResponse>, Status> {
        let origin = origin(&request, |asked| &asked.reason)?;
        let pb::DrainEngineRequest { engine_id, limit, preempted, .. } = request.into_inner();
        let limit = limit.map_or(Ok(DRAIN), drain_limit)?;
        let before = self.cordon_of(&engine_id);
        let engine = self.fleet.cordon(&engine_id, &origin, Some(Drain { limit, preempted })).await?;
        self.events.note(&origin, said(&engine, before).called("drained")).await;
        Ok(Response::new(pb::DrainEngineResponse { engine: Some(self.describe(&engine)) }))
    }

    async fn uncordon_engine(
        &self,
        request: Request<pb::UncordonEngineRequest>,
    ) -> Result<Response<pb::UncordonEngineResponse>, Status> {
        let origin = origin(&request, |asked| &asked.reason)?;
        let engine_id = request.into_inner().engine_id;
        let before = self.cordon_of(&engine_id);
        let engine = self.fleet.uncordon(&engine_id).await?;
        self.events.note(&origin, said(&engine, before).called("uncordoned")).await;
        Ok(Response::new(pb::UncordonEngineResponse { engine: Some(self.describe(&engine)) }))
    }
}

/// Who changes something, and why.
pub(super) fn origin<T>(request: &Request<T>, reason: impl FnOnce(&T) -> &str) -> Result<Origin, Status> {
    let reason = reason(request.get_ref());
    if reason.len() > MAX_REASON {
        return Err(Error::Invalid { param: "reason", problem: "may have at most 500 bytes" }.into());
    }
    if reason.chars().any(char::is_control) {
        return Err(Error::Invalid { param: "reason", problem: "must be one line of text" }.into());
    }
    Origin::of(request, reason)
}

/// What was said of an engine, and what was said before.
fn said(engine: &Engine, before: Option<Value>) -> Change {
    let after = engine.state().cordon.as_ref().map(|cordon| json!(cordon));
    Change { kind: "engine", id: engine.name.clone(), action: "updated", before, after }
}

fn drain_limit(limit: prost_types::Duration) -> Result<Duration, Error> {
    let limit =
        time::duration_from_proto(&limit).filter(|limit| (Duration::ZERO..=MAX_DRAIN).contains(limit));
    limit.ok_or(Error::Invalid { param: "limit", problem: "must be between 0 and 24 hours" })
}

impl Api {
    fn cordon_of(&self, name: &str) -> Option<Value> {
        self.fleet.named(name)?.state().cordon.as_ref().map(|cordon| json!(cordon))
    }

    fn describe(&self, engine: &Arc<Engine>) -> pb::Engine {
        let (requests_in_flight, tokens_outstanding) = self.queue.load(engine.id);
        let state = engine.state();
        let now = Instant::now();
        let left = |until: Instant| time::duration_to_proto(until.saturating_duration_since(now));
        let (breaker, breaker_remaining) = match state.breaker.position() {
            Position::Closed => (pb::BreakerState::Closed, None),
            Position::Open { until } => (pb::BreakerState::Open, Some(left(until))),
            Position::HalfOpen => (pb::BreakerState::HalfOpen, None),
        };
        let sight = &state.sight;
        pb::Engine {
            engine_id: engine.name.clone(),
            url: engine.url.clone(),
            state: number(engine.standing(&state)).into(),
            state_reason: engine.reason(&state),
            max_model_len: sight.models.values().copied().max().unwrap_or(0),
            models: sight.models.keys().cloned().collect(),
            requests_in_flight,
            tokens_outstanding,
            last_success_time: sight.last_success.map(time::to_proto),
            check_latency: sight.last_success.map(|_| time::duration_to_proto(sight.latency)),
            consecutive_failures: state.health.failures(),
            breaker: breaker.into(),
            failed_requests: state.breaker.failures(),
            breaker_remaining,
            ejection_remaining: state.ejection.until().map(left),
            cordon: cordon(&state),
            gauges: gauges(&state),
        }
    }
}

fn number(standing: Standing) -> pb::EngineState {
    match standing {
        Standing::Unknown => pb::EngineState::Unknown,
        Standing::Healthy => pb::EngineState::Healthy,
        Standing::Unhealthy => pb::EngineState::Unhealthy,
        Standing::Ejected => pb::EngineState::Ejected,
        Standing::BreakerOpen => pb::EngineState::BreakerOpen,
        Standing::Cordoned => pb::EngineState::Cordoned,
        Standing::Draining => pb::EngineState::Draining,
        Standing::Drained => pb::EngineState::Drained,
        Standing::Leaving => pb::EngineState::Leaving,
    }
}

fn cordon(state: &State) -> Option<pb::Cordon> {
    let cordon = state.cordon.as_ref()?;
    let at = |micros| time::to_proto(policy::Time(micros));
    Some(pb::Cordon {
        actor: cordon.actor.clone(),
        reason: cordon.reason.clone(),
        time: Some(at(cordon.at)),
        drain_deadline: cordon.drain_until.map(at),
        preempted: cordon.preempted,
    })
}

fn gauges(state: &State) -> Option<pb::EngineGauges> {
    let (gauges, at) = state.gauges?;
    Some(pb::EngineGauges {
        requests_running: gauges.running,
        requests_waiting: gauges.waiting,
        kv_cache_usage: gauges.kv_usage,
        prefix_cache_hit_rate: gauges.prefix_hit_rate(),
        preemptions: gauges.preemptions,
        time: Some(time::to_proto(at)),
    })
}
