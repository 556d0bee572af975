//! Answers that are made ahead: which and in what order, in whose name, and what the ledger says of it.

use crate::{
    answers::{chat, with},
    cached::{answered, ask, on},
    engine::Engine,
    gateway::Gateway,
    until,
};
use http::StatusCode;
use inference::{Config, warm::SYSTEM};
use proto::{inference::v1 as pb, monitoring::v1::UsageRecord};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use std::time::Duration;
use tonic::Code;

fn warm(config: &mut Config) {
    on(config);
    config.cache.warm.enabled = true;
    config.cache.warm.every = Duration::from_millis(50);
}

fn tagged(tag: &str) -> Value {
    with(chat(3), "tollgate", json!({"tags": [tag]}))
}

/// Asks so often.
async fn use_it(gateway: &Gateway, tag: &str, times: usize) {
    for _ in 0..times {
        answered(gateway.chat(&tagged(tag)).await).await;
    }
}

async fn warm_now(gateway: &Gateway, tag: &str, validate_only: bool) -> Result<u64, tonic::Status> {
    let asked = pb::WarmCacheRequest { tag: tag.into(), validate_only, ..Default::default() };
    gateway.cache().warm_cache(asked).await.map(|told| told.into_inner().answers)
}

/// What the ledger says of work that nobody asked for.
fn own(records: &[UsageRecord]) -> Vec<&UsageRecord> {
    records.iter().filter(|record| record.user_id == SYSTEM.to_string()).collect()
}

#[tokio::test]
async fn answers_in_use_are_made_anew_before_they_end_the_highest_score_first() {
    let engine = Engine::own(&[]).await;
    let settings = |config: &mut Config| {
        warm(config);
        config.cache.ttl = Duration::from_secs(16);
        // Nothing is that near to its end.
        config.cache.warm.ahead = Duration::ZERO;
        (config.cache.warm.most, config.cache.warm.at_once) = (2, 1);
    };
    let mut gateway = Gateway::with(&[&engine], settings).await;
    let uses = [("often", 9), ("never", 0), ("most", 30), ("seldom", 4)];
    for (tag, _) in uses {
        use_it(&gateway, tag, 1).await;
    }
    for (tag, times) in uses {
        use_it(&gateway, tag, times).await;
    }
    let mut cache = gateway.cache();
    let by_score = pb::ListCachedRequest { by_score: true, ..Default::default() };
    let half = policy::Time(shared::time::now().0 + 8_000_000);
    // All are in the second half of their time before any may be made: only the score decides then.
    let listed = until("half of their time to be over", async || {
        let listed = cache.list_cached(by_score.clone()).await.unwrap().into_inner().answers;
        (shared::time::now() > half).then_some(listed)
    })
    .await;
    let tags: Vec<&str> = listed.iter().map(|answer| answer.tags[0].as_str()).collect();
    assert_eq!(tags, ["most", "often", "seldom", "never"]);
    assert!(listed.is_sorted_by(|one, other| one.score >= other.score) && listed[0].score > 15.0);
    gateway.configure(|config| config.cache.warm.ahead = Duration::from_secs(10));
    let made = until("the three that are used to be made", async || {
        let records = gateway.records();
        let made: Vec<UsageRecord> = own(&records).into_iter().cloned().collect();
        (made.len() >= 3).then_some(made)
    })
    .await;
    for (record, answer) in made.iter().zip(&listed) {
        assert_eq!(
            record.request_id,
            format!("system:warm:{}", &answer.key[..16]),
            "in the order of the list"
        );
        assert!(!record.cached && record.key_id.is_empty() && record.completion_tokens == 3);
    }
    assert_eq!(answered(gateway.chat(&tagged("most")).await).await.0, "hit");
    let records = gateway.close().await;
    assert_eq!(own(&records).len(), 3, "what nobody used again is not made");
}

#[tokio::test]
async fn what_was_asked_is_remembered_over_a_restart_and_made_when_an_operator_says_so() {
    let engine = Engine::own(&[]).await;
    let gateway = Gateway::with(&[&engine], warm).await;
    use_it(&gateway, "a/1", 3).await;
    use_it(&gateway, "b", 2).await;
    use_it(&gateway, "c", 2).await;
    // What was not counted yet is when it ends.
    let (_, folder) = gateway.end().await;
    let other = Gateway::within(folder, &[&engine], warm).await;
    assert_eq!(warm_now(&other, "", true).await.unwrap(), 3);
    let only = [("cache-control", "only-if-cached")];
    assert_eq!(ask(&other, &tagged("a/1"), &only).await.status, StatusCode::GATEWAY_TIMEOUT, "a new start");
    assert_eq!(
        (warm_now(&other, "a/*", true).await.unwrap(), warm_now(&other, "a/*", false).await.unwrap()),
        (1, 1)
    );
    until("it to be made", async || {
        (ask(&other, &tagged("a/1"), &only).await.status == StatusCode::OK).then_some(())
    })
    .await;
    assert_eq!(
        ask(&other, &tagged("b"), &only).await.status,
        StatusCode::GATEWAY_TIMEOUT,
        "nobody asked for it"
    );
    // Whose data are to go, their requests go as well; what a model answers is only made anew.
    let drop = async |asked: pb::InvalidateCachedRequest| {
        let asked = pb::InvalidateCachedRequest { reason: "a test".into(), ..asked };
        other.cache().invalidate_cached(asked).await.unwrap()
    };
    drop(pb::InvalidateCachedRequest { tag: "a".into(), cascade: true, ..Default::default() }).await;
    drop(pb::InvalidateCachedRequest { model: "*".into(), ..Default::default() }).await;
    assert_eq!(warm_now(&other, "", true).await.unwrap(), 2);
    other.close().await;
}

/// Weeks since 1970 and the hour of the week from Monday in UTC, so many hours from now.
fn hour_in(hours: i64) -> (i64, i64) {
    let since_monday = shared::time::now().0 / 3_600_000_000 + 3 * 24 + hours;
    (since_monday / (7 * 24), since_monday % (7 * 24))
}

/// Has it that the requests with this tag were asked so often in the coming hours of the last four weeks.
async fn were_asked(folder: &std::path::Path, uses: &[(&str, i64)]) {
    let options = SqliteConnectOptions::new().filename(folder.join("inference.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("DELETE FROM cache_uses").execute(&mut connection).await.unwrap();
    // The clock may strike meanwhile.
    for (week, hour) in [hour_in(1), hour_in(2)] {
        for before in 1..=4 {
            for (tag, uses) in uses {
                let query =
                    "INSERT INTO cache_uses SELECT key, $1, $2, $3 FROM cache_requests WHERE tags = $4";
                let query = sqlx::query(query).bind(week - before).bind(hour).bind(uses);
                query.bind(format!("[\"{tag}\"]")).execute(&mut connection).await.unwrap();
            }
        }
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn what_is_expected_of_the_coming_hour_is_made_ahead_of_it() {
    let engine = Engine::own(&[]).await;
    let gateway = Gateway::with(&[&engine], warm).await;
    for tag in ["mondays", "sometimes"] {
        use_it(&gateway, tag, 1).await;
    }
    let (_, folder) = gateway.end().await;
    were_asked(folder.path(), &[("mondays", 2), ("sometimes", 1)]).await;
    let ahead = |config: &mut Config| {
        warm(config);
        // The coming hour is never further away.
        config.cache.warm.ahead = Duration::from_secs(3_600);
        config.cache.ttl = Duration::from_secs(10_000);
    };
    let gateway = Gateway::within(folder, &[&engine], ahead).await;
    let only = [("cache-control", "only-if-cached")];
    until("it to be made", async || {
        (ask(&gateway, &tagged("mondays"), &only).await.status == StatusCode::OK).then_some(())
    })
    .await;
    assert_eq!(ask(&gateway, &tagged("sometimes"), &only).await.status, StatusCode::GATEWAY_TIMEOUT);
    let records = gateway.close().await;
    assert_eq!(own(&records).len(), 1, "made once, and young since");
}

#[tokio::test]
async fn nothing_is_made_for_those_who_may_no_longer_or_while_it_is_off() {
    let engine = Engine::own(&[]).await;
    let gateway = Gateway::with(&[&engine], warm).await;
    use_it(&gateway, "a", 3).await;
    assert_eq!(warm_now(&gateway, "", true).await.unwrap(), 1);
    gateway.taken_back.send_replace(true);
    until("the policy to arrive", async || {
        (ask(&gateway, &chat(1), &[("cache-control", "no-store")]).await.status == StatusCode::FORBIDDEN)
            .then_some(())
    })
    .await;
    assert_eq!(warm_now(&gateway, "", false).await.unwrap(), 0);
    assert_eq!(own(&gateway.close().await).len(), 0);
    let off = Gateway::with(&[&engine], on).await;
    let refused = warm_now(&off, "", false).await.unwrap_err();
    assert_eq!(
        (refused.code(), shared::status::reason(&refused).as_str()),
        (Code::FailedPrecondition, "WARMING_OFF")
    );
    off.close().await;
}
