//! How calls were answered of late, by method and route, from what every service measures of each.

use super::{
    Signals,
    llm::{SHARES, Times},
};
use policy::Time;
use series::{Across, Labels, Matcher, Over, Query, Selector, Series};

/// A metric of calls, and its labels.
struct Kind {
    metric: &'static str,
    /// Of these the name is made.
    name: &'static [&'static str],
    code: &'static str,
    /// Codes that are our fault, as a pattern.
    failed: &'static str,
}

const KINDS: [Kind; 2] = [
    Kind {
        metric: "rpc_server_call_duration_seconds",
        name: &["rpc_method"],
        code: "rpc_response_status_code",
        failed: "UNKNOWN|DEADLINE_EXCEEDED|UNIMPLEMENTED|INTERNAL|UNAVAILABLE|DATA_LOSS",
    },
    Kind {
        metric: "http_server_request_duration_seconds",
        name: &["http_request_method", "http_route"],
        code: "http_response_status_code",
        failed: "5..",
    },
];

/// How one method or route was answered. What was not measured is `None`.
#[derive(Debug)]
pub(crate) struct Calls {
    /// `tollgate.permissions.v1.CheckService/Check`, or `POST /v1/chat/completions`.
    pub(crate) name: String,
    pub(crate) per_second: Option<f64>,
    pub(crate) failed_share: Option<f64>,
    pub(crate) duration: Times,
}

/// What was called in the last `window` seconds, what is called most first.
pub(crate) fn calls(signals: &Signals, window: i64, now: Time) -> Vec<Calls> {
    let mut all: Vec<Calls> = KINDS.iter().flat_map(|kind| of(kind, signals, window, now)).collect();
    all.sort_by(|one, other| {
        let rates = (one.per_second.unwrap_or(0.0), other.per_second.unwrap_or(0.0));
        rates.1.total_cmp(&rates.0).then_with(|| one.name.cmp(&other.name))
    });
    all
}

fn of(kind: &Kind, signals: &Signals, window: i64, now: Time) -> Vec<Calls> {
    let series = signals.recent(&Selector::named(kind.metric), now, window);
    let failed: Vec<Series> = match Matcher::read(kind.code, "=~", kind.failed) {
        Ok(failed) => series.iter().filter(|series| failed.matches(&series.labels)).cloned().collect(),
        Err(_) => Vec::new(),
    };
    let by: Vec<Box<str>> = kind.name.iter().map(|label| (*label).into()).collect();
    let ask = |series: &[Series], over: Over| -> Vec<(Labels, Option<f64>)> {
        let query = Query { over, across: Across::Sum, by: by.clone(), window };
        query.at(series, signals.until(now)).unwrap_or_default()
    };
    let (rose, failures) = (ask(&series, Over::Increase), ask(&failed, Over::Increase));
    let rates = ask(&series, Over::Rate);
    let times = SHARES.map(|share| ask(&series, Over::Quantile(share)));
    let found = |answers: &[(Labels, Option<f64>)], labels: &Labels| {
        answers.iter().find(|(known, _)| known == labels).and_then(|(_, value)| *value)
    };
    let called = |(labels, count): &(Labels, Option<f64>)| {
        let count = count.filter(|count| *count > 0.0)?;
        let name = kind.name.iter().filter_map(|label| labels.get(label)).collect::<Vec<_>>().join(" ");
        Some(Calls {
            name,
            per_second: found(&rates, labels),
            failed_share: Some((found(&failures, labels).unwrap_or(0.0) / count).clamp(0.0, 1.0)),
            duration: times.each_ref().map(|times| found(times, labels)),
        })
    };
    rose.iter().filter_map(called).collect()
}
