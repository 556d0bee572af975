//! Receivers of messages: an HTTP server that keeps what it gets and answers as it is told, and the settings that name it.

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::post,
};
use monitoring::{Alerts, Receiver};
use serde_json::Value;
use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::timeout};

/// Longer than a group waits between two messages.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap().to_str().unwrap()
    }

    /// Whether it is about alerts of this rule.
    pub(crate) fn is_about(&self, rule: &str) -> bool {
        self.json()["alerts"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["labels"]["alertname"] == rule))
    }
}

/// An answer: a status, and what `Retry-After` says.
pub(crate) type Answer = (u16, Option<&'static str>);

#[derive(Clone)]
struct Kept {
    got: Arc<watch::Sender<Vec<Got>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

/// An HTTP server. Dropping it stops it.
pub(crate) struct Inbox {
    address: SocketAddr,
    kept: Kept,
    server: JoinHandle<()>,
}

impl Inbox {
    /// One that answers like this, and 200 from then on.
    pub(crate) async fn new(answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = Arc::new(Mutex::new(answers.iter().copied().collect()));
        let kept = Kept { got: Arc::new(watch::Sender::new(Vec::new())), answers };
        let routes = Router::new().route("/", post(take)).with_state(kept.clone());
        #[expect(clippy::disallowed_methods, reason = "it ends with this inbox")]
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, kept, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// What it got that is meant, once there are so many.
    pub(crate) async fn wait(&self, number: usize, is_meant: impl Fn(&Got) -> bool) -> Vec<Got> {
        let mut got = self.kept.got.subscribe();
        let meant = |all: &Vec<Got>| all.iter().filter(|one| is_meant(one)).count() >= number;
        let all = timeout(PATIENCE, got.wait_for(meant))
            .await
            .unwrap_or_else(|_| panic!("{number} messages did not come"))
            .unwrap()
            .clone();
        all.into_iter().filter(|one| is_meant(one)).collect()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(kept): State<Kept>, headers: HeaderMap, bytes: Bytes) -> axum::response::Response {
    kept.got.send_modify(|got| got.push(Got { headers, bytes }));
    let (status, after) = kept.answers.lock().unwrap().pop_front().unwrap_or((200, None));
    let mut answer = StatusCode::from_u16(status).unwrap().into_response();
    if let Some(after) = after {
        answer.headers_mut().insert("retry-after", after.parse().unwrap());
    }
    answer
}

fn receiver(json: &str) -> Receiver {
    serde_json::from_str(json).unwrap()
}

/// A webhook whose bodies are signed with `hush`.
pub(crate) fn webhook(inbox: &Inbox) -> Receiver {
    receiver(&format!(
        r#"{{"webhook": {{"url": {{"value": "{}"}}, "secret": {{"value": "hush"}}}}}}"#,
        inbox.url()
    ))
}

pub(crate) fn slack(inbox: &Inbox) -> Receiver {
    receiver(&format!(r##"{{"slack": {{"url": {{"value": "{}"}}, "channel": "#ops"}}}}"##, inbox.url()))
}

pub(crate) fn email(to: &str) -> Receiver {
    receiver(&format!(r#"{{"email": {{"to": ["{to}"]}}}}"#))
}

/// Settings with these receivers, and a mail server on this machine.
pub(crate) fn settings(receivers: &[(&str, Receiver)], smtp: Option<u16>) -> Alerts {
    let mut alerts: Alerts = match smtp {
        Some(port) => serde_json::from_str(&format!(
            r#"{{"smtp": {{"host": "127.0.0.1", "port": {port}, "encryption": "none", "from": "Tollgate <tollgate@example.org>"}}}}"#
        ))
        .unwrap(),
        None => Alerts::default(),
    };
    alerts.evaluate_every = Duration::from_millis(200);
    alerts.receivers =
        receivers.iter().map(|(name, receiver)| ((*name).to_owned(), receiver.clone())).collect();
    alerts
}
