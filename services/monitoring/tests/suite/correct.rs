//! Corrections, pricing again, reconciliation: the ledger and its sums stay one.

use crate::{
    ledger::Ledger,
    prices::put,
    sample::{NOON, assorted, id, record, time, usage_id},
    series::{report, series},
};
use policy::Role;
use proto::monitoring::v1::{
    CorrectUsageRequest, EngineCount, ReconcileUsageRequest, ReconcileUsageResponse, RerateUsageRequest,
    RerateUsageResponse, UsageRecord, reported_series::Value,
};
use tonic::Code;
use tonic_types::StatusExt;

on_both_engines!(
    a_correction_supersedes_a_record_and_moves_the_sums,
    a_correction_that_is_sent_again_counts_once,
    corrections_at_once_leave_the_sums_right,
    pricing_again_supersedes_what_differs,
    both_counts_are_equal_and_engines_are_held_against_them,
    engines_that_were_measured_are_held_against_the_ledger,
    a_difference_is_seen,
    what_is_malformed_or_missing_is_named,
);

fn correction(number: u64, prompt_tokens: u64) -> CorrectUsageRequest {
    CorrectUsageRequest {
        usage_id: usage_id(number),
        attempt: 1,
        prompt_tokens,
        cached_prompt_tokens: 0,
        completion_tokens: 5,
        reason: "the engine miscounted".into(),
        request_id: String::new(),
    }
}

async fn correct(ledger: &Ledger, request: CorrectUsageRequest) -> UsageRecord {
    ledger.person(Role::Admin).correct_usage(request).await.unwrap().into_inner().record.unwrap()
}

async fn reconcile(ledger: &Ledger, engines: Vec<EngineCount>) -> ReconcileUsageResponse {
    let (start_time, end_time) = (Some(time(NOON - 86_400)), Some(time(NOON + 5 * 86_400)));
    let request = ReconcileUsageRequest { start_time, end_time, engines };
    ledger.person(Role::Auditor).reconcile_usage(request).await.unwrap().into_inner()
}

async fn rerate(ledger: &Ledger, request: RerateUsageRequest) -> RerateUsageResponse {
    ledger.person(Role::Owner).rerate_usage(request).await.unwrap().into_inner()
}

async fn a_correction_supersedes_a_record_and_moves_the_sums(ledger: &Ledger) {
    put(ledger, "llama", ("1", "", "1"), 0).await;
    let estimated = UsageRecord { estimated: true, ..record(1) };
    ledger.keep(&[estimated.clone(), record(2)]).await;
    let once = correct(ledger, correction(1, 1_000)).await;
    assert_eq!((once.prompt_tokens, once.completion_tokens, once.revision), (1_000, 5, 1));
    assert_eq!(once.cost_usd.as_deref(), Some("0.001005"));
    let twice = correct(ledger, correction(1, 10)).await;
    assert_eq!((twice.prompt_tokens, twice.revision), (10, 2));
    let kept = ledger.list(Default::default(), 10).await;
    assert_eq!((kept[1].prompt_tokens, kept[1].revision, kept[0].revision), (10, 2, 0));
    // What was sent first still is what a repetition is held against.
    assert_eq!(ledger.record(&[estimated]).await.unwrap().duplicates, 1);
    let both = reconcile(ledger, Vec::new()).await;
    assert!(both.equal, "{both:?}");
    assert_eq!(both.ledger.unwrap().prompt_tokens, 110);
}

async fn a_correction_that_is_sent_again_counts_once(ledger: &Ledger) {
    ledger.keep(&[record(1)]).await;
    let request = CorrectUsageRequest { request_id: id(5), ..correction(1, 7) };
    let first = correct(ledger, request.clone()).await;
    assert_eq!(correct(ledger, request.clone()).await, first);
    assert_eq!(first.revision, 1);
    let other = CorrectUsageRequest { prompt_tokens: 8, ..request };
    let refused = ledger.person(Role::Admin).correct_usage(other).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "IDEMPOTENCY_KEY_REUSED");
    assert!(reconcile(ledger, Vec::new()).await.equal);
}

async fn corrections_at_once_leave_the_sums_right(ledger: &Ledger) {
    put(ledger, "llama", ("1", "", "1"), 0).await;
    ledger.keep(&[record(1), record(2)]).await;
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..20 {
        let mut client = ledger.person(Role::Admin);
        calls.spawn(async move { client.correct_usage(correction(1 + number % 2, number)).await.unwrap() });
    }
    assert_eq!(calls.join_all().await.len(), 20);
    let kept = ledger.list(Default::default(), 10).await;
    assert_eq!(kept.iter().map(|record| record.revision).collect::<Vec<_>>(), [10, 10]);
    assert!(reconcile(ledger, Vec::new()).await.equal);
}

async fn pricing_again_supersedes_what_differs(ledger: &Ledger) {
    put(ledger, "llama", ("1", "1", "1"), 0).await;
    let records = assorted(300);
    ledger.keep(&records).await;
    // The price of one model was wrong from some time on, that of another was missing.
    put(ledger, "llama", ("2", "2", "2"), NOON + 86_400).await;
    put(ledger, "Qwen", ("1", "1", "1"), 0).await;
    let request = RerateUsageRequest { start_time: Some(time(0)), ..RerateUsageRequest::default() };
    let dry = rerate(ledger, RerateUsageRequest { validate_only: true, ..request.clone() }).await;
    let before = ledger.audited().await;
    assert!(before.iter().all(|record| record.revision == 0));
    let tokens = |record: &UsageRecord| record.prompt_tokens + record.completion_tokens;
    let made = |model: &str, from: i64| -> u64 {
        let own = records.iter().filter(|record| record.model == model);
        own.filter(|record| record.start_time.unwrap().seconds >= from).map(tokens).sum()
    };
    let told = rerate(ledger, request.clone()).await;
    assert_eq!(told, dry);
    assert_eq!((told.examined, told.next_start_time), (300, None));
    let (late, qwen) = (made("llama", NOON + 86_400), made("Qwen", 0));
    assert_eq!(crate::ledger::pico(&told.before_usd), i128::from(late) * 1_000_000);
    assert_eq!(crate::ledger::pico(&told.after_usd), i128::from(2 * late + qwen) * 1_000_000);
    let unpriced =
        |model: &str| records.iter().filter(|record| !record.cached && record.model == model).count();
    assert_eq!(told.unpriced_before - told.unpriced_after, unpriced("Qwen") as u64);
    assert!(reconcile(ledger, Vec::new()).await.equal);
    let again = rerate(ledger, request).await;
    assert_eq!((again.changed, again.unpriced_before), (0, told.unpriced_after));
}

async fn both_counts_are_equal_and_engines_are_held_against_them(ledger: &Ledger) {
    let here = |number| UsageRecord { engine: "http://here:8000".into(), ..record(number) };
    let there = |number| UsageRecord { engine: "http://there:8000".into(), ..record(number) };
    ledger.keep(&[here(1), here(2), there(3)]).await;
    let count = |engine: &str, prompt_tokens, completion_tokens| EngineCount {
        engine: engine.into(),
        prompt_tokens,
        completion_tokens,
    };
    let engines = vec![count("http://here:8000", 230, 40), count("http://away:8000", 0, 1)];
    let told = reconcile(ledger, engines).await;
    assert!(told.equal);
    let sums = told.sums.unwrap();
    assert_eq!((sums.requests, sums.prompt_tokens, sums.completion_tokens, sums.unpriced), (3, 300, 60, 3));
    let engines: Vec<_> = told
        .engines
        .iter()
        .map(|engine| (engine.ledger_prompt_tokens, engine.prompt_difference, engine.completion_difference))
        .collect();
    assert_eq!(engines, [(200, 30, 0), (0, 0, 1)]);
}

async fn engines_that_were_measured_are_held_against_the_ledger(ledger: &Ledger) {
    let seconds = jiff::Timestamp::now().as_second();
    let now = |number| UsageRecord { start_time: Some(time(seconds)), ..record(number) };
    ledger.keep(&[now(1), now(2)]).await;
    let engine = record(1).engine;
    let counter = |name: &str, model: &str, tokens| {
        series(name, &[("engine", &engine), ("model", model)], Value::Counter(tokens))
    };
    let told = vec![
        counter("vllm:prompt_tokens_total", "llama", 150.0),
        counter("vllm:prompt_tokens_total", "lora", 57.0),
        counter("vllm:generation_tokens_total", "llama", 40.0),
    ];
    report(ledger, "gateway:1", told).await.unwrap();
    let request = ReconcileUsageRequest::default();
    let told = ledger.person(Role::Auditor).reconcile_usage(request).await.unwrap().into_inner();
    let rows: Vec<_> = told
        .engines
        .iter()
        .map(|row| {
            (row.engine.clone(), row.ledger_prompt_tokens, row.prompt_difference, row.completion_difference)
        })
        .collect();
    // The ledger has 2 × 100 tokens that were read and 2 × 20 that were made.
    assert_eq!(rows, [(engine, 200, 7, 0)]);
}

async fn a_difference_is_seen(ledger: &Ledger) {
    ledger.keep(&assorted(50)).await;
    assert!(reconcile(ledger, Vec::new()).await.equal);
    let spoil = "UPDATE usage_hourly SET prompt_tokens = prompt_tokens + 1";
    shared::on!(&ledger.db, |pool| sqlx::query(spoil).execute(pool).await.map(drop)).unwrap();
    let told = reconcile(ledger, Vec::new()).await;
    assert!(!told.equal && told.ledger.unwrap().prompt_tokens < told.sums.unwrap().prompt_tokens);
}

async fn what_is_malformed_or_missing_is_named(ledger: &Ledger) {
    ledger.keep(&[record(1)]).await;
    let mut admin = ledger.person(Role::Admin);
    let missing = admin.correct_usage(correction(9, 1)).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    assert_eq!(missing.get_details_error_info().unwrap().reason, "USAGE_RECORD_NOT_FOUND");
    let wrong = [
        (CorrectUsageRequest { usage_id: "x".into(), ..correction(1, 1) }, "usage_id"),
        (CorrectUsageRequest { attempt: 0, ..correction(1, 1) }, "attempt"),
        (CorrectUsageRequest { reason: String::new(), ..correction(1, 1) }, "reason"),
        (CorrectUsageRequest { cached_prompt_tokens: 2, ..correction(1, 1) }, "cached_prompt_tokens"),
        (CorrectUsageRequest { completion_tokens: u64::MAX, ..correction(1, 1) }, "completion_tokens"),
        (CorrectUsageRequest { request_id: "x".into(), ..correction(1, 1) }, "request_id"),
    ];
    for (request, field) in wrong {
        let refused = admin.correct_usage(request).await.unwrap_err();
        assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
    let refused = admin.rerate_usage(RerateUsageRequest::default()).await.unwrap_err();
    assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "start_time");
    let long = ReconcileUsageRequest { start_time: Some(time(0)), ..ReconcileUsageRequest::default() };
    let refused = admin.reconcile_usage(long).await.unwrap_err();
    assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "end_time");
}
