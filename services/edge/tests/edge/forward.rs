//! `/v1/*` as bytes.

use crate::door::Door;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    response::Response,
    routing::any,
};
use edge::Config;
use futures_util::StreamExt;
use http::StatusCode;
use http_body_util::BodyExt;
use shared::peer::Peer;
use std::{convert::Infallible, sync::Arc};
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;

type Chunk = Result<Bytes, Infallible>;

/// Inference that sends the request back.
fn echo() -> Router {
    Router::new().fallback(any(|request: Request| async move {
        let (parts, body) = request.into_parts();
        let names: Vec<_> = parts.headers.keys().map(|name| name.as_str().to_owned()).collect();
        Response::builder()
            .status(StatusCode::IM_A_TEAPOT)
            .header("x-seen", format!("{} {}", parts.method, parts.uri))
            .header("x-headers", names.join(","))
            .header("x-id", parts.headers["x-request-id"].clone())
            .header("cache-control", "private")
            .header("connection", "x-private")
            .header("x-private", "1")
            .body(body)
            .unwrap()
    }))
}

fn door(inference: Router) -> Door {
    Door::with(Config::default(), inference)
}

#[tokio::test]
async fn method_path_query_and_bytes_arrive_as_they_were_sent() {
    let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let request = Request::builder().method("PURGE").uri("/v1/a%2Fb/ü?x=%ff&y=+".replace('ü', "%C3%BC"));
    let request = request
        .header("authorization", "Bearer t")
        .header("connection", "keep-alive, x-hop")
        .header("x-hop", "1")
        .header("te", "trailers")
        .header("x-custom", "kept")
        .body(Body::from(bytes.clone()));
    let (parts, body) = door(echo()).send(request.unwrap()).await.into_parts();
    assert_eq!(parts.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(parts.headers["x-seen"], "PURGE /v1/a%2Fb/%C3%BC?x=%ff&y=+");
    let seen = parts.headers["x-headers"].to_str().unwrap();
    for (name, passed) in
        [("authorization", true), ("x-custom", true), ("connection", false), ("x-hop", false), ("te", false)]
    {
        assert_eq!(seen.split(',').any(|seen| seen == name), passed, "{name}");
    }
    assert_eq!(parts.headers["x-id"], parts.headers["x-request-id"]);
    assert_eq!(parts.headers["cache-control"], "private");
    assert!(!parts.headers.contains_key("x-private"));
    assert!(body.collect().await.unwrap().to_bytes() == bytes);
}

#[tokio::test]
async fn paths_that_the_edge_does_not_know_are_inferences_to_answer() {
    let door = door(echo());
    for path in ["/v1", "/v1/", "/v1/models", "/v1/no/such/thing"] {
        assert_eq!(door.get(path).await.status, StatusCode::IM_A_TEAPOT, "{path}");
    }
    for path in ["/v1x", "/v2/models"] {
        assert_eq!(door.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

/// Inference that answers what the test sends.
fn fed() -> (Router, mpsc::Sender<Chunk>) {
    let (sender, receiver) = mpsc::channel::<Chunk>(1);
    let receiver = Arc::new(Mutex::new(Some(receiver)));
    let router = Router::new().fallback(any(move || async move {
        let receiver = receiver.lock().await.take().unwrap();
        Response::new(Body::from_stream(ReceiverStream::new(receiver)))
    }));
    (router, sender)
}

#[tokio::test]
async fn each_chunk_leaves_before_the_next_is_made() {
    let (inference, feed) = fed();
    let door = door(inference);
    let answer = door.send(Request::post("/v1/chat/completions").body(Body::empty()).unwrap()).await;
    let mut chunks = answer.into_body().into_data_stream();
    for chunk in ["data: 1\n\n", "data: 2\n\n", "data: [DONE]\n\n"] {
        feed.send(Ok(Bytes::from(chunk))).await.unwrap();
        assert_eq!(chunks.next().await.unwrap().unwrap(), chunk);
    }
    drop(feed);
    assert!(chunks.next().await.is_none());
}

#[tokio::test]
async fn a_request_body_streams_too() {
    let (feed, body) = mpsc::channel::<Chunk>(1);
    let request = Request::post("/v1/files").body(Body::from_stream(ReceiverStream::new(body))).unwrap();
    let mut echoed = door(echo()).send(request).await.into_body().into_data_stream();
    for chunk in ["one", "two"] {
        feed.send(Ok(Bytes::from(chunk))).await.unwrap();
        assert_eq!(echoed.next().await.unwrap().unwrap(), chunk);
    }
}

#[tokio::test]
async fn inference_is_told_when_the_client_goes_away() {
    let (inference, feed) = fed();
    let door = door(inference);
    let answer = door.send(Request::post("/v1/chat/completions").body(Body::empty()).unwrap()).await;
    let mut chunks = answer.into_body().into_data_stream();
    feed.send(Ok(Bytes::from("data: 1\n\n"))).await.unwrap();
    chunks.next().await.unwrap().unwrap();
    drop(chunks);
    feed.closed().await;
}

#[tokio::test]
async fn openai_clients_are_told_in_their_shape_when_inference_is_away() {
    let away = Router::new().fallback(any(|| async { StatusCode::BAD_GATEWAY }));
    let answer = door(away).get("/v1/models").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("retry-after"), "1");
    assert_eq!(answer.body["error"]["code"], "SERVICE_UNREACHABLE");

    let speaks = Router::new().fallback(any(|| async { (StatusCode::BAD_GATEWAY, "the engine failed") }));
    assert_eq!(door(speaks).get("/v1/models").await.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn inference_is_told_the_address_that_was_found_out() {
    let inference = Router::new().fallback(any(|request: Request| async move {
        let told = request.headers().get("x-forwarded-for").cloned();
        Response::builder()
            .header("x-told", told.unwrap_or_else(|| "nothing".parse().unwrap()))
            .body(Body::empty())
            .unwrap()
    }));
    let door = door(inference);
    for (found, told) in [(Some("203.0.113.9"), "203.0.113.9"), (None, "nothing")] {
        let mut request =
            Request::get("/v1/models").header("x-forwarded-for", "198.51.100.1").body(Body::empty()).unwrap();
        if let Some(found) = found {
            request.extensions_mut().insert(Peer(found.parse().unwrap()));
        }
        assert_eq!(door.send(request).await.headers()["x-told"], told);
    }
}
