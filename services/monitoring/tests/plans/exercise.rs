//! Calls every method of the contract with every filter that it has, alone and together, so that each statement is run. A
//! new method is a new line here.

#[path = "exercise/alerts.rs"]
mod alerts;

pub(crate) use alerts::NOWHERE;

use crate::{
    ledger::Ledger,
    load::{self, BEGIN},
    sample::{record, time},
};
use policy::Role;
use proto::common::v1::{EventFilter, ListEventsRequest, event_service_client::EventServiceClient};
use proto::monitoring::v1::{
    Budget, BudgetPeriod, BudgetSubject, CorrectUsageRequest, CreateBudgetRequest, DeleteBudgetRequest,
    ExportUsageRequest, GetBudgetRequest, GetBudgetStatusRequest, GetUsageRequest, ImportPricesRequest,
    LeaseAsk, ListBudgetsRequest, ListPricesRequest, ListUsageRecordsRequest, Outcome, Price,
    PutPriceRequest, QuerySeriesRequest, QuoteCostRequest, ReconcileUsageRequest, RecordRefusalsRequest,
    Refusal, ReleaseLeasesRequest, RerateUsageRequest, SeriesQuery, SyncBudgetsRequest, TimeBucket,
    UpdateBudgetRequest, UsageDimension, UsageRecord, WhyRequestRequest, budget_subject::Subject,
    request_service_client::RequestServiceClient,
};

const SOMEBODY: u128 = 77;
const DAY: i64 = 24 * 3_600;

pub(crate) async fn every_method(ledger: &Ledger) {
    // There are budgets while records come.
    let made = make_budgets(ledger).await;
    record_usage(ledger).await;
    list_usage_records(ledger).await;
    get_usage(ledger).await;
    export_usage(ledger).await;
    change_usage(ledger).await;
    prices(ledger).await;
    crate::fleet::every_method(ledger).await;
    crate::costs::every_method(ledger).await;
    budgets(ledger, made).await;
    query_series(ledger).await;
    list_events(ledger).await;
    why_request(ledger).await;
    alerts::rules(ledger).await;
    alerts::alerts(ledger).await;
    alerts::silences(ledger).await;
    alerts::notifications(ledger).await;
}

/// Of a gauge that goes back further than memory, than minutes, and not so far.
async fn query_series(ledger: &Ledger) {
    for hours in [1, 20, 30 * 24] {
        let query = SeriesQuery {
            name: "load".into(),
            window: Some(prost_types::Duration { seconds: hours * 3_600, nanos: 0 }),
            ..SeriesQuery::default()
        };
        let request = QuerySeriesRequest { query: Some(query), ..QuerySeriesRequest::default() };
        ledger.metrics(Role::Auditor).query_series(request).await.unwrap();
    }
}

/// By both ids, for those who see everybody's and for those who see their own.
async fn why_request(ledger: &Ledger) {
    let refusal = Refusal {
        refusal_id: load::usage(SOMEBODY),
        request_id: "request-77".into(),
        user_id: load::user(SOMEBODY),
        reason: "QUEUE_FULL".into(),
        start_time: Some(time(BEGIN)),
        ..Refusal::default()
    };
    let request = RecordRefusalsRequest { refusals: vec![refusal] };
    let recorded = RequestServiceClient::new(ledger.as_service()).record_refusals(request).await.unwrap();
    assert_eq!(recorded.into_inner().recorded, 1);
    for request_id in ["request-77".to_owned(), load::usage(SOMEBODY)] {
        for (role, seen) in [(Role::Auditor, true), (Role::Member, false)] {
            let request = WhyRequestRequest { request_id: request_id.clone() };
            assert_eq!(
                ledger.requests(role).why_request(request).await.is_ok(),
                seen,
                "{role:?} {request_id}"
            );
        }
    }
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
    use UsageDimension::{Endpoint, Engine, Group, Key, Model, ServedModel, User};
    let by_all = [User, Key, Group, Model, Endpoint, ServedModel, Engine].map(i32::from).to_vec();
    let filters = [
        nothing(),
        GetUsageRequest { start_time: None, end_time: None, ..nothing() },
        GetUsageRequest { user_id: load::user(SOMEBODY), ..nothing() },
        GetUsageRequest { key_id: load::key(SOMEBODY), ..nothing() },
        GetUsageRequest { time_zone: "Asia/Seoul".into(), ..nothing() },
        GetUsageRequest { group_id: load::user(SOMEBODY), ..nothing() },
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

async fn export_usage(ledger: &Ledger) {
    let (start_time, end_time) = (Some(time(BEGIN + 10 * DAY)), Some(time(BEGIN + 12 * DAY)));
    let asked = [
        ExportUsageRequest { start_time, end_time, ..Default::default() },
        ExportUsageRequest { start_time, end_time, user_id: load::user(SOMEBODY), ..Default::default() },
        ExportUsageRequest { start_time, end_time, key_id: load::key(SOMEBODY), ..Default::default() },
        ExportUsageRequest { start_time, end_time, model: "model-7".into(), ..Default::default() },
    ];
    for request in asked {
        let mut pieces = ledger.person(Role::Auditor).export_usage(request).await.unwrap().into_inner();
        while pieces.message().await.unwrap().is_some() {}
    }
}

async fn change_usage(ledger: &Ledger) {
    let mut owner = ledger.person(Role::Owner);
    let correction = CorrectUsageRequest {
        usage_id: crate::sample::usage_id(1),
        attempt: 1,
        reason: "a test".into(),
        ..CorrectUsageRequest::default()
    };
    owner.correct_usage(correction).await.unwrap();
    let (start_time, end_time) = (Some(time(BEGIN + 10 * DAY)), Some(time(BEGIN + 11 * DAY)));
    let rerating = RerateUsageRequest { start_time, end_time, ..RerateUsageRequest::default() };
    owner.rerate_usage(rerating).await.unwrap();
    let reconciling = ReconcileUsageRequest { start_time, end_time, ..ReconcileUsageRequest::default() };
    owner.reconcile_usage(reconciling).await.unwrap();
}

async fn prices(ledger: &Ledger) {
    let mut owner = ledger.prices(Role::Owner);
    for model in ["model-7", "model-8"] {
        let price = Price { model: model.into(), input_usd: Some("1".into()), ..Price::default() };
        let request = PutPriceRequest { price: Some(price), request_id: load::user(8), ..Default::default() };
        let _ = owner.put_price(request).await;
    }
    let litellm_json = r#"{"model-9": {"input_cost_per_token": 1e-6}}"#.to_owned();
    let request = ImportPricesRequest { litellm_json, request_id: load::user(9), ..Default::default() };
    owner.import_prices(request).await.unwrap();
    for model in ["", "model-7"] {
        for at_time in [None, Some(time(BEGIN + 400 * DAY))] {
            let first =
                ListPricesRequest { model: model.into(), at_time, page_size: 1, ..Default::default() };
            let page = owner.list_prices(first.clone()).await.unwrap().into_inner();
            if !page.next_page_token.is_empty() {
                let next = ListPricesRequest { page_token: page.next_page_token, ..first };
                owner.list_prices(next).await.unwrap();
            }
        }
    }
    let quote = QuoteCostRequest { model: "model-7".into(), prompt_tokens: 1, ..Default::default() };
    owner.quote_cost(quote).await.unwrap();
}

/// A budget of each kind of subject, each hard.
async fn make_budgets(ledger: &Ledger) -> Vec<Budget> {
    let first = record(1);
    let subjects = [
        Subject::UserId(first.user_id),
        Subject::KeyId(first.key_id),
        Subject::GroupId(load::user(SOMEBODY)),
        Subject::Model(first.model),
    ];
    let mut made = Vec::new();
    for subject in subjects {
        let budget = Budget {
            name: "a budget".into(),
            subject: Some(BudgetSubject { subject: Some(subject) }),
            period: BudgetPeriod::Month.into(),
            limit_tokens: Some(1_000),
            hard: true,
            ..Budget::default()
        };
        let request = CreateBudgetRequest { budget: Some(budget), ..Default::default() };
        made.extend(ledger.budgets(Role::Owner).create_budget(request).await.unwrap().into_inner().budget);
    }
    made
}

async fn budgets(ledger: &Ledger, made: Vec<Budget>) {
    let mut owner = ledger.budgets(Role::Owner);
    let first = ListBudgetsRequest { page_size: 1, ..Default::default() };
    let page_token = owner.list_budgets(first).await.unwrap().into_inner().next_page_token;
    owner.list_budgets(ListBudgetsRequest { page_token, page_size: 1 }).await.unwrap();
    for budget in &made {
        let budget_id = budget.budget_id.clone();
        owner.get_budget(GetBudgetRequest { budget_id: budget_id.clone() }).await.unwrap();
        let status = GetBudgetStatusRequest { budget_id: budget_id.clone() };
        let window = owner.get_budget_status(status).await.unwrap().into_inner().window_start_time;
        let ask = LeaseAsk { budget_id, window_start_time: window, target_tokens: 5, ..Default::default() };
        let sync = SyncBudgetsRequest {
            gateway_id: load::user(5),
            asks: vec![ask],
            ended_gateway_ids: vec![load::user(6)],
        };
        ledger.budgets_of_service().sync_budgets(sync).await.unwrap();
    }
    let leased = UsageRecord {
        gateway_id: load::user(5),
        leased_budget_ids: vec![made[0].budget_id.clone()],
        ..record(99)
    };
    ledger.record(&[leased]).await.unwrap();
    owner.release_leases(ReleaseLeasesRequest { gateway_id: load::user(5) }).await.unwrap();
    let budget_id = made[0].budget_id.clone();
    let update = UpdateBudgetRequest {
        budget_id: budget_id.clone(),
        name: "another".into(),
        limit_tokens: Some(1),
        ..Default::default()
    };
    owner.update_budget(update).await.unwrap();
    owner.delete_budget(DeleteBudgetRequest { budget_id }).await.unwrap();
}

/// Pages of one event, so that the second one starts after a position.
async fn list_events(ledger: &Ledger) {
    let nothing = EventFilter::default;
    let (start_time, end_time) = (Some(time(BEGIN + 10 * DAY)), Some(time(BEGIN + 20 * DAY)));
    let thing = EventFilter { kind: "budget".into(), id: "77".into(), ..nothing() };
    let filters = [
        nothing(),
        EventFilter { actor: "actor-7".into(), ..nothing() },
        EventFilter { kind: "budget".into(), action: "updated".into(), ..nothing() },
        EventFilter { request_id: "request-77".into(), ..nothing() },
        EventFilter { start_time, end_time, ..nothing() },
        EventFilter { from_revision: 70, to_revision: 80, ..nothing() },
        thing,
    ];
    for filter in filters {
        for oldest_first in [false, true] {
            let mut client = EventServiceClient::new(ledger.as_person(Role::Auditor));
            let first = ListEventsRequest {
                filter: Some(filter.clone()),
                oldest_first,
                page_size: 1,
                ..ListEventsRequest::default()
            };
            let page = client.list_events(first.clone()).await.unwrap().into_inner();
            assert_eq!(page.events.len(), 1, "{first:?}");
            if !page.next_page_token.is_empty() {
                let next = ListEventsRequest { page_token: page.next_page_token, ..first };
                client.list_events(next).await.unwrap();
            }
        }
    }
}
