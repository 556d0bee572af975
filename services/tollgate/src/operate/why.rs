//! Why a request was refused, slow or dear: one page.

use super::plan::{Plan, Shape};
use clap::Args;
use serde_json::{Value, json};

/// Fields of a usage record and of a refusal, in the order in which they are read.
const FIELDS: &[(&str, &[&str])] = &[
    ("request", &["record.request_id", "refusal.request_id"]),
    ("usage id", &["record.usage_id"]),
    ("trace", &["record.course.trace_id", "refusal.trace_id"]),
    ("came", &["record.start_time", "refusal.start_time"]),
    ("user", &["record.user_id", "refusal.user_id"]),
    ("key", &["record.key_id", "refusal.key_id"]),
    ("group", &["record.group_id"]),
    ("route", &["record.endpoint", "refusal.route"]),
    ("model", &["record.model", "refusal.model"]),
    ("served as", &["record.served_model"]),
    ("priority", &["record.course.priority", "refusal.priority"]),
    ("outcome", &["record.outcome"]),
    ("reason", &["refusal.reason", "record.course.reason"]),
    ("waited before", &["record.course.waiting", "refusal.waiting"]),
    ("in the gateway", &["record.queue_duration"]),
    ("first token", &["record.time_to_first_token"]),
    ("took", &["record.duration", "refusal.duration"]),
    ("gpu time", &["record.gpu_time"]),
    ("tokens read", &["record.prompt_tokens"]),
    ("of them cached", &["record.cached_prompt_tokens"]),
    ("tokens made", &["record.completion_tokens"]),
    ("cost $", &["record.cost_usd"]),
    ("price", &["record.price_id"]),
    ("price since", &["price.effective_from"]),
    ("budgets", &["record.course.budget_ids"]),
];

#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The x-request-id of an answer, or its x-tollgate-usage-id.
    request_id: String,
}

impl Why {
    pub(crate) fn plan(self) -> Plan {
        let asked = json!({ "request_id": self.request_id });
        Plan::new("RequestService/WhyRequest", asked, Shape::Page { lines })
    }
}

fn lines(answer: &Value) -> Vec<String> {
    let stories = answer["stories"].as_array().map(Vec::as_slice).unwrap_or_default();
    let pages: Vec<Vec<String>> = stories.iter().map(story).collect();
    pages.join(&String::new())
}

fn story(story: &Value) -> Vec<String> {
    let summary = story["summary"].as_array().into_iter().flatten();
    let mut lines: Vec<String> = summary.filter_map(|said| Some(said.as_str()?.to_owned())).collect();
    lines.push(String::new());
    for (title, paths) in FIELDS {
        let values = paths.iter().map(|path| path.split('.').fold(story, |value, field| &value[field]));
        if let Some(value) = values.into_iter().find(|value| !value.is_null()) {
            lines.push(format!("{title:<14}  {}", text(value)));
        }
    }
    let attempts = story["attempts"].as_array().into_iter().flatten();
    for (number, attempt) in (1..).zip(attempts) {
        let [engine, ended, after, took] =
            ["engine", "ended", "asked_after", "duration"].map(|field| text(&attempt[field]));
        lines.push(format!(
            "{:<14}  {engine}, asked after {after}: {ended} after {took}",
            format!("engine {number}")
        ));
    }
    lines
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.strip_prefix("OUTCOME_").map_or_else(|| text.clone(), str::to_lowercase),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        value => value.to_string(),
    }
}
