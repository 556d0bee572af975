//! What was measured: reported, recorded by hand, listed, queried, watched, and kept by the minute.

use crate::ledger::Ledger;
use policy::Role;
use proto::monitoring::v1::{
    AcrossSeries, Buckets, GetLlmSummaryRequest, GetSystemRequest, LabelMatcher, ListMetricsRequest,
    OverTime, QuerySeriesRequest, QuerySeriesResponse, RecordSampleRequest, ReportSeriesRequest,
    ReportSeriesResponse, ReportedSeries, SeriesQuery, ThresholdLevel, WatchMetricsRequest,
    metrics_service_client::MetricsServiceClient, record_sample_request, reported_series::Value,
};
use shared::{db::Db, on, status::reason};
use std::collections::HashMap;
use tonic::{Code, Status};

on_both_engines!(
    what_is_reported_can_be_queried,
    quantiles_come_from_all_buckets_together,
    names_are_listed_in_pages,
    what_cannot_be_computed_is_refused_with_its_reason,
    reports_that_make_no_sense_are_refused_by_field,
    what_people_record_is_kept_apart_from_what_services_measure,
    only_services_report_and_only_officials_ask,
    a_watch_gives_what_is_new,
    a_model_is_summed_up,
    a_machine_is_shown_with_how_it_stands,
);

fn labels(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn series(name: &str, of: &[(&str, &str)], value: Value) -> ReportedSeries {
    ReportedSeries { name: name.into(), labels: labels(of), value: Some(value) }
}

/// With the bounds 1, 2 and 4.
fn histogram(counts: [f64; 4]) -> Value {
    Value::Histogram(Buckets { bounds: vec![1.0, 2.0, 4.0], counts: counts.to_vec(), sum: 0.0 })
}

pub(crate) async fn report(
    ledger: &Ledger,
    instance: &str,
    series: Vec<ReportedSeries>,
) -> Result<ReportSeriesResponse, Status> {
    let request =
        ReportSeriesRequest { instance: instance.into(), service: "inference".into(), series, turned: false };
    sent(ledger, request).await
}

/// Sends a report as it is.
pub(crate) async fn sent(
    ledger: &Ledger,
    request: ReportSeriesRequest,
) -> Result<ReportSeriesResponse, Status> {
    Ok(MetricsServiceClient::new(ledger.as_service()).report_series(request).await?.into_inner())
}

pub(crate) async fn ask(ledger: &Ledger, query: SeriesQuery) -> Result<QuerySeriesResponse, Status> {
    let request = QuerySeriesRequest { query: Some(query), ..Default::default() };
    Ok(ledger.metrics(Role::Auditor).query_series(request).await?.into_inner())
}

/// The numbers of the groups, in their order.
pub(crate) fn numbers(answer: &QuerySeriesResponse) -> Vec<f64> {
    answer.series.iter().flat_map(|series| series.points.iter().map(|point| point.value)).collect()
}

pub(crate) fn query(name: &str, over: OverTime, across: AcrossSeries, by: &[&str]) -> SeriesQuery {
    SeriesQuery {
        name: name.into(),
        over_time: over.into(),
        across_series: across.into(),
        group_by: by.iter().map(|label| (*label).to_owned()).collect(),
        ..Default::default()
    }
}

async fn what_is_reported_can_be_queried(ledger: &Ledger) {
    for (instance, calls) in [("a:1", 3.0), ("b:1", 4.0)] {
        let counter = |model| series("calls_total", &[("model", model)], Value::Counter(calls));
        let taken = report(ledger, instance, vec![counter("tiny"), counter("large")]).await.unwrap();
        assert_eq!((taken.taken, taken.refused), (2, 0));
    }
    report(ledger, "a:1", vec![series("calls_total", &[("model", "tiny")], Value::Counter(5.0))])
        .await
        .unwrap();
    let increase = |by: &[&str]| query("calls_total", OverTime::Increase, AcrossSeries::Sum, by);
    assert_eq!(numbers(&ask(ledger, increase(&[])).await.unwrap()), [19.0]);
    let by_model = ask(ledger, increase(&["model"])).await.unwrap();
    assert_eq!(numbers(&by_model), [7.0, 12.0]);
    assert_eq!(by_model.series[0].labels, labels(&[("model", "large")]));
    assert_eq!(by_model.resolution.unwrap().seconds, 10);
    assert_eq!(numbers(&ask(ledger, increase(&["instance", "service"])).await.unwrap()), [11.0, 8.0]);
    let matcher = |operator: &str, value: &str| LabelMatcher {
        label: "model".into(),
        operator: operator.into(),
        value: value.into(),
    };
    for (operator, value, expected) in [("", "tiny", 12.0), ("!=", "tiny", 7.0), ("=~", "t.*|l.*", 19.0)] {
        let query = SeriesQuery { matchers: vec![matcher(operator, value)], ..increase(&[]) };
        assert_eq!(numbers(&ask(ledger, query).await.unwrap()), [expected], "{operator}");
    }
    let unknown = ask(ledger, query("nothing", OverTime::Last, AcrossSeries::Sum, &[])).await.unwrap();
    assert!(unknown.series.is_empty(), "what was not measured is not zero");
}

async fn quantiles_come_from_all_buckets_together(ledger: &Ledger) {
    report(ledger, "a:1", vec![series("times", &[], histogram([10.0, 0.0, 0.0, 0.0]))]).await.unwrap();
    report(ledger, "b:1", vec![series("times", &[], histogram([0.0, 0.0, 10.0, 0.0]))]).await.unwrap();
    report(
        ledger,
        "c:1",
        vec![series(
            "times",
            &[],
            Value::Histogram(Buckets { bounds: vec![1.0, 2.0, 4.0], ..Default::default() }),
        )],
    )
    .await
    .unwrap();
    let quantile = |quantile: f64, by: &[&str]| SeriesQuery {
        quantile,
        ..query("times", OverTime::Quantile, AcrossSeries::Unspecified, by)
    };
    assert_eq!(numbers(&ask(ledger, quantile(0.75, &[])).await.unwrap()), [3.0]);
    let each = ask(ledger, quantile(0.5, &["instance"])).await.unwrap();
    assert_eq!(numbers(&each), [0.5, 3.0], "none of nothing");
    let usual = query("times", OverTime::Unspecified, AcrossSeries::Unspecified, &[]);
    assert_eq!(numbers(&ask(ledger, usual).await.unwrap()), [3.8]);
}

async fn names_are_listed_in_pages(ledger: &Ledger) {
    let gauges =
        (0..5).map(|number| series(&format!("gauge_{number}"), &[("b", "1"), ("a", "2")], Value::Gauge(1.0)));
    report(ledger, "a:1", gauges.collect()).await.unwrap();
    report(ledger, "b:1", vec![series("gauge_3", &[], Value::Gauge(1.0))]).await.unwrap();
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let request = ListMetricsRequest { prefix: "gauge".into(), page_size: 2, page_token: token };
        let page = ledger.metrics(Role::Operator).list_metrics(request).await.unwrap().into_inner();
        names.extend(page.metrics);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(
        names.iter().map(|metric| metric.name.as_str()).collect::<Vec<_>>(),
        ["gauge_0", "gauge_1", "gauge_2", "gauge_3", "gauge_4"]
    );
    assert_eq!((names[3].series, names[0].series), (2, 1));
    assert_eq!(names[0].label_names, ["a", "b", "instance", "service"]);
    let other = ListMetricsRequest { prefix: "x".into(), page_token: "abc".into(), ..Default::default() };
    let refused = ledger.metrics(Role::Operator).list_metrics(other).await.unwrap_err();
    assert_eq!(reason(&refused), "INVALID_FIELD");
}

async fn what_cannot_be_computed_is_refused_with_its_reason(ledger: &Ledger) {
    report(ledger, "a:1", vec![series("load", &[], Value::Gauge(1.0))]).await.unwrap();
    let rate = query("load", OverTime::Rate, AcrossSeries::Sum, &[]);
    let refused = ask(ledger, rate).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "METRIC_OF_OTHER_KIND"));
    assert!(refused.message().contains("last, min, max or mean"), "{}", refused.message());
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let long = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let last = query("load", OverTime::Last, AcrossSeries::Sum, &[]);
    let range = QuerySeriesRequest {
        query: Some(last.clone()),
        start_time: time(1_000_000),
        end_time: time(1_000_000 + 11_001 * 60),
        step: long(60),
    };
    let mut client = ledger.metrics(Role::Owner);
    let refused = client.query_series(range.clone()).await.unwrap_err();
    assert!(reason(&refused) == "INVALID_FIELD" && refused.message().starts_with("step:"), "{refused:?}");
    let fits = QuerySeriesRequest { end_time: time(1_000_000 + 10_998 * 60), ..range.clone() };
    client.query_series(fits).await.unwrap();
    for (query, field) in [
        (SeriesQuery { name: "1x".into(), ..last.clone() }, "query.name"),
        (
            SeriesQuery { quantile: 1.5, over_time: OverTime::Quantile.into(), ..last.clone() },
            "query.quantile",
        ),
        (SeriesQuery { window: long(5), ..last.clone() }, "query.window"),
        (SeriesQuery { over_time: 99, ..last.clone() }, "query.over_time"),
        (
            SeriesQuery {
                matchers: vec![LabelMatcher { label: "a".into(), operator: "=~".into(), value: "(".into() }],
                ..last
            },
            "query.matchers[0]",
        ),
    ] {
        let refused = ask(ledger, query).await.unwrap_err();
        assert!(refused.message().starts_with(field), "{field}: {}", refused.message());
    }
}

async fn reports_that_make_no_sense_are_refused_by_field(ledger: &Ledger) {
    let uneven = Value::Histogram(Buckets { bounds: vec![1.0], counts: vec![1.0], sum: 0.0 });
    for (wrong, field) in [
        (series("9", &[], Value::Gauge(1.0)), "series[1].name"),
        (series("x", &[], Value::Gauge(f64::NAN)), "series[1].gauge"),
        (series("x", &[], Value::Counter(-1.0)), "series[1].counter"),
        (series("x", &[], uneven), "series[1].histogram"),
        (ReportedSeries { name: "x".into(), ..Default::default() }, "series[1].value"),
    ] {
        let good = series("good", &[], Value::Gauge(1.0));
        let refused = report(ledger, "a:1", vec![good, wrong]).await.unwrap_err();
        assert!(refused.message().starts_with(field), "{field}: {}", refused.message());
    }
    assert!(report(ledger, "", Vec::new()).await.is_err());
    let last = query("good", OverTime::Last, AcrossSeries::Sum, &[]);
    assert!(
        ask(ledger, last).await.unwrap().series.is_empty(),
        "nothing of a report that is refused is kept"
    );
}

async fn what_people_record_is_kept_apart_from_what_services_measure(ledger: &Ledger) {
    use record_sample_request::Value as By;
    let by_hand = |name: &str, value| RecordSampleRequest {
        name: name.into(),
        value: Some(value),
        ..Default::default()
    };
    let mut operator = ledger.metrics(Role::Operator);
    operator.record_sample(by_hand("on_call", By::Gauge(3.0))).await.unwrap();
    operator.record_sample(by_hand("on_call", By::Gauge(2.0))).await.unwrap();
    let last = query("on_call", OverTime::Last, AcrossSeries::Sum, &[]);
    assert_eq!(numbers(&ask(ledger, last).await.unwrap()), [2.0]);
    report(ledger, "a:1", vec![series("load", &[], Value::Gauge(1.0))]).await.unwrap();
    for wrong in [by_hand("load", By::Gauge(9.0)), by_hand("on_call", By::Counter(1.0))] {
        let refused = operator.record_sample(wrong).await.unwrap_err();
        assert_eq!(reason(&refused), "METRIC_IS_MEASURED");
    }
    let labels = labels(&[("instance", "a:1")]);
    let refused =
        operator.record_sample(RecordSampleRequest { labels, ..by_hand("x", By::Gauge(1.0)) }).await;
    assert!(refused.unwrap_err().message().starts_with("labels.instance:"));
}

async fn only_services_report_and_only_officials_ask(ledger: &Ledger) {
    let mut owner = ledger.metrics(Role::Owner);
    let refused = owner.report_series(ReportSeriesRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    for role in [Role::Developer, Role::Member] {
        let refused = ledger.metrics(role).list_metrics(ListMetricsRequest::default()).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
    let refused =
        ledger.metrics(Role::Auditor).record_sample(RecordSampleRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

async fn a_watch_gives_what_is_new(ledger: &Ledger) {
    let gauge = |value| vec![series("load", &[], Value::Gauge(value))];
    report(ledger, "a:1", gauge(1.0)).await.unwrap();
    let request = WatchMetricsRequest {
        queries: vec![
            query("load", OverTime::Last, AcrossSeries::Sum, &[]),
            query("nothing", OverTime::Last, AcrossSeries::Sum, &[]),
        ],
        interval: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
    };
    let mut client = ledger.metrics(Role::Operator);
    let mut looks = client.watch_metrics(request.clone()).await.unwrap().into_inner();
    let first = looks.message().await.unwrap().unwrap();
    assert_eq!((first.dropped, first.answers.len()), (0, 2));
    assert_eq!(first.answers[0].series[0].points[0].value, 1.0);
    assert!(first.answers[1].series.is_empty());
    report(ledger, "a:1", gauge(7.0)).await.unwrap();
    let next = looks.message().await.unwrap().unwrap();
    assert_eq!(next.answers[0].series[0].points[0].value, 7.0);
    let often = Some(prost_types::Duration { seconds: 0, nanos: 1 });
    let refused = client.watch_metrics(WatchMetricsRequest { interval: often, ..request }).await.unwrap_err();
    assert!(refused.message().starts_with("interval:"));
}

async fn a_model_is_summed_up(ledger: &Ledger) {
    let of = |name: &str, more: &[(&str, &str)], value| {
        series(name, &[&[("gen_ai_request_model", "tiny")], more].concat(), value)
    };
    let reported = vec![
        of("gen_ai_server_time_to_first_token_seconds", &[], histogram([5.0, 5.0, 0.0, 0.0])),
        of("gen_ai_server_request_duration_seconds", &[], histogram([3.0, 0.0, 0.0, 0.0])),
        of(
            "gen_ai_server_request_duration_seconds",
            &[("error_type", "failed")],
            histogram([1.0, 0.0, 0.0, 0.0]),
        ),
        of("tollgate_goodput_requests_total", &[("tollgate_end", "met")], Value::Counter(6.0)),
        of("tollgate_goodput_requests_total", &[("tollgate_end", "slow_tokens")], Value::Counter(2.0)),
        of("tollgate_goodput_requests_total", &[("tollgate_end", "left")], Value::Counter(4.0)),
        of("tollgate_queue_requests", &[("tollgate_class", "batch")], Value::Gauge(3.0)),
        of("tollgate_queue_requests", &[("tollgate_class", "default")], Value::Gauge(4.0)),
        series("tollgate_engine_kv_cache_usage", &[("engine", "e")], Value::Gauge(0.4)),
    ];
    report(ledger, "a:1", reported).await.unwrap();
    let mut client = ledger.metrics(Role::Auditor);
    let summary = client.get_llm_summary(GetLlmSummaryRequest::default()).await.unwrap().into_inner();
    assert_eq!((summary.models.len(), summary.kv_cache_usage), (1, Some(0.4)));
    let tiny = &summary.models[0];
    assert_eq!((tiny.model.as_str(), tiny.first_token.unwrap().p50), ("tiny", Some(1.0)));
    assert_eq!((tiny.attainment, tiny.error_share, tiny.waiting), (Some(0.75), Some(0.25), Some(7.0)));
    assert_eq!(tiny.per_token.unwrap().p99, None, "what was not measured is absent");
    let other = GetLlmSummaryRequest { model: "other".into(), ..Default::default() };
    let none = client.get_llm_summary(other).await.unwrap().into_inner();
    assert_eq!((none.models[0].model.as_str(), none.models[0].waiting), ("other", None));
}

async fn a_machine_is_shown_with_how_it_stands(ledger: &Ledger) {
    for (instance, cpu, disk) in [("a:1", 0.2, 0.5), ("b:1", 0.75, 0.97)] {
        let reported = vec![
            series("tollgate_system_cpu_ratio", &[], Value::Gauge(cpu)),
            series("tollgate_system_memory_ratio", &[], Value::Gauge(0.3)),
            series("tollgate_system_disk_ratio", &[("mount", "/")], Value::Gauge(disk)),
            series("tollgate_system_disk_ratio", &[("mount", "/boot")], Value::Gauge(0.1)),
        ];
        report(ledger, instance, reported).await.unwrap();
    }
    let answer = ledger.metrics(Role::Auditor).get_system(GetSystemRequest {}).await.unwrap().into_inner();
    let [a, b] = answer.readings.as_slice() else { panic!("two machines: {answer:?}") };
    assert_eq!((a.instance.as_str(), a.service.as_str(), a.cpu_used), ("a:1", "inference", Some(0.2)));
    assert_eq!((a.level(), b.level()), (ThresholdLevel::Normal, ThresholdLevel::Critical));
    assert_eq!((b.disk_used, b.connections), (Some(0.97), None));
}

const HOUR: i64 = 3_600;

/// Sets times of rows to the beginning of an hour so long ago.
pub(crate) async fn moved(db: &Db, statement: &'static str, ago: i64) {
    let now = shared::time::now().0 / 1_000_000;
    let time = policy::Time((now - now % HOUR - ago) * 1_000_000);
    on!(db, |pool| sqlx::query(statement).bind(shared::db::Time(time)).execute(pool).await.map(drop))
        .unwrap();
}

async fn has_hours(db: &Db) -> bool {
    let count = "SELECT COUNT(*) FROM metric_hours";
    let count: i64 = on!(db, |pool| sqlx::query_scalar(count).fetch_one(pool).await).unwrap();
    count == 3
}

/// What one replica heard is there after it ended, for the next one.
async fn outlives_its_replica(ledger: Ledger) {
    report(&ledger, "a:1", vec![series("calls_total", &[("model", "tiny")], Value::Counter(5.0))])
        .await
        .unwrap();
    report(&ledger, "a:1", vec![series("times", &[], histogram([1.0, 0.0, 3.0, 0.0]))]).await.unwrap();
    report(&ledger, "a:1", vec![series("load", &[], Value::Gauge(0.5))]).await.unwrap();
    let ledger = ledger.again().await;
    let increase = query("calls_total", OverTime::Increase, AcrossSeries::Sum, &["model"]);
    loop {
        let answer = ask(&ledger, increase.clone()).await.unwrap();
        if !answer.series.is_empty() {
            assert_eq!(
                (numbers(&answer), answer.series[0].labels.clone()),
                (vec![5.0], labels(&[("model", "tiny")]))
            );
            break;
        }
        tokio::task::yield_now().await;
    }
    // Made older than what is remembered, it comes from the database.
    moved(&ledger.db, "UPDATE metric_minutes SET minute = $1", 20 * HOUR).await;
    let ledger = ledger.again().await;
    report(&ledger, "a:1", vec![series("calls_total", &[("model", "tiny")], Value::Counter(2.0))])
        .await
        .unwrap();
    let long = |hours: i64| Some(prost_types::Duration { seconds: hours * HOUR, nanos: 0 });
    let answer = ask(&ledger, SeriesQuery { window: long(22), ..increase.clone() }).await.unwrap();
    assert_eq!((numbers(&answer), answer.resolution.unwrap().seconds), (vec![7.0], 60));
    let quantile = query("times", OverTime::Quantile, AcrossSeries::Sum, &[]);
    let answer =
        ask(&ledger, SeriesQuery { quantile: 0.5, window: long(22), ..quantile.clone() }).await.unwrap();
    assert!((numbers(&answer)[0] - (2.0 + 2.0 / 3.0)).abs() < 1e-9, "{answer:?}");
    let most = query("load", OverTime::Max, AcrossSeries::Sum, &[]);
    assert_eq!(
        numbers(&ask(&ledger, SeriesQuery { window: long(22), ..most.clone() }).await.unwrap()),
        [0.5]
    );
    // Its hour was made when this replica started; made older than what is kept by the minute, that is what there is.
    while !has_hours(&ledger.db).await {
        tokio::task::yield_now().await;
    }
    moved(&ledger.db, "UPDATE metric_hours SET hour = $1", 72 * HOUR).await;
    let answer = ask(&ledger, SeriesQuery { quantile: 0.5, window: long(240), ..quantile }).await.unwrap();
    assert_eq!(answer.resolution.unwrap().seconds, HOUR);
    assert!((numbers(&answer)[0] - (2.0 + 2.0 / 3.0)).abs() < 1e-9, "{answer:?}");
    assert_eq!(numbers(&ask(&ledger, SeriesQuery { window: long(240), ..most }).await.unwrap()), [0.5]);
    ledger.end().await;
}

#[tokio::test]
async fn what_was_heard_outlives_its_replica_on_sqlite() {
    outlives_its_replica(Ledger::sqlite().await).await;
}

#[tokio::test]
async fn what_was_heard_outlives_its_replica_on_postgres() {
    outlives_its_replica(Ledger::postgres().await).await;
}
