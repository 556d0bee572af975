//! Faults of a running suite become the right alerts at a real receiver, and resolve: each once, and no others.

use crate::chat::{CHAT, chat, until_usable};
use serde_json::json;
use tests::{
    disk::{self, Filling},
    engine::Engine,
    people::{grant, model_id, person},
    postgres::Server,
    redis::Redis,
    smtp::Smtp,
    suite::{MODEL, Suite},
    until,
    webhook::{Told, Webhook},
};
use tokio::time::Instant;

/// Whatever may come of the faults that are made here. Disks are looked at where one is filled: the machine's own may be full.
const FAULTS: [&str; 6] =
    ["DatabaseDown", "RedisDown", "EngineDown", "NoEngine", "BudgetNearlySpent", "BudgetSpent"];

/// An alert by its name and some of its labels.
type Wanted<'a> = (&'a str, &'a [(&'a str, &'a str)]);

/// A suite whose alerts go to a receiver.
struct Watched {
    suite: Suite,
    hook: Webhook,
}

impl Watched {
    async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_under(&[], settings).await
    }

    /// Starts it, and waits until its rules are looked at: one of them always fires.
    async fn start_under(words: &'static [&'static str], settings: &[(&str, &str)]) -> Self {
        let hook = Webhook::start().await;
        let url = hook.url();
        let receiver = [("TOLLGATE_MONITORING__ALERTS__RECEIVERS__DEFAULT__WEBHOOK__URL__VALUE", &*url)];
        let suite = Suite::start_under(words, &[&receiver, settings].concat()).await;
        hook.until_told("the watchdog", |told| told.is("Watchdog", &[])).await;
        Self { suite, hook }
    }

    /// Waits until the receiver has heard this of all of these.
    async fn until(&self, fault: &str, status: &str, wanted: &[Wanted<'_>]) {
        let begun = Instant::now();
        for (name, labels) in wanted {
            let meant = |told: &Told| told.status == status && told.is(name, labels);
            let came = self.hook.until_told(&format!("{status} {name} {labels:?}"), meant).await;
            // What docs/alerts.md shows.
            let took = came.duration_since(begun).as_secs_f64();
            eprintln!("{fault}: {name} {labels:?} was {status} after {took:.1} s");
        }
    }

    /// The receiver has heard once that each of these began, once that it is over, and of nothing else that is a fault.
    fn heard_only(&self, wanted: &[Wanted<'_>]) {
        let told = self.hook.told();
        let is_meant = |told: &&Told| {
            FAULTS.contains(&&*told.labels["alertname"]) || wanted.iter().any(|(name, _)| told.is(name, &[]))
        };
        let faults = told.iter().filter(is_meant);
        let mut heard: Vec<&Told> = faults.collect();
        for (name, labels) in wanted {
            let of = heard.extract_if(.., |told| told.is(name, labels));
            let of: Vec<&str> = of.map(|told| told.status.as_str()).collect();
            assert_eq!(of, ["firing", "resolved"], "{name} {labels:?}");
        }
        assert!(heard.is_empty(), "{heard:#?}");
    }
}

#[tokio::test]
async fn a_database_that_is_stopped() {
    let mut database = Server::start();
    let url = database.url().to_owned();
    let settings = [("TOLLGATE_PERMISSIONS__DATABASE", &*url), ("TOLLGATE_MONITORING__DATABASE", &*url)];
    let watched = Watched::start(&settings).await;
    let wanted: [Wanted<'_>; 2] = [
        ("DatabaseDown", &[("component", "database"), ("severity", "critical")]),
        ("DatabaseDown", &[("component", "usage database"), ("severity", "critical")]),
    ];
    database.tell("stop");
    watched.until("PostgreSQL stopped", "firing", &wanted).await;
    database.tell("start");
    watched.until("PostgreSQL stopped", "resolved", &wanted).await;
    watched.heard_only(&wanted);
}

#[tokio::test]
async fn a_redis_that_is_killed() {
    let (mut redis, mail) = (Redis::start(), Smtp::start());
    let (url, port) = (redis.url(), mail.port().to_string());
    let settings = [
        ("TOLLGATE_REDIS__URL", &*url),
        ("TOLLGATE_MONITORING__ALERTS__SMTP__HOST", "127.0.0.1"),
        ("TOLLGATE_MONITORING__ALERTS__SMTP__PORT", &*port),
        ("TOLLGATE_MONITORING__ALERTS__SMTP__ENCRYPTION", "none"),
        ("TOLLGATE_MONITORING__ALERTS__RECEIVERS__MAIL__EMAIL__TO", r#"["ops@example.org"]"#),
    ];
    let watched = Watched::start(&settings).await;
    let owner = watched.suite.owner();
    let routing = owner.get("/api/v1/alert-routing").await.data()["routing"].clone();
    let both = json!({"route": {
        "receiver": "default", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "5s",
        "routes": [{"receiver": "mail", "continue": true}, {}],
    }});
    let put = json!({"json": both.to_string(), "etag": routing["etag"]});
    let _ = owner.send(owner.with_json("PUT", "/api/v1/alert-routing", &put)).await.data();
    let wanted: [Wanted<'_>; 1] = [("RedisDown", &[("severity", "error")])];
    redis.kill();
    watched.until("Redis killed", "firing", &wanted).await;
    mail.mail_with("[FIRING:1] RedisDown").await;
    redis.start_again();
    watched.until("Redis killed", "resolved", &wanted).await;
    mail.mail_with("[RESOLVED] RedisDown").await;
    watched.heard_only(&wanted);
}

#[tokio::test]
async fn an_engine_that_hangs() {
    let (engine, other) = (Engine::start("").await, Engine::start("").await);
    let watched = Watched::start(&[("TOLLGATE_ENGINES", &format!("{},{}", engine.url, other.url))]).await;
    until_usable(&watched.suite.owner()).await;
    let labels = [("engine", &*engine.url), ("severity", "critical")];
    let wanted: [Wanted<'_>; 1] = [("EngineDown", &labels)];
    engine.process.signal("STOP");
    watched.until("an engine hung", "firing", &wanted).await;
    engine.process.signal("CONT");
    watched.until("an engine hung", "resolved", &wanted).await;
    watched.heard_only(&wanted);
}

#[tokio::test]
async fn a_disk_that_is_nearly_full() {
    let watched = Watched::start_under(&disk::UNDER, &[]).await;
    let wanted: [Wanted<'_>; 1] = [("DiskFull", &[("severity", "critical")])];
    let filling = Filling::of(watched.suite.process.id(), watched.suite.folder(), 97);
    watched.until("a disk nearly full", "firing", &wanted).await;
    filling.remove();
    watched.until("a disk nearly full", "resolved", &wanted).await;
    watched.heard_only(&wanted);
}

#[tokio::test]
async fn a_budget_that_is_crossed() {
    let watched = Watched::start(&[]).await;
    let owner = watched.suite.owner();
    let ana = person(&owner, "ana").await;
    grant(&owner, &model_id(&owner, MODEL).await, &json!({"user_id": ana.id})).await;
    let client = owner.with_key(&ana.key);
    // A tenth of a cent for each token: the limit of one cent is ten of them.
    let price = json!({"model": MODEL, "input_usd": "1000", "output_usd": "1000"});
    let _ = owner.post("/api/v1/prices", &json!({"price": price})).await.data();
    let budget = json!({
        "name": "ana's", "subject": {"user_id": ana.id}, "period": "BUDGET_PERIOD_MONTH", "limit_usd": "0.01",
    });
    let made = owner.post("/api/v1/budgets", &json!({"budget": budget})).await.data();
    let answered = async || (client.post(CHAT, &chat(1, 40)).await.status == 200).then_some(());
    until("an answer", answered).await;
    let wanted: [Wanted<'_>; 1] = [("BudgetSpent", &[("budget", "ana's"), ("severity", "critical")])];
    watched.until("a budget crossed", "firing", &wanted).await;
    let raised = json!({"name": "ana's", "limit_usd": "100"});
    let path = format!("/api/v1/budgets/{}", made["budget"]["budget_id"].as_str().unwrap());
    let _ = owner.send(owner.with_json("PATCH", &path, &raised)).await.data();
    watched.until("a budget crossed", "resolved", &wanted).await;
    watched.heard_only(&wanted);
}

/// A process that is killed between the receiver's answer and its note of that sends again, under the same key; one that
/// lives does not.
#[tokio::test]
async fn a_message_of_a_killed_process_comes_again_under_its_key() {
    let mut watched = Watched::start(&[]).await;
    let owner = watched.suite.owner();
    let rule = json!({"name": "Killed", "expression": "vector(1)", "severity": "ALERT_SEVERITY_CRITICAL"});
    watched.hook.hold(true);
    let _ = owner.post("/api/v1/alert-rules", &json!({"rule": rule})).await.data();
    let about = |told: &Told| told.is("Killed", &[]);
    let first = watched.hook.keys("the message", 1, about).await;
    watched.suite.process.kill();
    watched.hook.hold(false);
    watched.suite.start_again().await;
    let again = watched.hook.keys("the message of the next process", 2, about).await;
    assert_eq!(again, [first[0].clone(), first[0].clone()]);
    let delivered = async || {
        let receivers = watched.suite.owner().get("/api/v1/receivers").await.data();
        (receivers["waiting"].as_u64() == Some(0)).then_some(())
    };
    until("its delivery", delivered).await;
    assert_eq!(watched.hook.keys("the message", 2, about).await.len(), 2);
}
