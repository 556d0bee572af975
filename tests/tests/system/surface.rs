//! The routes beside chats, completions and embeddings, over the whole suite: who owns a response, what the ledger says of
//! each route, and that a response is found by every gateway.

use crate::chat::{recorded, until_usable};
use serde_json::{Value, json};
use tests::{
    engine::Engine,
    gateways::Gateways,
    http::Client,
    ledger, people,
    suite::{MODEL, Suite},
    until,
};

const RESPONSES: &str = "/v1/responses";

/// A response of exactly so many tokens.
fn asking(input: &str, tokens: u64) -> Value {
    json!({"model": MODEL, "input": input, "max_output_tokens": tokens, "ignore_eos": true, "temperature": 0})
}

fn after(previous: &Value, tokens: u64) -> Value {
    let mut body = asking("w5", tokens);
    body["previous_response_id"] = previous["id"].clone();
    body
}

/// Asks for a response, which must come.
async fn respond(client: &Client, body: &Value) -> Value {
    client.post(RESPONSES, body).await.ok().json()
}

fn path(response: &Value) -> String {
    format!("{RESPONSES}/{}", response["id"].as_str().unwrap())
}

#[tokio::test]
async fn every_route_is_metered_and_a_response_is_its_owners_alone() {
    let suite = Suite::start(&[]).await;
    let owner = suite.owner();
    let model = people::model_id(&owner, MODEL).await;
    let ana = people::person(&owner, "ana").await;
    people::grant(&owner, &model, &json!({"user_id": ana.id})).await;
    let other = owner.with_key(&ana.key);
    until_usable(&other).await;

    let first = respond(&owner, &asking("w1 w2 w3", 4)).await;
    let second = respond(&owner, &after(&first, 3)).await;
    assert_eq!(owner.get(&path(&second)).await.ok().json(), second);
    for stranger in [other.get(&path(&first)).await, other.post(RESPONSES, &after(&first, 3)).await] {
        let (status, code, _) = stranger.openai_error();
        assert_eq!((status, code.as_str()), (404, "response_not_found"));
    }
    let chat = json!([{"role": "user", "content": "w1 w2 w3"}]);
    let message = json!({"model": MODEL, "max_tokens": 5, "ignore_eos": true, "messages": chat});
    let said = owner.post("/v1/messages", &message).await.ok().json();
    assert_eq!(said["usage"], json!({"input_tokens": 6, "output_tokens": 5}));
    let refused = owner.with_key("tgk_nobodys").post("/v1/messages", &message).await;
    assert_eq!((refused.status, &refused.json()["type"]), (401, &json!("error")));
    assert_eq!(refused.json()["error"]["type"], "authentication_error");
    let counted = owner.post("/v1/messages/count_tokens", &message).await.ok().json();
    assert_eq!(counted["input_tokens"], 6);
    let ranking = json!({"model": MODEL, "query": "w1", "documents": ["w2 w3", "w1"]});
    for route in ["/v1/rerank", "/rerank"] {
        assert_eq!(owner.post(route, &ranking).await.ok().json()["results"][0]["index"], 1);
    }
    let pair = json!({"model": MODEL, "text_1": "w1", "text_2": "w2 w3"});
    let _ = owner.post("/v1/score", &pair).await.ok();
    let cut = owner.post("/tokenize", &json!({"model": MODEL, "prompt": "w1 w2"})).await.ok().json();
    let text = json!({"model": MODEL, "tokens": cut["tokens"]});
    assert_eq!(owner.post("/v1/detokenize", &text).await.ok().json()["prompt"], "w1 w2");

    let mut records = until("a record of every call", async || {
        let mut records = ledger::records(&owner).await;
        // With those it was found out whether ana may ask.
        records.retain(|record| record.endpoint != "chat/completions");
        Some(records).filter(|records| records.len() >= 9)
    })
    .await;
    records.sort_by(|one, other| one.usage_id.cmp(&other.usage_id));
    let told: Vec<_> = records.iter().map(|one| (one.endpoint.as_str(), recorded(one), one.end())).collect();
    let finished = |endpoint, tokens| (endpoint, tokens, "finished".to_owned());
    assert_eq!(
        told,
        [
            finished("responses", (6, 4)),
            finished("responses", (6 - 1 + 6 + 3 + 1, 3)),
            finished("messages", (6, 5)),
            finished("messages/count_tokens", (0, 0)),
            finished("rerank", (4, 0)),
            // The same again, which need not be computed.
            finished("rerank", (0, 0)),
            finished("score", (3, 0)),
            finished("tokenize", (0, 0)),
            finished("detokenize", (0, 0)),
        ]
    );
}

#[tokio::test]
async fn a_response_is_found_by_every_gateway_and_by_a_new_one() {
    let keeping = "--enable-responses-api-store";
    let engines = [Engine::start(keeping).await, Engine::start(keeping).await];
    let urls = [engines[0].url.as_str(), engines[1].url.as_str()];
    let mut gateways = Gateways::start(&[1.0, 1.0], &urls, &[]).await;
    people::register(&gateways.apart.owner(), MODEL).await;
    for number in 0..2 {
        until_usable(&gateways.client(number)).await;
    }
    let (one, other) = (gateways.client(0), gateways.client(1));
    let mut kept = Vec::new();
    for round in 0..6 {
        let first = respond(&one, &asking(&format!("w{round}"), 2)).await;
        let second = respond(&other, &after(&first, 2)).await;
        assert_eq!(other.get(&path(&first)).await.ok().json(), first);
        assert_eq!(one.get(&path(&second)).await.ok().json(), second);
        kept.push(second);
    }
    gateways.running[1].process.kill();
    gateways.start_again(1).await;
    let again = gateways.client(1);
    for response in &kept {
        let read = until("the gateway to be back", async || {
            Some(again.get(&path(response)).await).filter(|answer| answer.status == 200)
        });
        assert_eq!(read.await.json(), *response);
    }
}
