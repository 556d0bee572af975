//! One request, one trace: what the services tell a collector about it.

use crate::chat::{chat, named, streamed, until_usable};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
};
use serde_json::{Value as Json, json};
use std::sync::{Arc, Mutex};
use tests::{apart::Apart, engine::Engine, http::Client, people, process::free_address, suite::MODEL, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tonic::{Request, Response, Status, transport::Server};

/// A span as the collector got it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    service: String,
    name: String,
    trace: String,
    id: String,
    parent: String,
    kind: i32,
    attributes: Vec<(String, String)>,
    text: String,
}

impl Span {
    /// The value of an attribute, as it is written in the protocol.
    fn attribute(&self, name: &str) -> Option<String> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }
}

#[derive(Debug, Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

fn written(field: &KeyValue) -> String {
    field
        .value
        .as_ref()
        .and_then(|value| value.value.as_ref())
        .map(|value| format!("{value:?}"))
        .unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut spans = self.0.lock().unwrap();
        for from in request.into_inner().resource_spans {
            let named =
                from.resource.unwrap().attributes.into_iter().find(|field| field.key == "service.name");
            let Some(Value::StringValue(service)) = named.unwrap().value.unwrap().value else {
                panic!("a name")
            };
            let found = from.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(found.map(|span| Span {
                service: service.clone(),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                kind: span.kind,
                attributes: span.attributes.iter().map(|field| (field.key.clone(), written(field))).collect(),
                text: format!("{span:?}"),
                name: span.name,
            }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// The one span that fits, once it has come.
    async fn span(&self, what: &str, fits: impl Fn(&Span) -> bool) -> Span {
        let look = async || self.0.lock().unwrap().iter().find(|span| fits(span)).cloned();
        until(&format!("the span of {what}"), look).await
    }
}

/// What is sent to an engine, byte for byte, and the address at which it is reached then.
async fn heard_before(engine: &Engine) -> (Arc<Mutex<Vec<u8>>>, String, JoinSet<()>) {
    let (near, far) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), engine.url.replace("http://", ""));
    let (heard, url) = (Arc::<Mutex<Vec<u8>>>::default(), format!("http://{}", near.local_addr().unwrap()));
    let (kept, mut running) = (Arc::clone(&heard), JoinSet::new());
    running.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((near, _)) = near.accept().await {
            let (kept, far) = (Arc::clone(&kept), far.clone());
            open.spawn(async move {
                let Ok(far) = TcpStream::connect(far).await else { return };
                let ((mut from, mut back), (mut answer, mut to)) = (near.into_split(), far.into_split());
                let ask = async {
                    let mut piece = [0; 4_096];
                    while let Ok(length @ 1..) = from.read(&mut piece).await {
                        kept.lock().unwrap().extend_from_slice(&piece[..length]);
                        if to.write_all(&piece[..length]).await.is_err() {
                            break;
                        }
                    }
                };
                tokio::join!(ask, async { drop(tokio::io::copy(&mut answer, &mut back).await) });
            });
        }
    });
    (heard, url, running)
}

/// A stream is a span until its end, with one in it for the queue and one for the engine, whose trace goes on from there.
async fn what_an_engine_is_told_of(collector: &Collector, owner: &Client, heard: &Mutex<Vec<u8>>) {
    let trace = TRACE.replace('4', "6");
    let mut asked = streamed(2, 7);
    (asked["temperature"], asked["seed"]) = (json!(0.25), json!(9));
    let mut request = named(owner, "a-stream", &asked);
    request.headers_mut().insert("traceparent", format!("00-{trace}-{CALLER}-01").parse().unwrap());
    let mut stream = owner.try_stream(request).await.unwrap();
    while stream.next().await.is_some() {}
    let of = |name: &'static str, kind: i32| {
        let trace = trace.clone();
        move |span: &Span| span.trace == trace && span.name == name && span.kind == kind
    };
    let (internal, client) = (1, 3);
    let whole = collector.span("the inference", of("chat tollgate-sim", internal)).await;
    let queue = collector.span("the queue", of("queue", internal)).await;
    let attempt = collector.span("the engine", of("chat tollgate-sim", client)).await;
    let gateway = collector.span("the gateway", |span| span.id == whole.parent).await;
    assert_eq!(gateway.service, "tollgate-inference");
    assert_eq!((&queue.parent, &attempt.parent), (&whole.id, &whole.id));
    for (name, value) in [
        ("gen_ai.operation.name", "StringValue(\"chat\")"),
        ("gen_ai.request.model", "StringValue(\"tollgate-sim\")"),
        ("gen_ai.request.stream", "BoolValue(true)"),
        ("gen_ai.request.max_tokens", "IntValue(7)"),
        ("gen_ai.request.temperature", "DoubleValue(0.25)"),
        ("gen_ai.request.seed", "IntValue(9)"),
        ("gen_ai.response.model", "StringValue(\"tollgate-sim\")"),
        ("gen_ai.usage.input_tokens", "IntValue(5)"),
        ("gen_ai.usage.output_tokens", "IntValue(7)"),
    ] {
        assert_eq!(whole.attribute(name), Some(value.to_owned()), "{name} of {}", whole.text);
    }
    assert!(whole.attribute("gen_ai.response.time_to_first_chunk").is_some(), "{}", whole.text);
    assert_eq!(attempt.attribute("tollgate.outcome"), Some("StringValue(\"answered\")".into()));
    let headers = String::from_utf8_lossy(&heard.lock().unwrap()).to_lowercase();
    assert!(headers.contains(&format!("traceparent: 00-{trace}-{}-01", attempt.id)), "{headers}");
    assert!(!whole.text.contains("w1") && whole.attribute("error.type").is_none(), "{}", whole.text);

    // What is refused is a span as well, which says why.
    let trace = TRACE.replace('4', "7");
    let mut body = streamed(2, 7);
    body["model"] = "gone".into();
    let mut request = named(owner, "refused", &body);
    request.headers_mut().insert("traceparent", format!("00-{trace}-{CALLER}-01").parse().unwrap());
    assert_eq!(owner.send(request).await.status, 404);
    let refused = collector.span("the refusal", |span| span.trace == trace && span.name == "chat gone").await;
    assert_eq!(refused.attribute("error.type"), Some("StringValue(\"MODEL_NOT_FOUND\")".into()));

    // Its id in the ledger leads to its trace.
    let told = async || {
        let reply = owner.get("/api/v1/requests/a-stream").await;
        (reply.status == 200)
            .then(|| reply.json()["data"]["stories"][0]["record"]["course"]["trace_id"].take())
    };
    assert_eq!(until("the story of a stream", told).await, trace_of(&whole));
}

fn trace_of(span: &Span) -> Json {
    span.trace.clone().into()
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

#[tokio::test]
async fn a_request_is_one_trace_from_its_caller_through_edge_and_gateway() {
    let (collector, address) = (Collector::default(), free_address());
    let mut serving = JoinSet::new();
    serving.spawn(Server::builder().add_service(TraceServiceServer::new(collector.clone())).serve(address));
    let engine = Engine::start("--time-scale 10").await;
    let endpoint = format!("http://{address}");
    let (heard, url, _running) = heard_before(&engine).await;
    let apart = Apart::start(&[
        ("TOLLGATE_ENGINES", &url),
        ("TOLLGATE_TELEMETRY__OTLP_ENDPOINT", &endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ])
    .await;
    let owner = apart.owner();
    people::register(&owner, MODEL).await;
    until_usable(&owner).await;

    let mut request = named(&owner, "the-caller-s-id", &chat(2, 3));
    request.headers_mut().insert("traceparent", format!("00-{TRACE}-{CALLER}-01").parse().unwrap());
    let _ = owner.send(request).await.ok();
    // Kind 2 is a server's: of the gateway there are more, of what it does.
    let of = |service: &'static str| {
        move |span: &Span| span.trace == TRACE && span.service == service && span.kind == 2
    };
    let edge = collector.span("the edge", of("tollgate-edge")).await;
    let gateway = collector.span("the gateway", of("tollgate-inference")).await;
    assert_eq!((edge.parent.as_str(), gateway.parent.as_str()), (CALLER, edge.id.as_str()));
    for span in [&edge, &gateway] {
        assert!(span.text.contains("the-caller-s-id"), "{}", span.text);
    }

    // A management call goes another way, over gRPC, and is one trace too.
    let mut request = owner.request("GET", "/api/v1/models");
    let other = TRACE.replace('4', "5");
    request.headers_mut().insert("traceparent", format!("00-{other}-{CALLER}-01").parse().unwrap());
    let _ = owner.send(request).await.data();
    let of = |service: &'static str| {
        let other = other.clone();
        move |span: &Span| span.trace == other && span.service == service
    };
    let edge = collector.span("the edge", of("tollgate-edge")).await;
    let permissions = collector.span("permissions", of("tollgate-permissions")).await;
    assert_eq!((edge.parent.as_str(), permissions.parent.as_str()), (CALLER, edge.id.as_str()));
    assert_eq!(permissions.name, "tollgate.permissions.v1.ModelService/ListModels");

    what_an_engine_is_told_of(&collector, &owner, &heard).await;

    let shipped = |span: &Span| span.name == "tollgate.monitoring.v1.UsageService/RecordUsage";
    assert_eq!(collector.span("the usage's arrival", shipped).await.service, "tollgate-monitoring");
    let key = apart.first_run().api_key;
    assert!(!collector.0.lock().unwrap().iter().any(|span| span.text.contains(&key)));
}
