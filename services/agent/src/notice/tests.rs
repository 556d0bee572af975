//! The three clouds as servers on this machine that say what the real ones say.

use super::*;
use crate::config::Cloud;
use axum::{
    Router,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
    routing::{get, put},
};
use shared::tls::{Dialer, Trust};
use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};
use tokio::sync::watch;

/// What a fake says, and what it was told.
#[derive(Clone)]
struct Fake {
    says: watch::Sender<Option<String>>,
    told: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn new() -> Self {
        Self { says: watch::Sender::new(None), told: Arc::default() }
    }

    fn says(&self) -> axum::response::Response {
        match self.says.borrow().clone() {
            Some(text) => text.into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

async fn serve(routes: Router) -> String {
    let listener = shared::server::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    Tasks::default().spawn(async move { axum::serve(listener, routes).await.unwrap_or_default() });
    base
}

/// An agent's ear at a metadata server.
struct Ear {
    orders: mpsc::Receiver<Order>,
    config: Config,
    web: Web,
    tasks: Tasks,
}

fn listen(provider: Provider, metadata: String) -> Ear {
    let cloud = Cloud { provider, metadata, every: Duration::from_millis(100), ..Cloud::default() };
    let config = Config { cloud, ..Config::default() };
    let web = Web::new(Dialer::open(&Trust::default(), "agent").unwrap());
    let (sender, orders) = mpsc::channel(4);
    let tasks = Tasks::default();
    start(&config, &web, &sender, &tasks).unwrap();
    Ear { orders, config, web, tasks }
}

impl Ear {
    async fn notice(&mut self) -> Notice {
        let order = ::tests::within("an order", self.orders.recv()).await.unwrap();
        assert_eq!(order.cause, Cause::Preemption);
        order.notice.unwrap()
    }

    /// Says nothing more, although the cloud goes on saying it.
    async fn end(mut self) {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(self.orders.try_recv().is_err(), "the same notice is one order");
        assert!(self.tasks.end(Duration::from_secs(5)).await);
    }
}

async fn aws_action(State(fake): State<Fake>, headers: HeaderMap) -> axum::response::Response {
    if headers.get("x-aws-ec2-metadata-token").is_none_or(|token| token != "token-1") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    fake.says()
}

#[tokio::test]
async fn a_spot_interruption_of_ec2_is_heard_once() {
    let fake = Fake::new();
    let routes = Router::new()
        .route(
            "/latest/api/token",
            put(async |headers: HeaderMap| {
                assert_eq!(headers["x-aws-ec2-metadata-token-ttl-seconds"], "3600");
                "token-1"
            }),
        )
        .route("/latest/meta-data/spot/instance-action", get(aws_action))
        .route("/latest/meta-data/autoscaling/target-lifecycle-state", get(async || "InService"))
        .with_state(fake.clone());
    let mut ear = listen(Provider::Aws, serve(routes).await);
    fake.says.send_replace(Some(r#"{"action":"terminate","time":"2026-11-22T05:57:00Z"}"#.into()));
    let notice = ear.notice().await;
    assert_eq!((notice.action.as_str(), notice.waits), ("terminate", false));
    assert_eq!(notice.deadline, Some(Time(1_795_327_020_000_000)));
    let again = "2a1d6f";
    assert!(
        notice.event_id.len() == 64 && notice.event_id != again,
        "made of what was said: {}",
        notice.event_id
    );
    ear.end().await;
}

#[tokio::test]
async fn what_an_auto_scaling_group_ends_is_heard() {
    let routes = Router::new()
        .route("/latest/api/token", put(async || "token-1"))
        .route("/latest/meta-data/autoscaling/target-lifecycle-state", get(async || "Terminated"));
    let mut ear = listen(Provider::Aws, serve(routes).await);
    assert_eq!(ear.notice().await.event_id, "autoscaling:Terminated");
    ear.end().await;
}

/// The question hangs until the state is another than the one that was told last.
async fn gcp_preempted(
    State(fake): State<Fake>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> axum::response::Response {
    assert_eq!(headers["metadata-flavor"], "Google");
    fake.told.lock().unwrap().push(query.clone().unwrap_or_default());
    let mut says = fake.says.subscribe();
    if query.is_some_and(|query| query.contains("last_etag=calm")) {
        says.wait_for(Option::is_some).await.unwrap();
    }
    let preempted = says.borrow().is_some();
    let (etag, text) = if preempted { ("gone", "TRUE") } else { ("calm", "FALSE") };
    ([("etag", etag)], text).into_response()
}

#[tokio::test]
async fn a_preemption_of_compute_engine_comes_by_itself() {
    let fake = Fake::new();
    let routes = Router::new()
        .route("/computeMetadata/v1/instance/preempted", get(gcp_preempted))
        .route("/computeMetadata/v1/instance/maintenance-event", get(async || "NONE"))
        .with_state(fake.clone());
    let mut ear = listen(Provider::Gcp, serve(routes).await);
    ::tests::until("the hanging question", async || (fake.told.lock().unwrap().len() == 2).then_some(()))
        .await;
    fake.says.send_replace(Some("TRUE".into()));
    assert_eq!(ear.notice().await.action, "preempt");
    let asked = fake.told.lock().unwrap()[1].clone();
    assert_eq!(asked, "wait_for_change=true&timeout_sec=10&last_etag=calm");
    ear.end().await;
}

const AZURE: &str = r#"{"DocumentIncarnation":3,"Events":[
  {"EventId":"A123","EventType":"Preempt","ResourceType":"VirtualMachine","Resources":["gpu-7"],
   "EventStatus":"Scheduled","NotBefore":"Sun, 22 Nov 2026 05:57:00 GMT","Description":"","EventSource":"Platform"},
  {"EventId":"B456","EventType":"Terminate","Resources":["gpu-8"],"EventStatus":"Scheduled","NotBefore":""},
  {"EventId":"C789","EventType":"Freeze","Resources":["gpu-7"],"EventStatus":"Scheduled","NotBefore":""}]}"#;

#[tokio::test]
async fn azure_is_heard_for_this_machine_alone_and_told_when_it_may_go_on() {
    let fake = Fake::new();
    let events = get(async |State(fake): State<Fake>, headers: HeaderMap| {
        assert_eq!(headers["metadata"], "true");
        fake.says()
    })
    .post(async |State(fake): State<Fake>, body: String| fake.told.lock().unwrap().push(body));
    let routes = Router::new()
        .route("/metadata/instance/compute/name", get(async || "gpu-7"))
        .route("/metadata/scheduledevents", events)
        .with_state(fake.clone());
    let mut ear = listen(Provider::Azure, serve(routes).await);
    fake.says.send_replace(Some(AZURE.into()));
    let notice = ear.notice().await;
    assert_eq!((notice.event_id.as_str(), notice.action.as_str(), notice.waits), ("A123", "preempt", true));
    assert_eq!(notice.deadline, Some(Time(1_795_327_020_000_000)));
    notice.release(&ear.config, &ear.web).await;
    assert_eq!(*fake.told.lock().unwrap(), [r#"{"StartRequests":[{"EventId":"A123"}]}"#]);
    ear.end().await;
}

#[tokio::test]
async fn garbled_words_are_no_notice() {
    let fake = Fake::new();
    fake.says.send_replace(Some("<html>".into()));
    let routes = Router::new()
        .route("/latest/api/token", put(async || "token-1"))
        .route("/latest/meta-data/spot/instance-action", get(aws_action))
        .with_state(fake.clone());
    let mut ear = listen(Provider::Aws, serve(routes).await);
    fake.says.send_replace(Some(r#"{"action":"stop","time":"2026-11-22T05:57:00Z"}"#.into()));
    assert_eq!(ear.notice().await.action, "stop");
    ear.end().await;
}
