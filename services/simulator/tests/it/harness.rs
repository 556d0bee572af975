//! An engine on a port of its own, or without one, and just enough of a client to see every byte.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use simulator::{Config, Engine};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// As fast as it can, named as the recorded one.
pub(crate) fn config() -> Config {
    Config { model: vec!["tiny".to_owned()], time_scale: 0.0, faults: true, ..Config::default() }
}

/// An engine on a port.
pub(crate) struct Served {
    pub(crate) engine: Engine,
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: JoinSet<std::io::Result<()>>,
}

pub(crate) async fn serve(config: Config) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (engine, driver) = Engine::new(config);
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    tasks.spawn(driver.serve(listener, stop.clone()));
    Served { engine, address, stop, tasks }
}

impl Served {
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request on a connection of its own and returns everything that comes back, to the last byte.
    pub(crate) async fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> String {
        self.exchange(&post(path, body)).await
    }
}

/// A request as bytes, on a connection that ends with it.
pub(crate) fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: engine\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

/// An engine without a port. Under a paused clock its time passes only when everyone waits.
pub(crate) struct InProcess {
    pub(crate) engine: Engine,
    pub(crate) router: Router,
    _tasks: JoinSet<()>,
}

pub(crate) fn in_process(config: Config) -> InProcess {
    let (engine, driver) = Engine::new(config);
    let (router, mut tasks) = (engine.router(), JoinSet::new());
    tasks.spawn(driver.run(CancellationToken::new()));
    InProcess { engine, router, _tasks: tasks }
}

impl InProcess {
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response<Body> {
        let request = Request::post(path).header("content-type", "application/json");
        self.router.clone().oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, HeaderMap, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, text(body).await)
    }

    /// The status and JSON of an answer that is not streamed.
    pub(crate) async fn ask(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let response = self.post(path, body).await;
        let status = response.status();
        (status, serde_json::from_str(&text(response.into_body()).await).unwrap())
    }
}

pub(crate) async fn text(body: Body) -> String {
    String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// The next event of a stream.
pub(crate) async fn event(body: &mut Body) -> Option<Bytes> {
    Some(body.frame().await?.unwrap().into_data().unwrap())
}

/// A chat of one user message that makes exactly so many tokens.
pub(crate) fn load(content: &str, max_tokens: u32) -> Value {
    serde_json::json!({
        "messages": [{"role": "user", "content": content}],
        "max_tokens": max_tokens, "ignore_eos": true, "temperature": 0,
    })
}

/// The same as a stream.
pub(crate) fn stream(content: &str, max_tokens: u32) -> Value {
    with(load(content, max_tokens), "stream", true)
}

pub(crate) fn with(mut body: Value, name: &str, value: impl Into<Value>) -> Value {
    body[name] = value.into();
    body
}

/// A response taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Status line and headers, in order.
    pub(crate) head: Vec<String>,
    /// One chunk each, or the whole body.
    pub(crate) body: Vec<String>,
}

/// Takes a response apart, checking the chunk sizes; line ends in the head may have lost their carriage return.
pub(crate) fn take_apart(answer: &str) -> Parts {
    let (head, body) = match answer.split_once("\r\n\r\n") {
        Some(parts) => parts,
        None => answer.split_once("\n\n").unwrap_or((answer, "")),
    };
    let head: Vec<String> = head.lines().map(str::to_owned).collect();
    let chunked = head.iter().any(|line| line == "transfer-encoding: chunked");
    let body = if chunked { chunks(body) } else { vec![body.to_owned()] };
    Parts { head, body }
}

fn chunks(mut rest: &str) -> Vec<String> {
    let mut chunks = Vec::new();
    loop {
        let (size, after) = rest.split_once("\r\n").expect("a chunk begins with its size");
        let size = usize::from_str_radix(size, 16).expect("the size is hexadecimal");
        if size == 0 {
            assert_eq!(after.trim_end(), "", "nothing follows the last chunk");
            return chunks;
        }
        chunks.push(after[..size].to_owned());
        rest = after[size..].strip_prefix("\r\n").expect("a chunk ends with a line end");
    }
}

/// Replaces what differs between any two answers: ids, times, words, probabilities, fingerprints.
pub(crate) fn neutral(text: &str) -> String {
    let mut text = text.to_owned();
    for (before, after) in [
        ("\"id\":\"chatcmpl-", "\""),
        ("\"id\":\"cmpl-", "\""),
        ("\"id\":\"embd-", "\""),
        ("\"id\":\"modelperm-", "\""),
        ("\"created\":", ","),
        ("\"delta\":{\"content\":\"", "\"}"),
        ("\"role\":\"assistant\",\"content\":\"", "\",\"refusal"),
        ("\"text\":\"", "\",\"logprobs"),
        ("\"system_fingerprint\":\"", "\""),
        ("\"logprob\":", ","),
        ("\"token\":\"", "\",\"logprob\""),
        ("\"bytes\":[", "]"),
        ("\"text_offset\":[", "]"),
        ("\"token_logprobs\":[", "]"),
        ("\"tokens\":[\"", "]"),
        ("\"top_logprobs\":[{\"w", "}]}"),
        ("\"embedding\":[", "]"),
        ("\"embedding\":\"", "\""),
    ] {
        text = blank(&text, before, after);
    }
    text
}

/// Replaces everything between two marks by an underscore.
pub(crate) fn blank(text: &str, before: &str, after: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(before) {
        let from = at + before.len();
        let Some(length) = rest[from..].find(after) else { break };
        out.push_str(&rest[..from]);
        out.push('_');
        rest = &rest[from + length..];
    }
    out + rest
}
