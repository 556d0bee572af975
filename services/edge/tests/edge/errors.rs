//! Requests that are not as they should be, and services that fail.

use crate::door::{Door, json};
use axum::body::{Body, Bytes};
use edge::Config;
use http::{Method, Request, StatusCode};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn every_code_has_its_status() {
    let door = Door::open();
    for (code, status, name) in [
        (1, 499, "CANCELLED"),
        (2, 500, "UNKNOWN"),
        (3, 400, "INVALID_ARGUMENT"),
        (4, 408, "DEADLINE_EXCEEDED"),
        (5, 404, "NOT_FOUND"),
        (6, 409, "ALREADY_EXISTS"),
        (7, 403, "PERMISSION_DENIED"),
        (8, 429, "RESOURCE_EXHAUSTED"),
        (9, 400, "FAILED_PRECONDITION"),
        (10, 409, "ABORTED"),
        (11, 400, "OUT_OF_RANGE"),
        (12, 501, "UNIMPLEMENTED"),
        (13, 500, "INTERNAL"),
        (14, 503, "UNAVAILABLE"),
        (15, 500, "DATA_LOSS"),
        (16, 401, "UNAUTHENTICATED"),
    ] {
        let answer = door.get(&format!("/api/v1/users/code-{code}")).await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
        assert_eq!(answer.body["error_code"], name);
        assert_eq!(answer.body["success"], false);
        assert_eq!(answer.body["data"], json!(null));
        assert_eq!(answer.header("www-authenticate"), if status == 401 { "Bearer" } else { "" });
        // What a library says about our own failures stays with us.
        let said = answer.body["error"].as_str().unwrap();
        assert_eq!(said == "driver says no", !matches!(code, 2 | 13 | 14 | 15), "{name}: {said}");

        let with_reason = door.get(&format!("/api/v1/users/reason-{code}")).await;
        assert_eq!(with_reason.status.as_u16(), status);
        assert_eq!(with_reason.body["error_code"], "STORE_UNAVAILABLE");
        assert_eq!(with_reason.body["error"], "the store is away");
        assert_eq!(with_reason.body["message"], "the store is away");
    }
}

#[tokio::test]
async fn details_of_a_status_are_in_the_envelope() {
    let door = Door::open();
    let bad = door.post("/api/v1/users", r#"{"email":"nobody"}"#).await;
    assert_eq!(bad.bad_field(), "email");
    assert_eq!(bad.body["error_code"], "INVALID_EMAIL");

    let busy = door.get("/api/v1/users/busy-1").await;
    assert_eq!(busy.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(busy.header("retry-after"), "2");
    assert_eq!(busy.body["details"]["retry_after"], 1.5);
    assert_eq!(busy.body["details"]["quotas"][0]["subject"], "key:k1");
    assert!(!busy.body.to_string().contains("secret"));

    let last = door.get("/api/v1/users/last-1").await;
    assert_eq!(
        last.body["details"]["preconditions"][0],
        json!({"subject": "user:u1", "description": "last owner"})
    );
    assert_eq!(last.body["details"]["resource"]["name"], "u1");
}

#[tokio::test]
async fn a_field_that_is_wrong_is_named() {
    let door = Door::open();
    for (body, field) in [
        (r#"{"email":"a@b","nickname":"x"}"#, "nickname"),
        (r#"{"email":7}"#, "email"),
        (r#"{"role":"ROLE_KING"}"#, "role"),
        (r#"{"email":"a","display_name":"b","displayName":"c"}"#, "display_name"),
    ] {
        let answer = door.post("/api/v1/users", body).await;
        assert_eq!(answer.bad_field(), field, "{body}");
        assert_eq!(answer.body["error_code"], "INVALID_FIELD");
        assert!(answer.body["error"].as_str().unwrap().starts_with(&format!("{field}: ")));
    }
    for (body, field) in [
        (r#"{"membership":{"user":"u1"}}"#, "membership.user"),
        (r#"{"membership":{"expire_time":"soon"}}"#, "membership.expire_time"),
        (r#"{"membership":{"user_id":"u","member_group_id":"g"}}"#, "membership.user_id"),
        (r#"{"membership":[]}"#, "membership"),
    ] {
        assert_eq!(door.post("/api/v1/groups/g1/members", body).await.bad_field(), field, "{body}");
    }
    let prompt = r#"{"prompt":{"model":"m","messages":[{"role":"user"},{"role":1}]}}"#;
    assert_eq!(door.post("/api/v1/inference:infer", prompt).await.bad_field(), "prompt.messages[1].role");
    let prompt = r#"{"prompt":{"messages":[{"rôle":"user"}]}}"#;
    assert_eq!(door.post("/api/v1/inference:infer", prompt).await.bad_field(), "prompt.messages[0].rôle");
}

#[tokio::test]
async fn a_parameter_that_is_wrong_is_named() {
    let door = Door::open();
    for (query, field) in [
        ("page_size=many", "page_size"),
        ("page_size=99999999999", "page_size"),
        ("page_size=1&page_size=2", "page_size"),
        ("size=1", "size"),
        ("page_size.x=1", "page_size.x"),
    ] {
        assert_eq!(door.get(&format!("/api/v1/users?{query}")).await.bad_field(), field, "{query}");
    }
    for (query, field) in
        [("bucket=DAILY", "bucket"), ("start_time=now", "start_time"), ("group_by=X", "group_by[0]")]
    {
        assert_eq!(door.get(&format!("/api/v1/usage?{query}")).await.bad_field(), field, "{query}");
    }
    assert_eq!(door.get("/api/v1/models?accessible_only=yes").await.bad_field(), "accessible_only");
    assert_eq!(door.get("/api/v1/users/u1?user_id=u2").await.bad_field(), "user_id");
    assert_eq!(door.post("/api/v1/users?reason=x", "{}").await.bad_field(), "reason");
}

#[tokio::test]
async fn nesting_has_an_end_that_services_can_decode() {
    let door = Door::open();
    let nested = |depth: usize| {
        format!(r#"{{"prompt":{{"extra":{}1{}}}}}"#, r#"{"a":"#.repeat(depth), "}".repeat(depth))
    };
    door.post("/api/v1/inference:infer", nested(28)).await.data();
    assert_eq!(door.post("/api/v1/inference:infer", nested(29)).await.bad_field(), "prompt.extra");
    assert_eq!(door.post("/api/v1/inference:infer", nested(500)).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused() {
    let door = Door::open();
    for body in ["{", "[]", "7", "\"x\"", "{\"email\":\"a@b\"} x"] {
        let answer = door.post("/api/v1/users", body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(answer.body["error_code"], "INVALID_JSON", "{body}");
    }
    let answer = door.post("/api/v1/users", Bytes::from_static(b"{\"email\":\"\xff\"}")).await;
    assert_eq!(answer.body["error_code"], "INVALID_JSON");

    let mut plain = json(Method::POST, "/api/v1/users", "{}");
    plain.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    let answer = door.ask(plain).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(answer.body["error_code"], "UNSUPPORTED_CONTENT_TYPE");

    let delete = json(Method::DELETE, "/api/v1/groups/g1", r#"{"reason":"x"}"#);
    assert_eq!(door.ask(delete).await.body["error_code"], "BODY_NOT_TAKEN");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_at_the_limit() {
    let door = Door::with(Config { max_body_bytes: 64, ..Config::default() }, axum::Router::new());
    let fits = format!(r#"{{"email":"{}@x"}}"#, "a".repeat(64 - 14));
    assert_eq!(fits.len(), 64);
    door.post("/api/v1/users", fits.clone()).await.data();
    let answer = door.post("/api/v1/users", format!("{fits} ")).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.body["error_code"], "BODY_TOO_LARGE");
}

#[tokio::test]
async fn a_path_that_there_is_not_is_said_in_the_envelope() {
    let door = Door::open();
    for path in ["/api/v1/nowhere", "/api/v1/users/", "/", "/api/v2/users", "/api/v1/users/u1/keys"] {
        let answer = door.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.body["error_code"], "ROUTE_NOT_FOUND", "{path}");
    }
    for path in ["/api/v1/users/%zz", "/api/v1/users/%ff", "/api/v1/users?page_token=%ff"] {
        let answer = door.get(path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(answer.body["error_code"], "INVALID_URL", "{path}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let door = Door::open();
    for (verb, path, allow) in [
        (Method::DELETE, "/api/v1/users", "GET, POST"),
        (Method::PUT, "/api/v1/users/u1", "DELETE, GET, PATCH"),
        (Method::GET, "/api/v1/permissions:check", "POST"),
        (Method::POST, "/api/version", "GET,HEAD"),
    ] {
        let answer = door.ask(Request::builder().method(verb).uri(path).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(answer.header("allow").replace(' ', ""), allow.replace(' ', ""), "{path}");
        assert_eq!(answer.body["error_code"], "METHOD_NOT_ALLOWED");
    }
}

#[tokio::test(start_paused = true)]
async fn a_unary_call_ends_at_its_deadline() {
    let door = Door::open();
    let started = tokio::time::Instant::now();
    let answer = door.get("/api/v1/users/never-1").await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(answer.body["error_code"], "DEADLINE_EXCEEDED");
    assert_eq!(started.elapsed().as_secs(), 10);

    let mut sooner = json(Method::GET, "/api/v1/users/never-1", Body::empty());
    sooner.headers_mut().insert("grpc-timeout", "250m".parse().unwrap());
    let started = tokio::time::Instant::now();
    assert_eq!(door.ask(sooner).await.status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(started.elapsed().as_millis(), 250);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_not_waited_for() {
    let config = Config { management_timeout: Duration::from_secs(3), ..Config::default() };
    let door = Door::with(config, axum::Router::new());
    let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let answer = door.post("/api/v1/users", never).await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(answer.body["error_code"], "BODY_TIMEOUT");

    let broken = futures_util::stream::iter([Ok(Bytes::from("{")), Err(std::io::Error::other("reset"))]);
    let answer = door.post("/api/v1/users", Body::from_stream(broken)).await;
    assert_eq!(answer.body["error_code"], "BODY_BROKEN_OFF");
}
