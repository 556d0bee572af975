//! LimitService: the tables, what was used of them, and what a call would get.

use super::{Api, engines::origin};
use crate::error::Error;
use limits::{Call, Gauge, Importance, Layer, Measure, Row, Seen, Stage, Standing, Subjects, Tier, name};
use policy::{KeyId, Role, Scopes, UserId};
use proto::inference::v1::{self as pb, limit_service_server::LimitService};
use serde_json::json;
use shared::{
    auth::Person,
    event::Change,
    limits::{is_unlimited, tier},
    time,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// Rows of those who used most.
const MOST: usize = 100;

#[tonic::async_trait]
impl LimitService for Api {
    async fn list_limits(
        &self,
        _request: Request<pb::ListLimitsRequest>,
    ) -> Result<Response<pb::ListLimitsResponse>, Status> {
        let (now, mut limiter) = (self.limits.now(), self.limits.lock());
        let limits = limiter.rows(now).iter().map(row).collect();
        let (hour_factor, load) = limiter.factors(now);
        let routes = limiter.settings().all_routes().into_iter();
        let routes = routes.map(|(route, action)| pb::LimitRoute { route, action }).collect();
        let (time_zone, load) = (limiter.settings().time_zone.clone(), load.as_str().to_owned());
        let shared = self.limits.is_shared();
        Ok(Response::new(pb::ListLimitsResponse { limits, routes, time_zone, hour_factor, load, shared }))
    }

    async fn get_limit_usage(
        &self,
        request: Request<pb::GetLimitUsageRequest>,
    ) -> Result<Response<pb::GetLimitUsageResponse>, Status> {
        let asked = request.into_inner();
        let layer = layer(asked.layer())?;
        let id = if asked.subject.is_empty() { None } else { Some(subject(layer, &asked.subject)?) };
        let mut seen = self.limits.lock().seen(layer, id, self.limits.now());
        let more = u32::try_from(seen.len().saturating_sub(MOST)).unwrap_or(u32::MAX);
        seen.truncate(MOST);
        let usage = seen.iter().map(|seen| usage(seen, &asked.subject)).collect();
        Ok(Response::new(pb::GetLimitUsageResponse { usage, more }))
    }

    async fn reset_limit(
        &self,
        request: Request<pb::ResetLimitRequest>,
    ) -> Result<Response<pb::ResetLimitResponse>, Status> {
        let origin = origin(&request, |asked| &asked.reason)?;
        let asked = request.into_inner();
        let layer = layer(asked.layer())?;
        let id = subject(layer, &asked.subject)?;
        let action = Some(asked.action.as_str()).filter(|action| !action.is_empty());
        let names = {
            let mut limiter = self.limits.lock();
            if action.is_some_and(|action| limiter.action(action).is_none()) {
                return Err(Error::Invalid { param: "action", problem: "is not an action" }.into());
            }
            limiter.clear(layer, id, action, self.limits.now())
        };
        let shared = self.limits.clear_everywhere(names);
        let whose = format!("{}/{}", layer.as_str(), asked.subject);
        let after = json!({ "action": asked.action, "everywhere": shared });
        self.events.note(&origin, Change::created("limit", whose, after).called("reset")).await;
        Ok(Response::new(pb::ResetLimitResponse { shared }))
    }

    async fn simulate_limit(
        &self,
        request: Request<pb::SimulateLimitRequest>,
    ) -> Result<Response<pb::SimulateLimitResponse>, Status> {
        let asked = request.into_inner();
        let person = self.person(&asked)?;
        let address = optional("address", &asked.address, |text| text.parse::<IpAddr>().ok())?;
        let now = self.limits.now();
        let mut limiter = self.limits.lock();
        let unknown =
            Error::Invalid { param: "route", problem: "must be a method or route, beginning with `/`" };
        let action = limiter.action_of(&asked.route).ok_or(unknown)?;
        let tier = person.map_or(Tier::Free, |person| tier(&person, limiter.settings()));
        let subjects = Subjects {
            address: address.map(Subjects::of_address),
            key: uuid("key_id", &asked.key_id)?,
            user: uuid("user_id", &asked.user_id)?,
            group: uuid("group_id", &asked.group_id)?,
            model: uuid("model_id", &asked.model_id)?,
            endpoint: Some(name(&asked.route)),
        };
        let settings = limiter.settings();
        let unlimited = !settings.enabled || person.is_some_and(|person| is_unlimited(&person, settings));
        let mut answer = pb::SimulateLimitResponse {
            action: limiter.name_of(action).map(|name| name.to_string()).unwrap_or_default(),
            tier: tier_number(tier).into(),
            unlimited,
            allowed: true,
            ..Default::default()
        };
        if unlimited {
            return Ok(Response::new(answer));
        }
        let mut standing = Standing::default();
        for stage in [Stage::Door, Stage::Prompt] {
            match limiter.simulate(&Call { action, tier, subjects, stage, tokens: asked.tokens }, now) {
                Ok(found) => standing = standing.and(found),
                Err(refusal) => {
                    standing = standing.and(refusal.standing);
                    answer.allowed = false;
                    answer.retry_after = Some(time::duration_to_proto(refusal.retry_after));
                }
            }
        }
        answer.gauges = gauges(&standing);
        Ok(Response::new(answer))
    }
}

impl Api {
    /// Who would call, as the policy knows them.
    fn person(&self, asked: &pb::SimulateLimitRequest) -> Result<Option<Person>, Error> {
        let Some(user) = uuid("user_id", &asked.user_id)? else { return Ok(None) };
        let user = UserId(Uuid::from_u128(user));
        let key = uuid("key_id", &asked.key_id)?.map(|key| KeyId(Uuid::from_u128(key)));
        let read = |policy: &policy::Policy| policy.user(user).map(|user| user.role);
        let role = self.inference.policy.read(time::now(), read)?.unwrap_or(Role::Member);
        Ok(Some(Person { user, key, session: None, role, scopes: Scopes::ALL }))
    }
}

fn optional<T>(
    param: &'static str,
    text: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    read(text).map(Some).ok_or(Error::Invalid { param, problem: "is malformed" })
}

fn uuid(param: &'static str, text: &str) -> Result<Option<u128>, Error> {
    optional(param, text, |text| text.parse::<Uuid>().ok().map(|id| id.as_u128()))
}

/// A subject as people write it.
fn subject(layer: Layer, text: &str) -> Result<u128, Error> {
    let problem = match layer {
        Layer::Address => "must be a network address",
        Layer::Endpoint => "must be a method or route, beginning with `/`",
        _ => "must be a UUID",
    };
    let id = || text.parse::<Uuid>().ok().map(|id| id.as_u128());
    let address = || text.parse::<IpAddr>().ok().map(Subjects::of_address);
    let found = match layer {
        Layer::Address => address(),
        Layer::Endpoint => text.starts_with('/').then(|| name(text)),
        // Nobody signed in is counted as a user, by address.
        Layer::User => id().or_else(address),
        Layer::Key | Layer::Group | Layer::Model => id(),
    };
    found.ok_or(Error::Invalid { param: "subject", problem })
}

/// The same for people to read.
fn written(layer: Layer, id: u128) -> String {
    match layer {
        Layer::Address => written_address(id),
        Layer::User if id <= u128::from(u32::MAX) => written_address(id),
        Layer::Endpoint => format!("{id:032x}"),
        _ => Uuid::from_u128(id).to_string(),
    }
}

fn written_address(id: u128) -> String {
    match u32::try_from(id) {
        Ok(address) => Ipv4Addr::from_bits(address).to_string(),
        Err(_) => format!("{}/64", Ipv6Addr::from_bits(id)),
    }
}

fn layer(layer: pb::LimitLayer) -> Result<Layer, Error> {
    let found = Layer::ALL.into_iter().find(|known| layer_number(*known) == layer);
    found.ok_or(Error::Invalid { param: "layer", problem: "is required" })
}

const fn layer_number(layer: Layer) -> pb::LimitLayer {
    match layer {
        Layer::Address => pb::LimitLayer::Address,
        Layer::Key => pb::LimitLayer::Key,
        Layer::User => pb::LimitLayer::User,
        Layer::Group => pb::LimitLayer::Group,
        Layer::Model => pb::LimitLayer::Model,
        Layer::Endpoint => pb::LimitLayer::Endpoint,
    }
}

const fn measure_number(measure: Measure) -> pb::LimitMeasure {
    match measure {
        Measure::Requests => pb::LimitMeasure::Requests,
        Measure::Tokens => pb::LimitMeasure::Tokens,
        Measure::Concurrent => pb::LimitMeasure::Concurrent,
    }
}

const fn tier_number(tier: Tier) -> pb::LimitTier {
    match tier {
        Tier::Free => pb::LimitTier::Free,
        Tier::Premium => pb::LimitTier::Premium,
        Tier::Admin => pb::LimitTier::Admin,
    }
}

fn row(row: &Row) -> pb::Limit {
    let importance = match row.importance {
        Importance::Low => "low",
        Importance::Normal => "normal",
        Importance::High => "high",
    };
    let windowed = row.measure != Measure::Concurrent;
    let [free_now, premium_now, admin_now] = row.now;
    pb::Limit {
        action: row.action.to_string(),
        layer: layer_number(row.layer).into(),
        measure: measure_number(row.measure).into(),
        limit: row.most,
        burst: row.burst,
        window: windowed.then(|| time::duration_to_proto(row.window)),
        importance: importance.to_owned(),
        free_now,
        premium_now,
        admin_now,
    }
}

fn usage(seen: &Seen, asked: &str) -> pb::LimitUsage {
    let subject = if asked.is_empty() { written(seen.row.layer, seen.id) } else { asked.to_owned() };
    pb::LimitUsage {
        limit: Some(row(&seen.row)),
        subject,
        used: seen.used,
        used_here: seen.here,
        reset: Some(time::duration_to_proto(seen.reset)),
    }
}

fn gauges(standing: &Standing) -> Vec<pb::LimitGauge> {
    let all = [
        (Measure::Requests, standing.requests),
        (Measure::Tokens, standing.tokens),
        (Measure::Concurrent, standing.concurrent),
    ];
    let known = all.into_iter().filter_map(|(measure, gauge)| Some((measure, gauge?)));
    let gauge = |(measure, gauge): (Measure, Gauge)| pb::LimitGauge {
        layer: layer_number(gauge.layer).into(),
        measure: measure_number(measure).into(),
        limit: gauge.limit,
        remaining: gauge.remaining,
        reset: Some(time::duration_to_proto(gauge.reset)),
    };
    known.map(gauge).collect()
}
