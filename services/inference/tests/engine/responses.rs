//! `/v1/responses`: whole, streamed, gone on from, and read again; and that each ends honestly.

use crate::{
    answers::with,
    client,
    engine::Engine,
    gateway::{Gateway, UNSERVED},
    ledger,
    refusals::error,
};
use axum::{Json, Router, body::Body, response::Response, routing::get, routing::post};
use http::{Method, Request, StatusCode, header};
use proto::monitoring::v1::Outcome;
use serde_json::{Value, json};
use simulator::{Faults, InBandError};

const PATH: &str = "/v1/responses";

/// A response of exactly so many tokens, always the same.
fn asking(input: &str, tokens: u32) -> Value {
    json!({"input": input, "max_output_tokens": tokens, "ignore_eos": true, "temperature": 0})
}

fn streaming(tokens: u32) -> Value {
    with(asking("w1 w2 w3", tokens), "stream", true)
}

fn text(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"].as_str().unwrap()
}

/// One that keeps what it answers.
async fn keeping() -> Engine {
    Engine::simulated("tiny", &["--enable-responses-api-store"]).await
}

fn delete(path: &str) -> Request<String> {
    Request::builder().method(Method::DELETE).uri(path).body(String::new()).unwrap()
}

#[tokio::test]
async fn a_response_and_its_stream_say_the_same_and_the_ledger_too() {
    let engine = Engine::any().await;
    let (before, gateway) = (engine.counts().await, Gateway::open(&[&engine]).await);
    let answer = gateway.post(PATH, &asking("w1 w2 w3", 9)).await;
    assert_eq!(answer.status, StatusCode::OK);
    let usage_id = answer.header("x-tollgate-usage-id").replace('-', "");
    let whole = answer.json().await;
    assert_eq!((&whole["object"], &whole["status"]), (&json!("response"), &json!("incomplete")));
    let id = whole["id"].as_str().unwrap();
    assert!(id.starts_with("resp_") && id.contains(&usage_id), "{id}");

    let answer = gateway.post(PATH, &streaming(9)).await;
    assert!(answer.header("content-type").starts_with("text/event-stream"));
    let events = answer.named_events().await;
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..2], ["response.created", "response.in_progress"]);
    assert_eq!(names.last(), Some(&"response.completed"), "{names:?}");
    for (number, (_, event)) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number, "{event}");
    }
    let deltas = events.iter().filter(|(name, _)| name == "response.output_text.delta");
    let said: String = deltas.map(|(_, event)| event["delta"].as_str().unwrap()).collect();
    let last = &events.last().unwrap().1["response"];
    assert_eq!((said.as_str(), text(last)), (text(&whole), text(&whole)));
    assert_eq!(last["usage"]["output_tokens"], 9);

    let records = gateway.close().await;
    ledger::check_finished(&records, 2);
    for record in &records {
        assert_eq!((record.endpoint.as_str(), record.completion_tokens), ("responses", 9));
        assert_eq!(record.prompt_tokens, whole["usage"]["input_tokens"]);
    }
    assert_eq!(ledger::counted(&engine, before, &records).await, ledger::tokens(&records));
}

#[tokio::test]
async fn a_conversation_goes_on_at_the_engine_that_keeps_it() {
    let (first, second) = (keeping().await, keeping().await);
    let gateway = Gateway::open(&[&first, &second]).await;
    for round in 0..4 {
        let begun = gateway.post(PATH, &asking(&format!("w{round}"), 4)).await.json().await;
        let id = begun["id"].as_str().unwrap();
        let more = with(asking("w4", 3), "previous_response_id", id);
        let answer = gateway.post(PATH, &more).await;
        assert_eq!(answer.status, StatusCode::OK);
        let more = answer.json().await;
        assert_eq!(more["previous_response_id"], id);
        let read = begun["usage"]["input_tokens"].as_u64().unwrap();
        // What was said, with two tokens around it, and the new question with as many.
        assert_eq!(more["usage"]["input_tokens"], read - 1 + (4 + 2) + (1 + 2) + 1);
        for kept in [&begun, &more] {
            let path = format!("{PATH}/{}", kept["id"].as_str().unwrap());
            let answer = gateway.send(client::get(&path)).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.json().await, *kept);
        }
    }
    let records = gateway.close().await;
    ledger::check_finished(&records, 8);
    for pair in records.chunks(2) {
        assert_eq!(pair[0].engine, pair[1].engine, "{pair:#?}");
    }
}

#[tokio::test]
async fn a_stream_is_kept_as_well_and_a_response_that_is_not_to_be_kept_is_not() {
    let engine = keeping().await;
    let gateway = Gateway::open(&[&engine]).await;
    let events = gateway.post(PATH, &streaming(3)).await.named_events().await;
    let id = events.last().unwrap().1["response"]["id"].as_str().unwrap().to_owned();
    let kept = gateway.send(client::get(&format!("{PATH}/{id}"))).await.json().await;
    assert_eq!(kept, events.last().unwrap().1["response"]);
    let unkept = gateway.post(PATH, &with(asking("w1", 3), "store", false)).await.json().await;
    let id = unkept["id"].as_str().unwrap();
    let lost = error(gateway.send(client::get(&format!("{PATH}/{id}"))).await, StatusCode::NOT_FOUND).await;
    assert_eq!(lost["code"], "response_lost");
    let more = with(asking("w4", 3), "previous_response_id", id);
    let lost = error(gateway.post(PATH, &more).await, StatusCode::NOT_FOUND).await;
    assert_eq!(lost["code"], "response_lost");
    let records = gateway.close().await;
    let refused = &records[2];
    assert_eq!((refused.outcome(), refused.prompt_tokens, refused.estimated), (Outcome::Failed, 0, false));
}

#[tokio::test]
async fn a_name_that_was_never_given_is_nobodys() {
    let engine = keeping().await;
    let gateway = Gateway::open(&[&engine]).await;
    let begun = gateway.post(PATH, &asking("w1", 2)).await.json().await;
    let id = begun["id"].as_str().unwrap();
    let last = if id.ends_with('0') { "1" } else { "0" };
    let forged = format!("{}{last}", &id[..id.len() - 1]);
    for id in ["resp_1", "nonsense", "..%2f..%2fmetrics", forged.as_str()] {
        let path = format!("{PATH}/{id}");
        for request in
            [client::get(&path), client::post(&format!("{path}/cancel"), &json!({})), delete(&path)]
        {
            let refused = error(gateway.send(request).await, StatusCode::NOT_FOUND).await;
            assert_eq!(refused["code"], "response_not_found");
        }
        let more = with(asking("w1", 2), "previous_response_id", id);
        let refused = error(gateway.post(PATH, &more).await, StatusCode::NOT_FOUND).await;
        assert_eq!(refused["code"], "response_not_found");
    }
    let own = format!("{PATH}/{id}");
    let refused = error(gateway.send(delete(&own)).await, StatusCode::METHOD_NOT_ALLOWED).await;
    assert!(refused["message"].as_str().unwrap().contains("does not offer this"), "{refused}");
    let cancel = client::post(&format!("{own}/cancel"), &json!({}));
    let refused = error(gateway.send(cancel).await, StatusCode::BAD_REQUEST).await;
    assert_eq!(refused["message"], "Cannot cancel a synchronous response.");
    let streamed = gateway.send(client::get(&format!("{own}?stream=true"))).await;
    assert_eq!(error(streamed, StatusCode::BAD_REQUEST).await["param"], "stream");
    assert_eq!(gateway.close().await.len(), 1, "nothing else reached an engine as work");
}

#[tokio::test]
async fn names_survive_the_gateway_and_not_the_engine() {
    let mut engine = keeping().await;
    let gateway = Gateway::open(&[&engine]).await;
    let begun = gateway.post(PATH, &asking("w1", 2)).await.json().await;
    let path = format!("{PATH}/{}", begun["id"].as_str().unwrap());
    let (_, folder) = gateway.end().await;
    let gateway = Gateway::within(folder, &[&engine], |_| {}).await;
    assert_eq!(gateway.send(client::get(&path)).await.json().await, begun);
    engine.kill().await;
    error(gateway.send(client::get(&path)).await, StatusCode::SERVICE_UNAVAILABLE).await;
    engine.start_again().await;
    let lost = error(gateway.send(client::get(&path)).await, StatusCode::NOT_FOUND).await;
    assert_eq!(lost["code"], "response_lost");
    let (_, folder) = gateway.end().await;
    let other = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::within(folder, &[&other], |_| {}).await;
    let lost = error(gateway.send(client::get(&path)).await, StatusCode::NOT_FOUND).await;
    assert_eq!(lost["code"], "response_lost", "its engine is not there any more");
}

#[tokio::test]
async fn callers_choose_no_names_and_nothing_runs_on_uncounted() {
    let engine = keeping().await;
    let gateway = Gateway::open(&[&engine]).await;
    let victim = gateway.post(PATH, &asking("w1", 2)).await.json().await;
    let id = victim["id"].as_str().unwrap();
    let other = gateway.post(PATH, &with(asking("w2", 3), "request_id", id)).await.json().await;
    assert_ne!(other["id"], id);
    let path = format!("{PATH}/{id}");
    assert_eq!(gateway.send(client::get(&path)).await.json().await, victim, "it was not overwritten");
    let background = with(asking("w1", 2), "background", true);
    let refused = error(gateway.post(PATH, &background).await, StatusCode::BAD_REQUEST).await;
    assert_eq!(refused["param"], "background");
    ledger::check_finished(&gateway.close().await, 2);
}

#[tokio::test]
async fn what_is_wrong_is_said_by_field() {
    let engine = Engine::any().await;
    let gateway = Gateway::open(&[&engine]).await;
    let cases = [
        (json!({}), "input"),
        (json!({"input": null}), "input"),
        (json!({"input": 7}), "body.input"),
        (with(asking("w1", 2), "max_output_tokens", "many"), "max_output_tokens"),
        (with(asking("w1", 2), "max_output_tokens", 0), "max_tokens"),
        (with(asking("w1", 2), "max_output_tokens", 1_000_000), "max_output_tokens"),
        (with(asking("w1", 2), "stream", "yes"), "stream"),
        (with(asking("w1", 2), "previous_response_id", 7), "previous_response_id"),
        (with(asking("w1", 2), "background", "yes"), "background"),
    ];
    for (body, param) in cases {
        let refused = error(gateway.post(PATH, &body).await, StatusCode::BAD_REQUEST).await;
        assert_eq!(refused["param"], param, "{body}: {refused}");
    }
    let unknown = with(asking("w1", 2), "model", "nope");
    let refused = error(gateway.post(PATH, &unknown).await, StatusCode::NOT_FOUND).await;
    assert_eq!(refused["code"], "model_not_found");
    let unserved = with(asking("w1", 2), "model", UNSERVED);
    error(gateway.post(PATH, &unserved).await, StatusCode::SERVICE_UNAVAILABLE).await;
    gateway.taken_back.send_replace(true);
    crate::until("the grant to be gone", async || {
        let answer = gateway.post(PATH, &asking("w1", 2)).await;
        (answer.status == StatusCode::FORBIDDEN).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_engine_that_is_full_after_it_began_is_left_for_another() {
    let full = Engine::simulated("tiny", &[]).await;
    let gateway = Gateway::open(&[&full]).await;
    let error_inside = |times| Some(InBandError { status: 503, after_events: 0, times: Some(times) });
    // It says that it has begun, and then breaks off before the first token.
    full.fail(Faults { in_band_error: error_inside(1), ..Faults::default() });
    let events = gateway.post(PATH, &streaming(4)).await.named_events().await;
    assert_eq!(events.last().unwrap().0, "response.completed");
    let records = gateway.close().await;
    ledger::check_finished(&records, 1);
    assert_eq!(records[0].attempt, 2);
}

#[tokio::test]
async fn a_stream_whose_engine_dies_ends_with_an_error() {
    let mut victim = Engine::own(&[]).await;
    let gateway = Gateway::open(&[&victim]).await;
    let mut answer = gateway.post(PATH, &streaming(3_000)).await;
    let mut seen = 0;
    while seen < 3 {
        let (name, _) = answer.named_event().await.unwrap();
        seen += u64::from(name == "response.output_text.delta");
    }
    victim.kill().await;
    let events = answer.named_events().await;
    let (name, last) = events.last().unwrap();
    assert_eq!((name.as_str(), &last["code"]), ("error", &json!("stream_interrupted")));
    let before =
        events.len().checked_sub(2).map(|place| events[place].1["sequence_number"].as_u64().unwrap());
    assert!(before.is_none_or(|before| last["sequence_number"] == before + 1), "{events:?}");
    let records = gateway.close().await;
    ledger::check(&records, 1);
    crate::death::check_failed(&records[0], seen);
}

/// An engine that says these events.
async fn saying(events: &'static str) -> Engine {
    let models = json!({"object": "list", "data": [{"id": "tiny", "object": "model"}]});
    let answer = move || {
        let head = Response::builder().header(header::CONTENT_TYPE, "text/event-stream; charset=utf-8");
        std::future::ready(head.body(Body::from(events)).unwrap())
    };
    let routes = Router::new()
        .route("/v1/models", get(move || std::future::ready(Json(models.clone()))))
        .route(PATH, post(answer));
    Engine::recorded("tiny", routes).await
}

const BEGUN: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"usage\":null},\"sequence_number\":0}\n\n";

#[tokio::test]
async fn a_failure_before_the_first_token_is_an_answer_and_one_behind_it_an_event() {
    let early = "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_error\",\"message\":\"m\"}}}\n\n";
    let delta = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"w1\"}\n\n";
    let early: &'static str = Box::leak(format!("{BEGUN}{early}").into_boxed_str());
    let engine = saying(early).await;
    let gateway = Gateway::open(&[&engine]).await;
    error(gateway.post(PATH, &streaming(4)).await, StatusCode::SERVICE_UNAVAILABLE).await;
    gateway.close().await;
    for end in ["", "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{}}\n\n"] {
        let late: &'static str = Box::leak(format!("{BEGUN}{delta}{end}").into_boxed_str());
        let engine = saying(late).await;
        let gateway = Gateway::open(&[&engine]).await;
        let events = gateway.post(PATH, &streaming(4)).await.named_events().await;
        let last = events.last().unwrap().0.as_str();
        assert_eq!(last, if end.is_empty() { "error" } else { "response.failed" });
        let records = gateway.close().await;
        assert_eq!((records[0].outcome(), records[0].estimated), (Outcome::Failed, true));
        assert_eq!(records[0].completion_tokens, 1);
    }
}

#[tokio::test]
async fn the_same_name_is_one_response() {
    let engine = keeping().await;
    let gateway = Gateway::open(&[&engine]).await;
    let ask = || {
        let mut request = client::post(PATH, &with(asking("w1", 4), "model", "tiny"));
        request.headers_mut().insert("idempotency-key", "one".parse().unwrap());
        request
    };
    let one = gateway.send(ask()).await.json().await;
    let again = gateway.send(ask()).await.json().await;
    assert_eq!(one, again);
    let records = gateway.close().await;
    assert_eq!((records.len(), records[0].completion_tokens, records[1].completion_tokens), (2, 4, 0));
    assert_eq!((records[1].cached, records[1].saved_completion_tokens), (true, 4));
}
