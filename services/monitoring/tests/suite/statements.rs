//! As many statements for a hundred rows as for one (P11).

mod alerts;
mod costs;
mod fleet;

use crate::{
    ledger::{FROM_MEMORY, Ledger},
    sample::{HOUR, NOON, record, time},
    series, why,
};
use policy::Role;
use proto::monitoring::v1::{
    AcrossSeries, Budget, BudgetPeriod, BudgetSubject, CorrectUsageRequest, CreateBudgetRequest,
    DeleteBudgetRequest, ExportUsageRequest, GetBudgetRequest, GetBudgetStatusRequest, GetUsageRequest,
    ImportPricesRequest, LeaseAsk, ListBudgetsRequest, ListPricesRequest, ListUsageRecordsRequest, OverTime,
    Price, PutPriceRequest, QuoteCostRequest, ReconcileUsageRequest, ReleaseLeasesRequest,
    RerateUsageRequest, SeriesQuery, SyncBudgetsRequest, TimeBucket, UpdateBudgetRequest, UsageDimension,
    UsageRecord, budget_subject::Subject, reported_series,
};
use tests::statements::Recorder;

/// Every method on so many rows, and how many statements each took.
async fn counts(ledger: &Ledger, many: u64) -> Vec<(String, usize)> {
    let mut budgets = Vec::new();
    for _ in 0..many {
        budgets.push(budget(ledger, many).await);
    }
    let (recorder, mut counts) = (Recorder::start(), Vec::new());
    let mut count = || {
        let method = recorder.only();
        counts.push((method.clone(), recorder.of(&method).len()));
        recorder.clear();
    };
    budgets.push(budget(ledger, many).await);
    count();
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
    let export = ExportUsageRequest { user_id: user_id.clone(), ..Default::default() };
    let mut pieces = client.export_usage(export).await.unwrap().into_inner();
    while pieces.message().await.unwrap().is_some() {}
    count();
    let get = GetUsageRequest { user_id, group_by, bucket, page_size: 100, ..Default::default() };
    let report = client.get_usage(get).await.unwrap().into_inner();
    assert_eq!(report.rows.len() as u64, many);
    count();
    prices(ledger, many, &mut count).await;
    change(ledger, &budgets, &mut count).await;
    let mut owner = ledger.person(Role::Owner);
    let correction = CorrectUsageRequest {
        usage_id: crate::sample::usage_id(1_000 * many),
        attempt: 1,
        reason: "a test".into(),
        ..Default::default()
    };
    owner.correct_usage(correction).await.unwrap();
    count();
    let (start_time, end_time) = (Some(time(NOON)), Some(time(NOON + HOUR)));
    let rerating = RerateUsageRequest { start_time, end_time, ..Default::default() };
    owner.rerate_usage(rerating).await.unwrap();
    count();
    let reconciling = ReconcileUsageRequest { start_time, end_time, ..Default::default() };
    assert!(owner.reconcile_usage(reconciling).await.unwrap().into_inner().equal);
    count();
    why(ledger, many, &mut count).await;
    fleet::counts(ledger, many, &recorder, &mut count).await;
    costs::counts(ledger, &mut count).await;
    let kept = (0..many).map(|number| {
        let model = format!("model-{number}");
        series::series("calls_total", &[("model", &model)], reported_series::Value::Counter(1.0))
    });
    series::report(ledger, "a:1", kept.collect()).await.unwrap();
    recorder.clear();
    let window = Some(prost_types::Duration { seconds: 10 * 24 * 3_600, nanos: 0 });
    let increase = series::query("calls_total", OverTime::Increase, AcrossSeries::Sum, &["model"]);
    series::ask(ledger, SeriesQuery { window, ..increase }).await.unwrap();
    count();
    alerts::all(ledger, many, &mut count).await;
    counts
}

/// A budget of the user of so many rows.
async fn budget(ledger: &Ledger, many: u64) -> Budget {
    let budget = Budget {
        name: "a budget".into(),
        subject: Some(BudgetSubject { subject: Some(Subject::UserId(crate::sample::id(many))) }),
        period: BudgetPeriod::Month.into(),
        limit_tokens: Some(100_000),
        hard: true,
        ..Budget::default()
    };
    let request = CreateBudgetRequest { budget: Some(budget), ..Default::default() };
    ledger.budgets(Role::Owner).create_budget(request).await.unwrap().into_inner().budget.unwrap()
}

/// What is done with budgets, of which a gateway leases all.
async fn change(ledger: &Ledger, budgets: &[Budget], count: &mut impl FnMut()) {
    let mut owner = ledger.budgets(Role::Owner);
    let budget_id = budgets[0].budget_id.clone();
    owner.list_budgets(ListBudgetsRequest { page_size: 1_000, ..Default::default() }).await.unwrap();
    count();
    owner.get_budget(GetBudgetRequest { budget_id: budget_id.clone() }).await.unwrap();
    count();
    let status = GetBudgetStatusRequest { budget_id: budget_id.clone() };
    let window = owner.get_budget_status(status).await.unwrap().into_inner().window_start_time;
    count();
    let ask = |budget: &Budget| LeaseAsk {
        budget_id: budget.budget_id.clone(),
        window_start_time: window,
        target_tokens: 5,
        ..Default::default()
    };
    let gateway_id = crate::sample::id(7_000 + budgets.len() as u64);
    let asks: Vec<_> = budgets.iter().map(ask).collect();
    let sync = SyncBudgetsRequest { gateway_id: gateway_id.clone(), asks, ended_gateway_ids: Vec::new() };
    let told = ledger.budgets_of_service().sync_budgets(sync).await.unwrap().into_inner();
    assert_eq!(told.grants.len(), budgets.len());
    count();
    owner.release_leases(ReleaseLeasesRequest { gateway_id }).await.unwrap();
    count();
    let update = UpdateBudgetRequest {
        budget_id: budget_id.clone(),
        name: "another".into(),
        limit_tokens: Some(1),
        ..Default::default()
    };
    owner.update_budget(update).await.unwrap();
    count();
    owner.delete_budget(DeleteBudgetRequest { budget_id }).await.unwrap();
    count();
}

/// The price list, with a price for each of the models.
async fn prices(ledger: &Ledger, many: u64, count: &mut impl FnMut()) {
    let mut owner = ledger.prices(Role::Owner);
    let price = Price { model: "llama".into(), input_usd: Some(many.to_string()), ..Default::default() };
    owner.put_price(PutPriceRequest { price: Some(price), ..Default::default() }).await.unwrap();
    count();
    let entries: Vec<_> = (0..many)
        .map(|number| format!(r#""model-{number}": {{"input_cost_per_token": {many}e-6}}"#))
        .collect();
    let litellm_json = format!("{{{}}}", entries.join(","));
    let request = ImportPricesRequest { litellm_json, effective_from: Some(time(0)), ..Default::default() };
    assert_eq!(u64::from(owner.import_prices(request).await.unwrap().into_inner().imported), many);
    count();
    owner.list_prices(ListPricesRequest { page_size: 1_000, ..Default::default() }).await.unwrap();
    count();
    let quote = QuoteCostRequest { model: "llama".into(), prompt_tokens: 1, ..Default::default() };
    owner.quote_cost(quote).await.unwrap();
    count();
}

/// So many requests and refusals under one id, all of which have a price.
async fn why(ledger: &Ledger, many: u64, count: &mut impl FnMut()) {
    let request_id = format!("shared-{many}");
    let of = |number| UsageRecord {
        request_id: request_id.clone(),
        start_time: Some(time(NOON + 10 * HOUR)),
        ..record(50_000 * many + number)
    };
    ledger.record(&(0..many).map(of).collect::<Vec<_>>()).await.unwrap();
    count();
    let refusal = |number| why::refusal(90_000 * many + number, &request_id);
    why::refuse(ledger, (0..many).map(refusal).collect()).await;
    count();
    let stories = why::ask(ledger, Role::Auditor, &request_id).await.unwrap();
    assert_eq!(stories.len() as u64, (2 * many).min(20));
    count();
}

async fn does_not_grow(ledger: Ledger) {
    let (one, hundred) = (counts(&ledger, 1).await, counts(&ledger, 100).await);
    assert_eq!(one, hundred, "the number of statements grows with the number of rows");
    assert!(one.iter().all(|(_, statements)| *statements > 0), "the statements were heard: {one:?}");
    let called = |row: &&proto::Row| one.iter().any(|(method, _)| row.path.ends_with(method.as_str()));
    let ours = proto::ACCESS.iter().filter(|row| row.path.starts_with("/tollgate.monitoring.v1."));
    let missing = ours.filter(|row| !called(row)).map(|row| row.path);
    let missing: Vec<_> = missing.filter(|path| !FROM_MEMORY.contains(path)).collect();
    assert!(missing.is_empty(), "add {missing:?} here");
    ledger.end().await;
}

#[tokio::test]
async fn a_call_asks_as_often_for_a_hundred_rows_as_for_one_on_sqlite() {
    does_not_grow(Ledger::sqlite_with(alerts::settings()).await).await;
}

#[tokio::test]
async fn a_call_asks_as_often_for_a_hundred_rows_as_for_one_on_postgres() {
    does_not_grow(Ledger::postgres_with(alerts::settings()).await).await;
}
