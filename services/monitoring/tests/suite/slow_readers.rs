//! A client of `WatchMetrics` that does not read, on a connection of its own: HTTP/2 holds the answers back.

use crate::{
    ledger::Ledger,
    series::{query, report, series},
};
use proto::monitoring::v1::{
    AcrossSeries, OverTime, WatchMetricsRequest, WatchMetricsResponse,
    metrics_service_client::MetricsServiceClient, reported_series::Value,
};
use shared::time;
use tonic::{Streaming, transport::Endpoint};

/// Groups of an answer, and how often it is in a message: more than what lies between a server and its reader.
const GROUPS: usize = 2_000;
const TIMES: usize = 5;

async fn watch(ledger: &Ledger, address: &str) -> Streaming<WatchMetricsResponse> {
    let connection = Endpoint::from_shared(address.to_owned()).unwrap().connect().await.unwrap();
    let mut client = MetricsServiceClient::new(connection).max_decoding_message_size(usize::MAX);
    let each = query("many", OverTime::Last, AcrossSeries::Sum, &["group"]);
    let request = WatchMetricsRequest {
        queries: vec![each; TIMES],
        interval: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
    };
    client.watch_metrics(ledger.signed(request)).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_gets_the_newest_next_and_is_told_what_was_left_out() {
    let ledger = Ledger::sqlite().await;
    let address = ledger.listen().await;
    let many = (0..GROUPS).map(|group| {
        let group = format!("{group:0>150}");
        series("many", &[("group", group.as_str())], Value::Gauge(1.0))
    });
    report(&ledger, "a:1", many.collect()).await.unwrap();
    let mut slow = watch(&ledger, &address).await;
    let mut quick = watch(&ledger, &address).await;
    let at = |look: &WatchMetricsResponse| time::from_proto(&look.time.unwrap()).unwrap();
    let (mut looks, mut last) = (0, None);
    while looks < 5 {
        let look = quick.message().await.unwrap().unwrap();
        assert_eq!(look.answers.iter().map(|answer| answer.series.len()).sum::<usize>(), GROUPS * TIMES);
        looks += 1 + look.dropped;
        last = Some(at(&look));
    }
    // What was on its way when nothing was read any more comes first.
    let mut next = slow.message().await.unwrap().unwrap();
    while next.dropped == 0 {
        assert!(at(&next) < last.unwrap(), "it was on its way all the time");
        next = slow.message().await.unwrap().unwrap();
    }
    assert!(at(&next) > last.unwrap(), "the newest, not the next that was due");
    drop((slow, quick));
    ledger.end().await;
}
