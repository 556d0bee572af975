//! Calls every method of the contract with every filter that it has, alone and together, so that each statement is run. A
//! new method is a new line here.

use crate::{
    ledger::Ledger,
    load::{self, BEGIN},
    sample::{record, time},
};
use policy::Role;
use proto::monitoring::v1::{
    GetUsageRequest, ListUsageRecordsRequest, Outcome, TimeBucket, UsageDimension, UsageRecord,
};

const SOMEBODY: u128 = 77;
const DAY: i64 = 24 * 3_600;

pub(crate) async fn every_method(ledger: &Ledger) {
    record_usage(ledger).await;
    list_usage_records(ledger).await;
    get_usage(ledger).await;
}

async fn record_usage(ledger: &Ledger) {
    let records: Vec<UsageRecord> = (1..=20).map(record).collect();
    for part in [&records[..1], &records[1..]] {
        assert_eq!(ledger.record(part).await.unwrap().recorded as usize, part.len());
    }
    // What is known already is compared with what is kept.
    assert_eq!(ledger.record(&records).await.unwrap().duplicates, 20);
}

/// Pages of one record, so that the second one starts after a position.
async fn list_usage_records(ledger: &Ledger) {
    let nothing = ListUsageRecordsRequest::default;
    let (start, end) = (Some(time(BEGIN + 10 * DAY)), Some(time(BEGIN + 20 * DAY)));
    let user = ListUsageRecordsRequest { user_id: load::user(SOMEBODY), ..nothing() };
    let key = ListUsageRecordsRequest { key_id: load::key(SOMEBODY), ..nothing() };
    let model = ListUsageRecordsRequest { model: "model-7".into(), ..nothing() };
    let outcome = Outcome::Crashed.into();
    let asked = [
        nothing(),
        ListUsageRecordsRequest { request_id: "request-77".into(), ..nothing() },
        ListUsageRecordsRequest { usage_id: load::usage(SOMEBODY), ..nothing() },
        ListUsageRecordsRequest { outcome, ..nothing() },
        ListUsageRecordsRequest { start_time: start, ..nothing() },
        ListUsageRecordsRequest { end_time: end, ..nothing() },
        ListUsageRecordsRequest { start_time: start, end_time: end, ..user.clone() },
        ListUsageRecordsRequest { start_time: start, end_time: end, ..key.clone() },
        ListUsageRecordsRequest { start_time: start, end_time: end, outcome, ..model.clone() },
        ListUsageRecordsRequest {
            model: "model-17".into(),
            outcome: Outcome::Cancelled.into(),
            ..user.clone()
        },
        user,
        key,
        model,
    ];
    for request in asked {
        let mut client = ledger.person(Role::Auditor);
        let first = ListUsageRecordsRequest { page_size: 1, ..request };
        let page = client.list_usage_records(first.clone()).await.unwrap().into_inner();
        assert_eq!(page.records.len(), 1, "{first:?}");
        if !page.next_page_token.is_empty() {
            let next = ListUsageRecordsRequest { page_token: page.next_page_token, ..first };
            client.list_usage_records(next).await.unwrap();
        }
    }
    // Whoever may see their own alone has another filter.
    ledger.person(Role::Member).list_usage_records(nothing()).await.unwrap();
}

async fn get_usage(ledger: &Ledger) {
    let nothing = || GetUsageRequest {
        start_time: Some(time(BEGIN + 10 * DAY)),
        end_time: Some(time(BEGIN + 12 * DAY)),
        ..GetUsageRequest::default()
    };
    let by_all = [UsageDimension::User, UsageDimension::Key, UsageDimension::Model, UsageDimension::Endpoint]
        .map(i32::from)
        .to_vec();
    let filters = [
        nothing(),
        GetUsageRequest { start_time: None, end_time: None, ..nothing() },
        GetUsageRequest { user_id: load::user(SOMEBODY), ..nothing() },
        GetUsageRequest { key_id: load::key(SOMEBODY), ..nothing() },
        GetUsageRequest { model: "model-7".into(), ..nothing() },
        GetUsageRequest { user_id: load::user(SOMEBODY), model: "model-17".into(), ..nothing() },
    ];
    for filter in filters {
        for bucket in [TimeBucket::Unspecified, TimeBucket::Hour, TimeBucket::Day, TimeBucket::Month] {
            for group_by in [Vec::new(), by_all.clone()] {
                let mut client = ledger.person(Role::Auditor);
                let first =
                    GetUsageRequest { group_by, bucket: bucket.into(), page_size: 1, ..filter.clone() };
                let page = client.get_usage(first.clone()).await.unwrap().into_inner();
                if !page.next_page_token.is_empty() {
                    let next = GetUsageRequest { page_token: page.next_page_token, ..first };
                    client.get_usage(next).await.unwrap();
                }
            }
        }
    }
    ledger.person(Role::Member).get_usage(nothing()).await.unwrap();
}
