//! Every change that an operator makes through the service is an event of its log.

use crate::{
    instances::new,
    ledger::Ledger,
    sample::{NOON, id, record, time, usage_id},
};
use policy::Role;
use proto::monitoring::v1::{
    Budget, BudgetPeriod, BudgetSubject, CorrectUsageRequest, CreateBudgetRequest, DeleteBudgetRequest,
    DrainInstanceRequest, GpuPrice, ImportPricesRequest, Price, PutGpuPriceRequest, PutPriceRequest,
    PutScalingPolicyRequest, ReleaseLeasesRequest, RerateUsageRequest, ScalingPolicy, UpdateBudgetRequest,
    budget_subject::Subject, cost_service_client::CostServiceClient,
    instance_service_client::InstanceServiceClient, scaling_service_client::ScalingServiceClient,
};
use serde_json::{Value, json};
use shared::event::log::{self, Filter};
use std::collections::BTreeSet;

on_both_engines!(every_mutation_is_an_event);

/// Methods that change something and write no event of their own here, and why.
const EXEMPT: [(&str, &str); 11] = [
    ("MetricsService/RecordSample", "a number that was measured, not a setting"),
    ("NotificationService/TestReceiver", "a message is sent; nothing is changed"),
    ("AlertRuleService/CreateAlertRule", "see the tests of alerting"),
    ("AlertRuleService/UpdateAlertRule", "see the tests of alerting"),
    ("AlertRuleService/DeleteAlertRule", "see the tests of alerting"),
    ("AlertRuleService/ImportAlertRules", "see the tests of alerting"),
    ("AlertService/AcknowledgeAlert", "see the tests of alerting"),
    ("NotificationService/PutAlertRouting", "see the tests of alerting"),
    ("SilenceService/CreateSilence", "see the tests of alerting"),
    ("SilenceService/ExpireSilence", "see the tests of alerting"),
    ("HealthService/CheckNow", "a look, not a change"),
];

/// What the log has got since it was looked at last: the method that wrote it, the kind of thing, and what was done to it.
struct Log<'a> {
    ledger: &'a Ledger,
    seen: usize,
    written: BTreeSet<&'static str>,
}

impl Log<'_> {
    async fn has(
        &mut self,
        method: &'static str,
        kind: &str,
        action: &str,
    ) -> (Option<Value>, Option<Value>) {
        let all = log::list(&self.ledger.db, &Filter::default(), None, false, 1_000).await.unwrap();
        let [stored] = &all[self.seen..] else { panic!("{method} wrote {} events", all.len() - self.seen) };
        let event = &stored.event;
        assert_eq!((event.kind.as_str(), event.action.as_str()), (kind, action), "{method}");
        assert!(!event.actor.is_empty() && !event.request_id.is_empty(), "{event:?}");
        self.seen = all.len();
        self.written.insert(method);
        (event.before.clone(), event.after.clone())
    }
}

async fn every_mutation_is_an_event(ledger: &Ledger) {
    let mut log = Log { ledger, seen: 0, written: BTreeSet::new() };
    budgets(ledger, &mut log).await;
    prices(ledger, &mut log).await;
    gpus(ledger, &mut log).await;
    usage(ledger, &mut log).await;
    scaling(ledger, &mut log).await;

    let write = shared::auth::scope_number(policy::Scope::Write);
    let ours = proto::ACCESS
        .iter()
        .filter_map(|row| Some((row, row.path.strip_prefix("/tollgate.monitoring.v1.")?)));
    let mutating = ours.filter(|(row, _)| row.scope == write && !row.roles.is_empty()).map(|(_, path)| path);
    let exempt = |path: &&str| EXEMPT.iter().any(|(known, _)| known == path);
    let silent: Vec<_> = mutating.filter(|path| !exempt(path) && !log.written.contains(path)).collect();
    assert!(silent.is_empty(), "{silent:?} change something, and no event of theirs is tested here");
}

async fn budgets(ledger: &Ledger, log: &mut Log<'_>) {
    let mut owner = ledger.budgets(Role::Owner);
    let budget = Budget {
        name: "a budget".into(),
        subject: Some(BudgetSubject { subject: Some(Subject::UserId(id(1))) }),
        period: BudgetPeriod::Month.into(),
        limit_tokens: Some(10),
        hard: true,
        ..Budget::default()
    };
    let request = CreateBudgetRequest { budget: Some(budget), ..Default::default() };
    let made = owner.create_budget(request).await.unwrap().into_inner().budget.unwrap();
    let (before, created) = log.has("BudgetService/CreateBudget", "budget", "created").await;
    assert_eq!((before, &created.as_ref().unwrap()["subject"]), (None, &json!({ "user": id(1) })));
    let update = UpdateBudgetRequest {
        budget_id: made.budget_id.clone(),
        name: "another".into(),
        limit_tokens: Some(20),
        ..Default::default()
    };
    owner.update_budget(update).await.unwrap();
    let (before, after) = log.has("BudgetService/UpdateBudget", "budget", "updated").await;
    assert_eq!(before, created);
    assert_eq!(after.as_ref().unwrap()["name"], "another");
    owner.release_leases(ReleaseLeasesRequest { gateway_id: id(9) }).await.unwrap();
    log.has("BudgetService/ReleaseLeases", "budget_leases", "released").await;
    owner.delete_budget(DeleteBudgetRequest { budget_id: made.budget_id }).await.unwrap();
    assert_eq!(log.has("BudgetService/DeleteBudget", "budget", "deleted").await, (after, None));
}

async fn prices(ledger: &Ledger, log: &mut Log<'_>) {
    let mut owner = ledger.prices(Role::Owner);
    let price = |dollars: &str| Price {
        model: "llama".into(),
        input_usd: Some(dollars.into()),
        output_usd: Some(dollars.into()),
        effective_from: Some(time(0)),
        ..Default::default()
    };
    let asked =
        |validate_only| PutPriceRequest { price: Some(price("1")), validate_only, ..Default::default() };
    owner.put_price(asked(true)).await.unwrap();
    owner.put_price(asked(false)).await.unwrap();
    let (_, after) = log.has("PriceService/PutPrice", "price", "created").await;
    assert_eq!(after.unwrap()["input"], 1_000_000_000_000_i64);
    let litellm_json = r#"{"mistral": {"input_cost_per_token": 1e-6}}"#.to_owned();
    owner.import_prices(ImportPricesRequest { litellm_json, ..Default::default() }).await.unwrap();
    let (_, after) = log.has("PriceService/ImportPrices", "prices", "imported").await;
    assert_eq!(after.unwrap()["imported"], 1);
}

async fn gpus(ledger: &Ledger, log: &mut Log<'_>) {
    let price = GpuPrice { pool: "l4".into(), hour_usd: Some("0.7".into()), ..GpuPrice::default() };
    let put = PutGpuPriceRequest { price: Some(price), reason: "a test".into(), ..Default::default() };
    CostServiceClient::new(ledger.as_person(Role::Owner)).put_gpu_price(put).await.unwrap();
    let (before, after) = log.has("CostService/PutGpuPrice", "gpu_price", "created").await;
    assert_eq!((before, &after.unwrap()["hour"]), (None, &json!(700_000_000_000_i64)));
}

async fn usage(ledger: &Ledger, log: &mut Log<'_>) {
    ledger.keep(&[record(1), record(2)]).await;
    let mut owner = ledger.person(Role::Owner);
    let correction = CorrectUsageRequest {
        usage_id: usage_id(1),
        attempt: 1,
        prompt_tokens: 7,
        reason: "a test".into(),
        ..Default::default()
    };
    owner.correct_usage(correction).await.unwrap();
    let (before, after) = log.has("UsageService/CorrectUsage", "usage_record", "corrected").await;
    assert_eq!(
        (&before.unwrap()["prompt_tokens"], &after.unwrap()["prompt_tokens"]),
        (&json!(100), &json!(7))
    );
    let price = Price {
        model: "llama".into(),
        input_usd: Some("5".into()),
        output_usd: Some("5".into()),
        effective_from: Some(time(1)),
        ..Default::default()
    };
    let put = PutPriceRequest { price: Some(price), ..Default::default() };
    ledger.prices(Role::Owner).put_price(put).await.unwrap();
    log.has("PriceService/PutPrice", "price", "created").await;
    let start_time = Some(time(NOON));
    owner.rerate_usage(RerateUsageRequest { start_time, ..Default::default() }).await.unwrap();
    let (_, after) = log.has("UsageService/RerateUsage", "usage_records", "rerated").await;
    assert_eq!(after.unwrap()["superseded"], 2);
}

async fn scaling(ledger: &Ledger, log: &mut Log<'_>) {
    let mut operator = ScalingServiceClient::new(ledger.as_person(Role::Operator));
    let policy = ScalingPolicy { min_replicas: 2, ..ScalingPolicy::default() };
    let put = PutScalingPolicyRequest { pool: "pool".into(), policy: Some(policy) };
    operator.put_scaling_policy(put).await.unwrap();
    let (before, after) = log.has("ScalingService/PutScalingPolicy", "scaling_policy", "updated").await;
    assert_ne!(before, after);
    let mut agent = InstanceServiceClient::new(ledger.as_service());
    agent.register_instance(new("i-1", "pool")).await.unwrap();
    let mut operator = InstanceServiceClient::new(ledger.as_person(Role::Operator));
    let drain =
        DrainInstanceRequest { instance_id: "i-1".into(), reason: "a test".into(), ..Default::default() };
    operator.drain_instance(drain).await.unwrap();
    log.has("InstanceService/DrainInstance", "instance", "drained").await;
}
