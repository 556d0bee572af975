//! What the service tells of its work. Other tests run in the same process, so counts are at least what is expected.

use crate::{
    ledger::Ledger,
    sample::{record, usage_id},
};
use proto::monitoring::v1::{GetUsageRequest, ListUsageRecordsRequest, UsageRecord};
use shared::db::Db;

on_both_engines!(new_known_and_contradicting_records_are_counted_apart, every_operation_is_measured);

async fn new_known_and_contradicting_records_are_counted_apart(ledger: &Ledger) {
    let before = ["recorded", "duplicate", "conflict"].map(counted);
    let first: Vec<UsageRecord> = (0..20).map(record).collect();
    ledger.record(&first).await.unwrap();
    ledger.record(&first[..7]).await.unwrap();
    let other = UsageRecord { completion_tokens: 1, ..record(3) };
    ledger.record(&[other.clone(), other]).await.unwrap();
    let after = ["recorded", "duplicate", "conflict"].map(counted);
    for ((before, after), least) in before.into_iter().zip(after).zip([20, 7, 1]) {
        assert!(after >= before + least, "{after} after {before}, which is not {least} more");
    }
}

async fn every_operation_is_measured(ledger: &Ledger) {
    ledger.health.until_ready().await;
    ledger.keep(&[record(1)]).await;
    ledger.report(GetUsageRequest::default(), 1).await;
    ledger.list(ListUsageRecordsRequest::default(), 1).await;
    let system = if matches!(ledger.db, Db::Sqlite(_)) { "sqlite" } else { "postgresql" };
    for operation in ["record_usage", "get_usage", "list_usage_records"] {
        let labels = [format!("db_operation_name=\"{operation}\""), format!("db_system_name=\"{system}\"")];
        let labels = labels.each_ref().map(String::as_str);
        assert!(value("db_client_operation_duration_seconds_count", &labels) >= 1, "{operation}");
    }
    let text = shared::telemetry::prometheus().1;
    assert!(!text.contains(&usage_id(1)) && !text.contains(&record(1).user_id), "ids are never labels");
}

fn counted(result: &str) -> u64 {
    value("tollgate_usage_records_total", &[&format!("result=\"{result}\"")])
}

/// The value of the series of this name with these labels, 0 while there is none.
fn value(name: &str, labels: &[&str]) -> u64 {
    let text = shared::telemetry::prometheus().1;
    let series = text.lines().find(|line| {
        line.starts_with(name)
            && !line.contains("error_type")
            && labels.iter().all(|label| line.contains(label))
    });
    series.map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
}
