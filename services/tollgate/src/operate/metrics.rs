//! What is measured: names, numbers now and over time, how models are served, how the machines are.

use super::{
    call::Client,
    names::duration,
    plan::{Column, Plan, request},
};
use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

const METRICS: &[Column] =
    &[("METRIC", "name"), ("KIND", "kind"), ("SERIES", "series"), ("LABELS", "label_names")];

const ANSWERS: &[Column] = &[("LABELS", "labels"), ("POINTS", "points")];

const LOOKS: &[Column] = &[("TIME", "time"), ("LEFT OUT", "dropped"), ("ANSWERS", "answers")];

const MODELS: &[Column] = &[
    ("MODEL", "model"),
    ("REQUESTS/S", "requests_per_second"),
    ("TOKENS/S", "tokens_per_second"),
    ("IN TIME", "attainment"),
    ("FAILED", "error_share"),
    ("WAITING", "waiting"),
    ("FIRST TOKEN P50", "first_token.p50"),
    ("P95", "first_token.p95"),
    ("PER TOKEN P50", "per_token.p50"),
    ("P95", "per_token.p95"),
];

const MACHINES: &[Column] = &[
    ("INSTANCE", "instance"),
    ("SERVICE", "service"),
    ("LEVEL", "level"),
    ("CPU", "cpu_used"),
    ("MEMORY", "memory_used"),
    ("DISK", "disk_used"),
    ("LOAD", "load1"),
    ("CONNECTIONS", "connections"),
    ("RECEIVED/S", "network_received_bytes"),
    ("SENT/S", "network_sent_bytes"),
];

const CALLS: &[Column] = &[
    ("CALL", "name"),
    ("CALLS/S", "calls_per_second"),
    ("FAILED", "error_share"),
    ("P50", "duration.p50"),
    ("P95", "duration.p95"),
    ("P99", "duration.p99"),
];

/// What is made of a series over time.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Over {
    Last,
    Min,
    Max,
    Mean,
    Increase,
    Rate,
    Quantile,
}

/// How several series become one number.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Across {
    Sum,
    Mean,
    Min,
    Max,
}

/// Which numbers.
#[derive(Debug, clap::Args)]
pub(crate) struct Query {
    /// The name, as `metrics list` shows it.
    name: String,
    /// What a label must be: `model=tiny`, `model!=tiny`, `model=~ti.*`. May be given several times.
    #[arg(long = "where", value_name = "LABEL=VALUE")]
    matchers: Vec<String>,
    /// The last of a gauge, the rate of a counter and the 95th percentile of a histogram when left out.
    #[arg(long)]
    over: Option<Over>,
    /// Of --over quantile, from 0 to 1.
    #[arg(long)]
    quantile: Option<f64>,
    #[arg(long)]
    across: Option<Across>,
    /// A label that makes groups. May be given several times.
    #[arg(long = "by", value_name = "LABEL")]
    group_by: Vec<String>,
    /// How far back each number looks: 5m when left out.
    #[arg(long)]
    window: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Metrics {
    /// Lists what is measured.
    List {
        /// Only names that begin like this.
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Computes numbers of series: now, or over the last time.
    Query {
        #[command(flatten)]
        query: Query,
        /// How far back the range begins, such as 6h; only now when left out.
        #[arg(long)]
        since: Option<String>,
        /// Between two numbers of a range.
        #[arg(long)]
        step: Option<String>,
    },
    /// Computes numbers of series again and again.
    Watch {
        #[command(flatten)]
        query: Query,
        /// From 1s to 60s; 5s when left out.
        #[arg(long)]
        interval: Option<String>,
    },
    /// Records one value by hand.
    Record {
        name: String,
        value: f64,
        /// It is how much something rose, not how much there is.
        #[arg(long)]
        counter: bool,
        /// A label: `team=search`. May be given several times.
        #[arg(long = "label", value_name = "LABEL=VALUE")]
        labels: Vec<String>,
    },
    /// Sums up how models were served.
    Llm {
        /// How far back: 5m when left out, 2h at most.
        #[arg(long)]
        window: Option<String>,
        /// Only this model.
        #[arg(long, default_value = "")]
        model: String,
    },
    /// Shows how the machines are.
    System,
    /// Sums up how calls were answered, by method and route.
    Calls {
        /// How far back: 5m when left out, 2h at most.
        #[arg(long)]
        window: Option<String>,
    },
    /// Says how far the installation is from its limits.
    Scalability,
    /// Shows how many requests engines have at once, how many there may be, and how many wait.
    Concurrency,
}

impl Metrics {
    #[expect(clippy::unused_async, reason = "as the other nouns, some of which look names up")]
    pub(crate) async fn plan(self, _client: &Client) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::List { prefix } => {
                Plan::list("MetricsService/ListMetrics", json!({ "prefix": prefix }), "metrics", METRICS)
            }
            Self::Query { query, since, step } => {
                let asked = request([
                    ("query", Some(query.wire()?)),
                    ("start_time", since.as_deref().map(ago).transpose()?),
                    ("step", step.as_deref().map(duration).transpose()?),
                ]);
                Plan::list("MetricsService/QuerySeries", asked, "series", ANSWERS)
            }
            Self::Watch { query, interval } => {
                let asked = request([
                    ("queries", Some(json!([query.wire()?]))),
                    ("interval", interval.as_deref().map(duration).transpose()?),
                ]);
                Plan::stream("MetricsService/WatchMetrics", asked, "", LOOKS)
            }
            Self::Record { name, value, counter, labels } => {
                let labels = labels.iter().map(|label| pair(label)).collect::<anyhow::Result<Map<_, _>>>()?;
                let kind = if counter { "counter" } else { "gauge" };
                let asked = json!({ "name": name, "labels": labels, kind: value });
                Plan::done("MetricsService/RecordSample", asked, "recorded")
            }
            Self::Llm { window, model } => {
                let window = window.as_deref().map(duration).transpose()?;
                let asked = request([("model", Some(json!(model))), ("window", window)]);
                Plan::list("MetricsService/GetLlmSummary", asked, "models", MODELS)
            }
            Self::System => Plan::list("MetricsService/GetSystem", json!({}), "readings", MACHINES),
            Self::Calls { window } => {
                let asked = request([("window", window.as_deref().map(duration).transpose()?)]);
                Plan::list("MetricsService/GetCallSummary", asked, "calls", CALLS)
            }
            Self::Scalability => Plan::thing("MetricsService/GetScalability", json!({}), ""),
            Self::Concurrency => Plan::thing("MetricsService/GetConcurrency", json!({}), ""),
        })
    }
}

impl Query {
    fn wire(self) -> anyhow::Result<Value> {
        let matchers = self.matchers.iter().map(|text| matcher(text)).collect::<anyhow::Result<Vec<_>>>()?;
        let word = |prefix: &str, value: &dyn Fn() -> Option<String>| {
            value().map(|name| json!(format!("{prefix}_{}", name.to_uppercase())))
        };
        let over = || Some(self.over?.to_possible_value()?.get_name().to_owned());
        let across = || Some(self.across?.to_possible_value()?.get_name().to_owned());
        Ok(request([
            ("name", Some(json!(self.name))),
            ("matchers", Some(json!(matchers))),
            ("over_time", word("OVER_TIME", &over)),
            ("quantile", self.quantile.map(Value::from)),
            ("across_series", word("ACROSS_SERIES", &across)),
            ("group_by", Some(json!(self.group_by))),
            ("window", self.window.as_deref().map(duration).transpose()?),
        ]))
    }
}

/// `label=value`, with any of Prometheus' operators.
fn matcher(text: &str) -> anyhow::Result<Value> {
    let at = text.find(['=', '!']).with_context(|| format!("{text} is not like model=tiny"))?;
    let (label, rest) = text.split_at(at);
    let operator = ["=~", "!~", "!=", "="].into_iter().find(|operator| rest.starts_with(operator));
    let operator = operator.with_context(|| format!("{text} is not like model=tiny"))?;
    let value = rest.get(operator.len()..).unwrap_or_default();
    Ok(json!({ "label": label, "operator": operator, "value": value }))
}

fn pair(text: &str) -> anyhow::Result<(String, Value)> {
    let (label, value) = text.split_once('=').with_context(|| format!("{text} is not like team=search"))?;
    Ok((label.to_owned(), json!(value)))
}

/// A time so long before now.
fn ago(text: &str) -> anyhow::Result<Value> {
    let span: jiff::SignedDuration =
        text.parse().with_context(|| format!("{text} is no duration like 6h"))?;
    Ok(json!(jiff::Timestamp::now().checked_sub(span)?.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_compared_as_prometheus_does() {
        let read = |text: &str| matcher(text).unwrap();
        assert_eq!(read("model=tiny"), json!({ "label": "model", "operator": "=", "value": "tiny" }));
        assert_eq!(read("model!=a=b"), json!({ "label": "model", "operator": "!=", "value": "a=b" }));
        assert_eq!(read("m=~a.*"), json!({ "label": "m", "operator": "=~", "value": "a.*" }));
        assert_eq!(read("m!~a"), json!({ "label": "m", "operator": "!~", "value": "a" }));
        assert!(matcher("model").is_err() && matcher("model!x").is_err());
    }
}
