//! What is asked of monitoring, and its answers by what was asked.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    Requests,
    Failed,
    Tokens,
    Goodput,
    FirstTokenP50,
    FirstTokenP95,
    TimeP50,
    TimeP95,
    TimeP99,
    Queue,
    InFlight,
    Limit,
    EngineUp,
    EngineQueue,
    KvUsage,
    GpuUsage,
    GpuMemory,
    GpuMemoryLimit,
    Cache,
    Processors,
}

/// Which number it is.
struct Question {
    what: What,
    metric: &'static str,
    /// What is made of it over time; of [`Over::Quantile`] with the share.
    over: Over,
    /// Of several processes the largest, not the sum.
    largest: bool,
    by: &'static [&'static str],
    /// A label, how it is compared, and with what.
    only: Option<[&'static str; 3]>,
}

enum Over {
    Last,
    Rate,
    Quantile(f64),
}

const MODEL: &[&str] = &["gen_ai_request_model"];
const ENGINE: &[&str] = &["engine"];
const GPU: &[&str] = &["engine", "hw_id"];

const fn rate(what: What, metric: &'static str, by: &'static [&'static str]) -> Question {
    Question { what, metric, over: Over::Rate, largest: false, by, only: None }
}

const fn quantile(what: What, metric: &'static str, share: f64) -> Question {
    Question { what, metric, over: Over::Quantile(share), largest: false, by: MODEL, only: None }
}

const fn last(what: What, metric: &'static str, largest: bool, by: &'static [&'static str]) -> Question {
    Question { what, metric, over: Over::Last, largest, by, only: None }
}

const fn only(
    question: Question,
    label: &'static str,
    operator: &'static str,
    value: &'static str,
) -> Question {
    Question { only: Some([label, operator, value]), ..question }
}

const DURATION: &str = "gen_ai_server_request_duration_seconds";
const FIRST_TOKEN: &str = "gen_ai_server_time_to_first_token_seconds";

/// As many as one subscription may have.
const QUESTIONS: [Question; 20] = [
    rate(What::Requests, DURATION, MODEL),
    only(rate(What::Failed, DURATION, MODEL), "error_type", "!=", ""),
    only(rate(What::Tokens, "tollgate_goodput_tokens_total", MODEL), "tollgate_tokens", "=", "decode"),
    only(rate(What::Goodput, "tollgate_goodput_requests_total", MODEL), "tollgate_end", "=", "met"),
    quantile(What::FirstTokenP50, FIRST_TOKEN, 0.5),
    quantile(What::FirstTokenP95, FIRST_TOKEN, 0.95),
    quantile(What::TimeP50, DURATION, 0.5),
    quantile(What::TimeP95, DURATION, 0.95),
    quantile(What::TimeP99, DURATION, 0.99),
    last(What::Queue, "tollgate_queue_requests", false, &["tollgate_class"]),
    last(What::InFlight, "tollgate_engine_in_flight", false, ENGINE),
    last(What::Limit, "tollgate_engine_in_flight_limit", false, ENGINE),
    last(What::EngineUp, "tollgate_engine_up", true, ENGINE),
    last(What::EngineQueue, "tollgate_engine_requests_waiting", true, ENGINE),
    last(What::KvUsage, "tollgate_engine_kv_cache_usage", true, ENGINE),
    last(What::GpuUsage, "hw_gpu_utilization_ratio", true, GPU),
    last(What::GpuMemory, "hw_gpu_memory_usage_bytes", true, GPU),
    last(What::GpuMemoryLimit, "hw_gpu_memory_limit_bytes", true, GPU),
    rate(What::Cache, "tollgate_cache_requests_total", &["found"]),
    last(What::Processors, "tollgate_system_cpu_ratio", true, &["service", "instance"]),
];

/// What monitoring is asked.
pub(super) fn request(interval: &Value, window: &Value) -> Value {
    let query = |question: &Question| {
        let (over, share) = match question.over {
            Over::Last => ("OVER_TIME_LAST", 0.0),
            Over::Rate => ("OVER_TIME_RATE", 0.0),
            Over::Quantile(share) => ("OVER_TIME_QUANTILE", share),
        };
        let matcher = |[label, operator, value]: [&str; 3]| json!({ "label": label, "operator": operator, "value": value });
        json!({
            "name": question.metric,
            "over_time": over,
            "quantile": share,
            "across_series": if question.largest { "ACROSS_SERIES_MAX" } else { "ACROSS_SERIES_SUM" },
            "group_by": question.by,
            "matchers": question.only.map(matcher).into_iter().collect::<Vec<_>>(),
            "window": window,
        })
    };
    json!({ "queries": QUESTIONS.iter().map(query).collect::<Vec<_>>(), "interval": interval })
}

/// The numbers of a figure, by the values of the labels that make its groups.
pub(super) type Numbers = BTreeMap<Vec<String>, f64>;

/// What was found at one time. What was not measured is not there.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) time: String,
    /// Answers that were left out before.
    pub(super) dropped: u64,
    numbers: BTreeMap<What, Numbers>,
    /// Alerts; nothing when they could not be read.
    pub(super) alerts: Option<Vec<Value>>,
}

impl Look {
    /// Of an answer of `WatchMetrics`, which leaves out zeros.
    pub(super) fn read(answer: &Value, alerts: Option<Vec<Value>>) -> Self {
        let answers = answer["answers"].as_array().map(Vec::as_slice).unwrap_or_default();
        let numbers = QUESTIONS.iter().zip(answers);
        Self {
            time: answer["time"].as_str().unwrap_or_default().to_owned(),
            dropped: answer["dropped"].as_u64().unwrap_or(0),
            numbers: numbers.map(|(question, answer)| (question.what, question.read(answer))).collect(),
            alerts,
        }
    }

    /// The numbers of a figure.
    pub(super) fn of(&self, what: What) -> Numbers {
        self.numbers.get(&what).cloned().unwrap_or_default()
    }
}

impl Question {
    fn read(&self, answer: &Value) -> Numbers {
        let series = answer["series"].as_array().map(Vec::as_slice).unwrap_or_default();
        let number = |series: &Value| {
            let group =
                self.by.iter().map(|label| series["labels"][label].as_str().unwrap_or_default().to_owned());
            let point = series["points"].as_array()?.last()?;
            Some((group.collect(), point["value"].as_f64().unwrap_or(0.0)))
        };
        series.iter().filter_map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_those_of_their_questions() {
        let point = |value: f64| json!([{ "time": "2026-01-01T00:00:00Z", "value": value }]);
        let mut answers = vec![json!({}); QUESTIONS.len()];
        answers[0] =
            json!({ "series": [{ "labels": { "gen_ai_request_model": "tiny" }, "points": point(1.5) }] });
        answers[9] = json!({ "query": 9, "series": [
            { "labels": { "tollgate_class": "batch" }, "points": [{ "time": "2026-01-01T00:00:00Z" }] },
            { "labels": { "tollgate_class": "interactive" } },
        ] });
        let look = Look::read(&json!({ "time": "now", "answers": answers }), None);
        assert_eq!(look.of(What::Requests), Numbers::from([(vec!["tiny".into()], 1.5)]));
        assert_eq!(look.of(What::Queue), Numbers::from([(vec!["batch".into()], 0.0)]), "zero is not nothing");
        assert_eq!((look.of(What::KvUsage), look.dropped), (Numbers::new(), 0));
    }

    #[test]
    fn each_figure_is_asked_for_once() {
        let asked: std::collections::BTreeSet<What> =
            QUESTIONS.iter().map(|question| question.what).collect();
        assert_eq!(asked.len(), QUESTIONS.len());
    }
}
