//! Budgets through a real gateway: prices, refusals, what is made where nobody says how much, and a gateway that is killed.

use crate::chat::{CHAT, TEMPLATE, chat, streamed, usage};
use serde_json::{Value, json};
use tests::{
    http::Client,
    ledger,
    people::{grant, model_id, person},
    suite::{MODEL, Suite},
    until,
};
use tokio::task::JoinSet;

/// A person who may use the model, and a client of theirs.
async fn ana(suite: &Suite) -> (String, Client) {
    let owner = suite.owner();
    let ana = person(&owner, "ana").await;
    let model = model_id(&owner, MODEL).await;
    grant(&owner, &model, &json!({"user_id": ana.id})).await;
    let client = owner.with_key(&ana.key);
    crate::chat::until_usable(&client).await;
    (ana.id, client)
}

/// A hard budget of a month; returns its id once the gateway heeds it, which it does for what costs more than there is.
async fn budget(suite: &Suite, user: &str, limits: &Value) -> String {
    let mut budget = json!({
        "name": "ana's", "subject": {"user_id": user}, "period": "BUDGET_PERIOD_MONTH", "hard": true,
    });
    budget.as_object_mut().unwrap().extend(limits.as_object().unwrap().clone());
    let made = suite.owner().post("/api/v1/budgets", &json!({"budget": budget})).await.data();
    made["budget"]["budget_id"].as_str().unwrap().to_owned()
}

/// Dollars for a million tokens.
async fn price(suite: &Suite, dollars: &str) {
    let price = json!({"model": MODEL, "input_usd": dollars, "output_usd": dollars});
    let _ = suite.owner().post("/api/v1/prices", &json!({"price": price})).await.data();
}

async fn status(suite: &Suite, budget: &str) -> Value {
    suite.owner().get(&format!("/api/v1/budgets/{budget}/status")).await.data()
}

fn dollars(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

/// Waits until the gateway refuses what no budget has room for.
async fn until_heeded(client: &Client) {
    let refused = async || (client.post(CHAT, &chat(1, 500_000)).await.status == 429).then_some(());
    until("the budget at the gateway", refused).await;
}

/// Waits until it answers such a chat.
async fn until_answered(client: &Client, body: &Value) -> Value {
    let answered = async || {
        let reply = client.post(CHAT, body).await;
        (reply.status == 200).then(|| reply.json())
    };
    until("an answer within the budget", answered).await
}

#[tokio::test]
async fn a_hard_budget_is_spent_and_never_overspent() {
    let suite = Suite::start(&[]).await;
    let (user, ana) = ana(&suite).await;
    price(&suite, "1000").await;
    // A tenth of a cent for each token: 2 dollars are 2,000 tokens.
    let budget = budget(&suite, &user, &json!({"limit_usd": "2"})).await;
    until_heeded(&ana).await;
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let client = ana.clone();
        callers.spawn(async move {
            let mut answered = 0;
            for _ in 0..40 {
                let reply = client.post(CHAT, &chat(1, 40)).await;
                match reply.status {
                    200 => answered += 1,
                    429 => assert!(reply.text().contains("budget_exhausted"), "{}", reply.text()),
                    other => panic!("{other}: {}", reply.text()),
                }
            }
            answered
        });
    }
    let answered: u32 = callers.join_all().await.into_iter().sum();
    assert!(answered > 0, "some fit");
    let settled = async || {
        let told = status(&suite, &budget).await;
        let records = ledger::records(&suite.owner()).await;
        let own = records.iter().filter(|record| record.user_id == user && record.completion_tokens == 40);
        (own.count() == answered as usize).then_some(told)
    };
    let told = until("the ledger", settled).await;
    let (spent, leased) = (dollars(&told["spent_usd"]), dollars(&told["leased_usd"]));
    assert!(spent > 0.0 && spent + leased <= 2.0, "{told}");
    // Raised, it has room again.
    let raised = json!({"name": "ana's", "limit_usd": "20", "hard": true});
    let request = suite.owner().with_json("PATCH", &format!("/api/v1/budgets/{budget}"), &raised);
    let _ = suite.owner().send(request).await.data();
    until_answered(&ana, &chat(1, 40)).await;
    // Nobody else was held up.
    let others = suite.owner().post(CHAT, &chat(1, 40)).await;
    assert_eq!(others.status, 200, "{}", others.text());
}

#[tokio::test]
async fn a_large_first_request_under_a_large_budget_is_served() {
    let suite = Suite::start(&[]).await;
    let (user, ana) = ana(&suite).await;
    price(&suite, "1000").await;
    // 2 dollars are 2,000 tokens, of which a gateway holds a twentieth: the first request wants much more.
    let budget = budget(&suite, &user, &json!({"limit_usd": "2"})).await;
    until_heeded(&ana).await;
    let reply = ana.post(CHAT, &chat(1, 400)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    // More than there is is refused.
    assert_eq!(ana.post(CHAT, &chat(1, 3_000)).await.status, 429);
    let told = status(&suite, &budget).await;
    assert!(dollars(&told["spent_usd"]) + dollars(&told["leased_usd"]) <= 2.0, "{told}");
}

#[tokio::test]
async fn what_has_no_price_is_refused_under_a_hard_budget_of_money() {
    let suite = Suite::start(&[]).await;
    let (user, ana) = ana(&suite).await;
    let _ = budget(&suite, &user, &json!({"limit_usd": "2"})).await;
    let refused = async || {
        let reply = ana.post(CHAT, &chat(1, 1)).await;
        (reply.status != 200).then_some(reply)
    };
    let refused = until("a refusal", refused).await;
    assert!(refused.text().contains("price_unknown"), "{}", refused.text());
    assert_eq!(suite.owner().post(CHAT, &chat(1, 1)).await.status, 200, "others have no budget");
    price(&suite, "1").await;
    until_answered(&ana, &chat(1, 1)).await;
}

#[tokio::test]
async fn usage_without_a_price_raises_an_alert() {
    let suite = Suite::start(&[]).await;
    let owner = suite.owner();
    crate::chat::until_usable(&owner).await;
    assert_eq!(owner.post(CHAT, &chat(1, 1)).await.status, 200);
    // The meter is reported every ten seconds, and rules are looked at after that.
    let raised = async || {
        let listed = owner.get("/api/v1/alerts?page_size=1000").await.data();
        let all = listed["alerts"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|alert| alert["labels"]["alertname"] == "UsageUnpriced")
    };
    let alert = until("an alert of usage without a price", raised).await;
    assert_eq!(
        (&alert["labels"]["model"], &alert["severity"]),
        (&json!(MODEL), &json!("ALERT_SEVERITY_WARNING"))
    );
}

#[tokio::test]
async fn where_nobody_says_how_much_what_fits_is_made() {
    let suite = Suite::start(&[]).await;
    let (user, ana) = ana(&suite).await;
    let budget = budget(&suite, &user, &json!({"limit_tokens": 700})).await;
    until_heeded(&ana).await;
    let mut open = chat(1, 1);
    open.as_object_mut().unwrap().remove("max_tokens");
    let body = open.to_string().len() as u64;
    let answer = until_answered(&ana, &open).await;
    let (read, made) = usage(&answer);
    assert_eq!(read, 1 + TEMPLATE);
    assert!(made > 1 && read + made + body < 700, "{made} tokens were made");
    let spent = async || {
        let told = status(&suite, &budget).await;
        told["spent_tokens"].as_u64().filter(|spent| *spent >= read + made)
    };
    until("the ledger", spent).await;
}

#[tokio::test]
async fn what_a_killed_gateway_held_comes_back_with_its_journal() {
    let mut suite = Suite::start(&[]).await;
    let (user, ana) = ana(&suite).await;
    price(&suite, "1000").await;
    let budget = budget(&suite, &user, &json!({"limit_usd": "10"})).await;
    until_heeded(&ana).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        let body = streamed(1, 400);
        let begun = async || {
            let mut stream = ana.stream(CHAT, &body).await;
            stream.next().await.filter(|event| event.contains("chat.completion.chunk")).map(|_| stream)
        };
        streams.push(until("a stream within the budget", begun).await);
    }
    suite.process.kill();
    drop(streams);
    suite.start_again().await;
    // Its records are `crashed`, and nothing of what it held is outstanding but what the new process has in store.
    let returned = async || {
        let told = status(&suite, &budget).await;
        let (spent, leased) = (dollars(&told["spent_usd"]), dollars(&told["leased_usd"]));
        assert!(spent + leased <= 10.0, "{told}");
        (leased <= 1.5).then_some(())
    };
    until("the lease of the process that was killed", returned).await;
    let records = ledger::records(&suite.owner()).await;
    let crashed = records.iter().filter(|record| record.outcome == "OUTCOME_CRASHED");
    assert_eq!(crashed.count(), 4);
    until_answered(&ana, &chat(1, 40)).await;
}
