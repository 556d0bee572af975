//! ModeService: whether only what is urgent is served, here and at the other gateways over the same engines.

use super::{Api, engines::origin, queue::Asked};
use crate::{
    error::Error,
    mode::{Look, Ordered},
};
use proto::inference::v1::{
    self as pb, mode_service_client::ModeServiceClient, mode_service_server::ModeService,
};
use serde_json::json;
use shared::{
    auth::{Caller, RequestExt},
    event::{Change, Origin},
    time,
};
use std::time::Duration;
use tonic::{Request, Response, Status};
use vitals::Sign;

/// How long an order holds when nothing is said, and at most.
const TTL: (Duration, Duration) = (Duration::from_secs(15 * 60), Duration::from_secs(24 * 60 * 60));

#[tonic::async_trait]
impl ModeService for Api {
    async fn get_mode(
        &self,
        _: Request<pb::GetModeRequest>,
    ) -> Result<Response<pb::GetModeResponse>, Status> {
        Ok(Response::new(pb::GetModeResponse { mode: Some(shown(self.inference.serving.look())) }))
    }

    async fn set_mode(
        &self,
        request: Request<pb::SetModeRequest>,
    ) -> Result<Response<pb::SetModeResponse>, Status> {
        let origin = origin(&request, |asked| &asked.reason)?;
        // What another gateway passes on is noted there.
        let passed_on = request.caller()? == Caller::Service;
        let asked = request.into_inner();
        let ordered = ordered(&asked, &origin)?;
        let Asked { here, others } = self.asked(&asked.gateway)?;
        let serving = &self.inference.serving;
        let before = if here { serving.order(ordered.clone()) } else { serving.look() };
        let mut unreached = Vec::new();
        if let Some((gateways, addresses)) = others {
            let tell = |channel, gateway| {
                let asked = pb::SetModeRequest { gateway, ..asked.clone() };
                async move { ModeServiceClient::new(channel).set_mode(asked).await }
            };
            unreached = gateways.said_by_all(addresses, tell).await.1;
        }
        if !passed_on {
            let change = Change {
                kind: "serving_mode",
                id: if asked.gateway.is_empty() { "all gateways".to_owned() } else { asked.gateway },
                action: if ordered.is_some() { "ordered" } else { "released" },
                before: before.ordered.map(|order| json!(order)),
                after: ordered.map(|order| json!(order)),
            };
            self.events.note(&origin, change).await;
        }
        Ok(Response::new(pb::SetModeResponse { mode: Some(shown(serving.look())), unreached }))
    }
}

/// What is ordered; nothing when an order is taken back.
fn ordered(asked: &pb::SetModeRequest, origin: &Origin) -> Result<Option<Ordered>, Error> {
    let degraded = match pb::ServingMode::try_from(asked.mode) {
        Ok(pb::ServingMode::Unspecified) => return Ok(None),
        Ok(pb::ServingMode::Normal) => false,
        Ok(pb::ServingMode::Degraded) => true,
        Err(_) => return Err(Error::Invalid { param: "mode", problem: "is none of this contract" }),
    };
    let ttl = asked.ttl.as_ref().map_or(Some(TTL.0), time::duration_from_proto);
    let ttl = ttl.filter(|ttl| !ttl.is_zero() && *ttl <= TTL.1);
    let ttl = ttl.ok_or(Error::Invalid { param: "ttl", problem: "must be above 0 and at most 24 hours" })?;
    let (actor, reason) = (origin.actor.clone(), origin.reason.clone());
    Ok(Some(Ordered { degraded, actor, reason, since: origin.at, ttl }))
}

fn shown(look: Look) -> pb::Mode {
    let degraded = look.since.is_some();
    pb::Mode {
        mode: mode(degraded).into(),
        reasons: look.reasons.into_iter().map(|sign| reason(sign).into()).collect(),
        enter_time: look.since.map(time::to_proto),
        retry_after: degraded.then(|| time::duration_to_proto(look.retry_after)),
        order: look.ordered.map(order),
        turned_away: look.turned_away,
    }
}

fn order(ordered: Ordered) -> pb::ModeOrder {
    let lasts = i64::try_from(ordered.ttl.as_micros()).unwrap_or(i64::MAX);
    pb::ModeOrder {
        mode: mode(ordered.degraded).into(),
        actor: ordered.actor,
        reason: ordered.reason,
        start_time: Some(time::to_proto(ordered.since)),
        expire_time: Some(time::to_proto(policy::Time(ordered.since.0.saturating_add(lasts)))),
    }
}

const fn mode(degraded: bool) -> pb::ServingMode {
    if degraded { pb::ServingMode::Degraded } else { pb::ServingMode::Normal }
}

const fn reason(sign: Sign) -> pb::DegradedReason {
    match sign {
        Sign::Engines => pb::DegradedReason::Engines,
        Sign::Journal => pb::DegradedReason::Journal,
        Sign::Preemption => pb::DegradedReason::Preemption,
        Sign::Operator => pb::DegradedReason::Operator,
    }
}
