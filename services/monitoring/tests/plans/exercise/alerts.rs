//! Rules, alerts, silences and notifications.

use crate::ledger::Ledger;
use policy::Role;
use proto::monitoring::v1::{
    AcknowledgeAlertRequest, AlertRule, CreateAlertRuleRequest, CreateSilenceRequest, DeleteAlertRuleRequest,
    ExpireSilenceRequest, GetAlertRoutingRequest, GetAlertRuleRequest, ImportAlertRulesRequest,
    ListAlertHistoryRequest, ListAlertRulesRequest, ListAlertsRequest, ListReceiversRequest,
    ListSilencesRequest, NotifyRequest, PreviewSilenceRequest, PutAlertRoutingRequest, TestAlertRuleRequest,
    TestReceiverRequest, UpdateAlertRuleRequest, alert_rule_service_client::AlertRuleServiceClient,
    alert_service_client::AlertServiceClient, notification_service_client::NotificationServiceClient,
    silence_service_client::SilenceServiceClient,
};
use shared::time;
use tests::until;

/// The receiver of the service under test; nothing listens there.
pub(crate) const NOWHERE: &str =
    r#"{"receivers": {"nowhere": {"webhook": {"url": {"value": "http://127.0.0.1:9/"}}}}}"#;

pub(super) async fn rules(ledger: &Ledger) {
    let mut client = AlertRuleServiceClient::new(ledger.channel(Role::Operator));
    let rule = AlertRule { name: "Exercised".into(), expression: "vector(1)".into(), ..AlertRule::default() };
    let create = CreateAlertRuleRequest { rule: Some(rule.clone()), validate_only: false };
    let made = client.create_alert_rule(create.clone()).await.unwrap().into_inner().rule.unwrap();
    client.create_alert_rule(create).await.unwrap();
    let rule_id = made.rule_id.clone();
    client.get_alert_rule(GetAlertRuleRequest { rule_id: rule_id.clone() }).await.unwrap();
    let first = ListAlertRulesRequest { page_size: 1, page_token: String::new() };
    let page_token = client.list_alert_rules(first.clone()).await.unwrap().into_inner().next_page_token;
    client.list_alert_rules(ListAlertRulesRequest { page_token, ..first }).await.unwrap();
    client
        .test_alert_rule(TestAlertRuleRequest { rule_id: rule_id.clone(), ..TestAlertRuleRequest::default() })
        .await
        .unwrap();
    let change = UpdateAlertRuleRequest { rule_id: rule_id.clone(), rule: Some(rule), etag: made.etag };
    client.update_alert_rule(change).await.unwrap();
    let yaml = "groups: [{name: g, rules: [{alert: A, expr: up == 0}]}]".to_owned();
    client.import_alert_rules(ImportAlertRulesRequest { yaml, validate_only: false }).await.unwrap();
    client.delete_alert_rule(DeleteAlertRuleRequest { rule_id }).await.unwrap();
}

pub(super) async fn alerts(ledger: &Ledger) {
    let mut client = AlertServiceClient::new(ledger.channel(Role::Operator));
    let nothing = ListAlertsRequest { page_size: 1, ..ListAlertsRequest::default() };
    let page = until("an alert that fires", async || {
        let request = ListAlertsRequest { state: 2, ..nothing.clone() };
        let page = client.clone().list_alerts(request).await.unwrap().into_inner();
        (!page.alerts.is_empty()).then_some(page)
    })
    .await;
    for state in [0, 2] {
        for severity in [0, 2] {
            let first = ListAlertsRequest { state, severity, ..nothing.clone() };
            let page = client.list_alerts(first.clone()).await.unwrap().into_inner();
            if !page.next_page_token.is_empty() {
                let next = ListAlertsRequest { page_token: page.next_page_token, ..first };
                client.list_alerts(next).await.unwrap();
            }
        }
    }
    let fingerprint = page.alerts[0].fingerprint.clone();
    client
        .acknowledge_alert(AcknowledgeAlertRequest { fingerprint: fingerprint.clone(), note: String::new() })
        .await
        .unwrap();
    for fingerprint in [String::new(), fingerprint] {
        for kind in [0, 1] {
            let first = ListAlertHistoryRequest {
                fingerprint: fingerprint.clone(),
                kind,
                page_size: 1,
                ..Default::default()
            };
            let page = client.list_alert_history(first.clone()).await.unwrap().into_inner();
            if !page.next_page_token.is_empty() {
                let next = ListAlertHistoryRequest { page_token: page.next_page_token, ..first };
                client.list_alert_history(next).await.unwrap();
            }
        }
    }
}

pub(super) async fn silences(ledger: &Ledger) {
    let mut client = SilenceServiceClient::new(ledger.channel(Role::Operator));
    let matchers = vec!["alertname=Exercised".to_owned()];
    let end_time = Some(time::to_proto(policy::Time(time::now().0 + 60_000_000)));
    let create =
        CreateSilenceRequest { matchers: matchers.clone(), end_time, ..CreateSilenceRequest::default() };
    let made = client.create_silence(create.clone()).await.unwrap().into_inner().silence.unwrap();
    client.create_silence(create).await.unwrap();
    for state in 0..=3 {
        let first = ListSilencesRequest { state, page_size: 1, ..ListSilencesRequest::default() };
        let page = client.list_silences(first.clone()).await.unwrap().into_inner();
        if !page.next_page_token.is_empty() {
            let next = ListSilencesRequest { page_token: page.next_page_token, ..first };
            client.list_silences(next).await.unwrap();
        }
    }
    client.preview_silence(PreviewSilenceRequest { matchers }).await.unwrap();
    client.expire_silence(ExpireSilenceRequest { silence_id: made.silence_id }).await.unwrap();
}

pub(super) async fn notifications(ledger: &Ledger) {
    let mut client = NotificationServiceClient::new(ledger.channel(Role::Admin));
    client.list_receivers(ListReceiversRequest {}).await.unwrap();
    let tested =
        client.test_receiver(TestReceiverRequest { receiver: "nowhere".into() }).await.unwrap().into_inner();
    assert!(!tested.delivered, "nothing listens there");
    let routing =
        client.get_alert_routing(GetAlertRoutingRequest {}).await.unwrap().into_inner().routing.unwrap();
    let put = PutAlertRoutingRequest { json: routing.json, etag: routing.etag };
    client.put_alert_routing(put).await.unwrap();
    let note = NotifyRequest {
        receiver: "nowhere".into(),
        subject: "Note".into(),
        text: "text".into(),
        request_id: crate::load::usage(7),
        ..NotifyRequest::default()
    };
    let mut service = NotificationServiceClient::new(ledger.service_channel());
    for _ in 0..2 {
        service.notify(note.clone()).await.unwrap();
    }
}
