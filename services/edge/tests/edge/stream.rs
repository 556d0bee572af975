//! Streams as server-sent events.

use crate::door::{Door, json};
use axum::body::{Body, BodyDataStream};
use edge::Config;
use futures_util::StreamExt;
use http::{Method, Request, StatusCode};
use proto::permissions::v1::{
    WatchPolicyResponse,
    watch_policy_response::{Heartbeat, Message},
};
use serde_json::Value;
use std::time::Duration;
use tonic::Status;

fn heartbeat(revision: u64) -> Result<WatchPolicyResponse, Status> {
    let message = Some(Message::Heartbeat(Heartbeat { revision, time: None }));
    Ok(WatchPolicyResponse { epoch: "e".to_owned(), message })
}

async fn watch(door: &Door) -> BodyDataStream {
    let answer = door.send(Request::get("/api/v1/policy:watch").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    answer.into_body().into_data_stream()
}

async fn next(events: &mut BodyDataStream) -> String {
    String::from_utf8(events.next().await.unwrap().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn each_message_is_an_event_and_leaves_before_the_next_is_made() {
    let door = Door::open();
    let feed = door.policy.feed();
    let mut events = watch(&door).await;
    for revision in 1..=3 {
        feed.send(heartbeat(revision)).await.unwrap();
        let event = next(&mut events).await;
        let data: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap().trim_end()).unwrap();
        assert_eq!(data, serde_json::json!({"epoch": "e", "heartbeat": {"revision": revision}}));
    }
    drop(feed);
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_stream_that_fails_on_the_way_ends_with_an_error_event() {
    let door = Door::open();
    let feed = door.policy.feed();
    let mut events = watch(&door).await;
    feed.send(heartbeat(1)).await.unwrap();
    next(&mut events).await;
    feed.send(Err(Status::not_found("the epoch is gone"))).await.unwrap();
    let event = next(&mut events).await;
    let data = event.strip_prefix("event: error\ndata: ").unwrap();
    let data: Value = serde_json::from_str(data.trim_end()).unwrap();
    assert_eq!(data["success"], false);
    assert_eq!(data["error_code"], "NOT_FOUND");
    assert_eq!(data["error"], "the epoch is gone");
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_stream_that_cannot_begin_is_an_ordinary_failure() {
    let answer = Door::open().get("/api/v1/policy:watch?epoch=lost").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.body["error_code"], "STORE_UNAVAILABLE");
}

#[tokio::test]
async fn the_service_is_told_when_the_client_goes_away() {
    let door = Door::open();
    let feed = door.policy.feed();
    let mut events = watch(&door).await;
    feed.send(heartbeat(1)).await.unwrap();
    next(&mut events).await;
    drop(events);
    feed.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_gets_comments() {
    let config = Config { stream_heartbeat: Duration::from_secs(7), ..Config::default() };
    let door = Door::with(config, axum::Router::new());
    let _feed = door.policy.feed();
    let mut events = watch(&door).await;
    assert_eq!(next(&mut events).await, ": heartbeat\n\n");
}

#[tokio::test]
async fn a_stream_can_be_asked_for_with_a_body() {
    let door = Door::open();
    let prompt = r#"{"prompt":{"model":"m","text":"one two"}}"#;
    let answer = door.send(json(Method::POST, "/api/v1/inference:stream", prompt)).await;
    let mut events = answer.into_body().into_data_stream();
    assert!(next(&mut events).await.contains(r#""text":"one""#));
    assert!(next(&mut events).await.contains(r#""text":"two""#));
    assert!(events.next().await.is_none());
}
