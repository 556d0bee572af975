//! KEDA's external scaler, on a listener of its own: KEDA shows no credential of ours.
//!
//! Every replica answers from the database, so all say the same. What is not known is UNAVAILABLE, never 0: KEDA then
//! does what the ScaledObject's `fallback` says. Both fields of a value are set, because KEDA reads the floating one only
//! where it is above 0.

use crate::{
    error::{Error, Violation},
    instances::replicas::{self, Kept},
};
use ::scaling::{Policy, Recommendation};
use futures_util::{Stream, StreamExt, stream};
use proto::externalscaler::{self as pb, external_scaler_server::ExternalScaler};
use shared::{db::Db, time};
use std::{collections::HashMap, pin::Pin, time::Duration};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Between two looks of a stream.
const LOOK: Duration = Duration::from_secs(5);

/// Serves KEDA.
#[derive(Debug, Clone)]
pub(crate) struct Keda {
    pub(crate) db: Db,
    pub(crate) stop: CancellationToken,
}

/// What may be scaled on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Metric {
    /// Our own recommendation, which has policy and warm-up in it; one replica bears one of it.
    Replicas,
    /// Requests that wait.
    QueueLength,
    /// In milliseconds; take it with `metricType: Value`.
    FirstToken,
    /// In percent; take it with `metricType: Value`.
    GpuUsage,
}

/// What a trigger's metadata asks for.
#[derive(Debug, Clone, PartialEq)]
struct Trigger {
    pool: String,
    metric: Metric,
    target: Option<f64>,
}

impl Metric {
    const ALL: [Self; 4] = [Self::Replicas, Self::QueueLength, Self::FirstToken, Self::GpuUsage];

    const fn name(self) -> &'static str {
        match self {
            Self::Replicas => "replicas",
            Self::QueueLength => "queue_length",
            Self::FirstToken => "p95_ttft_ms",
            Self::GpuUsage => "gpu_usage_percent",
        }
    }

    /// What of it one replica bears, or the limit for all, as the policy has it.
    fn target(self, policy: &Policy) -> f64 {
        match self {
            Self::Replicas => 1.0,
            Self::QueueLength => policy.out.queue.map_or(100.0, f64::from),
            Self::FirstToken => policy.out.first_token.map_or(2_000.0, |time| time.as_secs_f64() * 1_000.0),
            Self::GpuUsage => policy.out.gpu.map_or(80.0, |gpu| gpu * 100.0),
        }
    }

    /// What it is now; none when nobody says.
    fn value(self, seen: &Recommendation) -> Option<f64> {
        let inputs = &seen.inputs;
        match self {
            Self::Replicas => Some(seen.replicas.into()),
            Self::QueueLength => Some(inputs.queue.into()),
            // Nobody was answered: that is calm only where nobody waits.
            Self::FirstToken => inputs
                .first_token
                .map(|time| time.as_secs_f64() * 1_000.0)
                .or_else(|| (inputs.queue == 0).then_some(0.0)),
            Self::GpuUsage => inputs.gpu.map(|gpu| gpu * 100.0),
        }
    }
}

impl Trigger {
    fn read(object: Option<pb::ScaledObjectRef>) -> Result<Self, Error> {
        let mut metadata: HashMap<_, _> = object.map(|object| object.scaler_metadata).unwrap_or_default();
        let pool = metadata.remove("pool").or_else(|| metadata.remove("model")).unwrap_or_default();
        let pool = super::instance::pool("scalerMetadata.pool", pool)?;
        let metric = metadata.remove("metric").unwrap_or_else(|| Metric::Replicas.name().to_owned());
        let known = Metric::ALL.into_iter().find(|known| known.name() == metric);
        let metric = known.ok_or_else(|| {
            let names = Metric::ALL.map(Metric::name).join(", ");
            Violation::new("scalerMetadata.metric", format!("must be one of {names}"))
        })?;
        let target = metadata.remove("target").map(|text| {
            let target: Option<f64> =
                text.parse().ok().filter(|target: &f64| target.is_finite() && *target > 0.0);
            target.ok_or_else(|| Violation::new("scalerMetadata.target", "must be a number above 0"))
        });
        Ok(Self { pool, metric, target: target.transpose()? })
    }

    async fn seen(&self, db: &Db) -> Result<(Kept, Recommendation), Error> {
        replicas::recommended(db, &self.pool, time::now()).await
    }
}

/// A number as older versions read it: never less than it is.
fn whole(value: f64) -> i64 {
    value.ceil() as i64
}

#[tonic::async_trait]
impl ExternalScaler for Keda {
    async fn is_active(
        &self,
        request: Request<pb::ScaledObjectRef>,
    ) -> Result<Response<pb::IsActiveResponse>, Status> {
        let trigger = Trigger::read(Some(request.into_inner()))?;
        let (_, seen) = trigger.seen(&self.db).await?;
        Ok(Response::new(pb::IsActiveResponse { result: seen.replicas > 0 }))
    }

    type StreamIsActiveStream = Pin<Box<dyn Stream<Item = Result<pb::IsActiveResponse, Status>> + Send>>;

    async fn stream_is_active(
        &self,
        request: Request<pb::ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        let trigger = Trigger::read(Some(request.into_inner()))?;
        let keda = self.clone();
        let told = stream::unfold((keda, trigger, None), async |(keda, trigger, mut told)| {
            loop {
                // What is not known is not told: KEDA's own questions are refused meanwhile.
                let active = trigger.seen(&keda.db).await.ok().map(|(_, seen)| seen.replicas > 0);
                if let Some(result) = active.filter(|_| active != told) {
                    told = active;
                    return Some((Ok(pb::IsActiveResponse { result }), (keda, trigger, told)));
                }
                tokio::select! {
                    () = keda.stop.cancelled() => return None,
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        });
        Ok(Response::new(told.boxed()))
    }

    async fn get_metric_spec(
        &self,
        request: Request<pb::ScaledObjectRef>,
    ) -> Result<Response<pb::GetMetricSpecResponse>, Status> {
        let trigger = Trigger::read(Some(request.into_inner()))?;
        let policy = replicas::policy(&self.db, &trigger.pool).await?.policy;
        let target = trigger.target.unwrap_or_else(|| trigger.metric.target(&policy));
        Ok(Response::new(pb::GetMetricSpecResponse {
            metric_specs: vec![pb::MetricSpec {
                metric_name: trigger.metric.name().to_owned(),
                target_size: whole(target),
                target_size_float: target,
            }],
        }))
    }

    async fn get_metrics(
        &self,
        request: Request<pb::GetMetricsRequest>,
    ) -> Result<Response<pb::GetMetricsResponse>, Status> {
        let pb::GetMetricsRequest { scaled_object_ref, metric_name } = request.into_inner();
        let trigger = Trigger::read(scaled_object_ref)?;
        let name = trigger.metric.name();
        if !metric_name.is_empty() && metric_name != name {
            return Err(Error::from(Violation::new("metricName", format!("must be {name}"))).into());
        }
        let (kept, seen) = trigger.seen(&self.db).await?;
        let value = trigger.metric.value(&seen);
        let value = value.ok_or(Error::Stale { pool: kept.pool, problem: "nobody says this of it" })?;
        Ok(Response::new(pb::GetMetricsResponse {
            metric_values: vec![pb::MetricValue {
                metric_name: name.to_owned(),
                metric_value: whole(value),
                metric_value_float: value,
            }],
        }))
    }
}
