//! Engines behind a Kubernetes service: an API server that says over HTTPS what a real one says.

use crate::{
    answers::{chat, check_whole, stream},
    death::some,
    engine::Engine,
    gateway::Gateway,
    until,
};
use axum::{
    Json, Router,
    body::Body,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use futures_util::stream as streams;
use http::{HeaderMap, StatusCode};
use inference::config::Kubernetes;
use proto::inference::v1::EngineState;
use serde_json::{Value, json};
use shared::{
    server::{self, Limits, Tasks},
    tls::Trust,
};
use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    fs,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex},
};
use tempfile::TempDir;
use tests::{authority::Authority, tls::Proxy};
use tokio::{net::TcpListener, sync::mpsc};

/// An API server that answers as it is told and notes what it is asked.
#[derive(Clone, Default)]
struct Script {
    asked: Arc<Mutex<Vec<String>>>,
    lists: Arc<Mutex<VecDeque<(StatusCode, Value)>>>,
    watch: Arc<Mutex<Option<mpsc::UnboundedSender<String>>>>,
}

struct ApiServer {
    script: Script,
    proxy: Proxy,
    folder: TempDir,
    authority: PathBuf,
    _serving: Tasks,
}

async fn slices(
    State(script): State<Script>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    assert_eq!(query["labelSelector"], "kubernetes.io/service-name=vllm");
    let token = headers["authorization"].to_str().unwrap().trim_start_matches("Bearer ").to_owned();
    if query.get("watch").is_none_or(|watch| watch != "true") {
        let page = query.get("continue").map(|page| format!(" {page}")).unwrap_or_default();
        script.asked.lock().unwrap().push(format!("{token} list{page}"));
        let answer = script.lists.lock().unwrap().pop_front();
        let (status, body) =
            answer.unwrap_or_else(|| (StatusCode::INTERNAL_SERVER_ERROR, json!({"message": "away"})));
        return (status, Json(body)).into_response();
    }
    assert_eq!(query["allowWatchBookmarks"], "true");
    let (sender, receiver) = mpsc::unbounded_channel::<String>();
    *script.watch.lock().unwrap() = Some(sender);
    script.asked.lock().unwrap().push(format!("{token} watch {}", query["resourceVersion"]));
    let lines = streams::unfold(receiver, async |mut receiver| {
        let line = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Bytes::from(line)), receiver))
    });
    Body::from_stream(Box::pin(lines)).into_response()
}

impl ApiServer {
    async fn start() -> Self {
        let (script, folder) = (Script::default(), TempDir::new().unwrap());
        let authority = Authority::new("cluster");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new()
            .route("/apis/discovery.k8s.io/v1/namespaces/llm/endpointslices", get(slices))
            .with_state(script.clone());
        let serving = Tasks::default();
        serving.spawn(server::serve(listener, routes, Limits::default(), serving.stopping()));
        let proxy = Proxy::start(&authority.issue(&["kubernetes.default.svc"]), address).await;
        let authority = authority.write(folder.path(), "cluster");
        let server = Self { script, proxy, folder, authority, _serving: serving };
        server.token("first");
        server
    }

    fn token(&self, token: &str) {
        fs::write(self.folder.path().join("token"), format!("{token}\n")).unwrap();
    }

    fn config(&self) -> Kubernetes {
        Kubernetes {
            server: self.proxy.url.clone(),
            token_file: self.folder.path().join("token"),
            tls: Trust {
                ca_file: Some(self.authority.clone()),
                server_name: Some("kubernetes.default.svc".into()),
                ..Trust::default()
            },
        }
    }

    /// The answer to the next list.
    fn list(&self, version: &str, next: &str, items: &[Value]) {
        let list = json!({
            "kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1",
            "metadata": {"resourceVersion": version, "continue": next},
            "items": items,
        });
        self.script.lists.lock().unwrap().push_back((StatusCode::OK, list));
    }

    /// Says something on the watch that is open.
    fn event(&self, kind: &str, object: &Value) {
        let line = json!({"type": kind, "object": object}).to_string() + "\n";
        // Torn anywhere, as it may come.
        let (one, other) = line.split_at(line.len() / 2);
        let watch = self.script.watch.lock().unwrap();
        for part in [one, other] {
            watch.as_ref().unwrap().send(part.to_owned()).unwrap();
        }
    }

    /// Ends the watch that is open.
    fn close(&self) {
        *self.script.watch.lock().unwrap() = None;
    }

    /// Waits until it was asked this last.
    async fn until_asked(&self, what: &str) {
        let last = async || self.script.asked.lock().unwrap().last().filter(|last| *last == what).map(|_| ());
        until(&format!("the API server to be asked: {what}"), last).await;
    }
}

/// A slice of the service with one endpoint, as an API server writes it.
fn slice(engine: &Engine, version: &str, conditions: &Value) -> Value {
    let port: u16 = engine.url.rsplit_once(':').unwrap().1.parse().unwrap();
    json!({
        "metadata": {
            "name": format!("vllm-{port}"), "namespace": "llm", "resourceVersion": version,
            "labels": {"kubernetes.io/service-name": "vllm"},
        },
        "addressType": "IPv4",
        "endpoints": [{
            "addresses": ["127.0.0.1"], "conditions": conditions, "nodeName": "node-1",
            "targetRef": {"kind": "Pod", "name": format!("vllm-{port}"), "uid": format!("uid-{port}")},
        }],
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
    })
}

#[tokio::test]
async fn the_endpoints_of_a_service_are_followed() {
    let first = Engine::simulated("tiny", &["--time-scale", "1"]).await;
    let (second, third) = (Engine::simulated("tiny", &[]).await, Engine::simulated("tiny", &[]).await);
    let ready = json!({"ready": true, "serving": true, "terminating": false});
    let ending = json!({"ready": false, "serving": true, "terminating": true});
    let server = ApiServer::start().await;
    server.list("90", "next-page", &[slice(&first, "80", &ready)]);
    server.list("100", "", &[slice(&second, "81", &ready)]);
    let gateway = Gateway::with(&[], |config| {
        config.engines = vec!["k8s://llm/vllm:http".into()];
        config.kubernetes = server.config();
    })
    .await;
    server.until_asked("first watch 100").await;
    let found: Vec<String> = gateway.engines().await.into_iter().map(|engine| engine.url).collect();
    assert_eq!(found.len(), 2);
    assert!(found.contains(&first.url) && found.contains(&second.url), "{found:?}");

    // One comes, one is ended by the cluster and finishes what it has.
    server.event("ADDED", &slice(&third, "101", &ready));
    gateway.until(&third, EngineState::Healthy).await;
    let mut running = Vec::new();
    for _ in 0..3 {
        running.push(gateway.chat(&stream(60)).await);
    }
    assert_eq!(gateway.in_flight(&first).await, 1);
    let mut events = Vec::new();
    for answer in &mut running {
        events.push(some(answer, 2).await);
    }
    server.event("MODIFIED", &slice(&first, "102", &ending));
    let leaving = gateway.until(&first, EngineState::Leaving).await;
    assert_eq!(leaving.state_reason, "its pod is being ended; it finishes what it has");
    assert_eq!(leaving.requests_in_flight, 1);
    server.event("DELETED", &slice(&first, "103", &ending));
    for (mut answer, mut events) in running.into_iter().zip(events) {
        while let Some(event) = answer.event().await {
            events.push(event);
        }
        check_whole(events, 1);
    }
    until("the engine to be forgotten", async || gateway.find(&first).await.is_none().then_some(())).await;

    // A watch that the server closes goes on from the last place, with the token of then.
    server.event("BOOKMARK", &json!({"metadata": {"resourceVersion": "150"}}));
    server.token("second");
    server.close();
    server.until_asked("second watch 150").await;

    // A place that is gone: all is listed anew, and what is not there any more has gone.
    server.list("200", "", &[slice(&third, "101", &ready)]);
    server.event("ERROR", &json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}));
    server.until_asked("second watch 200").await;
    until("the engine to be forgotten", async || gateway.find(&second).await.is_none().then_some(())).await;

    // While the server is away, what was known holds.
    server.event("ERROR", &json!({"kind": "Status", "code": 500, "message": "etcd is away"}));
    server.until_asked("second list").await;
    assert_eq!(gateway.find(&third).await.unwrap().state(), EngineState::Healthy);
    assert_eq!(gateway.chat(&chat(2)).await.status, StatusCode::OK);
    server.list("300", "", &[slice(&third, "101", &ready), slice(&second, "250", &ready)]);
    gateway.until(&second, EngineState::Healthy).await;
    server.until_asked("second watch 300").await;
    let asked = server.script.asked.lock().unwrap().clone();
    let expected = [
        "first list",
        "first list next-page",
        "first watch 100",
        "second watch 150",
        "second list",
        "second watch 200",
    ];
    assert_eq!(asked[..expected.len()], expected);
    gateway.close().await;
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_asked_nothing() {
    let engine = Engine::simulated("tiny", &[]).await;
    let server = ApiServer::start().await;
    server.list("100", "", &[slice(&engine, "80", &json!({"ready": true}))]);
    let other = Authority::new("another").write(server.folder.path(), "another");
    let gateway = Gateway::with(&[&engine], |config| {
        config.engines.push("k8s://llm/vllm:http".into());
        config.kubernetes = server.config();
        config.kubernetes.tls.ca_file = Some(other);
        config.engine.check_timeout = std::time::Duration::from_secs(1);
    })
    .await;
    assert_eq!(gateway.chat(&chat(2)).await.status, StatusCode::OK, "the others work all the same");
    assert!(server.script.asked.lock().unwrap().is_empty());
    gateway.close().await;
}
