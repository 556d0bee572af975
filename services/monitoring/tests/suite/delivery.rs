//! From a rule to somebody's inbox: real HTTP receivers, a real mail server, a real Alertmanager; failures, replicas and
//! what takes over.

use crate::{
    inbox::{Inbox, email, settings, slack, webhook},
    ledger::Ledger,
};
use hmac::{Hmac, KeyInit, Mac};
use monitoring::{Alerts, Encryption};
use policy::Role;
use proto::monitoring::v1::{
    AlertEventKind, AlertRule, AlertSeverity, CreateAlertRuleRequest, DeleteAlertRuleRequest,
    GetAlertRoutingRequest, ListAlertHistoryRequest, NotifyRequest, PutAlertRoutingRequest,
    TestReceiverRequest, alert_rule_service_client::AlertRuleServiceClient,
    alert_service_client::AlertServiceClient, notification_service_client::NotificationServiceClient,
};
use sha2::Sha256;
use shared::{
    channel::Channel,
    event::log::{self, Filter},
};
use std::{collections::BTreeSet, process::Command};
use tests::{authority::Authority, smtp::Smtp, until};

/// Starts the service on an engine.
async fn open(engine: Engine, alerts: Alerts) -> Ledger {
    match engine {
        Engine::Sqlite => Ledger::sqlite_with(alerts).await,
        Engine::Postgres => Ledger::postgres_with(alerts).await,
    }
}

#[derive(Debug, Clone, Copy)]
enum Engine {
    Sqlite,
    Postgres,
}

macro_rules! on_each_engine {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                Box::pin(super::$name(super::Engine::Sqlite)).await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                Box::pin(super::$name(super::Engine::Postgres)).await;
            })+
        }
    };
}

on_each_engine!(
    an_alert_is_told_to_everybody_once_and_resolves,
    another_replica_goes_on_where_the_first_one_was,
    what_fails_is_tried_again_and_what_is_refused_is_not,
    of_many_messages_none_comes_twice_from_two_replicas,
    a_receiver_can_be_tried,
);

pub(crate) fn rules(ledger: &Ledger) -> AlertRuleServiceClient<Channel> {
    AlertRuleServiceClient::new(ledger.channel(Role::Operator))
}

pub(crate) fn alerts(ledger: &Ledger) -> AlertServiceClient<Channel> {
    AlertServiceClient::new(ledger.channel(Role::Operator))
}

pub(crate) fn notifications(ledger: &Ledger) -> NotificationServiceClient<Channel> {
    NotificationServiceClient::new(ledger.channel(Role::Admin))
}

/// A rule that always fires.
pub(crate) fn firing(name: &str) -> AlertRule {
    AlertRule {
        name: name.into(),
        expression: "vector(7)".into(),
        severity: AlertSeverity::Critical.into(),
        annotations: [("summary".to_owned(), "there are {{ $value }}".to_owned())].into(),
        ..AlertRule::default()
    }
}

pub(crate) async fn create(ledger: &Ledger, rule: AlertRule) -> AlertRule {
    let request = CreateAlertRuleRequest { rule: Some(rule), validate_only: false };
    rules(ledger).create_alert_rule(request).await.unwrap().into_inner().rule.unwrap()
}

async fn delete(ledger: &Ledger, rule: &AlertRule) {
    let request = DeleteAlertRuleRequest { rule_id: rule.rule_id.clone() };
    rules(ledger).delete_alert_rule(request).await.unwrap();
}

/// How often something happened to alerts of this name.
async fn happened(ledger: &Ledger, kind: AlertEventKind, name: &str) -> usize {
    let request = ListAlertHistoryRequest { kind: kind.into(), page_size: 1_000, ..Default::default() };
    let events = alerts(ledger).list_alert_history(request).await.unwrap().into_inner().events;
    events.iter().filter(|event| event.name == name).count()
}

async fn an_alert_is_told_to_everybody_once_and_resolves(engine: Engine) {
    let (hook, channel, mail) = (Inbox::new(&[]).await, Inbox::new(&[]).await, Smtp::start());
    let receivers =
        [("default", webhook(&hook)), ("mail", email("ops@example.org")), ("chat", slack(&channel))];
    let ledger = open(engine, settings(&receivers, Some(mail.port()))).await;
    let other = ledger.replica().await;
    let routing = notifications(&ledger).get_alert_routing(GetAlertRoutingRequest {}).await.unwrap();
    let json = r#"{"route": {"receiver": "default", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "30s",
        "routes": [{"receiver": "mail", "continue": true}, {"receiver": "chat", "continue": true}, {}]}}"#;
    let etag = routing.into_inner().routing.unwrap().etag;
    let put = PutAlertRoutingRequest { json: json.into(), etag };
    notifications(&ledger).put_alert_routing(put).await.unwrap();
    let of_routes = Filter { kind: Some("alert_routing".into()), ..Filter::default() };
    let changed = log::list(&ledger.db, &of_routes, None, false, 10).await.unwrap();
    let receiver = |side: &Option<serde_json::Value>| side.as_ref().unwrap()["route"]["routes"].to_string();
    assert_eq!(changed.len(), 1);
    assert!(!receiver(&changed[0].event.before).contains("chat"));
    assert!(receiver(&changed[0].event.after).contains("chat"));

    let rule = create(&ledger, firing("Test <1>")).await;
    let about = |got: &crate::inbox::Got| got.is_about("Test <1>");
    let first = hook.wait(1, about).await.remove(0);
    let (body, alert) = (first.json(), first.json()["alerts"][0].clone());
    assert_eq!((body["version"].as_str(), body["status"].as_str()), (Some("4"), Some("firing")));
    assert_eq!(
        (body["receiver"].as_str(), body["notification_reason"].as_str()),
        (Some("default"), Some("first"))
    );
    assert_eq!(body["groupLabels"], serde_json::json!({"alertname": "Test <1>"}));
    assert_eq!(
        (alert["labels"]["severity"].as_str(), alert["annotations"]["summary"].as_str()),
        (Some("critical"), Some("there are 7"))
    );
    assert_eq!(alert["endsAt"], "0001-01-01T00:00:00Z");
    let mut mac = Hmac::<Sha256>::new_from_slice(b"hush").unwrap();
    mac.update(&first.bytes);
    assert_eq!(first.header("x-signature"), format!("sha256={}", hex::encode(mac.finalize().into_bytes())));

    let said = mail.mail_with("[FIRING:1] Test <1>").await;
    assert!(said.contains("To: ops@example.org") && said.contains("there are 7"), "{said}");
    let chat = channel.wait(1, |got| got.json()["text"].as_str().unwrap().contains("Test &lt;1&gt;")).await;
    assert_eq!(chat[0].json()["channel"], "#ops");

    delete(&ledger, &rule).await;
    let both = hook.wait(2, about).await;
    let last = both[1].json();
    assert_eq!(
        (last["status"].as_str(), last["alerts"][0]["status"].as_str()),
        (Some("resolved"), Some("resolved"))
    );
    assert_ne!(last["alerts"][0]["endsAt"], "0001-01-01T00:00:00Z");
    assert_ne!(both[0].header("idempotency-key"), both[1].header("idempotency-key"));
    mail.mail_with("[RESOLVED] Test <1>").await;
    // Two replicas looked all the time: three receivers heard twice, and nobody more often.
    until("all of it is in the history", async || {
        (happened(&ledger, AlertEventKind::Notified, "Test <1>").await == 6).then_some(())
    })
    .await;
    assert_eq!(hook.wait(2, about).await.len(), 2);
    assert_eq!(mail.mails().iter().filter(|mail| mail.contains("Test <1>")).count(), 2);
    assert_eq!(happened(&ledger, AlertEventKind::Firing, "Test <1>").await, 1);
    assert_eq!(happened(&ledger, AlertEventKind::Resolved, "Test <1>").await, 1);
    other.end().await;
    ledger.end().await;
}

async fn another_replica_goes_on_where_the_first_one_was(engine: Engine) {
    let hook = Inbox::new(&[]).await;
    let alerts = settings(&[("default", webhook(&hook))], None);
    let ledger = open(engine, alerts).await;
    let first = ledger.replica().await;
    create(&first, firing("Before")).await;
    hook.wait(1, |got| got.is_about("Before")).await;
    // Whichever of them looked, one is left.
    first.end().await;
    create(&ledger, firing("After")).await;
    hook.wait(1, |got| got.is_about("After")).await;
    assert_eq!(hook.wait(1, |got| got.is_about("Before")).await.len(), 1, "it was told of before");
    assert_eq!(happened(&ledger, AlertEventKind::Firing, "Before").await, 1);
    ledger.end().await;
}

async fn what_fails_is_tried_again_and_what_is_refused_is_not(engine: Engine) {
    let busy = Inbox::new(&[(500, None), (429, Some("1")), (503, None)]).await;
    let strict = Inbox::new(&[(410, None)]).await;
    let ledger = open(engine, settings(&[("busy", slack(&busy)), ("strict", webhook(&strict))], None)).await;
    let mut service = NotificationServiceClient::new(ledger.service_channel());
    let note = |receiver: &str, text: &str| NotifyRequest {
        receiver: receiver.into(),
        subject: "Note".into(),
        text: text.into(),
        request_id: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
        ..NotifyRequest::default()
    };
    let one = service.notify(note("busy", "hello")).await.unwrap().into_inner();
    let again = service.notify(note("busy", "hello")).await.unwrap().into_inner();
    assert_eq!(one, again, "it is one message");
    let status = service.notify(note("busy", "other")).await.unwrap_err();
    assert_eq!(shared::status::reason(&status), "IDEMPOTENCY_KEY_REUSED");
    let is_note = |got: &crate::inbox::Got| got.json().to_string().contains("hello");
    busy.wait(4, is_note).await;
    until("it arrived", async || {
        (happened(&ledger, AlertEventKind::Notified, "busy").await == 1).then_some(())
    })
    .await;
    assert_eq!(busy.wait(4, is_note).await.len(), 4);

    let refused = NotifyRequest { request_id: String::new(), ..note("strict", "refused") };
    service.notify(refused).await.unwrap();
    until("it was given up", async || {
        (happened(&ledger, AlertEventKind::NotNotified, "strict").await == 1).then_some(())
    })
    .await;
    let is_refused = |got: &crate::inbox::Got| got.json()["text"] == "refused";
    assert_eq!(strict.wait(1, is_refused).await.len(), 1);
    ledger.end().await;
}

async fn of_many_messages_none_comes_twice_from_two_replicas(engine: Engine) {
    const MANY: usize = 60;
    let hook = Inbox::new(&[]).await;
    let ledger = open(engine, settings(&[("hook", webhook(&hook))], None)).await;
    let other = ledger.replica().await;
    for number in 0..MANY {
        // Each hears of half of them; both carry what there is.
        let through = if number % 2 == 0 { &ledger } else { &other };
        let note = NotifyRequest {
            receiver: "hook".into(),
            subject: "Note".into(),
            text: format!("note {number}"),
            ..NotifyRequest::default()
        };
        NotificationServiceClient::new(through.service_channel()).notify(note).await.unwrap();
    }
    until("all of them left", async || {
        (happened(&ledger, AlertEventKind::Notified, "hook").await == MANY).then_some(())
    })
    .await;
    let is_note = |got: &crate::inbox::Got| got.json()["subject"] == "Note";
    let came = hook.wait(MANY, is_note).await;
    let texts: BTreeSet<String> = came.iter().map(|got| got.json()["text"].to_string()).collect();
    assert_eq!((came.len(), texts.len()), (MANY, MANY));
    other.end().await;
    ledger.end().await;
}

/// A mail server that takes nothing in the clear, and one whose certificate nobody vouches for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_is_encrypted_before_anything_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("mail");
    let mail = Smtp::encrypted(&authority.issue(&["127.0.0.1"]).write(folder.path(), "smtp"));
    let (known, other) =
        (authority.write(folder.path(), "authority"), Authority::new("other").write(folder.path(), "other"));
    for (trusted, delivered) in [(&known, true), (&other, false)] {
        let mut alerts = settings(&[("mail", email("ops@example.org"))], Some(mail.port()));
        alerts.smtp.encryption = Encryption::Starttls;
        alerts.smtp.ca_file = Some(trusted.clone());
        let ledger = open(Engine::Sqlite, alerts).await;
        let request = TestReceiverRequest { receiver: "mail".into() };
        let tested = notifications(&ledger).test_receiver(request).await.unwrap().into_inner();
        assert_eq!(tested.delivered, delivered, "{tested:?}");
        ledger.end().await;
    }
    let tests = mail.mails().into_iter().filter(|mail| mail.contains("[TEST] Tollgate can reach mail"));
    assert_eq!(tests.count(), 1);
}

async fn a_receiver_can_be_tried(engine: Engine) {
    let (hook, mail) = (Inbox::new(&[(500, None)]).await, Smtp::start());
    let receivers = [("hook", webhook(&hook)), ("mail", email("ops@example.org"))];
    let ledger = open(engine, settings(&receivers, Some(mail.port()))).await;
    let tried = async |receiver: &str| {
        let request = TestReceiverRequest { receiver: receiver.into() };
        notifications(&ledger).test_receiver(request).await.map(tonic::Response::into_inner)
    };
    let first = tried("mail").await.unwrap();
    assert!(first.delivered, "{first:?}");
    mail.mail_with("[TEST] Tollgate can reach mail").await;
    // The default route has sent it something already, perhaps: then the failure is spent.
    let (one, other) = (tried("hook").await.unwrap(), tried("hook").await.unwrap());
    assert!(one.delivered || one.problem == "it answered 500", "{one:?}");
    assert!(other.delivered, "{other:?}");
    assert_eq!(shared::status::reason(&tried("nobody").await.unwrap_err()), "INVALID_FIELD");
    ledger.end().await;
}

/// What Alertmanager's own webhook would carry is what Alertmanager takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alertmanager_takes_the_alerts_of_a_webhook() {
    let hook = Inbox::new(&[]).await;
    let ledger = open(Engine::Sqlite, settings(&[("default", webhook(&hook))], None)).await;
    create(&ledger, firing("Taken")).await;
    let got = hook.wait(1, |got| got.is_about("Taken")).await.remove(0).json();
    ledger.end().await;
    let alertmanager = tests::alertmanager::Alertmanager::start().await;
    alertmanager.post(&got["alerts"]).await;
    let there = until("the alert is there", async || {
        let all = alertmanager.alerts().await;
        all.as_array().unwrap().iter().find(|one| one["labels"]["alertname"] == "Taken").cloned()
    })
    .await;
    let told = &got["alerts"][0];
    for field in ["labels", "annotations", "generatorURL"] {
        assert_eq!(there[field], told[field], "{field}");
    }
    let instant = |value: &serde_json::Value| {
        value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
    };
    assert_eq!(instant(&there["startsAt"]), instant(&told["startsAt"]));
}

/// promtool accepts every rule that is shipped.
#[test]
fn promtool_takes_the_shipped_rules() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../helm/rules.yml");
    let checked = Command::new("promtool").args(["check", "rules", "--lint=all", file]).output();
    let checked = checked.expect("promtool of Debian's package prometheus");
    let said =
        String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.contains("rules found"), "{said}");
}
