//! A small HTTP/1.1 client: every request has a connection of its own, so that dropping an answer is hanging up.

use crate::{tls::Tls, within};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, header, request};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};

/// Whatever kept an answer from coming whole.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Asks one address, with a credential or without.
#[derive(Debug, Clone)]
pub struct Client {
    /// Who is asked.
    pub address: SocketAddr,
    key: Option<String>,
    tls: Option<Tls>,
}

/// An answer that came whole.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// An answer that comes in events. Dropping it closes the connection.
#[derive(Debug)]
pub struct Stream {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    body: Incoming,
    rest: BytesMut,
    _connection: JoinSet<()>,
}

/// What can be sent.
pub type Body = Full<Bytes>;

impl Client {
    /// Asks an address, with an API key or without.
    #[must_use]
    pub fn new(address: SocketAddr, key: Option<&str>) -> Self {
        Self { address, key: key.map(str::to_owned), tls: None }
    }

    /// The same address with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// The same address over TLS.
    #[must_use]
    pub fn over(&self, tls: &Tls) -> Self {
        Self { tls: Some(tls.clone()), ..self.clone() }
    }

    /// A request with the credential in it; it has no body yet.
    #[must_use]
    pub fn request(&self, method: &str, path: &str) -> Request<Body> {
        self.builder(method, path).body(Body::default()).unwrap()
    }

    /// A request with a JSON body.
    #[must_use]
    pub fn with_json(&self, method: &str, path: &str, body: &Value) -> Request<Body> {
        let builder = self.builder(method, path).header(header::CONTENT_TYPE, "application/json");
        builder.body(Body::from(body.to_string())).unwrap()
    }

    /// A request to add to.
    #[must_use]
    pub fn builder(&self, method: &str, path: &str) -> request::Builder {
        let builder =
            Request::builder().method(method).uri(path).header(header::HOST, self.address.to_string());
        match &self.key {
            Some(key) => builder.header(header::AUTHORIZATION, format!("Bearer {key}")),
            None => builder,
        }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request("GET", path)).await
    }

    /// POST of JSON.
    pub fn post<'a>(&'a self, path: &str, body: &Value) -> impl Future<Output = Reply> + use<'a> {
        self.send(self.with_json("POST", path, body))
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Reply {
        self.send(self.request("DELETE", path)).await
    }

    /// Sends a request; the answer must come.
    pub async fn send(&self, request: Request<Body>) -> Reply {
        let what = format!("{} {}", request.method(), request.uri());
        self.try_send(request).await.unwrap_or_else(|error| panic!("no answer to {what}: {error}"))
    }

    /// Sends a request whose answer may not come.
    ///
    /// # Errors
    /// When there is no connection, or it ends before the answer does.
    pub async fn try_send(&self, request: Request<Body>) -> Result<Reply, Error> {
        let what = format!("{} {}", request.method(), request.uri());
        within(&what, async {
            // Boxed: a handshake is large, and every wait of every test would hold it.
            let (answer, _connection) = Box::pin(self.exchange(request)).await?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
        })
        .await
    }

    /// Sends a request and reads its answer event by event.
    pub async fn stream(&self, path: &str, body: &Value) -> Stream {
        self.try_stream(self.with_json("POST", path, body)).await.unwrap()
    }

    /// Sends a request whose answer may not come, and reads it event by event.
    ///
    /// # Errors
    /// When there is no connection, or it ends before the answer's head.
    pub async fn try_stream(&self, request: Request<Body>) -> Result<Stream, Error> {
        let (answer, connection) = within("the head of a stream", Box::pin(self.exchange(request))).await?;
        let (head, body) = answer.into_parts();
        let (status, headers) = (head.status.as_u16(), head.headers);
        Ok(Stream { status, headers, body, rest: BytesMut::new(), _connection: connection })
    }

    async fn exchange(&self, request: Request<Body>) -> Result<(Response<Incoming>, JoinSet<()>), Error> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            Some(tls) => exchange(tls.secure(stream).await?, request).await,
            None => exchange(stream, request).await,
        }
    }
}

async fn exchange<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: I,
    request: Request<Body>,
) -> Result<(Response<Incoming>, JoinSet<()>), Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut running = JoinSet::new();
    running.spawn(async move {
        // What breaks a connection is seen by who waits for the answer.
        let _ = connection.await;
    });
    Ok((sender.send_request(request).await?, running))
}

impl Reply {
    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("{} with a body that is not JSON ({error}): {:?}", self.status, self.body)
        })
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of a 200.
    #[must_use]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text());
        self
    }

    /// What a management call answered.
    #[must_use]
    pub fn data(self) -> Value {
        let mut envelope = self.ok().json();
        assert_eq!(envelope["success"], true, "{envelope}");
        envelope["data"].take()
    }

    /// A header as text; empty when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status, `code` and `type` of an error in OpenAI's shape, all of whose fields are checked to be there.
    #[must_use]
    pub fn openai_error(&self) -> (u16, String, String) {
        let body = self.json();
        let error = body["error"].as_object().unwrap_or_else(|| panic!("not OpenAI's shape: {body}"));
        let text = |name: &str| error[name].as_str().unwrap_or_else(|| panic!("{name} in {body}")).to_owned();
        assert!(error.contains_key("param"), "{body}");
        assert!(!text("message").is_empty(), "{body}");
        (self.status, text("code"), text("type"))
    }
}

impl Stream {
    /// The data of the next event; `None` at the end, whether it was a good one or not.
    pub async fn next(&mut self) -> Option<String> {
        within("the next event", async {
            loop {
                if let Some(end) = self.rest.windows(2).position(|two| two == b"\n\n") {
                    let event = self.rest.split_to(end + 2);
                    let event = String::from_utf8_lossy(&event).into_owned();
                    return Some(event.trim_end().strip_prefix("data: ").unwrap_or(&event).to_owned());
                }
                let frame = self.body.frame().await?.ok()?;
                self.rest.extend_from_slice(&frame.into_data().unwrap_or_default());
            }
        })
        .await
    }

    /// What is still to come, as one answer: a refusal has no events.
    pub async fn reply(mut self) -> Reply {
        within("the end of an answer", async {
            while let Some(Ok(frame)) = self.body.frame().await {
                self.rest.extend_from_slice(&frame.into_data().unwrap_or_default());
            }
        })
        .await;
        Reply { status: self.status, headers: self.headers, body: self.rest.freeze() }
    }

    /// The data of all events that are still to come.
    pub async fn all(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// A header as text; empty when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}
