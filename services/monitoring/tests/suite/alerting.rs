//! Rules, alerts, silences and routes as people manage them.

use crate::{
    delivery::{alerts, create, firing, notifications, rules},
    ledger::{Ledger, person},
    sample::id,
};
use policy::Role;
use proto::monitoring::v1::{
    AcknowledgeAlertRequest, Alert, AlertEventKind, AlertRule, AlertSeverity, AlertState,
    CreateAlertRuleRequest, CreateSilenceRequest, ExpireSilenceRequest, GetAlertRoutingRequest,
    GetAlertRuleRequest, ImportAlertRulesRequest, ListAlertHistoryRequest, ListAlertRulesRequest,
    ListAlertsRequest, ListReceiversRequest, ListSilencesRequest, PreviewSilenceRequest,
    PutAlertRoutingRequest, SilenceState, TestAlertRuleRequest, UpdateAlertRuleRequest,
    silence_service_client::SilenceServiceClient,
};
use shared::{
    channel::Channel,
    event::log::{self, Filter},
    status::reason,
    time,
};
use tests::until;
use tonic::Code;
use tonic_types::StatusExt;

on_both_engines!(
    an_installation_begins_with_the_shipped_rules,
    rules_are_made_changed_and_deleted,
    rules_that_cannot_be_are_refused_by_their_fields,
    a_rule_file_is_taken_over_once,
    a_rule_is_tried_on_the_past,
    a_silence_holds_back_and_says_so,
    an_alert_is_acknowledged_while_it_fires,
    a_tree_of_routes_is_replaced_by_whoever_read_it,
    what_people_change_is_in_the_log,
);

fn silences(ledger: &Ledger) -> SilenceServiceClient<Channel> {
    SilenceServiceClient::new(ledger.channel(Role::Operator))
}

/// All rules, read in pages of seven.
async fn all_rules(ledger: &Ledger) -> Vec<AlertRule> {
    let (mut rows, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListAlertRulesRequest { page_size: 7, page_token };
        let page = rules(ledger).list_alert_rules(request).await.unwrap().into_inner();
        rows.extend(page.rules);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return rows;
        }
    }
}

/// The alert of this rule, once it is there and as it is wanted.
async fn alert(ledger: &Ledger, name: &str, wanted: impl Fn(&Alert) -> bool) -> Alert {
    until(&format!("an alert {name}"), async || {
        let request = ListAlertsRequest { page_size: 1_000, ..ListAlertsRequest::default() };
        let all = alerts(ledger).list_alerts(request).await.unwrap().into_inner().alerts;
        all.into_iter().find(|alert| alert.labels["alertname"] == name && wanted(alert))
    })
    .await
}

async fn an_installation_begins_with_the_shipped_rules(ledger: &Ledger) {
    let shipped = ::alerts::defaults().unwrap();
    let found = until("the shipped rules", async || {
        let found = all_rules(ledger).await;
        (!found.is_empty()).then_some(found)
    })
    .await;
    assert_eq!(found.len(), shipped.len());
    assert!(found.is_sorted_by_key(|rule| rule.name.clone()));
    let watchdog = alert(ledger, "Watchdog", |_| true).await;
    assert_eq!((watchdog.state(), watchdog.severity()), (AlertState::Firing, AlertSeverity::Info));
    assert_eq!(watchdog.fingerprint.len(), 16);
}

async fn rules_are_made_changed_and_deleted(ledger: &Ledger) {
    let wanted = AlertRule {
        pending_for: Some(time::duration_to_proto(std::time::Duration::from_secs(3_600))),
        labels: [("team".to_owned(), "edge".to_owned())].into(),
        ..firing("Made")
    };
    let request = CreateAlertRuleRequest { rule: Some(wanted.clone()), validate_only: true };
    rules(ledger).create_alert_rule(request).await.unwrap();
    assert!(all_rules(ledger).await.iter().all(|rule| rule.name != "Made"), "it was only decided");
    let made = create(ledger, wanted).await;
    assert_eq!((made.labels["team"].as_str(), made.severity()), ("edge", AlertSeverity::Critical));
    assert_eq!(alert(ledger, "Made", |_| true).await.state(), AlertState::Pending);

    let change = UpdateAlertRuleRequest {
        rule_id: made.rule_id.clone(),
        rule: Some(AlertRule { pending_for: None, ..made.clone() }),
        etag: made.etag.clone(),
    };
    let changed = rules(ledger).update_alert_rule(change.clone()).await.unwrap().into_inner().rule.unwrap();
    assert_ne!(changed.etag, made.etag);
    assert_eq!(reason(&rules(ledger).update_alert_rule(change.clone()).await.unwrap_err()), "ETAG_MISMATCH");
    let nobody = UpdateAlertRuleRequest { rule_id: id(5), ..change };
    assert_eq!(rules(ledger).update_alert_rule(nobody).await.unwrap_err().code(), Code::NotFound);
    alert(ledger, "Made", |alert| alert.state() == AlertState::Firing).await;

    let rule_id = made.rule_id;
    let gone = proto::monitoring::v1::DeleteAlertRuleRequest { rule_id: rule_id.clone() };
    rules(ledger).delete_alert_rule(gone.clone()).await.unwrap();
    assert_eq!(reason(&rules(ledger).delete_alert_rule(gone).await.unwrap_err()), "NOT_FOUND");
    let status = rules(ledger).get_alert_rule(GetAlertRuleRequest { rule_id }).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    until("it resolves", async || {
        let request =
            ListAlertsRequest { state: AlertState::Resolved.into(), ..ListAlertsRequest::default() };
        let all = alerts(ledger).list_alerts(request).await.unwrap().into_inner().alerts;
        all.into_iter().find(|alert| alert.labels["alertname"] == "Made" && alert.resolved_time.is_some())
    })
    .await;
}

async fn rules_that_cannot_be_are_refused_by_their_fields(ledger: &Ledger) {
    type Change = fn(&mut AlertRule);
    let changes: [(&str, Change); 6] = [
        ("rule.name", |rule| rule.name.clear()),
        ("rule.expression", |rule| rule.expression = "topk(3, x) > 1".into()),
        ("rule.expression", |rule| rule.expression = "x >".into()),
        ("rule.expression", |rule| rule.expression = "1 > 0".into()),
        ("rule.labels", |rule| drop(rule.labels.insert("severity".into(), "x".into()))),
        ("rule.annotations", |rule| drop(rule.annotations.insert("1".into(), "x".into()))),
    ];
    for (field, change) in changes {
        let mut rule = firing("Refused");
        change(&mut rule);
        let request = CreateAlertRuleRequest { rule: Some(rule), validate_only: false };
        let status = rules(ledger).create_alert_rule(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field, "{status:?}");
    }
}

async fn a_rule_file_is_taken_over_once(ledger: &Ledger) {
    let yaml = "groups:\n  - name: g\n    rules:\n      - {alert: Taken, expr: up == 0, for: 5m, labels: {severity: error}}\n      \
                - {alert: Not, expr: 'topk(1, up) == 0'}\n";
    let import = async |validate_only| {
        let request = ImportAlertRulesRequest { yaml: yaml.into(), validate_only };
        rules(ledger).import_alert_rules(request).await.unwrap().into_inner()
    };
    assert_eq!(import(true).await.rules.len(), 1);
    let made = import(false).await;
    assert_eq!((made.rules[0].name.as_str(), made.rules[0].severity()), ("Taken", AlertSeverity::Error));
    assert_eq!(made.rules[0].pending_for.unwrap().seconds, 300);
    assert_eq!(made.refused[0].problem, "the function `topk` is not supported here");
    let again = import(false).await;
    assert_eq!((again.rules.len(), again.known), (0, vec!["Taken".to_owned()]));
    let request = ImportAlertRulesRequest { yaml: "- no".into(), validate_only: false };
    assert_eq!(reason(&rules(ledger).import_alert_rules(request).await.unwrap_err()), "INVALID_FIELD");
}

async fn a_rule_is_tried_on_the_past(ledger: &Ledger) {
    let now = time::now().0 / 1_000_000;
    let rule = AlertRule { expression: format!("vector(time()) >= {}", now - 600), ..firing("Tried") };
    let request = TestAlertRuleRequest { rule: Some(rule), ..TestAlertRuleRequest::default() };
    let tested = rules(ledger).test_alert_rule(request).await.unwrap().into_inner().alerts;
    assert_eq!(tested.len(), 1);
    let began = tested[0].start_time.unwrap().seconds;
    assert!((now - 600..now - 585).contains(&began) && tested[0].end_time.is_none(), "{tested:?}");
    let unknown = TestAlertRuleRequest { rule_id: id(9), ..TestAlertRuleRequest::default() };
    assert_eq!(rules(ledger).test_alert_rule(unknown).await.unwrap_err().code(), Code::NotFound);
}

async fn a_silence_holds_back_and_says_so(ledger: &Ledger) {
    create(ledger, firing("Quiet")).await;
    alert(ledger, "Quiet", |_| true).await;
    let matchers = vec!["alertname=Quiet".to_owned()];
    let preview = PreviewSilenceRequest { matchers: matchers.clone() };
    let shown = silences(ledger).preview_silence(preview).await.unwrap().into_inner().alerts;
    assert_eq!(shown.len(), 1);
    let later = |seconds: i64| Some(time::to_proto(policy::Time(time::now().0 + seconds * 1_000_000)));
    let request = CreateSilenceRequest {
        matchers,
        end_time: later(3_600),
        comment: "maintenance".into(),
        ..CreateSilenceRequest::default()
    };
    let made = silences(ledger).create_silence(request.clone()).await.unwrap().into_inner();
    let (silence, held) = (made.silence.unwrap(), made.alerts);
    assert_eq!((silence.state(), held.len()), (SilenceState::Active, 1));
    assert_eq!(silence.created_by, person(Role::Operator).user.to_string());
    let by = alert(ledger, "Quiet", |alert| alert.suppressed_by.is_some()).await.suppressed_by.unwrap();
    assert_eq!(by.silence_id, silence.silence_id);
    let history = ListAlertHistoryRequest { kind: AlertEventKind::Suppressed.into(), ..Default::default() };
    let events = alerts(ledger).list_alert_history(history).await.unwrap().into_inner().events;
    assert_eq!(
        (events[0].name.as_str(), events[0].detail.as_str()),
        ("Quiet", format!("silence {}", silence.silence_id).as_str())
    );

    let expire = ExpireSilenceRequest { silence_id: silence.silence_id.clone() };
    let over = silences(ledger).expire_silence(expire.clone()).await.unwrap().into_inner().silence.unwrap();
    assert_eq!(over.state(), SilenceState::Expired);
    assert_eq!(reason(&silences(ledger).expire_silence(expire).await.unwrap_err()), "SILENCE_OVER");
    alert(ledger, "Quiet", |alert| alert.suppressed_by.is_none()).await;
    let list = ListSilencesRequest { state: SilenceState::Expired.into(), ..ListSilencesRequest::default() };
    assert_eq!(silences(ledger).list_silences(list).await.unwrap().into_inner().silences, [over]);
    for (matcher, end) in
        [("alertname=~\".*\"", later(60)), ("alertname", later(60)), ("a=b", later(-60)), ("a=b", None)]
    {
        let request =
            CreateSilenceRequest { matchers: vec![matcher.into()], end_time: end, ..request.clone() };
        assert_eq!(
            silences(ledger).create_silence(request).await.unwrap_err().code(),
            Code::InvalidArgument,
            "{matcher}"
        );
    }
}

async fn an_alert_is_acknowledged_while_it_fires(ledger: &Ledger) {
    let wanted = AlertRule {
        pending_for: Some(time::duration_to_proto(std::time::Duration::from_secs(3_600))),
        ..firing("Waiting")
    };
    create(ledger, wanted).await;
    create(ledger, firing("Known")).await;
    let acknowledge = async |fingerprint: String| {
        let request = AcknowledgeAlertRequest { fingerprint, note: "on it".into() };
        alerts(ledger).acknowledge_alert(request).await.map(|answer| answer.into_inner().alert.unwrap())
    };
    let waiting = alert(ledger, "Waiting", |_| true).await;
    assert_eq!(reason(&acknowledge(waiting.fingerprint).await.unwrap_err()), "ALERT_NOT_FIRING");
    let known = alert(ledger, "Known", |_| true).await;
    let answered = acknowledge(known.fingerprint.clone()).await.unwrap();
    assert_eq!((answered.acknowledgement.as_str(), answered.acknowledged_time.is_some()), ("on it", true));
    let by = alert(ledger, "Known", |alert| alert.suppressed_by.is_some()).await;
    assert!(by.suppressed_by.unwrap().acknowledged && !by.acknowledged_by.is_empty());
    assert_eq!(reason(&acknowledge("0000000000000000".into()).await.unwrap_err()), "NOT_FOUND");
    assert_eq!(reason(&acknowledge("nonsense".into()).await.unwrap_err()), "INVALID_FIELD");
}

/// What the log has of a kind of thing: what was done, whether it was there before and after, and why.
async fn logged(ledger: &Ledger, kind: &str) -> Vec<(String, bool, bool, String)> {
    let filter = Filter { kind: Some(kind.to_owned()), ..Filter::default() };
    let all = log::list(&ledger.db, &filter, None, false, 100).await.unwrap();
    let operator = person(Role::Operator).user.to_string();
    let shown = all.into_iter().map(|stored| {
        let event = stored.event;
        assert_eq!(event.actor, operator);
        (event.action, event.before.is_some(), event.after.is_some(), event.reason)
    });
    shown.collect()
}

async fn what_people_change_is_in_the_log(ledger: &Ledger) {
    let event =
        |action: &str, before, after, reason: &str| (action.to_owned(), before, after, reason.to_owned());
    let only_decided = CreateAlertRuleRequest { rule: Some(firing("Logged")), validate_only: true };
    rules(ledger).create_alert_rule(only_decided).await.unwrap();
    let made = create(ledger, firing("Logged")).await;
    let change = UpdateAlertRuleRequest {
        rule_id: made.rule_id.clone(),
        rule: Some(AlertRule { expression: "vector(8)".into(), ..made.clone() }),
        etag: made.etag.clone(),
    };
    rules(ledger).update_alert_rule(change.clone()).await.unwrap();
    rules(ledger).update_alert_rule(change).await.unwrap_err();
    let known = alert(ledger, "Logged", |alert| alert.state() == AlertState::Firing).await;
    let request = AcknowledgeAlertRequest { fingerprint: known.fingerprint, note: "on it".into() };
    alerts(ledger).acknowledge_alert(request).await.unwrap();
    let yaml = "groups: [{name: g, rules: [{alert: One, expr: up == 0}, {alert: Two, expr: up == 0}]}]";
    let import = ImportAlertRulesRequest { yaml: yaml.into(), validate_only: false };
    rules(ledger).import_alert_rules(import).await.unwrap();
    let gone = proto::monitoring::v1::DeleteAlertRuleRequest { rule_id: made.rule_id };
    rules(ledger).delete_alert_rule(gone).await.unwrap();
    let expected = [
        event("created", false, true, ""),
        event("updated", true, true, ""),
        event("created", false, true, ""),
        event("created", false, true, ""),
        event("deleted", true, false, ""),
    ];
    assert_eq!(logged(ledger, "alert_rule").await, expected);
    assert_eq!(logged(ledger, "alert").await, [event("acknowledged", true, true, "on it")]);

    let request = CreateSilenceRequest {
        matchers: vec!["alertname=Logged".to_owned()],
        end_time: Some(time::to_proto(policy::Time(time::now().0 + 60_000_000))),
        comment: "maintenance".into(),
        ..CreateSilenceRequest::default()
    };
    let silence = silences(ledger).create_silence(request).await.unwrap().into_inner().silence.unwrap();
    let expire = ExpireSilenceRequest { silence_id: silence.silence_id };
    silences(ledger).expire_silence(expire.clone()).await.unwrap();
    silences(ledger).expire_silence(expire).await.unwrap_err();
    let expected = [event("created", false, true, "maintenance"), event("expired", true, true, "")];
    assert_eq!(logged(ledger, "silence").await, expected);
}

async fn a_tree_of_routes_is_replaced_by_whoever_read_it(ledger: &Ledger) {
    let mut client = notifications(ledger);
    let read =
        client.get_alert_routing(GetAlertRoutingRequest {}).await.unwrap().into_inner().routing.unwrap();
    assert_eq!((read.etag.as_str(), read.updated_time), ("0", None));
    // Nobody is configured, so nobody can be named.
    let put = PutAlertRoutingRequest { json: r#"{"route": {"receiver": "ops"}}"#.into(), etag: read.etag };
    let status = client.put_alert_routing(put).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "INVALID_FIELD"));
    assert!(status.message().contains("`ops` is not"), "{}", status.message());
    let receivers = client.list_receivers(ListReceiversRequest {}).await.unwrap().into_inner();
    assert_eq!((receivers.receivers.len(), receivers.waiting), (0, 0));
}
