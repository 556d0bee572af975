//! Policies, loads and recommendations between the contract and the domain.

use super::{
    field,
    instance::{self, MAX_POOL},
};
use crate::{
    error::{Error, Violation},
    instances::replicas::{Kept, Put, Said},
    moment::{at, since},
};
use ::policy::Time;
use ::scaling::{Load, Pace, Policy, Recommendation, Thresholds};
use proto::monitoring::v1 as pb;
use shared::{auth::Caller, time};
use std::{cmp::Ordering, collections::BTreeMap};

/// Longest name of a model, as permissions has it.
const MAX_MODEL: usize = 200;
/// Most models of a pool, and of a gateway.
const MAX_MODELS: (usize, usize) = (100, 1_000);

/// A policy that is put, and the revision that its caller has seen.
pub(super) fn put(
    request: pb::PutScalingPolicyRequest,
    caller: &Caller,
    now: Time,
) -> Result<(Put, Option<i64>), Error> {
    let pool = instance::pool("pool", request.pool)?;
    let given = request.policy.ok_or_else(|| Violation::new("policy", "is required"))?;
    if !given.pool.is_empty() && given.pool != pool {
        return Err(Violation::new("policy.pool", "must be the pool of the path").into());
    }
    if given.models.len() > MAX_MODELS.0 {
        return Err(Violation::new("policy.models", "must be at most 100").into());
    }
    let models =
        given.models.into_iter().map(|model| name("policy.models", model)).collect::<Result<_, _>>()?;
    let default = Policy::default();
    let or = |given: u32, default: u32| if given == 0 { default } else { given };
    let policy = Policy {
        min: or(given.min_replicas, default.min),
        max: or(given.max_replicas, default.max.max(given.min_replicas)),
        out: thresholds("policy.scale_out", given.scale_out, default.out)?,
        out_pace: pace("policy.scale_out_pace", given.scale_out_pace, default.out_pace)?,
        into: thresholds("policy.scale_in", given.scale_in, default.into)?,
        in_pace: pace("policy.scale_in_pace", given.scale_in_pace, default.in_pace)?,
        fresh_within: field::duration("policy.fresh_within", given.fresh_within.as_ref())?
            .unwrap_or(default.fresh_within),
    };
    policy.check().map_err(|fault| Violation::new(format!("policy.{}", fault.field), fault.problem))?;
    let expected = match given.etag.as_str() {
        "" => None,
        etag => Some(etag.parse().map_err(|_| Error::Etag)?),
    };
    let updated_by = match caller {
        Caller::Person(person) => person.user.to_string(),
        Caller::Service => "service".to_owned(),
    };
    Ok((Put { pool, models, policy, revision: 0, update_time: Some(now), updated_by }, expected))
}

fn name(field: &str, text: String) -> Result<String, Violation> {
    let text = field::text(field, text, MAX_MODEL)?;
    if text.is_empty() { Err(Violation::new(field, "must not be empty")) } else { Ok(text) }
}

fn thresholds(
    field: &str,
    given: Option<pb::ScalingThresholds>,
    default: Thresholds,
) -> Result<Thresholds, Violation> {
    let Some(given) = given else { return Ok(default) };
    let first_token = field::duration(&format!("{field}.first_token_p95"), given.first_token_p95.as_ref())?;
    Ok(Thresholds { queue: given.queue_length, first_token, gpu: given.gpu_usage })
}

fn pace(field: &str, given: Option<pb::ScalingPace>, default: Pace) -> Result<Pace, Violation> {
    let Some(given) = given else { return Ok(default) };
    let duration = |name: &str, given| field::duration(&format!("{field}.{name}"), given);
    Ok(Pace {
        sustained: duration("sustained", given.sustained.as_ref())?.unwrap_or(default.sustained),
        stabilisation: duration("stabilisation", given.stabilisation.as_ref())?
            .unwrap_or(default.stabilisation),
        step: if given.step == 0 { default.step } else { given.step },
        step_part: given.step_part,
    })
}

impl From<Put> for pb::ScalingPolicy {
    fn from(put: Put) -> Self {
        let policy = put.policy;
        let duration = |duration| Some(time::duration_to_proto(duration));
        let thresholds = |of: Thresholds| pb::ScalingThresholds {
            queue_length: of.queue,
            first_token_p95: of.first_token.map(time::duration_to_proto),
            gpu_usage: of.gpu,
        };
        let pace = |of: Pace| pb::ScalingPace {
            sustained: duration(of.sustained),
            stabilisation: duration(of.stabilisation),
            step: of.step,
            step_part: of.step_part,
        };
        Self {
            pool: put.pool,
            models: put.models,
            min_replicas: policy.min,
            max_replicas: policy.max,
            scale_out: Some(thresholds(policy.out)),
            scale_out_pace: Some(pace(policy.out_pace)),
            scale_in: Some(thresholds(policy.into)),
            scale_in_pace: Some(pace(policy.in_pace)),
            fresh_within: duration(policy.fresh_within),
            etag: if put.revision == 0 { String::new() } else { put.revision.to_string() },
            update_time: put.update_time.map(time::to_proto),
            updated_by: put.updated_by,
        }
    }
}

/// What a gateway says, each model once.
pub(super) fn said(request: pb::ReportLoadRequest, now: Time) -> Result<Vec<Said>, Violation> {
    let gateway = field::text("gateway", request.gateway, MAX_POOL * 2)?;
    if gateway.is_empty() {
        return Err(Violation::new("gateway", "is required"));
    }
    if request.models.len() > MAX_MODELS.1 {
        return Err(Violation::new("models", "must be at most 1,000"));
    }
    let mut said = BTreeMap::new();
    for one in request.models {
        let model = name("models.model", one.model)?;
        let first_token = field::duration("models.first_token_p95", one.first_token_p95.as_ref())?;
        let load = Load { at: since(now), queue: one.queue_length, first_token };
        said.insert(model.clone(), Said { model, gateway: gateway.clone(), load });
    }
    Ok(said.into_values().collect())
}

/// A recommendation as it is shown.
pub(super) fn recommendation(kept: Kept, seen: &Recommendation) -> pb::ScalingRecommendation {
    let verdict = match seen.replicas.cmp(&seen.before) {
        Ordering::Greater => pb::ScalingVerdict::Out,
        Ordering::Less => pb::ScalingVerdict::In,
        Ordering::Equal => pb::ScalingVerdict::Hold,
    };
    pb::ScalingRecommendation {
        pool: kept.pool,
        replicas: seen.replicas,
        verdict: verdict.into(),
        reason: kept.reason,
        time: Some(time::to_proto(kept.look_time)),
        change_time: kept.scaler.changed.map(|changed| time::to_proto(at(changed))),
        queue_length: seen.inputs.queue,
        first_token_p95: seen.inputs.first_token.map(time::duration_to_proto),
        gpu_usage: seen.inputs.gpu,
        input_time: Some(time::to_proto(at(seen.inputs.at))),
        warming: seen.fleet.warming,
        ready: seen.fleet.ready,
        draining: seen.fleet.draining,
    }
}
