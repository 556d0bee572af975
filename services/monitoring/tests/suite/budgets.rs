//! BudgetService: budgets, what is spent of them, and leases.

use crate::{
    ledger::Ledger,
    prices::put,
    sample::{HOUR, id, record, time},
};
use jiff::Timestamp;
use policy::Role;
use proto::monitoring::v1::{
    Budget, BudgetPeriod, BudgetSubject, CreateBudgetRequest, DeleteBudgetRequest, ForecastMethod,
    GetBudgetRequest, GetBudgetStatusRequest, GetBudgetStatusResponse, LeaseAsk, ListBudgetsRequest,
    ReleaseLeasesRequest, SyncBudgetsRequest, SyncBudgetsResponse, UpdateBudgetRequest, UsageRecord,
    budget_subject::Subject,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

on_both_engines!(
    a_budget_is_made_changed_listed_and_deleted,
    a_budget_counts_what_its_subject_spends_in_its_window,
    what_was_spent_before_a_budget_was_made_counts,
    records_that_come_while_a_budget_is_made_count_once,
    thresholds_are_noted_once_in_a_window,
    gateways_lease_no_more_than_is_left,
    the_lease_of_a_gateway_that_is_gone_counts_until_its_records_are_there,
    a_correction_changes_what_is_spent,
    a_status_says_where_the_window_ends,
    what_is_spent_may_be_larger_than_64_bits_of_pico_dollars,
    requests_by_an_alias_count_for_the_forecast_of_a_model,
    what_is_malformed_is_named,
);

/// A budget of a user, in dollars a month in UTC.
pub(crate) fn of(subject: Subject, dollars: &str) -> Budget {
    Budget {
        name: "a budget".into(),
        subject: Some(BudgetSubject { subject: Some(subject) }),
        period: BudgetPeriod::Month.into(),
        limit_usd: Some(dollars.into()),
        ..Budget::default()
    }
}

pub(crate) async fn create(ledger: &Ledger, budget: Budget) -> Budget {
    make(ledger, budget, "").await.unwrap()
}

async fn make(ledger: &Ledger, budget: Budget, request_id: &str) -> Result<Budget, Status> {
    let request = CreateBudgetRequest { budget: Some(budget), request_id: request_id.into() };
    Ok(ledger.budgets(Role::Admin).create_budget(request).await?.into_inner().budget.unwrap())
}

async fn status(ledger: &Ledger, budget: &Budget) -> GetBudgetStatusResponse {
    let request = GetBudgetStatusRequest { budget_id: budget.budget_id.clone() };
    ledger.budgets(Role::Auditor).get_budget_status(request).await.unwrap().into_inner()
}

/// A record of just now.
fn now(number: u64) -> UsageRecord {
    UsageRecord { start_time: Some(time(Timestamp::now().as_second())), ..record(number) }
}

fn user() -> Subject {
    Subject::UserId(record(0).user_id)
}

async fn sync(
    ledger: &Ledger,
    gateway: u64,
    asks: &[(&Budget, i64, i64)],
    ended: &[u64],
) -> Result<SyncBudgetsResponse, Status> {
    let mut told = Vec::new();
    for (budget, target, released) in asks {
        told.push(LeaseAsk {
            budget_id: budget.budget_id.clone(),
            window_start_time: status(ledger, budget).await.window_start_time,
            target_pico_usd: *target,
            released_pico_usd: *released,
            ..LeaseAsk::default()
        });
    }
    let request = SyncBudgetsRequest {
        gateway_id: id(gateway),
        asks: told,
        ended_gateway_ids: ended.iter().map(|gateway| id(*gateway)).collect(),
    };
    Ok(ledger.budgets_of_service().sync_budgets(request).await?.into_inner())
}

async fn granted(ledger: &Ledger, gateway: u64, budget: &Budget, target: i64, released: i64) -> i64 {
    let answer = sync(ledger, gateway, &[(budget, target, released)], &[]).await.unwrap();
    answer.grants[0].granted_pico_usd
}

const DOLLAR: i64 = 1_000_000_000_000;

async fn a_budget_is_made_changed_listed_and_deleted(ledger: &Ledger) {
    let wanted = Budget { time_zone: "Asia/Seoul".into(), hard: true, ..of(user(), "12.50") };
    let first = make(ledger, wanted.clone(), &id(1)).await.unwrap();
    assert_eq!((first.budget_id.as_str(), first.limit_usd.as_deref()), (id(1).as_str(), Some("12.5")));
    assert_eq!(make(ledger, wanted.clone(), &id(1)).await.unwrap(), first, "sent again");
    let other = make(ledger, Budget { hard: false, ..wanted }, &id(1)).await.unwrap_err();
    assert_eq!(other.get_details_error_info().unwrap().reason, "IDEMPOTENCY_KEY_REUSED");
    let second = create(ledger, of(Subject::Model("llama".into()), "1")).await;
    let mut admin = ledger.budgets(Role::Admin);
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListBudgetsRequest { page_size: 1, page_token };
        let page = admin.list_budgets(request).await.unwrap().into_inner();
        listed.extend(page.budgets);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, [first.clone(), second]);
    let update = UpdateBudgetRequest {
        budget_id: first.budget_id.clone(),
        name: "less".into(),
        limit_usd: None,
        limit_tokens: Some(5),
        hard: false,
        etag: first.etag.clone(),
    };
    let changed = admin.update_budget(update.clone()).await.unwrap().into_inner().budget.unwrap();
    assert_eq!((changed.limit_usd.as_ref(), changed.limit_tokens, changed.hard), (None, Some(5), false));
    assert_eq!(
        (changed.time_zone.as_str(), changed.subject.as_ref()),
        ("Asia/Seoul", first.subject.as_ref())
    );
    let late = admin.update_budget(update).await.unwrap_err();
    assert_eq!(late.get_details_error_info().unwrap().reason, "BUDGET_CHANGED");
    let request = GetBudgetRequest { budget_id: first.budget_id.clone() };
    assert_eq!(admin.get_budget(request.clone()).await.unwrap().into_inner().budget, Some(changed));
    admin.delete_budget(DeleteBudgetRequest { budget_id: first.budget_id.clone() }).await.unwrap();
    assert_eq!(admin.get_budget(request).await.unwrap_err().code(), Code::NotFound);
    let again = admin.delete_budget(DeleteBudgetRequest { budget_id: first.budget_id }).await.unwrap_err();
    assert_eq!(again.get_details_error_info().unwrap().reason, "BUDGET_NOT_FOUND");
}

async fn a_budget_counts_what_its_subject_spends_in_its_window(ledger: &Ledger) {
    put(ledger, "llama", ("1", "1", "1"), 0).await;
    let subjects =
        [user(), Subject::KeyId(record(0).key_id), Subject::GroupId(id(40)), Subject::Model("llama".into())];
    let mut budgets = Vec::new();
    for subject in subjects {
        budgets.push(create(ledger, of(subject, "1")).await);
    }
    let tokens = Budget { limit_usd: None, limit_tokens: Some(1_000), ..of(user(), "1") };
    budgets.push(create(ledger, Budget { period: BudgetPeriod::Day.into(), ..tokens }).await);
    let long_ago = record(9);
    let other = UsageRecord { user_id: id(1), key_id: id(2), ..now(3) };
    let unpriced = UsageRecord { model: "x".into(), key_id: id(3), ..now(4) };
    let aliased = UsageRecord { model: "x".into(), served_model: "llama".into(), group_id: id(40), ..now(5) };
    let records = [now(1), now(2), long_ago, other, unpriced, aliased];
    ledger.keep(&records).await;
    // Sent again they change nothing.
    assert_eq!(ledger.record(&records).await.unwrap().duplicates, 6);
    let mut told = Vec::new();
    for budget in &budgets {
        let status = status(ledger, budget).await;
        told.push((status.spent_usd, status.spent_tokens, status.unpriced));
    }
    let row = |records: u64, unpriced: u64| {
        let priced = records - unpriced;
        (
            format!("{}", pricing::Money(i64::try_from(priced * 120).unwrap() * 1_000_000)),
            records * 120,
            unpriced,
        )
    };
    assert_eq!(told, [row(4, 1), row(3, 0), row(1, 0), row(4, 0), row(4, 1)]);
}

async fn what_was_spent_before_a_budget_was_made_counts(ledger: &Ledger) {
    put(ledger, "llama", ("1", "1", "1"), 0).await;
    ledger.keep(&[now(1), now(2), record(3), UsageRecord { model: "x".into(), ..now(4) }]).await;
    for (subject, spent, unpriced) in [(user(), "0.00024", 1), (Subject::Model("llama".into()), "0.00024", 0)]
    {
        let budget = create(ledger, of(subject, "1")).await;
        let told = status(ledger, &budget).await;
        assert_eq!((told.spent_usd.as_str(), told.unpriced), (spent, unpriced));
    }
}

async fn records_that_come_while_a_budget_is_made_count_once(ledger: &Ledger) {
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..60 {
        let mut client = ledger.service();
        let records = vec![now(number)];
        calls.spawn(async move {
            let request = proto::monitoring::v1::RecordUsageRequest { records };
            client.record_usage(request).await.unwrap();
        });
    }
    let mut budgets = Vec::new();
    for _ in 0..5 {
        budgets.push(create(ledger, Budget { limit_tokens: Some(1), ..of(user(), "1") }).await);
    }
    calls.join_all().await;
    for budget in &budgets {
        assert_eq!(status(ledger, budget).await.spent_tokens, 60 * 120);
    }
}

async fn thresholds_are_noted_once_in_a_window(ledger: &Ledger) {
    let tokens = Budget { limit_usd: None, limit_tokens: Some(1_000), ..of(user(), "1") };
    let budget = create(ledger, tokens).await;
    let mut noted = Vec::new();
    for number in 0..10 {
        ledger.keep(&[now(number)]).await;
        let told = status(ledger, &budget).await;
        noted.push(told.thresholds.iter().map(|reached| reached.percent).collect::<Vec<_>>());
    }
    // 120 tokens each: 600 after five, 840 after seven, 960 after eight, 1,080 after nine.
    let expected: [&[u32]; 10] =
        [&[], &[], &[], &[], &[50], &[50], &[50, 80], &[50, 80, 90], &[50, 80, 90, 100], &[50, 80, 90, 100]];
    assert_eq!(noted, expected);
    assert!((status(ledger, &budget).await.used_ratio - 1.2).abs() < 1e-9);
}

async fn gateways_lease_no_more_than_is_left(ledger: &Ledger) {
    put(ledger, "llama", ("1000000", "", "1000000"), 0).await;
    let soft = create(ledger, of(user(), "100")).await;
    let budget = create(ledger, Budget { hard: true, ..of(user(), "100") }).await;
    let told = sync(ledger, 1, &[], &[]).await.unwrap();
    let named: Vec<_> = told.windows.iter().map(|window| window.budget.as_ref().unwrap()).collect();
    assert!(named.contains(&&budget) && !named.contains(&&soft), "soft budgets are not leased");
    assert_eq!((told.prices[0].model.as_str(), told.prices[0].input), ("llama", Some(1_000_000 * DOLLAR)));
    assert_eq!(granted(ledger, 1, &budget, 60 * DOLLAR, 0).await, 60 * DOLLAR);
    assert_eq!(granted(ledger, 2, &budget, 60 * DOLLAR, 0).await, 40 * DOLLAR);
    assert_eq!(granted(ledger, 1, &budget, 60 * DOLLAR, 0).await, 60 * DOLLAR, "said again");
    let leased = status(ledger, &budget).await;
    assert_eq!((leased.leased_usd.as_str(), leased.spent_usd.as_str()), ("100", "0"));
    let full = sync(ledger, 3, &[(&budget, DOLLAR, 0)], &[]).await.unwrap();
    assert!(full.windows.iter().all(|window| window.exhausted) && full.grants[0].granted_pico_usd == 0);
    // What the first one gives back, the second one gets.
    assert_eq!(granted(ledger, 1, &budget, 0, 15 * DOLLAR).await, 60 * DOLLAR);
    assert_eq!(granted(ledger, 2, &budget, 60 * DOLLAR, 0).await, 55 * DOLLAR);
    // A record of the lease turns what is held into what is spent: 30 tokens at a dollar.
    let leased = UsageRecord {
        gateway_id: id(1),
        leased_budget_ids: vec![budget.budget_id.clone()],
        prompt_tokens: 20,
        cached_prompt_tokens: 0,
        completion_tokens: 10,
        ..now(1)
    };
    ledger.keep(std::slice::from_ref(&leased)).await;
    assert_eq!(ledger.record(&[leased]).await.unwrap().duplicates, 1);
    let told = status(ledger, &budget).await;
    assert_eq!((told.spent_usd.as_str(), told.leased_usd.as_str()), ("30", "70"));
    // A request that was not of the lease leaves it as it is.
    ledger
        .keep(&[UsageRecord {
            gateway_id: id(1),
            prompt_tokens: 1,
            cached_prompt_tokens: 0,
            completion_tokens: 0,
            ..now(2)
        }])
        .await;
    let told = status(ledger, &budget).await;
    assert_eq!((told.spent_usd.as_str(), told.leased_usd.as_str()), ("31", "70"));
}

async fn the_lease_of_a_gateway_that_is_gone_counts_until_its_records_are_there(ledger: &Ledger) {
    let budget = create(ledger, Budget { hard: true, ..of(user(), "100") }).await;
    assert_eq!(granted(ledger, 1, &budget, 100 * DOLLAR, 0).await, 100 * DOLLAR);
    assert_eq!(granted(ledger, 2, &budget, 10 * DOLLAR, 0).await, 0);
    // The next process of that folder has shipped what the first one did.
    sync(ledger, 2, &[], &[1]).await.unwrap();
    assert_eq!(granted(ledger, 2, &budget, 10 * DOLLAR, 0).await, 10 * DOLLAR);
    let ended = sync(ledger, 1, &[(&budget, 100 * DOLLAR, 0)], &[]).await.unwrap_err();
    assert_eq!(ended.get_details_error_info().unwrap().reason, "GATEWAY_ENDED");
    // An operator can do the same.
    assert_eq!(granted(ledger, 3, &budget, 90 * DOLLAR, 0).await, 90 * DOLLAR);
    let request = ReleaseLeasesRequest { gateway_id: id(3) };
    let told = ledger.budgets(Role::Owner).release_leases(request).await.unwrap().into_inner();
    assert_eq!((told.released, status(ledger, &budget).await.leased_usd.as_str()), (1, "10"));
}

async fn a_correction_changes_what_is_spent(ledger: &Ledger) {
    put(ledger, "llama", ("1", "1", "1"), 0).await;
    let budget = create(ledger, of(user(), "1")).await;
    ledger.keep(&[now(1)]).await;
    let request = proto::monitoring::v1::CorrectUsageRequest {
        usage_id: now(1).usage_id,
        attempt: 1,
        prompt_tokens: 10,
        reason: "a test".into(),
        ..Default::default()
    };
    ledger.person(Role::Admin).correct_usage(request).await.unwrap();
    let told = status(ledger, &budget).await;
    assert_eq!((told.spent_usd.as_str(), told.spent_tokens), ("0.00001", 10));
}

async fn a_status_says_where_the_window_ends(ledger: &Ledger) {
    let tokens = |limit| Budget { limit_usd: None, limit_tokens: Some(limit), ..of(user(), "1") };
    let day = Budget { period: BudgetPeriod::Day.into(), ..tokens(1_000_000) };
    let budget = create(ledger, day).await;
    let first = status(ledger, &budget).await.forecast.unwrap();
    assert_eq!((first.method(), first.days, first.unit.as_str()), (ForecastMethod::Linear, 0, "tokens"));
    // The same on each of the 10 days before today.
    let today = status(ledger, &budget).await.window_start_time.unwrap().seconds;
    let records: Vec<_> = (1..=10)
        .map(|day: i64| UsageRecord {
            start_time: Some(time(today - 86_400 * day + HOUR)),
            ..record(day.unsigned_abs())
        })
        .collect();
    ledger.keep(&records).await;
    let told = status(ledger, &budget).await.forecast.unwrap();
    assert_eq!((told.method(), told.days), (ForecastMethod::Weekdays, 10));
    // What is left of today, at 120 a day.
    assert!(told.p50 > 0.0 && told.p50 <= 120.0 && told.exhausted_time.is_none(), "{told:?}");
    assert!((told.p90.unwrap() - told.p50).abs() < 1e-6, "days were alike");
}

async fn what_is_spent_may_be_larger_than_64_bits_of_pico_dollars(ledger: &Ledger) {
    // A dollar a token: 4 million dollars each.
    put(ledger, "llama", ("1000000", "", "1000000"), 0).await;
    let budget = create(ledger, of(user(), "9000000")).await;
    let dear = |number| UsageRecord {
        prompt_tokens: 4_000_000,
        cached_prompt_tokens: 0,
        completion_tokens: 0,
        ..now(number)
    };
    ledger.keep(&[dear(1), dear(2)]).await;
    assert_eq!(status(ledger, &budget).await.spent_usd, "8000000");
    ledger.keep(&[dear(3), dear(4), dear(5)]).await;
    let told = status(ledger, &budget).await;
    assert_eq!(told.spent_usd, "20000000");
    assert_eq!(told.thresholds.len(), 4);
    // What was spent before counts as much.
    let later = create(ledger, of(Subject::Model("llama".into()), "9000000")).await;
    assert_eq!(status(ledger, &later).await.spent_usd, "20000000");
}

async fn requests_by_an_alias_count_for_the_forecast_of_a_model(ledger: &Ledger) {
    put(ledger, "llama", ("1", "", "1"), 0).await;
    let today = Timestamp::now().as_second() / (24 * HOUR) * 24 * HOUR;
    let before = (1..=5u64).map(|day| UsageRecord {
        model: "fast".into(),
        served_model: "llama".into(),
        start_time: Some(time(today - 24 * HOUR * day as i64 + HOUR)),
        ..record(day)
    });
    ledger.keep(&before.collect::<Vec<_>>()).await;
    let budget = create(ledger, of(Subject::Model("llama".into()), "1")).await;
    let forecast = status(ledger, &budget).await.forecast.unwrap();
    assert_eq!((forecast.method(), forecast.days), (ForecastMethod::Weekdays, 5));
}

async fn what_is_malformed_is_named(ledger: &Ledger) {
    let named = |status: Status| {
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        status.get_details_bad_request().unwrap().field_violations[0].field.clone()
    };
    let fine = || of(user(), "1");
    let wrong = [
        (Budget { name: String::new(), ..fine() }, "budget.name"),
        (Budget { name: "x".repeat(101), ..fine() }, "budget.name"),
        (Budget { subject: None, ..fine() }, "budget.subject"),
        (of(Subject::UserId("ana".into()), "1"), "budget.subject.user_id"),
        (of(Subject::Model(String::new()), "1"), "budget.subject.model"),
        (Budget { period: 0, ..fine() }, "budget.period"),
        (Budget { time_zone: "Mars/Olympus".into(), ..fine() }, "budget.time_zone"),
        (of(user(), "-1"), "budget.limit_usd"),
        (of(user(), "x"), "budget.limit_usd"),
        (Budget { limit_usd: None, ..fine() }, "budget.limit_usd"),
        (Budget { limit_tokens: Some(u64::MAX), ..fine() }, "budget.limit_tokens"),
    ];
    for (budget, field) in wrong {
        assert_eq!(named(make(ledger, budget.clone(), "").await.unwrap_err()), field, "{budget:?}");
    }
    let refused = ledger.budgets(Role::Member).list_budgets(ListBudgetsRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let request = SyncBudgetsRequest::default();
    let refused = ledger.budgets_of_service().sync_budgets(request).await.unwrap_err();
    assert_eq!(named(refused), "gateway_id");
}
