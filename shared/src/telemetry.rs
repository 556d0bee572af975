//! What a process tells about itself: logs as JSON lines, metrics by one meter, traces by OTLP.
//!
//! Metric names are constants beside the code that records them. User ids and keys are never labels.

pub mod level;
mod lines;
mod note;
mod observe;
pub mod serve;
mod totals;

pub use lines::is_debugged;
pub use note::{Hear, Learned, Note, Refused, Told};
pub use observe::{ObserveLayer, Observed};
pub use totals::totals;

use crate::config::Validate;
use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    KeyValue, global,
    propagation::{Extractor, Injector},
    trace::{TraceContextExt as _, TracerProvider as _},
};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::{
    Resource,
    metrics::{PeriodicReader, SdkMeterProvider},
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use serde::Deserialize;
use std::{
    io::IsTerminal,
    sync::{LazyLock, OnceLock},
};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer as _, layer::SubscriberExt, reload, util::SubscriberInitExt};

/// How a process tells about itself.
#[derive(Debug, Clone, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which log lines are written: a level, or `target=level` pairs joined by commas.
    pub log: String,
    /// `json`, `text`, or `auto`: text on a terminal, else JSON.
    pub format: Format,
    /// OTLP/gRPC endpoint for traces and metrics, such as `http://127.0.0.1:4317`. Empty: none are sent.
    pub otlp_endpoint: String,
    /// Part of the traces that are kept, 0 to 1, unless the caller decided.
    pub trace_ratio: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { log: "info".into(), format: Format::Auto, otlp_endpoint: String::new(), trace_ratio: 1.0 }
    }
}

impl Validate for Config {
    fn validate(&self, faults: &mut Vec<String>) {
        if !(0.0..=1.0).contains(&self.trace_ratio) {
            faults.push("telemetry.trace_ratio: must be between 0 and 1".into());
        }
    }
}

/// Shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is not one.
    #[error("telemetry.log: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The endpoint cannot be used.
    #[error("telemetry.otlp_endpoint: {0}")]
    Otlp(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The Prometheus registry refused the exporter.
    #[error("metrics: {0}")]
    Metrics(String),
    /// It was set up before.
    #[error("telemetry was started twice in one process")]
    Twice,
}

/// Keeps the exporters alive; [`Telemetry::flush`] sends what they hold.
#[derive(Debug)]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
    metrics: SdkMeterProvider,
}

/// The target of spans that are exported and never written as lines; where no traces are sent they are not even made.
pub const TRACED: &str = "traced";

static REGISTRY: LazyLock<prometheus::Registry> = LazyLock::new(prometheus::Registry::new);
static STARTED: OnceLock<()> = OnceLock::new();

/// Starts logs, metrics and traces of this process, under the name of its service. Once.
///
/// # Errors
/// When the configuration cannot be followed, or it was started before.
pub fn start(config: &Config, service: &'static str) -> Result<Telemetry, Error> {
    STARTED.set(()).map_err(|()| Error::Twice)?;
    let resource = Resource::builder()
        .with_service_name(format!("tollgate-{service}"))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let otlp = (!config.otlp_endpoint.is_empty()).then_some(config.otlp_endpoint.as_str());
    let metrics = metrics(resource.clone(), otlp)?;
    global::set_meter_provider(metrics.clone());
    let traces = otlp.map(|endpoint| traces(resource, endpoint, config.trace_ratio)).transpose()?;
    logs(config, traces.as_ref(), service)?;
    Ok(Telemetry { traces, metrics })
}

fn metrics(resource: Resource, otlp: Option<&str>) -> Result<SdkMeterProvider, Error> {
    let exporter = opentelemetry_prometheus::exporter()
        .with_registry(REGISTRY.clone())
        .scope_info_enabled(false)
        .build()
        .map_err(|error| Error::Metrics(error.to_string()))?;
    let mut provider = SdkMeterProvider::builder().with_resource(resource).with_reader(exporter);
    if let Some(endpoint) = otlp {
        let exporter =
            opentelemetry_otlp::MetricExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
        provider = provider.with_reader(PeriodicReader::builder(exporter).build());
    }
    Ok(provider.build())
}

fn traces(resource: Resource, endpoint: &str, ratio: f64) -> Result<SdkTracerProvider, Error> {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let exporter =
        opentelemetry_otlp::SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    Ok(SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
        .with_batch_exporter(exporter)
        .build())
}

fn logs(config: &Config, traces: Option<&SdkTracerProvider>, service: &'static str) -> Result<(), Error> {
    let (filter, handle) = reload::Layer::new(level::filter(&config.log)?);
    let json = match config.format {
        Format::Json => true,
        Format::Text => false,
        Format::Auto => !std::io::stderr().is_terminal(),
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if json {
        lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
    } else {
        lines.with_target(false).boxed()
    };
    // What is traced does not depend on what is written.
    let traced = level::traced()?;
    let spans = traces.map(|provider| {
        tracing_opentelemetry::layer().with_tracer(provider.tracer(service)).with_filter(traced)
    });
    let lines = lines.with_filter(filter);
    tracing_subscriber::registry().with(lines).with(spans).try_init().map_err(|_| Error::Twice)?;
    level::control(handle, &config.log);
    Ok(())
}

impl Telemetry {
    /// Sends what is still held back. Waits for the exporters, so not for the async runtime's threads.
    pub fn flush(self) {
        if let Some(traces) = self.traces
            && let Err(error) = traces.shutdown()
        {
            tracing::debug!(%error, "traces were not flushed");
        }
        if let Err(error) = self.metrics.shutdown() {
            tracing::debug!(%error, "metrics were not flushed");
        }
    }
}

/// The metrics of this process in Prometheus' text format.
#[must_use]
pub fn prometheus() -> ([(HeaderName, HeaderValue); 1], String) {
    let kind =
        (http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    let text = prometheus::TextEncoder::new().encode_to_string(&REGISTRY.gather());
    ([kind], text.unwrap_or_default())
}

/// The meter of all instruments.
#[must_use]
pub fn meter() -> opentelemetry::metrics::Meter {
    global::meter("tollgate")
}

/// Says something of a span in its trace.
pub fn set(span: &tracing::Span, name: &'static str, value: impl Into<opentelemetry::Value>) {
    span.set_attribute(name, value);
}

/// Says in its trace that what a span is about went wrong, in a word of few.
pub fn fail(span: &tracing::Span, kind: &str) {
    span.set_attribute("error.type", kind.to_owned());
    span.set_status(opentelemetry::trace::Status::error(""));
}

/// The id of the trace that a span belongs to, where it is recorded.
#[must_use]
pub fn trace_id(span: &tracing::Span) -> Option<String> {
    let context = span.context();
    let traced = context.span().span_context().clone();
    traced.is_sampled().then(|| traced.trace_id().to_string())
}

/// Writes the current span's trace context into the headers of a request that leaves.
pub fn inject(headers: &mut HeaderMap) {
    let context = tracing::Span::current().context();
    let mut headers = Headers(headers);
    global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut headers));
}

/// Makes `span` a child of the trace that a request came with.
pub fn adopt(span: &tracing::Span, headers: &HeaderMap) {
    if headers.contains_key("traceparent") {
        let parent = global::get_text_map_propagator(|propagator| propagator.extract(&Headers(headers)));
        if span.set_parent(parent).is_err() {
            tracing::trace!("no trace is recorded");
        }
    }
}

struct Headers<H>(H);

impl Injector for Headers<&mut HeaderMap> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

impl Extractor for Headers<&HeaderMap> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}
