//! Requests that are as they should be.

use crate::door::{Door, json};
use axum::body::Body;
use http::{Method, Request, StatusCode};
use serde_json::json;
use shared::peer::Peer;

#[tokio::test]
async fn a_body_becomes_the_message_and_the_answer_its_envelope() {
    let door = Door::open();
    let answer = door
        .post("/api/v1/users", r#"{"email":"ana@example.org","display_name":"Ana","role":"ROLE_ADMIN"}"#)
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/json");
    let body = &answer.body;
    assert_eq!(body["success"], true);
    assert_eq!(body["error"], json!(null));
    assert_eq!(body["error_code"], json!(null));
    assert_eq!(body["message"], json!(null));
    assert_eq!(body["pagination"], json!(null));
    assert!(body.get("details").is_none());
    assert_eq!(body["request_id"], answer.header("x-request-id"));
    let time = body["timestamp"].as_str().unwrap();
    assert!(time.parse::<jiff::Timestamp>().is_ok() && time.ends_with('Z'), "{time}");
    assert_eq!(
        body["data"],
        json!({
            "user": {
                "etag": "",
                "user_id": "u1",
                "email": "ana@example.org",
                "display_name": "Ana",
                "role": "ROLE_ADMIN",
                "disabled": false,
                "create_time": "2023-11-14T22:13:20Z",
            },
            "token": "r1",
        })
    );
}

#[tokio::test]
async fn camel_case_is_understood_too() {
    let door = Door::open();
    let answer = door.post("/api/v1/users", r#"{"email":"a@b","displayName":"Ana"}"#).await;
    assert_eq!(answer.data()["user"]["display_name"], "Ana");
}

#[tokio::test]
async fn a_field_in_the_path_is_decoded_and_wins_over_the_body() {
    let door = Door::open();
    door.post("/api/v1/users", r#"{"email":"a@b"}"#).await.data();
    assert_eq!(door.get("/api/v1/users/%751").await.data()["user"]["email"], "a@b");

    let change = r#"{"user_id":"u9","userId":"u8","disabled":true,"display_name":null}"#;
    let answer = door.ask(json(Method::PATCH, "/api/v1/users/u1", change)).await;
    assert_eq!(answer.data()["user"]["disabled"], true);
    assert_eq!(answer.data()["user"]["user_id"], "u1");
}

#[tokio::test]
async fn pages_are_asked_for_in_the_query_and_the_envelope_names_the_next() {
    let door = Door::open();
    for name in ["a", "b", "c"] {
        door.post("/api/v1/users", format!(r#"{{"email":"{name}@x"}}"#)).await.data();
    }
    let first = door.get("/api/v1/users?page_size=2").await;
    assert_eq!(first.data()["users"].as_array().unwrap().len(), 2);
    assert_eq!(first.body["pagination"], json!({"next_page_token": "u2"}));
    let second = door.get("/api/v1/users?pageSize=2&page_token=u2").await;
    assert_eq!(second.data()["users"][0]["email"], "c@x");
    assert_eq!(second.body["pagination"], json!(null));
}

#[tokio::test]
async fn the_query_has_enums_by_name_repeated_fields_and_times() {
    let door = Door::open();
    let answer = door
        .get(
            "/api/v1/usage?start_time=2026-01-01T00%3A00%3A00Z&group_by=USAGE_DIMENSION_USER\
             &group_by=USAGE_DIMENSION_MODEL&bucket=TIME_BUCKET_DAY&model=qwen%2F7b+x",
        )
        .await;
    let rows = answer.data()["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["bucket_time"], "2026-01-01T00:00:00Z");
    assert_eq!(rows[0]["endpoint"], "1/2");
    assert_eq!(rows[1]["endpoint"], "3/2");
    assert_eq!(rows[0]["model"], "qwen/7b x");
    // Numbers stay numbers, however long.
    assert_eq!(rows[0]["requests"], json!(u64::MAX));
}

#[tokio::test]
async fn nested_messages_and_oneofs_come_through_and_back() {
    let door = Door::open();
    let member = r#"{"membership":{"user_id":"u1","expire_time":"2030-01-01T00:00:00.5Z"}}"#;
    let added = door.post("/api/v1/groups/g1/members", member).await;
    assert_eq!(
        added.data()["membership"],
        json!({"user_id": "u1", "expire_time": "2030-01-01T00:00:00.500Z", "depth": 0, "group_id": "", "path": []})
    );
    let listed = door.get("/api/v1/groups/g1/members").await;
    assert_eq!(listed.data()["memberships"][0]["user_id"], "u1");
    let removed = door.post("/api/v1/groups/g1/members:remove", r#"{"user_id":"u1"}"#).await;
    assert_eq!(removed.data()["token"], "r4");
    let delete = Request::delete("/api/v1/groups/g1?reason=over").body(Body::empty()).unwrap();
    assert_eq!(door.ask(delete).await.data()["token"], "over");
}

#[tokio::test]
async fn each_package_reaches_its_service() {
    let door = Door::open();
    let prompt =
        r#"{"prompt":{"model":"m","messages":[{"role":"user","content":"hi"}],"extra":{"a":1,"b":[{}]}}}"#;
    let answer = door.post("/api/v1/inference:infer", prompt).await;
    assert_eq!(answer.data()["choices"][0]["text"], "user: hi");
    assert_eq!(answer.data()["choices"][1]["text"], "2 extra fields");
    assert_eq!(answer.data()["usage_id"], "", "an inference has no deadline but its caller's");

    let embedded = door.post("/api/v1/inference:embed", r#"{"model":"m","inputs":["four"]}"#).await;
    assert_eq!(embedded.data()["embeddings"][0]["values"], json!([4.0]));
}

#[tokio::test]
async fn what_services_need_of_the_headers_becomes_metadata() {
    let door = Door::open();
    let mut request = json(Method::POST, "/api/v1/users", r#"{"email":"a@b"}"#);
    for (name, value) in [
        ("authorization", "Bearer t"),
        ("x-api-key", "k"),
        ("x-request-id", "mine"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("idempotency-key", "once"),
        ("grpc-timeout", "3S"),
        ("cookie", "c=1"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    door.ask(request).await.data();
    let metadata = door.people.metadata.lock().unwrap().clone();
    let seen = |name: &str| metadata.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default();
    assert_eq!(seen("authorization"), "Bearer t");
    assert_eq!(seen("x-api-key"), "k");
    assert_eq!(seen("x-request-id"), "mine");
    assert_eq!(seen("traceparent"), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_eq!(seen("idempotency-key"), "once");
    assert_eq!(seen("grpc-timeout"), "3000000u");
    assert_eq!(seen("cookie"), "");

    door.post("/api/v1/users", r#"{"email":"a@b"}"#).await.data();
    let timeout = door.people.metadata.lock().unwrap().get("grpc-timeout").cloned();
    assert_eq!(timeout.unwrap(), "10000000u");
}

#[tokio::test]
async fn every_answer_has_an_id_a_time_and_the_security_headers() {
    let door = Door::open();
    for path in ["/api/v1/users", "/api/v1/nowhere", "/api/version", "/elsewhere", "/v1/models", "/api/docs"]
    {
        let answer = door.get(path).await;
        assert_eq!(answer.header("x-request-id").len(), 36, "{path}");
        assert!(answer.header("x-process-time").parse::<f64>().unwrap() >= 0.0);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn an_id_of_the_caller_is_kept_unless_it_is_unfit() {
    let door = Door::open();
    let long = "x".repeat(129);
    for (given, kept) in [("mine-1", true), (&long[..128], true), (&long[..], false), ("two words", false)] {
        let request = Request::get("/api/version").header("x-request-id", given).body(Body::empty()).unwrap();
        let answer = door.ask(request).await;
        assert_eq!(answer.header("x-request-id") == given, kept, "{given}");
        assert_eq!(answer.body["request_id"], answer.header("x-request-id"));
    }
}

#[tokio::test]
async fn the_version_needs_no_service() {
    let answer = Door::open().get("/api/version").await;
    assert_eq!(answer.data()["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn services_are_told_the_address_that_was_found_out_and_not_what_a_client_says() {
    let door = Door::open();
    for (found, told) in [(Some("203.0.113.9"), "203.0.113.9"), (None, "")] {
        let mut request = json(Method::POST, "/api/v1/users", r#"{"email":"a@b"}"#);
        request.headers_mut().insert("x-forwarded-for", "198.51.100.1".parse().unwrap());
        request.headers_mut().insert("user-agent", "a test".parse().unwrap());
        if let Some(found) = found {
            request.extensions_mut().insert(Peer(found.parse().unwrap()));
        }
        door.ask(request).await.data();
        let metadata = door.people.metadata.lock().unwrap().clone();
        let seen = |name: &str| metadata.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default();
        assert_eq!((seen("x-forwarded-for"), seen("user-agent")), (told, "a test"));
    }
}
