//! PriceService, and what records cost by it.

use crate::{
    ledger::Ledger,
    sample::{NOON, assorted, id, record, time},
};
use policy::Role;
use proto::monitoring::v1::{
    GetUsageRequest, ImportPricesRequest, ListPricesRequest, ListUsageRecordsRequest, Price, PutPriceRequest,
    QuoteCostRequest, UsageDimension, UsageRecord,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

on_both_engines!(
    a_price_is_put_and_listed_with_its_versions,
    a_request_costs_what_its_price_was_when_it_began,
    an_unknown_price_is_unknown_and_never_zero,
    costs_add_up_exactly_however_records_arrive,
    a_record_is_priced_by_the_models_own_name,
    groups_are_told_apart,
    cost_is_told_by_kind_of_token_and_by_engine,
    sums_may_be_larger_than_64_bits_of_pico_dollars,
    a_price_that_is_sent_again_is_put_once,
    litellms_list_is_imported,
    a_quote_is_what_a_request_would_cost,
    what_is_malformed_is_named,
    only_owners_and_admins_change_prices,
);

fn some(dollars: &str) -> Option<String> {
    (!dollars.is_empty()).then(|| dollars.to_owned())
}

/// Dollars for a million tokens from a second on; an empty text is not said.
fn price(model: &str, (input, cache_read, output): (&str, &str, &str), from: i64) -> PutPriceRequest {
    let price = Price {
        model: model.into(),
        input_usd: some(input),
        cache_read_usd: some(cache_read),
        output_usd: some(output),
        effective_from: Some(time(from)),
        ..Price::default()
    };
    PutPriceRequest {
        price: Some(price),
        reason: "the provider said so".into(),
        ..PutPriceRequest::default()
    }
}

pub(crate) async fn put(ledger: &Ledger, model: &str, amounts: (&str, &str, &str), from: i64) -> Price {
    put_as(ledger, price(model, amounts, from)).await.unwrap()
}

async fn put_as(ledger: &Ledger, request: PutPriceRequest) -> Result<Price, Status> {
    Ok(ledger.prices(Role::Admin).put_price(request).await?.into_inner().price.unwrap())
}

async fn listed(ledger: &Ledger, request: ListPricesRequest, size: i32) -> Vec<Price> {
    let (mut prices, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListPricesRequest { page_size: size, page_token, ..request.clone() };
        let page = ledger.prices(Role::Member).list_prices(request).await.unwrap().into_inner();
        prices.extend(page.prices);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return prices;
        }
    }
}

async fn a_price_is_put_and_listed_with_its_versions(ledger: &Ledger) {
    let first = put(ledger, "llama", ("0.15", "0.075", "0.60"), NOON).await;
    assert_eq!((first.output_usd.as_deref(), first.source.as_str()), (Some("0.6"), "put"));
    assert_eq!(first.created_by, crate::ledger::person(Role::Admin).user.to_string());
    let second = put(ledger, "llama", ("0.10", "", "0.40"), NOON + 100).await;
    let other = put(ledger, "Qwen", ("0", "", "0"), NOON).await;
    let all = [other.clone(), second.clone(), first.clone()];
    for size in [1, 2, 3, 100] {
        assert_eq!(listed(ledger, ListPricesRequest::default(), size).await, all, "pages of {size}");
    }
    let llama = ListPricesRequest { model: "llama".into(), ..ListPricesRequest::default() };
    assert_eq!(listed(ledger, llama, 100).await, [second.clone(), first.clone()]);
    let at = |seconds| ListPricesRequest { at_time: Some(time(seconds)), ..ListPricesRequest::default() };
    assert_eq!(listed(ledger, at(NOON - 1), 100).await, []);
    assert_eq!(listed(ledger, at(NOON + 99), 1).await, [other.clone(), first]);
    assert_eq!(listed(ledger, at(NOON + 100), 1).await, [other, second]);
}

async fn a_request_costs_what_its_price_was_when_it_began(ledger: &Ledger) {
    let first = put(ledger, "llama", ("0.15", "0.075", "0.60"), 0).await;
    let second = put(ledger, "llama", ("1", "1", "1"), NOON + 100).await;
    let at = |number, seconds| UsageRecord { start_time: Some(time(seconds)), ..record(number) };
    ledger.keep(&[at(1, NOON), at(2, NOON + 99), at(3, NOON + 100)]).await;
    let kept = ledger.audited().await;
    let told: Vec<_> =
        kept.iter().map(|record| (record.cost_usd.as_deref().unwrap(), record.price_id.as_str())).collect();
    // 40 × 0.15 + 60 × 0.075 + 20 × 0.60 millionths, and 120 × 1.
    let (old, new) = (("0.0000225", first.price_id.as_str()), ("0.00012", second.price_id.as_str()));
    assert_eq!(told, [old, old, new]);
    // What is put later for the past changes no record.
    put(ledger, "llama", ("9", "9", "9"), 1).await;
    assert_eq!(ledger.audited().await, kept);
}

async fn an_unknown_price_is_unknown_and_never_zero(ledger: &Ledger) {
    put(ledger, "input-only", ("1", "", ""), 0).await;
    put(ledger, "free", ("0", "", "0"), 0).await;
    put(ledger, "withdrawn", ("1", "", "1"), 0).await;
    put(ledger, "withdrawn", ("", "", ""), NOON).await;
    put(ledger, "later", ("1", "", "1"), NOON + 3_600).await;
    let of = |number, model: &str| UsageRecord { model: model.into(), ..record(number) };
    let nothing =
        UsageRecord { prompt_tokens: 0, cached_prompt_tokens: 0, completion_tokens: 0, ..of(6, "never") };
    let models = ["input-only", "free", "withdrawn", "later", "never"];
    let mut records: Vec<_> = (1..).zip(models).map(|(number, model)| of(number, model)).collect();
    records.push(nothing);
    ledger.keep(&records).await;
    let told: Vec<_> = ledger.audited().await.into_iter().map(|record| record.cost_usd).collect();
    assert_eq!(told, [None, some("0"), None, None, None, some("0")]);
    let by_model =
        GetUsageRequest { group_by: vec![UsageDimension::Model.into()], ..GetUsageRequest::default() };
    let rows = ledger.report(by_model, 100).await;
    let told: Vec<_> =
        rows.into_iter().map(|row| (row.model, row.requests, row.unpriced, row.cost_usd)).collect();
    let row = |model: &str, requests, unpriced, cost| (model.to_owned(), requests, unpriced, some(cost));
    let expected = [
        row("free", 1, 0, "0"),
        row("input-only", 1, 1, ""),
        row("later", 1, 1, ""),
        row("never", 2, 1, "0"),
        row("withdrawn", 1, 1, ""),
    ];
    assert_eq!(told, expected);
}

async fn costs_add_up_exactly_however_records_arrive(ledger: &Ledger) {
    put(ledger, "llama", ("0.123456789012", "0.000000000001", "9.87654321"), 0).await;
    put(ledger, "qwen", ("0.5", "", "1.5"), 0).await;
    put(ledger, "qwen", ("0.7", "", "1.7"), NOON + 90_000).await;
    let records = assorted(500);
    let mut calls = tokio::task::JoinSet::new();
    // Each record three times, in other company each time, at once.
    for size in [40, 70, 110] {
        for part in records.chunks(size) {
            let (mut client, records) = (ledger.service(), part.to_vec());
            calls.spawn(async move {
                let request = proto::monitoring::v1::RecordUsageRequest { records };
                client.record_usage(request).await.unwrap().into_inner().recorded
            });
        }
    }
    assert_eq!(calls.join_all().await.into_iter().sum::<u32>(), 500);
    // The sums are held against the records there.
    let kept = ledger.audited().await;
    assert!(kept.iter().all(|record| {
        let is_priced = ["llama", "qwen"].contains(&record.model.as_str()) || record.cached;
        record.cost_usd.is_some() == is_priced
    }));
}

async fn a_record_is_priced_by_the_models_own_name(ledger: &Ledger) {
    put(ledger, "llama-3.1-8b", ("1", "", "1"), 0).await;
    let alias = UsageRecord { model: "default".into(), served_model: "llama-3.1-8b".into(), ..record(1) };
    ledger.keep(std::slice::from_ref(&alias)).await;
    let kept = ledger.audited().await;
    assert_eq!((kept[0].cost_usd.clone(), &kept[0].served_model), (some("0.00012"), &alias.served_model));
    assert_eq!(kept[0].model, "default");
}

async fn groups_are_told_apart(ledger: &Ledger) {
    let of = |number, group: u64| UsageRecord { group_id: id(group), ..record(number) };
    let records = [of(1, 50), of(2, 51), of(3, 50), record(4)];
    ledger.keep(&records).await;
    assert_eq!(ledger.audited().await, records);
    let by_group =
        GetUsageRequest { group_by: vec![UsageDimension::Group.into()], ..GetUsageRequest::default() };
    let rows = ledger.report(by_group.clone(), 1).await;
    let told: Vec<_> = rows.into_iter().map(|row| (row.group_id, row.requests)).collect();
    assert_eq!(told, [(String::new(), 1), (id(50), 2), (id(51), 1)]);
    let one = ledger.report(GetUsageRequest { group_id: id(50), ..by_group }, 10).await;
    assert_eq!(one.into_iter().map(|row| row.requests).collect::<Vec<_>>(), [2]);
}

async fn cost_is_told_by_kind_of_token_and_by_engine(ledger: &Ledger) {
    put(ledger, "llama", ("0.15", "0.075", "0.60"), 0).await;
    let alias = |number| UsageRecord { model: "fast".into(), served_model: "llama".into(), ..record(number) };
    let other = UsageRecord { engine: "http://10.0.0.2:8000".into(), ..alias(3) };
    ledger.keep(&[record(1), alias(2), other]).await;
    use UsageDimension::{Engine, ServedModel};
    let group_by = vec![ServedModel.into(), Engine.into()];
    let rows = ledger.report(GetUsageRequest { group_by, ..GetUsageRequest::default() }, 1).await;
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            let kinds = [&row.input_cost_usd, &row.cache_read_cost_usd, &row.output_cost_usd];
            let kinds = kinds.map(|kind| kind.clone().unwrap());
            (row.served_model.as_str(), row.engine.as_str(), row.requests, kinds)
        })
        .collect();
    // Of one record: 40 × 0.15, 60 × 0.075 and 20 × 0.60 millionths.
    let kinds = |input: &str, cached: &str, output: &str| [input, cached, output].map(str::to_owned);
    let expected = [
        ("llama", "http://10.0.0.1:8000", 2, kinds("0.000012", "0.000009", "0.000024")),
        ("llama", "http://10.0.0.2:8000", 1, kinds("0.000006", "0.0000045", "0.000012")),
    ];
    assert_eq!(told, expected);
    // Two and a half seconds each, of which a quarter of a millisecond in the queue.
    let seconds =
        |row: &proto::monitoring::v1::UsageRow| row.engine_time.map(|time| (time.seconds, time.nanos));
    assert_eq!(seconds(&rows[1]), Some((2, 499_750_000)));
    ledger.audited().await;
}

async fn sums_may_be_larger_than_64_bits_of_pico_dollars(ledger: &Ledger) {
    // 5 dollars for a token.
    put(ledger, "dear", ("5000000", "", "5000000"), 0).await;
    let dear = |number| UsageRecord {
        model: "dear".into(),
        user_id: id(number),
        prompt_tokens: 1_000_000,
        cached_prompt_tokens: 0,
        completion_tokens: 1,
        ..record(number)
    };
    let records: Vec<_> = (0..4).map(dear).collect();
    ledger.keep(&records).await;
    let rows = ledger.report(GetUsageRequest::default(), 10).await;
    assert_eq!(rows[0].cost_usd, some("20000020"));
}

async fn a_price_that_is_sent_again_is_put_once(ledger: &Ledger) {
    let now = |request| PutPriceRequest {
        price: Some(Price { effective_from: None, ..price("llama", ("1", "", "2"), 0).price.unwrap() }),
        ..request
    };
    let request = now(PutPriceRequest { request_id: id(7), ..PutPriceRequest::default() });
    let dry = PutPriceRequest { validate_only: true, ..request.clone() };
    assert_eq!(put_as(ledger, dry).await.unwrap().price_id, id(7));
    assert_eq!(listed(ledger, ListPricesRequest::default(), 10).await, []);
    let first = put_as(ledger, request.clone()).await.unwrap();
    assert_eq!(put_as(ledger, request.clone()).await.unwrap(), first, "though \"now\" is later");
    assert_eq!(listed(ledger, ListPricesRequest::default(), 10).await, [first]);
    let other = PutPriceRequest { price: price("llama", ("1", "", "3"), 0).price, ..request };
    let refused = put_as(ledger, other).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "IDEMPOTENCY_KEY_REUSED");
}

async fn litellms_list_is_imported(ledger: &Ledger) {
    let list = include_str!("../../../../pricing/tests/suite/litellm.json");
    let request = ImportPricesRequest {
        litellm_json: list.into(),
        effective_from: Some(time(0)),
        request_id: id(8),
        ..ImportPricesRequest::default()
    };
    let import = async |request: &ImportPricesRequest| {
        ledger.prices(Role::Owner).import_prices(request.clone()).await.map(tonic::Response::into_inner)
    };
    let dry = import(&ImportPricesRequest { validate_only: true, ..request.clone() }).await.unwrap();
    assert_eq!((dry.imported, dry.unchanged, dry.refused, dry.prices.len()), (3, 0, 4, 3));
    assert_eq!(listed(ledger, ListPricesRequest::default(), 10).await, []);
    let told = import(&request).await.unwrap();
    assert_eq!((told.imported, told.unchanged, told.refused), (3, 0, 4));
    let whisper = told.left_out.iter().find(|row| row.model == "whisper-1").unwrap();
    assert_eq!(whisper.problem, "has no price per token");
    let mini = told.left_out.iter().find(|row| row.model == "gpt-4o-mini").unwrap();
    assert_eq!(
        (mini.problem.as_str(), &mini.fields[..]),
        ("", &["input_cost_per_token_batches".to_owned()][..])
    );
    let again = import(&request).await.unwrap();
    assert_eq!((again.imported, again.unchanged), (3, 0), "answered as before");
    let anew = import(&ImportPricesRequest { request_id: String::new(), ..request.clone() }).await.unwrap();
    assert_eq!((anew.imported, anew.unchanged), (0, 3), "the same prices are no new versions");
    let openai = ImportPricesRequest { provider: "openai".into(), ..request.clone() };
    let refused = import(&openai).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "IDEMPOTENCY_KEY_REUSED");
    let prices = listed(ledger, ListPricesRequest::default(), 10).await;
    let told: Vec<_> = prices
        .iter()
        .map(|price| (price.model.as_str(), price.input_usd.as_deref().unwrap(), price.source.as_str()))
        .collect();
    let expected = [
        ("deepinfra/meta-llama/Llama-3.1-8B", "0.03", "litellm"),
        ("gpt-4o-mini", "0.15", "litellm"),
        ("text-embedding-3-small", "0.02", "litellm"),
    ];
    assert_eq!(told, expected);
}

async fn a_quote_is_what_a_request_would_cost(ledger: &Ledger) {
    let put = put(ledger, "llama", ("0.15", "0.075", "0.60"), NOON).await;
    let request = QuoteCostRequest {
        model: "llama".into(),
        prompt_tokens: 100,
        cached_prompt_tokens: 60,
        completion_tokens: 20,
        at_time: Some(time(NOON)),
    };
    let quote = async |request: QuoteCostRequest| {
        ledger.prices(Role::Member).quote_cost(request).await.unwrap().into_inner()
    };
    let told = quote(request.clone()).await;
    assert_eq!((told.cost_usd, told.price), (some("0.0000225"), Some(put)));
    let before = quote(QuoteCostRequest { at_time: Some(time(NOON - 1)), ..request.clone() }).await;
    assert_eq!((before.cost_usd, before.price), (None, None));
    assert_eq!(quote(QuoteCostRequest { model: "never".into(), ..request }).await.cost_usd, None);
}

async fn what_is_malformed_is_named(ledger: &Ledger) {
    let named = |status: Status| {
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        status.get_details_bad_request().unwrap().field_violations[0].field.clone()
    };
    let amounts = |input: &str, cached: &str, output: &str| price("llama", (input, cached, output), 0);
    let wrong = [
        (PutPriceRequest::default(), "price"),
        (price("", ("1", "", ""), 0), "price.model"),
        (price(&"x".repeat(201), ("1", "", ""), 0), "price.model"),
        (amounts("a", "", ""), "price.input_usd"),
        (amounts("", "-1", ""), "price.cache_read_usd"),
        (amounts("", "", "0.0000000000001"), "price.output_usd"),
        (amounts("", "", "1e9"), "price.output_usd"),
        (price("llama", ("1", "", ""), -1), "price.effective_from"),
        (PutPriceRequest { reason: "x".repeat(501), ..amounts("1", "", "") }, "reason"),
        (PutPriceRequest { request_id: "x".into(), ..amounts("1", "", "") }, "request_id"),
    ];
    for (request, field) in wrong {
        assert_eq!(named(put_as(ledger, request.clone()).await.unwrap_err()), field, "{request:?}");
    }
    let lists = ["", "[]", "{"];
    for list in lists {
        let request = ImportPricesRequest { litellm_json: list.into(), ..ImportPricesRequest::default() };
        let refused = ledger.prices(Role::Owner).import_prices(request).await.unwrap_err();
        assert_eq!(named(refused), "litellm_json", "{list}");
    }
    let request =
        QuoteCostRequest { cached_prompt_tokens: 1, model: "m".into(), ..QuoteCostRequest::default() };
    let refused = ledger.prices(Role::Owner).quote_cost(request).await.unwrap_err();
    assert_eq!(named(refused), "cached_prompt_tokens");
    let request =
        ListUsageRecordsRequest { page_token: "made-up".into(), ..ListUsageRecordsRequest::default() };
    assert_eq!(named(ledger.service().list_usage_records(request).await.unwrap_err()), "page_token");
}

async fn only_owners_and_admins_change_prices(ledger: &Ledger) {
    for role in [Role::Operator, Role::Auditor, Role::Developer, Role::Member] {
        let refused = ledger.prices(role).put_price(price("llama", ("1", "", ""), 0)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{role:?}");
    }
    assert_eq!(listed(ledger, ListPricesRequest::default(), 10).await, []);
}
