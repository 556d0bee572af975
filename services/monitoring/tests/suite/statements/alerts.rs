//! Rules, alerts, silences and notifications.

use crate::{
    delivery::{alerts, firing, notifications, rules},
    ledger::Ledger,
};
use monitoring::Alerts;
use policy::Role;
use proto::monitoring::v1::{
    AcknowledgeAlertRequest, AlertState, CreateAlertRuleRequest, CreateSilenceRequest,
    DeleteAlertRuleRequest, ExpireSilenceRequest, GetAlertRoutingRequest, GetAlertRuleRequest,
    ImportAlertRulesRequest, ListAlertHistoryRequest, ListAlertRulesRequest, ListAlertsRequest,
    ListReceiversRequest, ListSilencesRequest, NotifyRequest, PreviewSilenceRequest, PutAlertRoutingRequest,
    TestAlertRuleRequest, TestReceiverRequest, UpdateAlertRuleRequest,
    notification_service_client::NotificationServiceClient, silence_service_client::SilenceServiceClient,
};
use shared::{on, time};
use tests::until;

/// One receiver, where nothing listens.
pub(super) fn settings() -> Alerts {
    let url = r#"{"receivers": {"nowhere": {"webhook": {"url": {"value": "http://127.0.0.1:9/"}}}}}"#;
    serde_json::from_str(url).unwrap()
}

/// Every method, with so many rules that were imported and alerts that they made.
pub(super) async fn all(ledger: &Ledger, many: u64, count: &mut impl FnMut()) {
    let mut client = rules(ledger);
    let lines = (0..many).map(|number| format!("{{alert: many-{many}-{number}, expr: vector(1)}}"));
    let yaml = format!("groups: [{{name: g, rules: [{}]}}]", lines.collect::<Vec<_>>().join(", "));
    let imported = client.import_alert_rules(ImportAlertRulesRequest { yaml, validate_only: false }).await;
    assert_eq!(imported.unwrap().into_inner().rules.len() as u64, many);
    count();
    let rule = firing(&format!("one of {many}"));
    let create = CreateAlertRuleRequest { rule: Some(rule.clone()), validate_only: false };
    let made = client.create_alert_rule(create).await.unwrap().into_inner().rule.unwrap();
    count();
    let rule_id = made.rule_id;
    client.get_alert_rule(GetAlertRuleRequest { rule_id: rule_id.clone() }).await.unwrap();
    count();
    client.list_alert_rules(ListAlertRulesRequest { page_size: 1_000, ..Default::default() }).await.unwrap();
    count();
    client
        .test_alert_rule(TestAlertRuleRequest { rule_id: rule_id.clone(), ..Default::default() })
        .await
        .unwrap();
    count();
    let update = UpdateAlertRuleRequest { rule_id: rule_id.clone(), rule: Some(rule), etag: made.etag };
    client.update_alert_rule(update).await.unwrap();
    count();
    client.delete_alert_rule(DeleteAlertRuleRequest { rule_id }).await.unwrap();
    count();
    let fingerprint = until("alerts of all rules", async || {
        let (fired,): (i64,) = on!(&ledger.db, |pool| {
            sqlx::query_as("SELECT COUNT(*) FROM alerts WHERE state = 2").fetch_one(pool).await
        })
        .unwrap();
        let first: Option<(String,)> = on!(&ledger.db, |pool| {
            sqlx::query_as("SELECT fingerprint FROM alerts WHERE state = 2").fetch_optional(pool).await
        })
        .unwrap();
        first.filter(|_| fired.unsigned_abs() > many).map(|(fingerprint,)| fingerprint)
    })
    .await;
    let mut client = alerts(ledger);
    let list = ListAlertsRequest { state: AlertState::Firing.into(), page_size: 1_000, ..Default::default() };
    assert!(client.list_alerts(list).await.unwrap().into_inner().alerts.len() as u64 > many);
    count();
    client.acknowledge_alert(AcknowledgeAlertRequest { fingerprint, ..Default::default() }).await.unwrap();
    count();
    client
        .list_alert_history(ListAlertHistoryRequest { page_size: 1_000, ..Default::default() })
        .await
        .unwrap();
    count();
    silences(ledger, count).await;
    told(ledger, many, count).await;
}

async fn silences(ledger: &Ledger, count: &mut impl FnMut()) {
    let mut client = SilenceServiceClient::new(ledger.channel(Role::Operator));
    let matchers = vec!["alertname=~\"many.*\"".to_owned()];
    let preview = PreviewSilenceRequest { matchers: matchers.clone() };
    assert!(!client.preview_silence(preview).await.unwrap().into_inner().alerts.is_empty());
    count();
    let end_time = Some(time::to_proto(policy::Time(time::now().0 + 60_000_000)));
    let create = CreateSilenceRequest { matchers, end_time, ..Default::default() };
    let made = client.create_silence(create).await.unwrap().into_inner().silence.unwrap();
    count();
    client.list_silences(ListSilencesRequest::default()).await.unwrap();
    count();
    client.expire_silence(ExpireSilenceRequest { silence_id: made.silence_id }).await.unwrap();
    count();
}

async fn told(ledger: &Ledger, many: u64, count: &mut impl FnMut()) {
    let mut client = notifications(ledger);
    client.list_receivers(ListReceiversRequest {}).await.unwrap();
    count();
    client.test_receiver(TestReceiverRequest { receiver: "nowhere".into() }).await.unwrap();
    count();
    let read =
        client.get_alert_routing(GetAlertRoutingRequest {}).await.unwrap().into_inner().routing.unwrap();
    count();
    client.put_alert_routing(PutAlertRoutingRequest { json: read.json, etag: read.etag }).await.unwrap();
    count();
    let note = NotifyRequest {
        receiver: "nowhere".into(),
        subject: format!("for {many}"),
        text: "text".into(),
        ..NotifyRequest::default()
    };
    let mut service = NotificationServiceClient::new(ledger.service_channel());
    service.notify(note).await.unwrap();
    count();
}
