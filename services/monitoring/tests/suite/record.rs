//! RecordUsage: every record exactly once, and none of a malformed call.

use crate::{
    ledger::Ledger,
    sample::{HOUR, NOON, assorted, id, record, time, usage_id},
};
use prost_types::Duration;
use proto::monitoring::v1::{GetUsageRequest, ListUsageRecordsRequest, RecordUsageRequest, UsageRecord};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::collections::HashSet;
use tokio::task::JoinSet;
use tonic::{Code, Status};
use tonic_types::StatusExt;

on_both_engines!(
    what_was_recorded_is_listed_as_it_was_sent,
    a_record_counts_once_however_often_it_is_sent,
    the_first_record_under_a_key_stays,
    every_attempt_is_a_record_of_its_own,
    callers_that_overlap_count_every_record_once,
    callers_that_meet_in_the_sums_alone_do_not_block_each_other_for_good,
    a_call_has_1_to_1000_records,
    a_malformed_record_is_named_and_nothing_of_its_call_is_kept,
    many_malformed_records_are_named_at_once,
    the_largest_values_are_kept_and_summed,
    the_service_is_ready_when_its_database_answers,
);

async fn what_was_recorded_is_listed_as_it_was_sent(ledger: &Ledger) {
    let bare = UsageRecord {
        request_id: String::new(),
        key_id: String::new(),
        model: String::new(),
        engine: String::new(),
        endpoint: String::new(),
        stream: false,
        queue_duration: None,
        time_to_first_token: None,
        duration: None,
        start_time: Some(time(0)),
        ..record(1)
    };
    let sent = [bare, record(2)];
    ledger.keep(&sent).await;
    assert_eq!(ledger.audited().await, sent);
}

async fn a_record_counts_once_however_often_it_is_sent(ledger: &Ledger) {
    let records = assorted(300);
    let twice: Vec<UsageRecord> = records[..100].iter().chain(&records[..100]).cloned().collect();
    let answer = ledger.record(&twice).await.unwrap();
    assert_eq!((answer.recorded, answer.duplicates), (100, 100));

    let mut shuffled = records.clone();
    shuffled.shuffle(&mut StdRng::seed_from_u64(1));
    let answer = ledger.record(&shuffled).await.unwrap();
    assert_eq!((answer.recorded, answer.duplicates), (200, 100));

    shuffled.reverse();
    let answer = ledger.record(&shuffled).await.unwrap();
    assert_eq!((answer.recorded, answer.duplicates), (0, 300));
    assert_eq!(ledger.audited().await.len(), 300);
}

async fn the_first_record_under_a_key_stays(ledger: &Ledger) {
    let first = record(1);
    let other = UsageRecord { completion_tokens: 9_999, ..first.clone() };
    let within = ledger.record(&[first.clone(), other.clone()]).await.unwrap();
    assert_eq!((within.recorded, within.duplicates), (1, 1));
    let later = ledger.record(&[other]).await.unwrap();
    assert_eq!((later.recorded, later.duplicates), (0, 1));
    assert_eq!(ledger.audited().await, [first]);
}

async fn every_attempt_is_a_record_of_its_own(ledger: &Ledger) {
    let attempts: Vec<UsageRecord> =
        [1, 2, u32::MAX].map(|attempt| UsageRecord { attempt, ..record(1) }).into();
    ledger.keep(&attempts).await;
    assert_eq!(ledger.audited().await, attempts);
}

async fn callers_that_overlap_count_every_record_once(ledger: &Ledger) {
    let records = assorted(600);
    // Each sends a third of all, from another place on and in another order.
    let batches = (0..50).map(|caller: u64| {
        let from = usize::try_from(caller).unwrap() * 12;
        let mut batch: Vec<UsageRecord> = records.iter().cycle().skip(from).take(200).cloned().collect();
        batch.shuffle(&mut StdRng::seed_from_u64(caller));
        batch
    });
    assert_eq!(at_once(ledger, batches).await, (600, 50 * 200 - 600));
    let kept: HashSet<String> = ledger.audited().await.into_iter().map(|record| record.usage_id).collect();
    assert_eq!(kept.len(), 600);
}

async fn callers_that_meet_in_the_sums_alone_do_not_block_each_other_for_good(ledger: &Ledger) {
    // All add to the same 50 rows of sums, each in another order, but none sends what another does.
    let batches = (0..50).map(|caller| {
        let mut batch: Vec<UsageRecord> = (0..50)
            .map(|number| UsageRecord {
                user_id: id(number % 5),
                start_time: Some(time(NOON + HOUR * i64::try_from(number / 5).unwrap())),
                ..record(100 * caller + number)
            })
            .collect();
        batch.shuffle(&mut StdRng::seed_from_u64(caller));
        batch
    });
    assert_eq!(at_once(ledger, batches).await, (2_500, 0));
    assert_eq!(ledger.audited().await.len(), 2_500);
}

/// Sends all batches at once. How many records were new, and how many were known?
async fn at_once(ledger: &Ledger, batches: impl Iterator<Item = Vec<UsageRecord>>) -> (u32, u32) {
    let mut callers = JoinSet::new();
    for records in batches {
        let mut client = ledger.service();
        callers.spawn(async move {
            client.record_usage(RecordUsageRequest { records }).await.unwrap().into_inner()
        });
    }
    let answers = callers.join_all().await;
    let new = answers.iter().map(|answer| answer.recorded).sum();
    (new, answers.iter().map(|answer| answer.duplicates).sum())
}

async fn a_call_has_1_to_1000_records(ledger: &Ledger) {
    let records = assorted(1_001);
    for wrong in [&records[..0], &records[..]] {
        assert_eq!(fields(&ledger.record(wrong).await.unwrap_err()), ["records"]);
    }
    assert_eq!(ledger.audited().await, []);
    ledger.keep(&records[..1_000]).await;
    assert_eq!(ledger.audited().await.len(), 1_000);
}

async fn a_malformed_record_is_named_and_nothing_of_its_call_is_kept(ledger: &Ledger) {
    type Spoil = fn(&mut UsageRecord);
    let spoils: &[(&str, Spoil)] = &[
        ("usage_id", |record| record.usage_id = String::new()),
        ("usage_id", |record| record.usage_id = "4c1b2a30-8a7e-4d1c-9b1e-0123456789ab".into()),
        ("attempt", |record| record.attempt = 0),
        ("request_id", |record| record.request_id = "x".repeat(129)),
        ("request_id", |record| record.request_id = "a\0b".into()),
        ("user_id", |record| record.user_id = String::new()),
        ("user_id", |record| record.user_id = "ana".into()),
        ("user_id", |record| record.user_id = uuid::Uuid::nil().to_string()),
        ("key_id", |record| record.key_id = "key".into()),
        ("model_id", |record| record.model_id = String::new()),
        ("model", |record| record.model = "é".repeat(201)),
        ("engine", |record| record.engine = "x".repeat(501)),
        ("endpoint", |record| record.endpoint = "x".repeat(101)),
        ("endpoint", |record| record.endpoint = "chat\n".into()),
        ("outcome", |record| record.outcome = 0),
        ("outcome", |record| record.outcome = 5),
        ("prompt_tokens", |record| record.prompt_tokens = u64::MAX),
        ("cached", |record| record.cached = true),
        ("saved_prompt_tokens", |record| record.saved_prompt_tokens = u64::MAX),
        ("cached_prompt_tokens", |record| record.cached_prompt_tokens = record.prompt_tokens + 1),
        ("completion_tokens", |record| record.completion_tokens = 1_000_000_001),
        ("start_time", |record| record.start_time = None),
        ("start_time", |record| record.start_time = Some(time(-1))),
        ("start_time", |record| record.start_time = Some(time(253_402_300_800))),
        ("start_time", |record| record.start_time = Some(time(i64::MAX))),
        ("queue_duration", |record| record.queue_duration = Some(Duration { seconds: -1, nanos: 0 })),
        ("time_to_first_token", |record| {
            record.time_to_first_token = Some(Duration { seconds: 0, nanos: 1_000_000_000 });
        }),
        ("duration", |record| record.duration = Some(Duration { seconds: i64::MAX, nanos: 0 })),
    ];
    for (field, spoil) in spoils {
        let mut records: Vec<UsageRecord> = (0..5).map(record).collect();
        spoil(&mut records[3]);
        let status = ledger.record(&records).await.unwrap_err();
        assert_eq!(status.get_details_error_info().unwrap().reason, "INVALID_FIELD");
        assert_eq!(fields(&status), [format!("records[3].{field}")], "{status:?}");
    }
    assert_eq!(ledger.audited().await, []);
}

async fn many_malformed_records_are_named_at_once(ledger: &Ledger) {
    let spoiled = |number| UsageRecord { user_id: String::new(), ..record(number) };
    let mut records: Vec<UsageRecord> = (0..10).map(record).collect();
    (records[2], records[7]) = (spoiled(2), spoiled(7));
    let status = ledger.record(&records).await.unwrap_err();
    assert_eq!(fields(&status), ["records[2].user_id", "records[7].user_id"]);
    let all: Vec<UsageRecord> = (0..1_000).map(spoiled).collect();
    assert_eq!(fields(&ledger.record(&all).await.unwrap_err()).len(), 16);
}

async fn the_largest_values_are_kept_and_summed(ledger: &Ledger) {
    let largest = |number| UsageRecord {
        attempt: u32::MAX,
        request_id: "é".repeat(128),
        model: "é".repeat(200),
        engine: "é".repeat(500),
        endpoint: "é".repeat(100),
        user_id: id(u64::MAX - 1),
        estimated: true,
        prompt_tokens: 1_000_000_000,
        cached_prompt_tokens: 1_000_000_000,
        completion_tokens: 1_000_000_000,
        start_time: Some(prost_types::Timestamp { seconds: 253_402_300_799, nanos: 999_999_000 }),
        duration: Some(Duration { seconds: 9_223_372_036_854, nanos: 775_807_000 }),
        ..record(number)
    };
    let sent: Vec<UsageRecord> = (0..3).map(largest).collect();
    let sent_at = sent[0].start_time;
    ledger.keep(&sent).await;
    let listed = ledger.list(ListUsageRecordsRequest::default(), 100).await;
    assert_eq!(listed, sent.into_iter().rev().collect::<Vec<_>>());
    assert_eq!(listed[0].usage_id, usage_id(2));
    let to_the_end = GetUsageRequest { end_time: sent_at, ..GetUsageRequest::default() };
    let rows = ledger.report(to_the_end, 10).await;
    let told: Vec<_> =
        rows.iter().map(|row| (row.requests, row.prompt_tokens, row.estimated_tokens)).collect();
    assert_eq!(told, [(3, 3_000_000_000, 6_000_000_000)]);
}

async fn the_service_is_ready_when_its_database_answers(ledger: &Ledger) {
    ledger.health.until_ready().await;
    assert!(ledger.health.ready().ok);
}

/// The fields that a refusal names.
fn fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let request = status.get_details_bad_request().unwrap();
    request.field_violations.into_iter().map(|violation| violation.field).collect()
}
