//! GetUsage: sums by group and bucket, over whole hours, in pages.

use crate::{
    ledger::Ledger,
    sample::{HOUR, NOON, assorted, at, id, record, time},
};
use proto::monitoring::v1::{GetUsageRequest, Outcome, TimeBucket, UsageDimension, UsageRecord, UsageRow};
use std::collections::BTreeMap;
use tonic_types::StatusExt;

on_both_engines!(
    buckets_follow_the_calendar_in_utc,
    the_ends_of_a_report_are_rounded_to_full_hours,
    sums_tell_outcomes_and_kinds_of_tokens_apart,
    rows_are_separated_by_what_is_asked_for,
    each_filter_restricts_to_what_it_names,
    pages_of_any_size_are_complete_and_in_order,
    an_empty_ledger_has_no_rows,
    days_and_months_are_those_of_a_place,
    what_is_malformed_is_named,
);

async fn buckets_follow_the_calendar_in_utc(ledger: &Ledger) {
    let starts = [
        "1970-01-01T00:00:00Z",
        "2023-12-31T23:59:59Z",
        "2024-01-01T00:00:00Z",
        "2024-02-28T23:59:59Z",
        "2024-02-29T00:00:00Z",
        "2024-02-29T23:59:59Z",
        "2024-03-01T00:00:00Z",
        "2025-02-28T23:00:00Z",
        "2025-03-01T00:59:59Z",
        // Clocks change in many places on this day, but not in UTC.
        "2025-03-30T01:30:00Z",
        "2025-03-30T02:30:00Z",
    ];
    let records: Vec<UsageRecord> = (0..)
        .zip(starts)
        .map(|(number, start)| UsageRecord { start_time: Some(at(start)), ..record(number) })
        .collect();
    ledger.keep(&records).await;
    let hours = [
        ("1970-01-01T00:00:00Z", 1),
        ("2023-12-31T23:00:00Z", 1),
        ("2024-01-01T00:00:00Z", 1),
        ("2024-02-28T23:00:00Z", 1),
        ("2024-02-29T00:00:00Z", 1),
        ("2024-02-29T23:00:00Z", 1),
        ("2024-03-01T00:00:00Z", 1),
        ("2025-02-28T23:00:00Z", 1),
        ("2025-03-01T00:00:00Z", 1),
        ("2025-03-30T01:00:00Z", 1),
        ("2025-03-30T02:00:00Z", 1),
    ];
    let days = [
        ("1970-01-01T00:00:00Z", 1),
        ("2023-12-31T00:00:00Z", 1),
        ("2024-01-01T00:00:00Z", 1),
        ("2024-02-28T00:00:00Z", 1),
        ("2024-02-29T00:00:00Z", 2),
        ("2024-03-01T00:00:00Z", 1),
        ("2025-02-28T00:00:00Z", 1),
        ("2025-03-01T00:00:00Z", 1),
        ("2025-03-30T00:00:00Z", 2),
    ];
    let months = [
        ("1970-01-01T00:00:00Z", 1),
        ("2023-12-01T00:00:00Z", 1),
        ("2024-01-01T00:00:00Z", 1),
        ("2024-02-01T00:00:00Z", 3),
        ("2024-03-01T00:00:00Z", 1),
        ("2025-02-01T00:00:00Z", 1),
        ("2025-03-01T00:00:00Z", 3),
    ];
    let whole = [("1970-01-01T00:00:00Z", 11)];
    let expected: [(TimeBucket, &[(&str, u64)]); 4] = [
        (TimeBucket::Hour, &hours),
        (TimeBucket::Day, &days),
        (TimeBucket::Month, &months),
        (TimeBucket::Unspecified, &whole),
    ];
    for (bucket, expected) in expected {
        let request = GetUsageRequest { bucket: bucket.into(), ..GetUsageRequest::default() };
        let rows = ledger.report(request, 3).await;
        let told: Vec<_> = rows.iter().map(|row| (row.bucket_time.unwrap(), row.requests)).collect();
        let expected: Vec<_> = expected.iter().map(|(start, requests)| (at(start), *requests)).collect();
        assert_eq!(told, expected, "{bucket:?}");
    }
}

async fn the_ends_of_a_report_are_rounded_to_full_hours(ledger: &Ledger) {
    let starts = [NOON - 1, NOON, NOON + HOUR - 1, NOON + HOUR, NOON + 2 * HOUR];
    let records: Vec<UsageRecord> = (0..)
        .zip(starts)
        .map(|(number, start)| UsageRecord { start_time: Some(time(start)), ..record(number) })
        .collect();
    ledger.keep(&records).await;
    let cases = [
        (NOON, NOON + HOUR, 2, NOON),
        (NOON + 1_800, NOON + HOUR, 2, NOON),
        (NOON, NOON + HOUR + 1, 3, NOON),
        (NOON - 1, NOON + 1, 3, NOON - HOUR),
        (NOON + 10, NOON + 20, 2, NOON),
    ];
    for (start, end, requests, bucket) in cases {
        let request = GetUsageRequest {
            start_time: Some(time(start)),
            end_time: Some(time(end)),
            ..GetUsageRequest::default()
        };
        let rows = ledger.report(request, 10).await;
        let told: Vec<_> = rows.iter().map(|row| (row.bucket_time.unwrap(), row.requests)).collect();
        assert_eq!(told, [(time(bucket), requests)], "{start} to {end}");
    }
    let nothing = GetUsageRequest {
        start_time: Some(time(NOON)),
        end_time: Some(time(NOON)),
        ..GetUsageRequest::default()
    };
    assert_eq!(ledger.report(nothing, 10).await, []);
}

async fn sums_tell_outcomes_and_kinds_of_tokens_apart(ledger: &Ledger) {
    let ended = |number, outcome: Outcome, estimated| UsageRecord {
        outcome: outcome.into(),
        estimated,
        ..record(number)
    };
    let records = [
        ended(1, Outcome::Finished, false),
        ended(2, Outcome::Finished, false),
        ended(3, Outcome::Finished, true),
        ended(4, Outcome::Cancelled, true),
        ended(5, Outcome::Cancelled, false),
        ended(6, Outcome::Failed, false),
        ended(7, Outcome::Crashed, true),
    ];
    ledger.keep(&records).await;
    let expected = UsageRow {
        bucket_time: Some(time(0)),
        requests: 7,
        finished: 3,
        cancelled: 2,
        failed: 1,
        crashed: 1,
        prompt_tokens: 700,
        cached_prompt_tokens: 420,
        completion_tokens: 140,
        estimated_tokens: 3 * 120,
        saved_prompt_tokens: 21,
        unpriced: 7,
        // Seven times two and a half seconds, less a quarter of a millisecond in the queue.
        engine_time: Some(prost_types::Duration { seconds: 17, nanos: 498_250_000 }),
        gpu_time: Some(prost_types::Duration { seconds: 8, nanos: 750_000_000 }),
        ..UsageRow::default()
    };
    assert_eq!(ledger.report(GetUsageRequest::default(), 10).await, [expected]);
}

async fn rows_are_separated_by_what_is_asked_for(ledger: &Ledger) {
    use UsageDimension::{Endpoint, Key, Model, User};
    let records = assorted(400);
    ledger.keep(&records).await;
    let groupings: &[&[UsageDimension]] = &[
        &[],
        &[User],
        &[Key],
        &[Model],
        &[Endpoint],
        &[User, Model],
        &[Model, User, Model],
        &[Key, Endpoint],
    ];
    for by in groupings {
        let part = |asked, value: &String| if by.contains(&asked) { value.clone() } else { String::new() };
        let mut expected: BTreeMap<_, (u64, u64)> = BTreeMap::new();
        for record in &records {
            let group = [
                part(User, &record.user_id),
                part(Key, &record.key_id),
                part(Model, &record.model),
                part(Endpoint, &record.endpoint),
            ];
            let sums = expected.entry(group).or_default();
            *sums = (sums.0 + 1, sums.1 + record.prompt_tokens);
        }
        let group_by = by.iter().map(|dimension| i32::from(*dimension)).collect();
        let rows = ledger.report(GetUsageRequest { group_by, ..GetUsageRequest::default() }, 3).await;
        let told: Vec<_> = rows
            .into_iter()
            .map(|row| {
                ([row.user_id, row.key_id, row.model, row.endpoint], (row.requests, row.prompt_tokens))
            })
            .collect();
        assert_eq!(told, expected.into_iter().collect::<Vec<_>>(), "{by:?}");
    }
}

async fn each_filter_restricts_to_what_it_names(ledger: &Ledger) {
    type Belongs = fn(&UsageRecord) -> bool;
    let records = assorted(300);
    ledger.keep(&records).await;
    let none = GetUsageRequest::default;
    let filters: &[(GetUsageRequest, Belongs)] = &[
        (GetUsageRequest { user_id: id(1), ..none() }, |record| record.user_id == id(1)),
        (GetUsageRequest { key_id: id(11), ..none() }, |record| record.key_id == id(11)),
        (GetUsageRequest { model: "Qwen".into(), ..none() }, |record| record.model == "Qwen"),
        (GetUsageRequest { user_id: id(2), model: "qwen".into(), ..none() }, |record| {
            record.user_id == id(2) && record.model == "qwen"
        }),
    ];
    for (request, belongs) in filters {
        let rows = ledger.report(request.clone(), 10).await;
        let expected = records.iter().filter(|record| belongs(record)).count() as u64;
        assert_eq!(rows.iter().map(|row| row.requests).collect::<Vec<_>>(), [expected], "{request:?}");
    }
    let nobody = GetUsageRequest { user_id: id(99), ..none() };
    assert_eq!(ledger.report(nobody, 10).await, []);
}

async fn pages_of_any_size_are_complete_and_in_order(ledger: &Ledger) {
    ledger.keep(&assorted(1_000)).await;
    let request = GetUsageRequest {
        group_by: [UsageDimension::User, UsageDimension::Key, UsageDimension::Model].map(i32::from).to_vec(),
        bucket: TimeBucket::Day.into(),
        ..GetUsageRequest::default()
    };
    let all = ledger.report(request.clone(), 1_000).await;
    assert!(all.len() > 100, "{} rows are too few to page through", all.len());
    let place = |row: &UsageRow| {
        (row.bucket_time.unwrap().seconds, row.user_id.clone(), row.key_id.clone(), row.model.clone())
    };
    assert!(all.is_sorted_by(|one, next| place(one) < place(next)));
    assert_eq!(all.iter().map(|row| row.requests).sum::<u64>(), 1_000);
    for size in [1, 2, 5, 16, 53, 100] {
        assert_eq!(ledger.report(request.clone(), size).await, all, "pages of {size}");
    }
}

async fn days_and_months_are_those_of_a_place(ledger: &Ledger) {
    let starts = [
        // Winter in Berlin, an hour ahead of UTC.
        "2025-12-31T22:59:59Z",
        "2025-12-31T23:00:00Z",
        // The last day of March has two hours more on that side of the change.
        "2026-03-28T22:30:00Z",
        "2026-03-28T23:30:00Z",
        "2026-03-29T21:30:00Z",
        "2026-03-29T22:30:00Z",
        "2026-03-31T21:59:59Z",
        "2026-03-31T22:00:00Z",
    ];
    let records: Vec<UsageRecord> = (0..)
        .zip(starts)
        .map(|(number, start)| UsageRecord { start_time: Some(at(start)), ..record(number) })
        .collect();
    ledger.keep(&records).await;
    let days = [
        ("2025-12-30T23:00:00Z", 1),
        ("2025-12-31T23:00:00Z", 1),
        ("2026-03-27T23:00:00Z", 1),
        ("2026-03-28T23:00:00Z", 2),
        ("2026-03-29T22:00:00Z", 1),
        ("2026-03-30T22:00:00Z", 1),
        ("2026-03-31T22:00:00Z", 1),
    ];
    let months = [
        ("2025-11-30T23:00:00Z", 1),
        ("2025-12-31T23:00:00Z", 1),
        ("2026-02-28T23:00:00Z", 5),
        ("2026-03-31T22:00:00Z", 1),
    ];
    let asked: [(TimeBucket, &[(&str, u64)]); 2] = [(TimeBucket::Day, &days), (TimeBucket::Month, &months)];
    for (bucket, expected) in asked {
        let time_zone = "Europe/Berlin".to_owned();
        let request = GetUsageRequest { bucket: bucket.into(), time_zone, ..GetUsageRequest::default() };
        // Small pages: each starts after a bucket of the zone.
        let rows = ledger.report(request, 2).await;
        let told: Vec<_> = rows.iter().map(|row| (row.bucket_time.unwrap(), row.requests)).collect();
        let expected: Vec<_> = expected.iter().map(|(start, requests)| (at(start), *requests)).collect();
        assert_eq!(told, expected, "{bucket:?}");
    }
}

async fn an_empty_ledger_has_no_rows(ledger: &Ledger) {
    assert_eq!(ledger.report(GetUsageRequest::default(), 10).await, []);
}

async fn what_is_malformed_is_named(ledger: &Ledger) {
    ledger.keep(&assorted(50)).await;
    let mut client = ledger.service();
    let by_user = GetUsageRequest {
        group_by: vec![UsageDimension::User.into()],
        page_size: 1,
        ..GetUsageRequest::default()
    };
    let page_token = client.get_usage(by_user).await.unwrap().into_inner().next_page_token;
    let none = GetUsageRequest::default;
    let wrong = [
        (GetUsageRequest { page_token, ..none() }, "page_token"),
        (GetUsageRequest { page_size: 1_001, ..none() }, "page_size"),
        (GetUsageRequest { group_by: vec![1, 0], ..none() }, "group_by[1]"),
        (GetUsageRequest { group_by: vec![9], ..none() }, "group_by[0]"),
        (GetUsageRequest { bucket: 4, ..none() }, "bucket"),
        (GetUsageRequest { time_zone: "Europe/Atlantis".into(), ..none() }, "time_zone"),
        (GetUsageRequest { user_id: "ana".into(), ..none() }, "user_id"),
        (GetUsageRequest { key_id: "key".into(), ..none() }, "key_id"),
        (GetUsageRequest { model: "x".repeat(201), ..none() }, "model"),
        (GetUsageRequest { start_time: Some(time(-1)), ..none() }, "start_time"),
        (GetUsageRequest { start_time: Some(time(2)), end_time: Some(time(1)), ..none() }, "end_time"),
    ];
    for (request, field) in wrong {
        let status = client.get_usage(request).await.unwrap_err();
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
}
