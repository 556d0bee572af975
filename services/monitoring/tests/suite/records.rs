//! ListUsageRecords: newest first, filtered, in pages that neither skip nor repeat.

use crate::{
    ledger::Ledger,
    sample::{NOON, assorted, id, record, time},
};
use proto::monitoring::v1::{ListUsageRecordsRequest, Outcome, UsageRecord};
use tonic_types::StatusExt;

on_both_engines!(
    pages_of_any_size_are_complete_and_newest_first,
    each_filter_restricts_to_what_it_names,
    records_that_arrive_between_pages_move_nothing,
    a_token_serves_its_own_list_alone,
);

async fn pages_of_any_size_are_complete_and_newest_first(ledger: &Ledger) {
    let mut expected = assorted(150);
    ledger.keep(&expected).await;
    let place = |record: &UsageRecord| (record.start_time.unwrap().seconds, record.usage_id.clone());
    expected.sort_by_key(|record| std::cmp::Reverse(place(record)));
    for size in [1, 2, 5, 16, 53, 100, 150, 1_000] {
        assert_eq!(ledger.list(ListUsageRecordsRequest::default(), size).await, expected, "pages of {size}");
    }
    let page = ledger.service().list_usage_records(ListUsageRecordsRequest::default()).await.unwrap();
    assert_eq!(page.into_inner().records, expected[..100], "100 when no size is asked for");
}

async fn each_filter_restricts_to_what_it_names(ledger: &Ledger) {
    type Belongs = fn(&UsageRecord) -> bool;
    let all = assorted(200);
    ledger.keep(&all).await;
    let none = ListUsageRecordsRequest::default;
    let filters: &[(ListUsageRecordsRequest, Belongs)] = &[
        (ListUsageRecordsRequest { request_id: "request-17".into(), ..none() }, |record| {
            record.request_id == "request-17"
        }),
        (ListUsageRecordsRequest { usage_id: crate::sample::usage_id(31), ..none() }, |record| {
            record.usage_id == crate::sample::usage_id(31)
        }),
        (ListUsageRecordsRequest { user_id: id(2), ..none() }, |record| record.user_id == id(2)),
        (ListUsageRecordsRequest { key_id: id(12), ..none() }, |record| record.key_id == id(12)),
        (ListUsageRecordsRequest { model: "qwen".into(), ..none() }, |record| record.model == "qwen"),
        (ListUsageRecordsRequest { outcome: Outcome::Crashed.into(), ..none() }, |record| {
            record.outcome() == Outcome::Crashed
        }),
        (ListUsageRecordsRequest { start_time: Some(time(NOON + 7_200)), ..none() }, |record| {
            record.start_time.unwrap().seconds >= NOON + 7_200
        }),
        (ListUsageRecordsRequest { end_time: Some(time(NOON + 7_200)), ..none() }, |record| {
            record.start_time.unwrap().seconds < NOON + 7_200
        }),
        (ListUsageRecordsRequest { user_id: id(1), model: "llama".into(), outcome: 1, ..none() }, |record| {
            record.user_id == id(1) && record.model == "llama" && record.outcome == 1
        }),
        (ListUsageRecordsRequest { user_id: id(99), ..none() }, |_| false),
    ];
    let sorted = |mut records: Vec<UsageRecord>| {
        records.sort_by(|one, other| one.usage_id.cmp(&other.usage_id));
        records
    };
    for (filter, belongs) in filters {
        let expected = all.iter().filter(|record| belongs(record)).cloned().collect();
        assert_eq!(sorted(ledger.list(filter.clone(), 7).await), sorted(expected), "{filter:?}");
    }
}

async fn records_that_arrive_between_pages_move_nothing(ledger: &Ledger) {
    let old: Vec<UsageRecord> = (0..10).map(record).collect();
    ledger.keep(&old).await;
    let mut client = ledger.service();
    let request = ListUsageRecordsRequest { page_size: 4, ..ListUsageRecordsRequest::default() };
    let first = client.list_usage_records(request.clone()).await.unwrap().into_inner();
    let newer: Vec<UsageRecord> =
        (10..20).map(|number| UsageRecord { start_time: Some(time(NOON + 60)), ..record(number) }).collect();
    ledger.keep(&newer).await;
    let request = ListUsageRecordsRequest { page_size: 100, page_token: first.next_page_token, ..request };
    let second = client.list_usage_records(request).await.unwrap().into_inner();
    let read: Vec<UsageRecord> = first.records.into_iter().chain(second.records).rev().collect();
    assert_eq!(read, old);
}

async fn a_token_serves_its_own_list_alone(ledger: &Ledger) {
    ledger.keep(&assorted(20)).await;
    let mut client = ledger.service();
    let request = ListUsageRecordsRequest { page_size: 3, ..ListUsageRecordsRequest::default() };
    let token = client.list_usage_records(request).await.unwrap().into_inner().next_page_token;
    let none = ListUsageRecordsRequest::default;
    let wrong = [
        (ListUsageRecordsRequest { page_token: token, user_id: id(1), ..none() }, "page_token"),
        (ListUsageRecordsRequest { page_token: "nonsense".into(), ..none() }, "page_token"),
        (ListUsageRecordsRequest { page_size: 1_001, ..none() }, "page_size"),
        (ListUsageRecordsRequest { page_size: -1, ..none() }, "page_size"),
        (ListUsageRecordsRequest { outcome: 9, ..none() }, "outcome"),
        (ListUsageRecordsRequest { usage_id: "x".into(), ..none() }, "usage_id"),
        (
            ListUsageRecordsRequest { start_time: Some(time(2)), end_time: Some(time(1)), ..none() },
            "end_time",
        ),
    ];
    for (request, field) in wrong {
        let status = client.list_usage_records(request).await.unwrap_err();
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
}
