//! A client that sees every byte, on a connection per request: dropping an answer, or the future of one, hangs up.

use crate::soon;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinSet};

/// An answer whose body is still to be read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    read: String,
    _connection: JoinSet<()>,
}

/// Sends a request to an address like `http://127.0.0.1:8000`. Returns when the answer's head is there.
pub(crate) async fn send(base: &str, request: Request<String>) -> Answer {
    let address = base.trim_start_matches("http://");
    let stream = soon("a connection", TcpStream::connect(address)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let mut driving = JoinSet::new();
    driving.spawn(async move {
        // How it ended shows in the answer.
        let _ = connection.await;
    });
    let mut request = request.map(|body| Full::new(Bytes::from(body)));
    let host = address.parse().unwrap();
    request.headers_mut().insert(header::HOST, host);
    let answer = soon("an answer", sender.send_request(request)).await.expect("an answer's head");
    let (head, body) = answer.into_parts();
    Answer { status: head.status, headers: head.headers, body, read: String::new(), _connection: driving }
}

/// A request with a JSON body.
pub(crate) fn post(path: &str, body: &Value) -> Request<String> {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    request.body(body.to_string()).unwrap()
}

/// A request without a body.
pub(crate) fn get(path: &str) -> Request<String> {
    Request::builder().method(Method::GET).uri(path).body(String::new()).unwrap()
}

impl Answer {
    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The whole body.
    pub(crate) async fn text(mut self) -> String {
        while self.more().await {}
        self.read
    }

    /// The whole body as JSON.
    pub(crate) async fn json(self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The data of the next event; `None` when the stream has ended, cleanly and between events.
    pub(crate) async fn event(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let event = event.strip_prefix("data: ").expect("an event is a line of data").to_owned();
                self.read = rest.to_owned();
                return Some(event);
            }
            if !self.more().await {
                assert_eq!(self.read, "", "the stream was torn");
                return None;
            }
        }
    }

    /// The name and the data of the next event; `None` as above.
    pub(crate) async fn named_event(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let (name, data) = event.split_once('\n').expect("an event has a name and data");
                let name = name.strip_prefix("event: ").expect("the name comes first").to_owned();
                let data = data.strip_prefix("data: ").expect("the data comes next");
                let data: Value = serde_json::from_str(data).unwrap();
                assert_eq!(data["type"], name, "{data}");
                self.read = rest.to_owned();
                return Some((name, data));
            }
            if !self.more().await {
                assert_eq!(self.read, "", "the stream was torn");
                return None;
            }
        }
    }

    /// The names and the data of all events that are still to come.
    pub(crate) async fn named_events(mut self) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        while let Some(event) = self.named_event().await {
            events.push(event);
        }
        events
    }

    /// The data of all events that are still to come.
    pub(crate) async fn events(mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = self.event().await {
            events.push(event);
        }
        events
    }

    async fn more(&mut self) -> bool {
        let Some(frame) = soon("more of an answer", self.body.frame()).await else { return false };
        if let Ok(data) = frame.expect("the rest of an answer").into_data() {
            self.read.push_str(std::str::from_utf8(&data).expect("events are not torn inside a character"));
        }
        true
    }
}
