//! A node agent beside a simulated engine: warm-up by a real completion, a notice of the cloud, the drain, and what is
//! known of it afterwards.

use crate::{
    chat::{CHAT, streamed},
    operate::Desk,
};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tempfile::TempDir;
use tests::{
    apart::SERVICE_TOKEN,
    engine::Engine,
    http::Client,
    process::{Process, free_address},
    suite::{MODEL, Suite},
    until,
};
use tokio::{net::TcpListener, task::JoinSet};

/// EC2's metadata service, as far as agents ask it.
struct Metadata {
    address: SocketAddr,
    interrupts: Arc<AtomicBool>,
    _running: JoinSet<()>,
}

impl Metadata {
    async fn start() -> Self {
        let listener = TcpListener::bind(free_address()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let interrupts = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&interrupts);
        let time = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(120);
        let action = json!({ "action": "terminate", "time": time }).to_string();
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (told, action) = (Arc::clone(&told), action.clone());
                let answering = service_fn(move |request| {
                    let answer = answer(&request, Some(&action).filter(|_| told.load(Ordering::SeqCst)));
                    async move { Ok::<_, Infallible>(answer) }
                });
                let serving = hyper::server::conn::http1::Builder::new();
                open.spawn(async move { serving.serve_connection(TokioIo::new(stream), answering).await });
            }
        });
        Self { address, interrupts, _running: running }
    }

    /// From now on it says that the machine is taken in two minutes.
    fn interrupt(&self) {
        self.interrupts.store(true, Ordering::SeqCst);
    }
}

fn answer(request: &Request<Incoming>, action: Option<&String>) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::PUT, "/latest/api/token") => (StatusCode::OK, "token".to_owned()),
        (_, "/latest/meta-data/spot/instance-action") => match action {
            Some(action) => (StatusCode::OK, action.clone()),
            None => (StatusCode::NOT_FOUND, String::new()),
        },
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer
}

/// A suite, and an agent beside its engine.
struct Node {
    suite: Suite,
    engine: Engine,
    metadata: Metadata,
    agent: Process,
    _folder: TempDir,
}

impl Node {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let engine = Engine::start("").await;
        let (monitoring, inference) = (free_address(), free_address());
        let folder = TempDir::new().unwrap();
        let token = folder.path().join("token");
        fs::write(&token, SERVICE_TOKEN).unwrap();
        let token = token.display().to_string();
        let suite = Suite::start(&[
            ("TOLLGATE_ENGINES", &engine.url),
            ("TOLLGATE_SERVICE_TOKEN__FILE", &token),
            ("TOLLGATE_PORTS__MONITORING", &monitoring.to_string()),
            ("TOLLGATE_PORTS__INFERENCE", &inference.to_string()),
        ])
        .await;
        let metadata = Metadata::start().await;
        let mut variables = vec![
            ("TOLLGATE_SERVICE_TOKEN__FILE", token),
            ("TOLLGATE_UPSTREAM__MONITORING", format!("http://{monitoring}")),
            ("TOLLGATE_UPSTREAM__INFERENCE", format!("http://{inference}")),
            ("TOLLGATE_PORTS__AGENT_ADMIN", free_address().to_string()),
            ("TOLLGATE_AGENT__INSTANCE_ID", "i-1".to_owned()),
            ("TOLLGATE_AGENT__POOL", "chat".to_owned()),
            ("TOLLGATE_AGENT__ENGINE", engine.url.clone()),
            ("TOLLGATE_AGENT__GPU", "off".to_owned()),
            ("TOLLGATE_AGENT__EVERY", "1s".to_owned()),
            ("TOLLGATE_AGENT__CLOUD__METADATA", format!("http://{}", metadata.address)),
        ];
        variables.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let variables: Vec<_> = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let agent = Process::start("agent", &["agent"], &variables, folder.path());
        Self { suite, engine, metadata, agent, _folder: folder }
    }

    async fn until_state(&self, owner: &Client, state: &str) -> Value {
        let state = json!(format!("INSTANCE_STATE_{state}"));
        let path = format!("/api/v1/instances?state={}", state.as_str().unwrap());
        until(&format!("an instance in {state}"), async || {
            owner.get(&path).await.data()["instances"].as_array().and_then(|all| all.first().cloned())
        })
        .await
    }
}

fn moves(events: &Value) -> Vec<(String, String)> {
    let word = |event: &Value, field: &str| {
        let word = event[field].as_str().unwrap_or_default();
        word.rsplit_once('_').map_or(word, |_| word.splitn(3, '_').last().unwrap()).to_owned()
    };
    let events = events.as_array().unwrap();
    events.iter().rev().map(|event| (word(event, "to"), word(event, "cause"))).collect()
}

#[tokio::test]
async fn a_notice_of_the_cloud_drains_the_engine_and_all_of_it_is_known() {
    let mut node = Node::start(&[("TOLLGATE_AGENT__CLOUD__PROVIDER", "aws")]).await;
    let owner = node.suite.owner();
    let ready = node.until_state(&owner, "READY").await;
    assert_eq!((&ready["spec"]["pool"], &ready["spec"]["provider"]), (&json!("chat"), &json!("aws")));
    assert!(node.engine.metric("request_success_total").await >= 1, "it was warmed up by a completion");

    // The gateway says what waits, so there is a recommendation.
    let policy = json!({ "policy": { "models": [MODEL] } });
    let put = owner.with_json("PUT", "/api/v1/scaling/chat/policy", &policy);
    let _ = owner.send(put).await.ok();
    let recommended = until("a recommendation", async || {
        let answer = owner.get("/api/v1/scaling/chat").await;
        (answer.status == 200).then(|| answer.data()["recommendation"].take())
    })
    .await;
    assert_eq!((&recommended["replicas"], &recommended["ready"]), (&json!(1), &json!(1)), "{recommended}");

    let mut stream = owner.stream(CHAT, &streamed(5, 400)).await;
    stream.next().await.unwrap();
    node.metadata.interrupt();
    node.until_state(&owner, "DRAINING").await;
    let engine = until("the drain at the gateway", async || {
        let engine = owner.get("/api/v1/engines").await.data()["engines"][0].take();
        (!engine["cordon"].is_null()).then_some(engine)
    })
    .await;
    assert_eq!(engine["cordon"]["reason"], "agent: terminate announced");
    let mode = until("the gateway to serve only what is urgent", async || {
        let mode = owner.get("/api/v1/mode").await.data()["mode"].take();
        (mode["mode"] == "SERVING_MODE_DEGRADED").then_some(mode)
    })
    .await;
    assert_eq!(mode["reasons"], json!(["DEGRADED_REASON_PREEMPTION"]));
    // What runs goes on to its end.
    let events = stream.all().await;
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    node.until_state(&owner, "TERMINATED").await;

    let desk = Desk::signed_in(&node.suite);
    let expected = [
        ("INIT", "REGISTERED"),
        ("WARMING", "ENGINE_UP"),
        ("READY", "WARMED_UP"),
        ("DRAINING", "PREEMPTION"),
        ("TERMINATED", "DRAINED"),
    ]
    .map(|(to, cause)| (to.to_owned(), cause.to_owned()));
    assert_eq!(moves(&desk.json("instances events i-1")), expected);
    let preempted = until("the whole report", async || {
        let told = desk.json("instances preemptions i-1").as_array()?.first()?.clone();
        (!told["end_time"].is_null()).then_some(told)
    })
    .await;
    let counts =
        ["requests_in_flight", "requests_finished", "requests_unfinished"].map(|name| &preempted[name]);
    assert_eq!(counts, [&json!(1), &json!(1), &json!(0)], "{preempted}");
    assert_eq!(preempted["action"], "terminate");
    assert!(desk.table("instances list --state terminated").contains("i-1"));
    assert!(desk.table("scaling recommend chat").contains("replicas"));
    assert!(desk.table("scaling policies").contains(MODEL));
    assert!(node.agent.stop().await.success());
}

#[tokio::test]
async fn an_agent_that_is_stopped_drains_first_and_readmits_when_it_is_back() {
    let mut node = Node::start(&[]).await;
    let owner = node.suite.owner();
    node.until_state(&owner, "READY").await;
    let drained = Desk::signed_in(&node.suite).json("instances drain i-1 --reason update")["instance"].take();
    assert_eq!(drained["drain_reason"], "update");
    node.until_state(&owner, "TERMINATED").await;
    let state = async || owner.get("/api/v1/engines").await.data()["engines"][0]["state"].take();
    assert_eq!(state().await, "ENGINE_STATE_DRAINED");
    // The engine is started again: its instance lives again, and gateways may use it.
    node.engine.process.kill();
    let gone = async || node.agent.log().contains("the engine has gone").then_some(());
    until("the agent's word that the engine has gone", gone).await;
    node.engine.start_again().await;
    let again = node.until_state(&owner, "READY").await;
    assert_eq!(again["epoch"], 2);
    until("requests", async || (state().await == "ENGINE_STATE_HEALTHY").then_some(())).await;
    assert!(node.agent.stop().await.success());
    node.until_state(&owner, "TERMINATED").await;
    let events = Desk::signed_in(&node.suite).json("instances events i-1");
    assert_eq!(moves(&events).last().unwrap().1, "DRAINED");
}
