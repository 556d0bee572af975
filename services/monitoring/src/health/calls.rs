//! How calls of our services went in the last minute, by process.

use crate::signals::{MINUTE, Signals};
use policy::Time;
use series::{Across, Over, Query, Selector};
use shared::limits::{Threshold, Thresholds};
use std::collections::{BTreeMap, BTreeSet};
use vitals::Status;

/// Services whose calls last as long as an answer is made, which is no fault of theirs.
const LONG: [&str; 2] = ["tollgate.inference.v1.InferenceService/", "tollgate.inference.v1.GatewayService/"];
/// Codes that are our fault.
const FAULTS: [&str; 5] = ["UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"];
/// Fewer calls than this say nothing of how many fail, or of how long they take.
const ENOUGH: f64 = 20.0;

/// The calls of one service in one process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Summary {
    count: f64,
    /// Seconds.
    pub(super) mean: f64,
    /// Part of them that failed by our fault.
    failed: f64,
}

impl Summary {
    /// How a service stands by its calls, and why.
    pub(super) fn judged(&self, thresholds: &Thresholds) -> (Status, String) {
        if self.count < ENOUGH {
            return (Status::Healthy, String::new());
        }
        let level = |value: f64, Threshold { warning, critical }: Threshold| {
            if value > critical {
                (Status::Critical, critical)
            } else if value > warning {
                (Status::Degraded, warning)
            } else {
                (Status::Healthy, 0.0)
            }
        };
        let (errors, most) = level(self.failed * 100.0, thresholds.errors);
        let (response, longest) = level(self.mean, thresholds.response);
        if errors == Status::Healthy && response == Status::Healthy {
            (Status::Healthy, String::new())
        } else if errors >= response {
            (errors, format!("more than {most} % of its calls fail"))
        } else {
            (response, format!("its calls take more than {longest} s on the mean"))
        }
    }
}

/// By instance and service.
#[derive(Debug, Default)]
pub(super) struct Calls(BTreeMap<(String, String), Summary>);

impl Calls {
    pub(super) fn of(&self, instance: &str, api: &str) -> Option<Summary> {
        self.0.get(&(instance.to_owned(), api.to_owned())).copied()
    }
}

/// The service that a method is of, unless it is a stream or takes as long as an answer is made.
fn api(method: &str, streams: &BTreeSet<&str>) -> Option<String> {
    if streams.contains(method) || LONG.iter().any(|long| method.starts_with(long)) {
        return None;
    }
    method.strip_prefix("tollgate.")?.split('.').next().map(str::to_owned)
}

/// What every process said of its calls.
pub(super) fn of_the_last_minute(signals: &Signals, now: Time) -> Calls {
    let series = signals.recent(&Selector::named("rpc_server_call_duration_seconds"), now, MINUTE);
    let of = |over: Over| {
        let by = ["instance", "rpc_method", "rpc_response_status_code"];
        let by = by.map(Into::into).to_vec();
        let query = Query { over, across: Across::Sum, by, window: MINUTE };
        query.at(&series, signals.until(now)).unwrap_or_default()
    };
    let streams = proto::ACCESS.iter().filter(|row| row.streams);
    let streams: BTreeSet<&str> = streams.map(|row| row.path.trim_start_matches('/')).collect();
    let means: BTreeMap<_, _> = of(Over::Mean).into_iter().collect();
    let mut calls = BTreeMap::<_, Summary>::new();
    for (labels, count) in of(Over::Increase) {
        let (Some(count), Some(Some(mean))) = (count, means.get(&labels)) else { continue };
        let Some(api) = labels.get("rpc_method").and_then(|method| api(method, &streams)) else { continue };
        let instance = labels.get("instance").unwrap_or_default().to_owned();
        let failed = labels.get("rpc_response_status_code").is_some_and(|code| FAULTS.contains(&code));
        let summary = calls.entry((instance, api)).or_default();
        let all = summary.count + count;
        if all > 0.0 {
            summary.mean = (summary.mean * summary.count + mean * count) / all;
            summary.failed = (summary.failed * summary.count + f64::from(u8::from(failed)) * count) / all;
            summary.count = all;
        }
    }
    calls.retain(|_, summary| summary.count > 0.0);
    Calls(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_and_answers_of_models_say_nothing_of_a_service() {
        let streams = BTreeSet::from(["tollgate.monitoring.v1.MetricsService/WatchMetrics"]);
        let api = |method| api(method, &streams);
        assert_eq!(api("tollgate.monitoring.v1.MetricsService/GetSystem").as_deref(), Some("monitoring"));
        assert_eq!(api("tollgate.monitoring.v1.MetricsService/WatchMetrics"), None);
        assert_eq!(api("tollgate.inference.v1.InferenceService/Infer"), None);
        assert_eq!(api("grpc.health.v1.Health/Check"), None);
    }

    #[test]
    fn a_service_is_judged_by_its_calls_when_there_are_enough() {
        let thresholds = Thresholds::default();
        let status = |count, mean, failed| Summary { count, mean, failed }.judged(&thresholds).0;
        assert_eq!(status(100.0, 0.1, 0.0), Status::Healthy);
        assert_eq!(status(100.0, 2.1, 0.0), Status::Degraded);
        assert_eq!(status(100.0, 2.1, 0.2), Status::Critical);
        assert_eq!(status(19.0, 9.0, 1.0), Status::Healthy, "too few to say");
    }
}
