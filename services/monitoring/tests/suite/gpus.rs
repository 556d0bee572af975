//! CostService: what GPUs cost and for whom, and what is advised.

use crate::{
    instances::{agent, new},
    ledger::Ledger,
    prices::put,
    sample::{HOUR, id, record, time},
};
use jiff::Timestamp;
use policy::Role;
use proto::monitoring::v1::{
    AdviceConfidence, AdviceKind, GetAdviceRequest, GetGpuCostRequest, GetGpuCostResponse, GpuCostRow,
    GpuPrice, InstanceSpec, ListGpuPricesRequest, PutGpuPriceRequest, RegisterInstanceRequest, TimeBucket,
    UsageDimension, UsageRecord, cost_service_client::CostServiceClient,
};
use shared::{channel::Channel, on};
use tonic::Code;
use tonic_types::StatusExt;

on_both_engines!(
    gpu_prices_have_versions_and_are_put_once,
    an_hour_costs_what_was_allocated_and_what_was_idle,
    what_has_no_price_is_time_without_cost,
    pages_of_any_size_are_complete,
    advice_comes_with_its_arithmetic,
    nothing_is_advised_from_too_little,
    what_is_malformed_is_named,
);

fn client(ledger: &Ledger, role: Role) -> CostServiceClient<Channel> {
    CostServiceClient::new(ledger.as_person(role))
}

fn price(hour: &str, spot: &str) -> GpuPrice {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    GpuPrice {
        pool: "chat".into(),
        hour_usd: some(hour),
        spot_hour_usd: some(spot),
        capacity: Some(1_000_000),
        effective_from: Some(time(0)),
        ..GpuPrice::default()
    }
}

async fn put_price(ledger: &Ledger, price: GpuPrice) {
    let request = PutGpuPriceRequest { price: Some(price), ..PutGpuPriceRequest::default() };
    client(ledger, Role::Admin).put_gpu_price(request).await.unwrap();
}

/// The beginning of the hour that was so many hours ago.
fn ago(hours: i64) -> i64 {
    let now = Timestamp::now().as_second();
    now - now % HOUR - hours * HOUR
}

/// Instances of two GPUs each, that are up since then.
async fn instances(ledger: &Ledger, count: u32, spot: bool, since: i64) {
    for number in 1..=count {
        let asked = new(&format!("i-{number}"), "chat");
        let engine_url = format!("http://10.0.0.{number}:8000");
        let spec = asked.spec.clone().map(|spec| InstanceSpec { spot, engine_url, ..spec });
        agent(ledger).register_instance(RegisterInstanceRequest { spec, ..asked }).await.unwrap();
    }
    let since = shared::db::Time(policy::Time(since * 1_000_000));
    let earlier = "UPDATE instance_events SET event_time = $1";
    on!(&ledger.db, |pool| sqlx::query(earlier).bind(since).execute(pool).await.map(drop)).unwrap();
}

/// A record of a user at the beginning of an hour.
fn used(number: u64, user: u64, prompt: u64, completion: u64, at: i64) -> UsageRecord {
    UsageRecord {
        user_id: id(user),
        prompt_tokens: prompt,
        cached_prompt_tokens: 0,
        completion_tokens: completion,
        start_time: Some(time(at)),
        ..record(number)
    }
}

/// All rows, read in pages of `size`, and the pools.
async fn cost(ledger: &Ledger, request: &GetGpuCostRequest, size: i32) -> GetGpuCostResponse {
    let (mut told, mut page_token) = (GetGpuCostResponse::default(), String::new());
    loop {
        let request = GetGpuCostRequest { page_size: size, page_token, ..request.clone() };
        let page = client(ledger, Role::Auditor).get_gpu_cost(request).await.unwrap().into_inner();
        told.rows.extend(page.rows);
        told.pools = page.pools;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return told;
        }
    }
}

fn by_user(start: i64, end: i64) -> GetGpuCostRequest {
    GetGpuCostRequest {
        start_time: Some(time(start)),
        end_time: Some(time(end)),
        group_by: vec![UsageDimension::User.into()],
        ..GetGpuCostRequest::default()
    }
}

/// Whose row it is, its GPU seconds and its cost.
fn row(row: &GpuCostRow) -> (&str, i64, Option<&str>) {
    let whose = if row.idle { "idle" } else { &row.user_id };
    (whose, row.gpu_time.unwrap().seconds, row.cost_usd.as_deref())
}

async fn gpu_prices_have_versions_and_are_put_once(ledger: &Ledger) {
    let request_id = id(7);
    let request = PutGpuPriceRequest { price: Some(price("2.50", "1")), request_id, ..Default::default() };
    let mut admin = client(ledger, Role::Admin);
    let first = admin.put_gpu_price(request.clone()).await.unwrap().into_inner().price.unwrap();
    assert_eq!((first.hour_usd.as_deref(), first.capacity), (Some("2.5"), Some(1_000_000)));
    let again = admin.put_gpu_price(request.clone()).await.unwrap().into_inner().price;
    assert_eq!(again, Some(first.clone()));
    let other = PutGpuPriceRequest { price: Some(price("3", "1")), ..request };
    let refused = admin.put_gpu_price(other).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "IDEMPOTENCY_KEY_REUSED");
    put_price(ledger, GpuPrice { effective_from: Some(time(100)), ..price("3", "") }).await;
    put_price(ledger, GpuPrice { pool: "embed".into(), ..price("1", "") }).await;
    for (pool, size, expected) in [("", 1, vec!["3", "2.5", "1"]), ("chat", 10, vec!["3", "2.5"])] {
        let (mut told, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListGpuPricesRequest { pool: pool.into(), page_size: size, page_token };
            let page = admin.list_gpu_prices(request).await.unwrap().into_inner();
            told.extend(page.prices.into_iter().filter_map(|price| price.hour_usd));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(told, expected);
    }
}

async fn an_hour_costs_what_was_allocated_and_what_was_idle(ledger: &Ledger) {
    let start = ago(3);
    put_price(ledger, price("2.50", "1")).await;
    instances(ledger, 1, true, start - HOUR).await;
    let elsewhere = UsageRecord { engine: "http://elsewhere:8000".into(), ..used(4, 3, 10, 10, start) };
    ledger.keep(&[used(1, 1, 100_000, 100_000, start), used(2, 2, 250_000, 0, start), elsewhere]).await;
    let told = cost(ledger, &by_user(start, start + 2 * HOUR), 100).await;
    // Two GPUs do 2,000,000 weighted tokens an hour: one user took 500,000 and the other 250,000 of the first hour, which
    // costs 2 dollars as the second one does.
    let rows: Vec<_> = told.rows.iter().map(row).collect();
    let (one, two, three) = (id(1), id(2), id(3));
    let expected = [
        (three.as_str(), 0, None),
        ("idle", 5_400 + 7_200 - 900, Some("3.25")),
        (one.as_str(), 1_800, Some("0.5")),
        (two.as_str(), 900, Some("0.25")),
    ];
    assert_eq!(rows, expected);
    let pool = told.pools.iter().find(|pool| pool.pool == "chat").unwrap();
    let money = [&pool.cost_usd, &pool.allocated_usd, &pool.idle_usd].map(String::as_str);
    assert_eq!(money, ["4", "0.75", "3.25"]);
    assert_eq!((pool.gpu_time, pool.spot_gpu_time), (pool.spot_gpu_time, pool.gpu_time));
    assert!(pool.capacity_said);
    // The same by the hour: all of the second one was idle.
    let by_hour = GetGpuCostRequest { bucket: TimeBucket::Hour.into(), ..by_user(start, start + 2 * HOUR) };
    let by_hour = GetGpuCostRequest { pool: "chat".into(), ..by_hour };
    let rows = cost(ledger, &by_hour, 100).await.rows;
    let last = rows.last().unwrap();
    assert_eq!((row(last), last.bucket_time), (("idle", 7_200, Some("2")), Some(time(start + HOUR))));
}

async fn what_has_no_price_is_time_without_cost(ledger: &Ledger) {
    let start = ago(2);
    put_price(ledger, price("2.50", "")).await;
    instances(ledger, 1, true, start).await;
    ledger.keep(&[used(1, 1, 1_000_000, 0, start)]).await;
    let told = cost(ledger, &by_user(start, start + HOUR), 100).await;
    let rows: Vec<_> = told.rows.iter().map(row).collect();
    assert_eq!(
        rows,
        [("idle", 3_600, None), (id(1).as_str(), 3_600, None)],
        "on spot, of which no price is known"
    );
    assert_eq!(told.pools[0].unpriced_gpu_time, told.pools[0].gpu_time);
    assert_eq!(told.pools[0].cost_usd, "0");
}

async fn pages_of_any_size_are_complete(ledger: &Ledger) {
    let start = ago(5);
    put_price(ledger, price("0.000000000007", "0.000000000005")).await;
    instances(ledger, 2, false, start).await;
    let records: Vec<_> = (0..40)
        .map(|number| used(number, number % 7, 1_000 + number, number, start + 450 * number as i64))
        .collect();
    ledger.keep(&records).await;
    let request = GetGpuCostRequest { bucket: TimeBucket::Hour.into(), ..by_user(start, start + 5 * HOUR) };
    let all = cost(ledger, &request, 1_000).await;
    assert!(all.rows.len() > 30);
    for size in [1, 7, 40] {
        assert_eq!(cost(ledger, &request, size).await, all, "pages of {size}");
    }
    let pico = |text: &String| crate::ledger::pico(text);
    let rows: i128 = all.rows.iter().filter_map(|row| row.cost_usd.as_ref()).map(pico).sum();
    assert_eq!(rows, pico(&all.pools[0].cost_usd), "rows add up to what it cost, to the pico-dollar");
    assert_eq!(rows, 4 * 7 * 5, "four GPUs at 7 pico-dollars for 5 hours");
}

async fn advice_comes_with_its_arithmetic(ledger: &Ledger) {
    let start = ago(48);
    put_price(ledger, price("2.50", "")).await;
    instances(ledger, 4, false, start).await;
    put(ledger, "llama", ("1", "", "2"), 0).await;
    put(ledger, "qwen", ("0.1", "", "0.2"), 0).await;
    let records: Vec<_> = (0..240)
        .map(|number| {
            let record = used(number, 1, 1_000, 100, start + (number as i64 % 48) * HOUR);
            let model = if number % 2 == 0 { "llama" } else { "qwen" };
            UsageRecord { model: model.into(), ..record }
        })
        .collect();
    ledger.keep(&records).await;
    let request = GetAdviceRequest { start_time: Some(time(start)), end_time: None };
    let told = client(ledger, Role::Operator).get_advice(request).await.unwrap().into_inner();
    // Three of four instances are spare in every hour: 3 × 2 GPUs × 2.50 dollars × 730 hours.
    let idle = told.advice.iter().find(|advice| advice.kind() == AdviceKind::Idle).unwrap();
    assert!((idle.saving_usd - 10_950.0).abs() < 1e-6, "{idle:?}");
    assert_eq!((idle.subject.as_str(), idle.confidence()), ("chat", AdviceConfidence::Medium));
    let value = |name: &str| idle.inputs.iter().find(|input| input.name == name).unwrap().value;
    assert!((value("spare") - 3.0).abs() < 1e-9 && (value("hours") - 48.0).abs() < 1e-9);
    // 120 requests of 1,200 millionths of a dollar, and a tenth of that: 0.144 − 0.0144 in 48 hours, for 730.
    let model = told.advice.iter().find(|advice| advice.kind() == AdviceKind::Model).unwrap();
    assert!((model.saving_usd - 0.1296 / 48.0 * 730.0).abs() < 1e-9, "{model:?}");
    assert_eq!(
        (model.subject.as_str(), model.confidence()),
        ("llama (chat/completions)", AdviceConfidence::Low)
    );
    let spot = told.withheld.iter().find(|withheld| withheld.kind() == AdviceKind::Spot).unwrap();
    assert!(spot.because.contains("not known"), "{spot:?}");
}

async fn nothing_is_advised_from_too_little(ledger: &Ledger) {
    let nothing =
        client(ledger, Role::Auditor).get_advice(GetAdviceRequest::default()).await.unwrap().into_inner();
    assert_eq!(nothing.advice, []);
    assert_eq!(nothing.withheld[0].because, "no agent reports instances in this time");
    put_price(ledger, price("2.50", "1")).await;
    instances(ledger, 4, false, ago(5)).await;
    let told =
        client(ledger, Role::Auditor).get_advice(GetAdviceRequest::default()).await.unwrap().into_inner();
    assert_eq!(told.advice, []);
    let because = told.withheld.iter().map(|withheld| withheld.because.as_str()).collect::<Vec<_>>();
    assert_eq!(because, ["it was seen for 5 hours, and 24 are needed"; 2]);
}

async fn what_is_malformed_is_named(ledger: &Ledger) {
    let mut admin = client(ledger, Role::Admin);
    let wrong = [
        (GpuPrice { pool: String::new(), ..price("1", "") }, "price.pool"),
        (price("-1", ""), "price.hour_usd"),
        (price("1", "x"), "price.spot_hour_usd"),
        (GpuPrice { capacity: Some(0), ..price("1", "") }, "price.capacity"),
    ];
    for (price, field) in wrong {
        let request = PutGpuPriceRequest { price: Some(price), ..PutGpuPriceRequest::default() };
        let refused = admin.put_gpu_price(request).await.unwrap_err();
        assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
    let fine = || by_user(ago(2), ago(1));
    let wrong = [
        (GetGpuCostRequest { start_time: Some(time(ago(0))), ..fine() }, "end_time"),
        (GetGpuCostRequest { start_time: Some(time(ago(32 * 24))), ..fine() }, "end_time"),
        (by_user(ago(100 * 24), ago(99 * 24)), "start_time"),
        (GetGpuCostRequest { group_by: vec![UsageDimension::Endpoint.into()], ..fine() }, "group_by"),
        (GetGpuCostRequest { bucket: TimeBucket::Month.into(), ..fine() }, "bucket"),
        (GetGpuCostRequest { page_token: "x".into(), ..fine() }, "page_token"),
    ];
    for (request, field) in wrong {
        let refused = admin.get_gpu_cost(request).await.unwrap_err();
        assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
    let refused = client(ledger, Role::Member).get_advice(GetAdviceRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = client(ledger, Role::Operator).get_gpu_cost(fine()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}
