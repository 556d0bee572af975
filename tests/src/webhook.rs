//! A receiver of alerts: an HTTP server that keeps what it is sent, as Alertmanager's webhooks are.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{collections::BTreeMap, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout},
};

/// Longer than any alert takes that is to be there within seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a message said of one alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// `firing` or `resolved`.
    pub status: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Told {
    /// Whether it is about an alert of this name that has these labels.
    #[must_use]
    pub fn is(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        let has = |label: &str, value: &str| self.labels.get(label).is_some_and(|known| known == value);
        has("alertname", name) && labels.iter().all(|(label, value)| has(label, value))
    }
}

/// A message as it came.
#[derive(Debug, Clone)]
struct Message {
    at: Instant,
    /// What it is known by when it comes again.
    key: String,
    body: Value,
}

/// What came, and whether it is answered.
#[derive(Debug)]
struct Kept {
    messages: watch::Sender<Vec<Message>>,
    held: watch::Sender<bool>,
}

/// A running receiver. Dropping it stops it.
#[derive(Debug)]
pub struct Webhook {
    address: SocketAddr,
    kept: Arc<Kept>,
    _running: JoinSet<()>,
}

impl Webhook {
    /// Starts one that takes everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kept = Kept { messages: watch::Sender::default(), held: watch::Sender::default() };
        let (kept, mut running) = (Arc::new(kept), JoinSet::new());
        running.spawn(accept(listener, Arc::clone(&kept)));
        Self { address, kept, _running: running }
    }

    /// From now on keeps what it is sent and answers nobody, or does again.
    pub fn hold(&self, held: bool) {
        self.kept.held.send_replace(held);
    }

    /// Where it is reached.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// All that it was told of alerts, in its order.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        let messages = self.kept.messages.borrow();
        messages.iter().flat_map(|message| told(&message.body)).collect()
    }

    /// Waits until there are so many messages about something, and says by which keys they are known.
    pub async fn keys(&self, what: &str, number: usize, is_meant: impl Fn(&Told) -> bool) -> Vec<String> {
        let mut messages = self.kept.messages.subscribe();
        let find = |all: &[Message]| -> Vec<String> {
            let meant = all.iter().filter(|message| told(&message.body).iter().any(&is_meant));
            meant.map(|message| message.key.clone()).collect()
        };
        let come = messages.wait_for(|all| find(all).len() >= number);
        match timeout(PATIENCE, come).await {
            Ok(all) => find(&all.unwrap()),
            Err(_) => panic!("{what} did not come {number} times; what did: {:#?}", self.told()),
        }
    }

    /// Waits until it has been told something, and says when that came.
    pub async fn until_told(&self, what: &str, is_meant: impl Fn(&Told) -> bool) -> Instant {
        let mut messages = self.kept.messages.subscribe();
        let find = |all: &[Message]| {
            all.iter().find(|message| told(&message.body).iter().any(&is_meant)).map(|message| message.at)
        };
        let come = messages.wait_for(|all| find(all).is_some());
        match timeout(PATIENCE, come).await {
            Ok(all) => find(&all.unwrap()).unwrap(),
            Err(_) => panic!("{what} did not come; what did: {:#?}", self.told()),
        }
    }
}

fn told(body: &Value) -> Vec<Told> {
    let alerts = body["alerts"].as_array().unwrap().iter();
    let read = |alert: &Value| Told {
        status: alert["status"].as_str().unwrap().to_owned(),
        labels: serde_json::from_value(alert["labels"].clone()).unwrap(),
    };
    alerts.map(read).collect()
}

async fn accept(listener: TcpListener, kept: Arc<Kept>) {
    let mut open = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let kept = Arc::clone(&kept);
        let take = service_fn(move |request| take(request, Arc::clone(&kept)));
        open.spawn(async move {
            // Whoever breaks off comes again.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), take).await;
        });
    }
}

async fn take(request: Request<Incoming>, kept: Arc<Kept>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let key = head.headers.get("idempotency-key").map_or("", |key| key.to_str().unwrap()).to_owned();
    if let Ok(body) = body.collect().await {
        let body = serde_json::from_slice(&body.to_bytes()).unwrap();
        kept.messages.send_modify(|all| all.push(Message { at: Instant::now(), key, body }));
    }
    // Its sender is as old as this.
    let _ = kept.held.subscribe().wait_for(|held| !held).await;
    Ok(Response::default())
}
