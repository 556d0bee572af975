//! How far an installation is from its limits, how much goes on at once, and how calls are answered.

use crate::{
    ledger::Ledger,
    series::{report, series},
};
use policy::Role;
use proto::monitoring::v1::{
    Buckets, GetCallSummaryRequest, GetConcurrencyRequest, GetScalabilityRequest, GetScalabilityResponse,
    ScalabilityGrade, ThresholdLevel, reported_series::Value,
};
use tonic::Code;

on_both_engines!(
    the_score_is_made_of_what_services_measure,
    what_goes_on_at_once_is_added_up_over_gateways,
    calls_are_summed_up_by_method_and_route,
);

async fn score(ledger: &Ledger) -> GetScalabilityResponse {
    ledger.metrics(Role::Auditor).get_scalability(GetScalabilityRequest {}).await.unwrap().into_inner()
}

async fn the_score_is_made_of_what_services_measure(ledger: &Ledger) {
    let nothing = score(ledger).await;
    assert_eq!((nothing.score, nothing.grade()), (Some(100), ScalabilityGrade::Excellent));
    assert_eq!((nothing.active_sessions, nothing.open_jobs), (None, None), "what was not measured is absent");
    for (instance, sessions) in [("a:1", 20.0), ("b:1", 5.0)] {
        let jobs = |state, number| series("tollgate_jobs_open", &[("state", state)], Value::Gauge(number));
        let reported = vec![
            series("tollgate_sessions_active", &[], Value::Gauge(sessions)),
            series("tollgate_system_memory_ratio", &[], Value::Gauge(0.8)),
            // Both gateways count the same jobs.
            jobs("pending", 8.0),
            jobs("running", 5.0),
        ];
        report(ledger, instance, reported).await.unwrap();
    }
    let expected = GetScalabilityResponse {
        score: Some(72),
        grade: ScalabilityGrade::Good.into(),
        active_sessions: Some(25),
        machines: ThresholdLevel::Warning.into(),
        open_jobs: Some(13),
        off_for_sessions: Some(10),
        off_for_machines: Some(15),
        off_for_jobs: Some(3),
    };
    assert_eq!(score(ledger).await, expected);
    let refused = ledger.metrics(Role::Member).get_scalability(GetScalabilityRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

async fn what_goes_on_at_once_is_added_up_over_gateways(ledger: &Ledger) {
    let ask = async || {
        let answer = ledger.metrics(Role::Operator).get_concurrency(GetConcurrencyRequest {}).await;
        answer.unwrap().into_inner()
    };
    let nothing = ask().await;
    assert!(nothing.in_flight.is_none() && nothing.engines.is_empty() && nothing.queue.is_empty());
    for (instance, requests) in [("a:1", 3.0), ("b:1", 4.0)] {
        let of = |name: &str, engine: &str, number| series(name, &[("engine", engine)], Value::Gauge(number));
        let class = [("gen_ai_request_model", "tiny"), ("tollgate_class", "batch")];
        let reported = vec![
            of("tollgate_engine_in_flight", "one", requests),
            of("tollgate_engine_in_flight_limit", "one", 8.0),
            of("tollgate_engine_in_flight_limit", "two", 16.0),
            series("tollgate_queue_requests", &class, Value::Gauge(requests)),
        ];
        report(ledger, instance, reported).await.unwrap();
    }
    let found = ask().await;
    assert_eq!((found.in_flight, found.limit), (Some(7.0), Some(48.0)));
    let engines: Vec<_> =
        found.engines.iter().map(|holds| (holds.engine.as_str(), holds.in_flight, holds.limit)).collect();
    assert_eq!(engines, [("one", Some(7.0), Some(16.0)), ("two", None, Some(32.0))]);
    assert_eq!((found.queue[0].class.as_str(), found.queue[0].waiting), ("batch", 7.0));
}

async fn calls_are_summed_up_by_method_and_route(ledger: &Ledger) {
    let times = |counts: [f64; 3]| {
        Value::Histogram(Buckets { bounds: vec![0.1, 1.0], counts: counts.to_vec(), sum: 1.0 })
    };
    let rpc = |code: &str, counts| {
        let labels = [("rpc_method", "a.B/C"), ("rpc_response_status_code", code)];
        series("rpc_server_call_duration_seconds", &labels, times(counts))
    };
    let http = [
        ("http_request_method", "POST"),
        ("http_route", "/v1/chat/completions"),
        ("http_response_status_code", "200"),
    ];
    let reported = vec![
        rpc("OK", [6.0, 0.0, 0.0]),
        rpc("NOT_FOUND", [1.0, 0.0, 0.0]),
        rpc("UNAVAILABLE", [0.0, 1.0, 0.0]),
        series("http_server_request_duration_seconds", &http, times([0.0, 20.0, 0.0])),
    ];
    report(ledger, "a:1", reported).await.unwrap();
    let answer = ledger.metrics(Role::Auditor).get_call_summary(GetCallSummaryRequest::default()).await;
    let calls = answer.unwrap().into_inner().calls;
    let names: Vec<&str> = calls.iter().map(|calls| calls.name.as_str()).collect();
    assert_eq!(names, ["POST /v1/chat/completions", "a.B/C"], "what is called most first");
    assert_eq!((calls[0].error_share, calls[1].error_share), (Some(0.0), Some(0.125)));
    let half = |index: usize| calls[index].duration.unwrap().p50.unwrap();
    assert!((half(0) - 0.55).abs() < 1e-9, "in the middle of its bucket: {}", half(0));
    assert!((half(1) - 4.0 / 7.0 * 0.1).abs() < 1e-9, "{}", half(1));
    assert!(calls.iter().all(|calls| calls.calls_per_second.is_some_and(|rate| rate > 0.0)));
    let long = GetCallSummaryRequest { window: Some(prost_types::Duration { seconds: 7_201, nanos: 0 }) };
    let refused = ledger.metrics(Role::Auditor).get_call_summary(long).await.unwrap_err();
    assert!(refused.message().starts_with("window:"), "{refused}");
}
