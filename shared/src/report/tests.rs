use super::*;
use crate::channel;
use axum::{Router, body::Body, extract::State, response::Response};
use http::HeaderMap;
use http_body_util::{BodyExt, Full};
use prost::Message;
use std::collections::VecDeque;
use tonic::Status;

/// Hears reports, and refuses some of them.
#[derive(Clone, Default)]
struct Monitoring(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    reports: Vec<pb::ReportSeriesRequest>,
    refusals: VecDeque<Status>,
}

impl Monitoring {
    fn refusing(refusals: impl IntoIterator<Item = Status>) -> Self {
        let heard = Heard { reports: Vec::new(), refusals: refusals.into_iter().collect() };
        Self(Arc::new(Mutex::new(heard)))
    }

    fn channel(&self) -> Channel {
        channel::in_process(Router::new().fallback(hear).with_state(self.clone()))
    }

    /// What the reports that were taken say of a series, one by one.
    fn said(&self, name: &str) -> Vec<Wire> {
        let heard = self.0.lock().unwrap();
        let series = heard.reports.iter().flat_map(|report| &report.series);
        series.filter(|series| series.name == name).filter_map(|series| series.value.clone()).collect()
    }
}

async fn hear(State(monitoring): State<Monitoring>, request: axum::extract::Request) -> Response {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    // Behind the head of the one message.
    let report = pb::ReportSeriesRequest::decode(&body[5..]).unwrap();
    let mut heard = monitoring.0.lock().unwrap();
    if let Some(at) = report.series.iter().position(|series| series.name == "bad") {
        let mut details = tonic_types::ErrorDetails::new();
        details.add_bad_request_violation(format!("series[{at}].name"), "is bad");
        let code = tonic::Code::InvalidArgument;
        let status =
            <Status as tonic_types::StatusExt>::with_error_details(code, "a field is wrong", details);
        return status.into_http();
    }
    if let Some(status) = heard.refusals.pop_front() {
        return status.into_http();
    }
    heard.reports.push(report);
    let empty = Full::new(bytes::Bytes::from_static(&[0; 5]));
    let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), 0.into())]);
    let body = Body::new(empty.with_trailers(async { Some(Ok(trailers)) }));
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

/// A counter that rises by one and a gauge that says how often it was asked.
fn beside() -> Beside {
    let (beside, mut asked) = (Beside::default(), 0.0);
    beside.add(move || {
        asked += 1.0;
        let sample = |name: &str, value| Sample { name: name.into(), labels: Labels::default(), value };
        vec![sample("rose", Value::Counter(1.0)), sample("stands", Value::gauge(asked).unwrap())]
    });
    beside
}

fn source() -> Source {
    Source { service: "tests", apis: &["tests"], instance: "here:1".into() }
}

fn reports(monitoring: &Monitoring, beside: Beside) -> Reports {
    let channel = monitoring.channel();
    Reports { source: source(), channel, beside, totals: Totals::from_start(), unsent: HashMap::new() }
}

#[tokio::test]
async fn what_could_not_be_sent_is_added_to_the_next_report() {
    let away = || Status::unavailable("away");
    let monitoring = Monitoring::refusing([away(), away()]);
    let mut reports = reports(&monitoring, beside());
    for _ in 0..3 {
        reports.collect();
        reports.send(false).await;
    }
    assert_eq!(monitoring.said("rose"), [Wire::Counter(3.0)]);
    assert_eq!(monitoring.said("stands"), [Wire::Gauge(3.0)], "what it says last");
    reports.collect();
    reports.send(false).await;
    assert_eq!(monitoring.said("rose"), [Wire::Counter(3.0), Wire::Counter(1.0)], "nothing is said twice");
}

#[tokio::test]
async fn a_series_that_is_refused_holds_no_others_up() {
    let (monitoring, beside) = (Monitoring::default(), beside());
    beside.add(|| vec![Sample { name: "bad".into(), labels: Labels::default(), value: Value::Counter(1.0) }]);
    let mut reports = reports(&monitoring, beside);
    reports.collect();
    reports.send(false).await;
    assert_eq!(monitoring.said("rose"), [Wire::Counter(1.0)]);
    assert!(monitoring.said("bad").is_empty() && reports.unsent.is_empty());
}

#[tokio::test]
async fn there_is_one_more_report_when_the_process_ends() {
    let (monitoring, tasks) = (Monitoring::default(), Tasks::default());
    start(source(), monitoring.channel(), beside(), &tasks);
    assert!(tasks.end(Duration::from_secs(5)).await);
    assert_eq!(monitoring.said("rose"), [Wire::Counter(1.0)]);
    assert_eq!(monitoring.0.lock().unwrap().reports[0].instance, "here:1");
}
