//! As many statements for a hundred rows as for one (P11).

use crate::{ledger::Ledger, sample::record};
use policy::Role;
use proto::monitoring::v1::{
    GetUsageRequest, ListUsageRecordsRequest, TimeBucket, UsageDimension, UsageRecord,
};
use tests::statements::Recorder;

/// Every method on so many rows, and how many statements each took.
async fn counts(ledger: &Ledger, many: u64) -> Vec<(String, usize)> {
    let (recorder, mut counts) = (Recorder::start(), Vec::new());
    let mut count = || {
        let method = recorder.only();
        counts.push((method.clone(), recorder.of(&method).len()));
        recorder.clear();
    };
    let user_id = crate::sample::id(many);
    let new = |number| UsageRecord {
        user_id: user_id.clone(),
        model: format!("model-{number}"),
        ..record(1_000 * many + number)
    };
    let records: Vec<_> = (0..many).map(new).collect();
    ledger.record(&records).await.unwrap();
    count();
    ledger.record(&records).await.unwrap();
    count();
    let mut client = ledger.person(Role::Auditor);
    let list = ListUsageRecordsRequest { user_id: user_id.clone(), page_size: 100, ..Default::default() };
    let page = client.list_usage_records(list).await.unwrap().into_inner();
    assert_eq!(page.records.len() as u64, many);
    count();
    let (group_by, bucket) = (vec![UsageDimension::Model.into()], TimeBucket::Hour.into());
    let get = GetUsageRequest { user_id, group_by, bucket, page_size: 100, ..Default::default() };
    let report = client.get_usage(get).await.unwrap().into_inner();
    assert_eq!(report.rows.len() as u64, many);
    count();
    counts
}

async fn does_not_grow(ledger: Ledger) {
    let (one, hundred) = (counts(&ledger, 1).await, counts(&ledger, 100).await);
    assert_eq!(one, hundred, "the number of statements grows with the number of rows");
    assert!(one.iter().all(|(_, statements)| *statements > 0), "the statements were heard: {one:?}");
    let called = |row: &&proto::Row| one.iter().any(|(method, _)| row.path.ends_with(method.as_str()));
    let ours = proto::ACCESS.iter().filter(|row| row.path.starts_with("/tollgate.monitoring.v1."));
    let missing: Vec<_> = ours.filter(|row| !called(row)).map(|row| row.path).collect();
    assert!(missing.is_empty(), "add {missing:?} here");
    ledger.end().await;
}

#[tokio::test]
async fn a_call_asks_as_often_for_a_hundred_rows_as_for_one_on_sqlite() {
    does_not_grow(Ledger::sqlite().await).await;
}

#[tokio::test]
async fn a_call_asks_as_often_for_a_hundred_rows_as_for_one_on_postgres() {
    does_not_grow(Ledger::postgres().await).await;
}
