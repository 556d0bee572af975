//! Why a request was refused or slow, asked with the id that its answer carried.

use crate::{
    chat::{CHAT, chat, named, streamed, until_usable},
    operate::Desk,
};
use serde_json::{Value, json};
use tests::{
    http::{Client, Reply},
    people::person,
    suite::{MODEL, Suite},
    until,
};

async fn ask(client: &Client, id: &str) -> Reply {
    client.get(&format!("/api/v1/requests/{id}")).await
}

/// The one story of a request, once it is told.
async fn story(client: &Client, id: &str) -> Value {
    let told = async || {
        let reply = ask(client, id).await;
        (reply.status == 200).then(|| reply.json()["data"].take())
    };
    let told = until("the story of a request", told).await;
    assert_eq!(told["stories"].as_array().map(Vec::len), Some(1), "{told:#}");
    told["stories"][0].clone()
}

#[tokio::test]
async fn an_answer_s_id_leads_to_all_that_is_known_of_it() {
    let suite = Suite::start(&[]).await;
    let (owner, desk) = (suite.owner(), Desk::signed_in(&suite));
    until_usable(&owner).await;
    let price = json!({"model": MODEL, "input_usd": "1", "output_usd": "2"});
    let _ = owner.post("/api/v1/prices", &json!({"price": price})).await.data();

    let answer = owner.send(named(&owner, "a-chat", &chat(2, 3))).await.ok();
    let usage_id = answer.headers["x-tollgate-usage-id"].to_str().unwrap().to_owned();
    let told = story(&owner, "a-chat").await;
    assert_eq!(story(&owner, &usage_id).await, told, "both of its ids lead there");
    let (record, first) = (&told["record"], suite.first_run());
    assert_eq!(
        (record["usage_id"].as_str(), record["user_id"].as_str()),
        (Some(&*usage_id), Some(&*first.owner_id))
    );
    assert_eq!(
        (&record["outcome"], &record["course"]["priority"]),
        (&json!("OUTCOME_FINISHED"), &json!("default"))
    );
    let attempts = told["attempts"].as_array().unwrap();
    assert_eq!((attempts.len(), &attempts[0]["ended"]), (1, &json!("answered")));
    assert_eq!(attempts[0]["engine"], record["engine"]);
    assert_eq!(told["price"]["price_id"], record["price_id"]);
    // 5 tokens of 1 $ and 3 of 2 $, each for a million.
    assert_eq!(record["cost_usd"], "0.000011");
    assert!(told["refusal"].is_null() && told["cost_unknown"].as_str().is_none_or(str::is_empty));

    let page = desk.table("why a-chat");
    for words in
        ["It was answered in ", "It cost $0.000011: 5 tokens read", "request         a-chat", "engine 1 "]
    {
        assert!(page.contains(words), "{words} is not in:\n{page}");
    }

    // A caller who hangs up is told of as well.
    let hung_up = owner.try_stream(named(&owner, "hung-up", &streamed(1, 4_000))).await.unwrap();
    drop(hung_up);
    let told = story(&owner, "hung-up").await;
    assert_eq!(told["record"]["outcome"], "OUTCOME_CANCELLED");
    assert!(told["summary"][0].as_str().unwrap().starts_with("Its caller went away after "), "{told:#}");
}

#[tokio::test]
async fn whoever_is_refused_can_ask_why_and_nobody_else_can() {
    let suite = Suite::start(&[]).await;
    let (owner, desk) = (suite.owner(), Desk::signed_in(&suite));
    let (ana, ben) = (person(&owner, "ana").await, person(&owner, "ben").await);
    let (ana_s, ben_s) = (owner.with_key(&ana.key), owner.with_key(&ben.key));
    let refused = async || {
        let reply = ana_s.send(named(&ana_s, "no-grant", &chat(1, 1))).await;
        (reply.status == 403).then_some(())
    };
    until("a person who is known and may not", refused).await;
    let mut other = chat(1, 1);
    other["model"] = json!("nothing-of-that-name");
    assert_eq!(ana_s.send(named(&ana_s, "no-model", &other)).await.status, 404);
    let mut malformed = ana_s.request("POST", CHAT);
    malformed.headers_mut().insert("x-request-id", "no-json".parse().unwrap());
    *malformed.body_mut() = "{\"model\": my secret".into();
    assert_eq!(ana_s.send(malformed).await.status, 400);

    for (id, reason, model) in [
        ("no-grant", "MODEL_NOT_PERMITTED", MODEL),
        ("no-model", "MODEL_NOT_FOUND", "nothing-of-that-name"),
        ("no-json", "BODY_MALFORMED", ""),
    ] {
        let told = story(&ana_s, id).await;
        let refusal = &told["refusal"];
        assert_eq!((refusal["reason"].as_str(), refusal["user_id"].as_str()), (Some(reason), Some(&*ana.id)));
        assert_eq!(refusal["model"].as_str().unwrap_or_default(), model, "{told:#}");
        assert_eq!(refusal["route"], CHAT);
        assert!(told["record"].is_null() && !told.to_string().contains("secret"), "{told:#}");
        assert_eq!(story(&owner, id).await, told);
        let stranger = ask(&ben_s, id).await;
        assert_eq!(
            (stranger.status, stranger.json()["error_code"].clone()),
            (404, json!("REQUEST_NOT_FOUND"))
        );
    }
    let page = desk.table("why no-grant");
    assert!(page.contains("It was refused after ") && page.contains("MODEL_NOT_PERMITTED"), "{page}");
}
