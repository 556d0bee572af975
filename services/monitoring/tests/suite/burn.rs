//! Rules over windows that begin before what is remembered, worked out by hand.

use crate::{
    delivery::{alerts, create, firing},
    ledger::Ledger,
    series::{moved, report, series},
};
use proto::monitoring::v1::{AlertRule, ListAlertsRequest, reported_series::Value};
use shared::on;
use tests::until;

const HOUR: i64 = 3_600;

/// Reports so many requests, and how many of them failed.
async fn served(ledger: &Ledger, requests: f64, failed: f64) {
    let both = [("asked_total", requests), ("failed_total", failed)];
    let both = both.map(|(name, rose)| series(name, &[("model", "tiny")], Value::Counter(rose)));
    report(ledger, "a:1", both.to_vec()).await.unwrap();
}

/// Waits until hours of both have been made, once for each time that they were moved.
async fn until_hours(ledger: &Ledger, number: i64) {
    let count = "SELECT COUNT(*) FROM metric_hours";
    until("hours", async || {
        let found: i64 = on!(&ledger.db, |pool| sqlx::query_scalar(count).fetch_one(pool).await).unwrap();
        (found == number).then_some(())
    })
    .await;
}

/// The share of requests that failed in a window is this.
async fn share(ledger: &Ledger, window: &str, expected: f64) {
    let name = format!("Burn{window}");
    let expression =
        format!("sum(increase(failed_total[{window}])) / sum(increase(asked_total[{window}])) > 0");
    create(ledger, AlertRule { expression, ..firing(&name) }).await;
    let value = until(&name, async || {
        let request = ListAlertsRequest { page_size: 1_000, ..ListAlertsRequest::default() };
        let all = alerts(ledger).list_alerts(request).await.unwrap().into_inner().alerts;
        all.into_iter().find(|alert| alert.labels["alertname"] == name).map(|alert| alert.value)
    })
    .await;
    assert!((value - expected).abs() < 1e-9, "{window}: {value}, not {expected}");
}

async fn windows_of_hours_and_days(ledger: Ledger) {
    // 40 of 1,000 four hours ago.
    served(&ledger, 1_000.0, 40.0).await;
    let ledger = ledger.again().await;
    moved(&ledger.db, "UPDATE metric_minutes SET minute = $1", 4 * HOUR).await;
    let ledger = ledger.again().await;
    until_hours(&ledger, 2).await;
    // 2 of 1,000 now.
    served(&ledger, 1_000.0, 2.0).await;
    share(&ledger, "6h", 42.0 / 2_000.0).await;
    share(&ledger, "3h", 2.0 / 1_000.0).await;
    share(&ledger, "1h", 2.0 / 1_000.0).await;
    // Older than what is kept by the minute there are hours.
    moved(&ledger.db, "UPDATE metric_hours SET hour = $1", 30 * HOUR).await;
    share(&ledger, "3d", 42.0 / 2_000.0).await;
    share(&ledger, "1d", 2.0 / 1_000.0).await;
    ledger.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_of_hours_and_days_on_sqlite() {
    Box::pin(windows_of_hours_and_days(Ledger::sqlite().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_of_hours_and_days_on_postgres() {
    Box::pin(windows_of_hours_and_days(Ledger::postgres().await)).await;
}
