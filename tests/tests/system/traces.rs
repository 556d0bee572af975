//! One request, one trace: what the services tell a collector about it.

use crate::chat::{chat, named, until_usable};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
};
use std::sync::{Arc, Mutex};
use tests::{apart::Apart, engine::Engine, people, process::free_address, suite::MODEL, until};
use tokio::task::JoinSet;
use tonic::{Request, Response, Status, transport::Server};

/// A span as the collector got it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    service: String,
    name: String,
    trace: String,
    id: String,
    parent: String,
    text: String,
}

#[derive(Debug, Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

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

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

#[tokio::test]
async fn a_request_is_one_trace_from_its_caller_through_edge_and_gateway() {
    let (collector, address) = (Collector::default(), free_address());
    let mut serving = JoinSet::new();
    serving.spawn(Server::builder().add_service(TraceServiceServer::new(collector.clone())).serve(address));
    let engine = Engine::start("--time-scale 10").await;
    let endpoint = format!("http://{address}");
    let apart = Apart::start(&[
        ("TOLLGATE_ENGINES", &engine.url),
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
    let of = |service: &'static str| move |span: &Span| span.trace == TRACE && span.service == service;
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

    let shipped = |span: &Span| span.name == "tollgate.monitoring.v1.UsageService/RecordUsage";
    assert_eq!(collector.span("the usage's arrival", shipped).await.service, "tollgate-monitoring");
    let key = apart.first_run().api_key;
    assert!(!collector.0.lock().unwrap().iter().any(|span| span.text.contains(&key)));
}
