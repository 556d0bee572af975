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

/// Messages, and when they came.
type Messages = Arc<watch::Sender<Vec<(Instant, Value)>>>;

/// A running receiver. Dropping it stops it.
#[derive(Debug)]
pub struct Webhook {
    address: SocketAddr,
    messages: Messages,
    _running: JoinSet<()>,
}

impl Webhook {
    /// Starts one that takes everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let messages = Messages::default();
        let mut running = JoinSet::new();
        running.spawn(accept(listener, Arc::clone(&messages)));
        Self { address, messages, _running: running }
    }

    /// Where it is reached.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// All that it was told of alerts, in its order.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        let messages = self.messages.borrow();
        messages.iter().flat_map(|(_, message)| told(message)).collect()
    }

    /// Waits until it has been told something, and says when that came.
    pub async fn until_told(&self, what: &str, is_meant: impl Fn(&Told) -> bool) -> Instant {
        let mut messages = self.messages.subscribe();
        let find = |all: &[(Instant, Value)]| {
            all.iter().find(|(_, message)| told(message).iter().any(&is_meant)).map(|(at, _)| *at)
        };
        let come = messages.wait_for(|all| find(all).is_some());
        match timeout(PATIENCE, come).await {
            Ok(all) => find(&all.unwrap()).unwrap(),
            Err(_) => panic!("{what} did not come; what did: {:#?}", self.told()),
        }
    }
}

fn told(message: &Value) -> Vec<Told> {
    let alerts = message["alerts"].as_array().unwrap().iter();
    let read = |alert: &Value| Told {
        status: alert["status"].as_str().unwrap().to_owned(),
        labels: serde_json::from_value(alert["labels"].clone()).unwrap(),
    };
    alerts.map(read).collect()
}

async fn accept(listener: TcpListener, messages: Messages) {
    let mut open = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let messages = Arc::clone(&messages);
        let take = service_fn(move |request| take(request, Arc::clone(&messages)));
        open.spawn(async move {
            // Whoever breaks off comes again.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), take).await;
        });
    }
}

async fn take(request: Request<Incoming>, messages: Messages) -> Result<Response<Full<Bytes>>, Infallible> {
    if let Ok(body) = request.into_body().collect().await {
        let message = serde_json::from_slice(&body.to_bytes()).unwrap();
        messages.send_modify(|all| all.push((Instant::now(), message)));
    }
    Ok(Response::default())
}
