//! Whatever a client sends: a clear refusal or a closed connection, and a server that goes on.

use crate::chat::{CHAT, chat};
use proto::inference::v1::{InferRequest, Prompt, inference_service_client::InferenceServiceClient};
use serde_json::{Value, json};
use tests::{
    http::{Body, Client, Reply},
    rpc,
    suite::{MODEL, Suite},
    within,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tonic::Code;

/// The suite still answers, and nothing in it fell over.
async fn still_well(suite: &Suite) {
    let _ = suite.owner().post(CHAT, &chat(1, 1)).await.ok();
    let log = suite.process.log();
    assert!(!log.contains("panicked") && !log.contains("overflowed"), "{log}");
}

async fn post(client: &Client, path: &str, body: impl Into<Vec<u8>>) -> Reply {
    let request = client.builder("POST", path).header("content-type", "application/json");
    client.send(request.body(Body::from(body.into())).unwrap()).await
}

/// A management call's refusal: status and code, in the envelope.
fn refused(answer: &Reply) -> (u16, String) {
    let envelope = answer.json();
    assert_eq!(envelope["success"], false, "{envelope}");
    assert!(
        !envelope["message"].as_str().unwrap().is_empty()
            && !envelope["request_id"].as_str().unwrap().is_empty()
    );
    (answer.status, envelope["error_code"].as_str().unwrap().to_owned())
}

fn nested(open: &str, close: &str) -> String {
    open.repeat(100_000) + "1" + &close.repeat(100_000)
}

#[tokio::test]
async fn bodies_that_no_route_can_read_are_refused_in_openais_shape() {
    let suite = Suite::start(&[]).await;
    let owner = suite.owner();
    let with = |fields: Value| {
        let mut body = chat(1, 1);
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body.to_string()
    };
    let raw = |field: &str| format!("{}{field}}}", with(json!({})).trim_end_matches('}'));
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("empty", "".into(), 400, "body_malformed"),
        ("half an object", "{".into(), 400, "body_malformed"),
        ("an array", "[]".into(), 400, "body_malformed"),
        ("a string", "\"x\"".into(), 400, "body_malformed"),
        ("more behind it", (with(json!({})) + " x").into(), 400, "body_malformed"),
        ("one field twice", raw(",\"model\":\"other\"").into(), 400, "body_malformed"),
        ("no UTF-8", [b"{\"model\":\"", &[0xff, 0xfe][..], b"\"}"].concat(), 400, "body_malformed"),
        ("no model", r#"{"messages":[]}"#.into(), 400, "invalid_field"),
        ("a number as model", with(json!({"model": 1})).into(), 400, "invalid_field"),
        ("an endless model", with(json!({"model": "x".repeat(10_000)})).into(), 400, "invalid_field"),
        ("an unknown model", with(json!({"model": "a\u{0}b"})).into(), 404, "model_not_found"),
        ("no messages", json!({"model": MODEL}).to_string().into(), 400, "invalid_field"),
        ("a text as stream", with(json!({"stream": "yes"})).into(), 400, "invalid_field"),
        (
            "a text as options",
            with(json!({"stream": true, "stream_options": "x"})).into(),
            400,
            "invalid_field",
        ),
        ("fewer than no tokens", with(json!({"max_tokens": -1})).into(), 400, "invalid_field"),
        ("a text as tokens", with(json!({"max_tokens": "x"})).into(), 400, "invalid_field"),
        ("too large a number", raw(",\"n\":99999999999999999999").into(), 400, "invalid_field"),
        ("too many answers", with(json!({"n": 1_000_000_000})).into(), 400, "engine_refused"),
        ("too many tokens", with(json!({"max_tokens": u64::MAX})).into(), 400, "engine_refused"),
        ("a text as messages", with(json!({"messages": "x"})).into(), 400, "engine_refused"),
        ("half a character", raw(r#","x":"\ud800""#).into(), 400, "engine_refused"),
        ("deep messages", raw(&format!(",\"x\":{}", nested("[", "]"))).into(), 400, "body_malformed"),
        ("deep objects", nested("{\"a\":", "}").into(), 400, "body_malformed"),
    ];
    for (what, body, status, code) in cases {
        let (found, word, kind) = post(&owner, CHAT, body).await.openai_error();
        assert_eq!((found, word.as_str(), kind.as_str()), (status, code, "invalid_request_error"), "{what}");
    }
    still_well(&suite).await;
}

#[tokio::test]
async fn management_calls_are_refused_in_the_envelope() {
    let suite = Suite::start(&[]).await;
    let owner = suite.owner();
    let cases: Vec<(&str, &str, Vec<u8>, u16, &str)> = vec![
        ("half an object", "/api/v1/groups", "{".into(), 400, "INVALID_JSON"),
        ("an array", "/api/v1/groups", "[]".into(), 400, "INVALID_JSON"),
        ("no UTF-8", "/api/v1/groups", b"{\"name\":\"\xff\"}".into(), 400, "INVALID_JSON"),
        ("deep", "/api/v1/groups", format!("{{\"name\":{}}}", nested("[", "]")).into(), 400, "INVALID_JSON"),
        ("a number as name", "/api/v1/groups", r#"{"name":1}"#.into(), 400, "INVALID_FIELD"),
        ("an unknown field", "/api/v1/groups", r#"{"name":"a","nmae":1}"#.into(), 400, "INVALID_FIELD"),
        ("no name", "/api/v1/groups", "{}".into(), 400, "INVALID_FIELD"),
        (
            "an endless name",
            "/api/v1/groups",
            json!({"name": "x".repeat(10_000)}).to_string().into(),
            400,
            "INVALID_FIELD",
        ),
        ("no id", "/api/v1/groups/x/members", r#"{"membership":{}}"#.into(), 400, "INVALID_FIELD"),
        ("nothing there", "/api/v1/nothing", "{}".into(), 404, "ROUTE_NOT_FOUND"),
        ("nothing at all", "/", "{}".into(), 404, "ROUTE_NOT_FOUND"),
        ("half a percent", "/api/v1/groups/%z/members", "{}".into(), 400, "INVALID_URL"),
        ("percent of no UTF-8", "/api/v1/groups/%ff/members", "{}".into(), 400, "INVALID_URL"),
    ];
    for (what, path, body, status, code) in cases {
        let (found, word) = refused(&post(&owner, path, body).await);
        assert_eq!((found, word.as_str()), (status, code), "{what}");
    }
    let wrong_method = owner.send(owner.request("PUT", "/api/v1/groups")).await;
    assert_eq!(refused(&wrong_method), (405, "METHOD_NOT_ALLOWED".to_owned()));
    let query = owner.get("/api/v1/users?page_token=%zz").await;
    assert_eq!(refused(&query), (400, "INVALID_URL".to_owned()));
    let text = owner.builder("POST", "/api/v1/groups").header("content-type", "text/plain");
    let text = owner.send(text.body(Body::from("{}")).unwrap()).await;
    assert_eq!(refused(&text).0, 415);
    still_well(&suite).await;
}

#[tokio::test]
async fn unknown_routes_and_wrong_methods_never_reach_an_engine() {
    let suite = Suite::start(&[]).await;
    let owner = suite.owner();
    for (method, path, status, code) in [
        ("POST", "/v1/nothing", 404, "unknown_route"),
        ("POST", "/v1/systemone", 404, "unknown_route"),
        ("GET", "/v1", 404, "unknown_route"),
        ("GET", "/v1/../metrics", 404, "unknown_route"),
        ("POST", "/v1/chat/completions/", 404, "unknown_route"),
        ("POST", "/v1//chat/completions", 404, "unknown_route"),
        ("GET", "/v1/models/%zz", 404, "model_not_found"),
        ("GET", "/v1/models/no/such", 404, "model_not_found"),
        ("GET", CHAT, 405, "wrong_method"),
        ("DELETE", "/v1/models", 405, "wrong_method"),
        ("BREW", "/v1/models", 405, "wrong_method"),
    ] {
        let (found, word, _) = owner.send(owner.request(method, path)).await.openai_error();
        assert_eq!((found, word.as_str()), (status, code), "{method} {path}");
    }
    let broken = owner.get("/v1/models/%ff").await.openai_error();
    assert_eq!(broken.0, 400);
    for credential in ["Bearer tgk_nobody", "Bearer", "Basic dXNlcjpwYXNz", "Bearer \u{fc}"] {
        let request = suite.nobody().builder("GET", "/v1/models");
        let request = request.header("authorization", credential.as_bytes()).body(Body::default()).unwrap();
        let (status, code, kind) = suite.nobody().send(request).await.openai_error();
        assert_eq!((status, code.as_str(), kind.as_str()), (401, "invalid_api_key", "authentication_error"));
    }
    still_well(&suite).await;
}

/// Sends bytes, perhaps closes this half, and reads what comes until the other side closes.
async fn exchange(suite: &Suite, bytes: &[u8], half_close: bool) -> String {
    let stream = TcpStream::connect(suite.address).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let sending = async {
        // The server may have closed before it got everything.
        let _ = write.write_all(bytes).await;
        if half_close {
            let _ = write.shutdown().await;
        }
    };
    let reading = async {
        let mut answer = Vec::new();
        let _ = read.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    within("the end of a connection", async { tokio::join!(reading, sending).0 }).await
}

/// A good head, but for what is added to it.
fn head(suite: &Suite, added: &str) -> String {
    let key = suite.first_run().api_key;
    format!(
        "POST {CHAT} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {key}\r\n{added}\r\n"
    )
}

#[tokio::test]
async fn what_is_no_http_gets_a_400_or_a_closed_connection() {
    let suite = Suite::start(&[]).await;
    let many: String = (0..5_000).map(|number| format!("x-{number}: y\r\n")).collect();
    let bytes: Vec<u8> = (0..=255).cycle().take(4096).collect();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("HTTP/0.9", b"GET /\r\n\r\n".into()),
        ("a version to come", b"GET / HTTP/3.0\r\n\r\n".into()),
        ("every byte there is", bytes),
        ("a TLS hello", [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[7; 300]].concat()),
        ("HTTP/2 that breaks off", [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0xff; 200]].concat()),
        ("many headers", head(&suite, &many).into()),
        ("a large header", head(&suite, &format!("x-big: {}\r\n", "y".repeat(200_000))).into()),
        ("a long path", format!("GET /v1/{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(200_000)).into()),
        ("a header without colon", head(&suite, "bad header\r\n").into()),
        ("a header with a zero", head(&suite, "x: a\0b\r\n").into()),
        ("a folded header", head(&suite, "x: a\r\n b\r\n").into()),
        ("a length below zero", head(&suite, "content-length: -1\r\n").into()),
        ("two lengths", head(&suite, "content-length: 1\r\ncontent-length: 2\r\n").into()),
        (
            "a length and chunks",
            (head(&suite, "content-length: 4\r\ntransfer-encoding: chunked\r\n") + "0\r\n\r\n").into(),
        ),
        ("chunks that are none", (head(&suite, "transfer-encoding: chunked\r\n") + "ZZ\r\n\r\n").into()),
        ("a length beyond all bounds", (head(&suite, "content-length: 99999999999\r\n") + "{}").into()),
        ("a tunnel", b"CONNECT example.org:443 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".into()),
        ("half a head", b"POST /v1/chat/comp".into()),
        ("half a body", (head(&suite, "content-length: 100\r\n") + "{\"model\"").into()),
    ];
    for (what, bytes) in cases {
        let answer = exchange(&suite, &bytes, what.starts_with("half")).await;
        // HTTP/2 closes with a frame of its own.
        let closed = answer.is_empty() || what.starts_with("HTTP/2");
        assert!(closed || answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
    }
    // What stands behind a good request does not spoil its answer.
    let good = head(&suite, "")
        .replace("connection: close\r\n", "")
        .replace("POST /v1/chat/completions", "GET /v1/models");
    let answer = exchange(&suite, (good + "garbage garbage\r\n\r\n").as_bytes(), false).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("HTTP/1.1 400"), "{answer}");
    still_well(&suite).await;
}

#[tokio::test]
async fn bodies_beyond_the_limit_are_refused_while_they_are_sent() {
    let suite = Suite::start(&[]).await;
    let big = "x".repeat(30 * 1024 * 1024);
    for path in [CHAT, "/api/v1/groups"] {
        let whole = format!(
            "{}{big}",
            head(&suite, &format!("content-type: application/json\r\ncontent-length: {}\r\n", big.len()))
        );
        let answer = exchange(&suite, whole.replace(CHAT, path).as_bytes(), false).await;
        // Closing on a client that still sends may cost it the answer.
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{path}: {answer}");
        let size = format!("{:x}\r\n", big.len());
        let chunks = head(&suite, "content-type: application/json\r\ntransfer-encoding: chunked\r\n")
            + &size
            + &big
            + "\r\n0\r\n\r\n";
        let answer = exchange(&suite, chunks.replace(CHAT, path).as_bytes(), false).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{path} in chunks: {answer}");
    }
    still_well(&suite).await;
}

#[tokio::test]
async fn connections_that_are_left_open_hold_nobody_up_and_are_closed() {
    let suite = Suite::start(&[]).await;
    let body = head(&suite, "content-length: 100\r\n") + "{\"model\"";
    let mut open = JoinSet::new();
    let mut bodies = Vec::new();
    for _ in 0..50 {
        let mut with_half_a_head = TcpStream::connect(suite.address).await.unwrap();
        with_half_a_head.write_all(b"POST /v1/chat/comp").await.unwrap();
        open.spawn(async move { with_half_a_head.read_to_end(&mut Vec::new()).await });
        let mut with_half_a_body = TcpStream::connect(suite.address).await.unwrap();
        with_half_a_body.write_all(body.as_bytes()).await.unwrap();
        bodies.push(with_half_a_body);
    }
    still_well(&suite).await;
    within("the time to send a head", open.join_all()).await;
    drop(bodies);
    still_well(&suite).await;
}

#[tokio::test]
async fn grpc_calls_that_cannot_be_read_get_a_status() {
    let suite = Suite::start(&[]).await;
    let owner = suite.owner();
    let channel = rpc::channel(suite.address, &suite.first_run().api_key).await;
    let mut client = InferenceServiceClient::new(channel);
    for (what, prompt, code) in [
        (
            "thirty megabytes",
            Prompt { model: MODEL.into(), text: "x".repeat(30 << 20), ..Prompt::default() },
            Code::OutOfRange,
        ),
        ("nothing", Prompt::default(), Code::InvalidArgument),
        (
            "an unknown model",
            Prompt { model: "none".into(), text: "x".into(), ..Prompt::default() },
            Code::NotFound,
        ),
        ("no input", Prompt { model: MODEL.into(), ..Prompt::default() }, Code::InvalidArgument),
        (
            "no number",
            Prompt {
                model: MODEL.into(),
                text: "x".into(),
                temperature: Some(f64::NAN),
                ..Prompt::default()
            },
            Code::InvalidArgument,
        ),
    ] {
        let refused =
            within(what, client.infer(InferRequest { prompt: Some(prompt), ..InferRequest::default() }))
                .await
                .unwrap_err();
        assert_eq!(refused.code(), code, "{what}: {refused}");
    }
    assert_eq!(client.infer(InferRequest::default()).await.unwrap_err().code(), Code::InvalidArgument);

    let infer = "/tollgate.inference.v1.InferenceService/Infer";
    for (path, body, status) in [
        (infer, b"no frame".to_vec(), 1..=16),
        (infer, [&[0, 0, 0, 0, 9][..], &[0xff; 9]].concat(), 1..=16),
        (infer, [&[1, 0, 0, 0, 4][..], &[1; 4]].concat(), 1..=16),
        (infer, vec![0, 0xff, 0xff, 0xff, 0xff], 1..=16),
        // The table of methods does not have it, so it is refused before it is looked for.
        ("/tollgate.inference.v1.InferenceService/Nothing", vec![0; 5], 7..=12),
        ("/nothing.v1.Nothing/Nothing", vec![0; 5], 7..=12),
    ] {
        let request =
            owner.builder("POST", path).header("content-type", "application/grpc").header("te", "trailers");
        let answer = owner.send(request.body(Body::from(body)).unwrap()).await;
        let found: u8 = answer.header("grpc-status").parse().unwrap_or_else(|_| panic!("{path}: {answer:?}"));
        assert_eq!((answer.status, status.contains(&found)), (200, true), "{path}: {found}");
    }
    still_well(&suite).await;
}
