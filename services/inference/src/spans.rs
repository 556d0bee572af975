//! The spans of a request, named as OpenTelemetry's conventions for generative AI name them (semantic conventions 1.41):
//! one for the request, in it one for its time in the queue and one for each engine that is asked.
//!
//! They are exported and never written as lines, and nothing of them is worked out where no traces are sent. No prompt, no
//! answer and no name of a person is in them.

use crate::prompt::{Endpoint, Prompt};
use proto::monitoring::v1::{RequestCourse, UsageRecord};
use serde::Deserialize;
use shared::telemetry::{self, TRACED, set};
use std::time::Duration;
use tracing::{Span, info_span};

/// Names of attributes.
mod name {
    pub(super) const OPERATION: &str = "gen_ai.operation.name";
    pub(super) const PROVIDER: &str = "gen_ai.provider.name";
    pub(super) const REQUEST_MODEL: &str = "gen_ai.request.model";
    pub(super) const REQUEST_STREAM: &str = "gen_ai.request.stream";
    pub(super) const REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
    pub(super) const REQUEST_CHOICES: &str = "gen_ai.request.choice.count";
    pub(super) const REQUEST_TEMPERATURE: &str = "gen_ai.request.temperature";
    pub(super) const REQUEST_TOP_P: &str = "gen_ai.request.top_p";
    pub(super) const REQUEST_TOP_K: &str = "gen_ai.request.top_k";
    pub(super) const REQUEST_FREQUENCY_PENALTY: &str = "gen_ai.request.frequency_penalty";
    pub(super) const REQUEST_PRESENCE_PENALTY: &str = "gen_ai.request.presence_penalty";
    pub(super) const REQUEST_SEED: &str = "gen_ai.request.seed";
    pub(super) const RESPONSE_MODEL: &str = "gen_ai.response.model";
    pub(super) const FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";
    pub(super) const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
    pub(super) const CACHED_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
    pub(super) const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
    pub(super) const ENGINE: &str = "tollgate.engine";
    pub(super) const ATTEMPT: &str = "tollgate.attempt";
    pub(super) const OUTCOME: &str = "tollgate.outcome";
    pub(super) const PRIORITY: &str = "tollgate.priority";
    pub(super) const USAGE_ID: &str = "tollgate.usage_id";
    pub(super) const WAITING: &str = "tollgate.queue.waiting";
}

/// Who makes answers, as far as a trace is concerned.
const PROVIDER: &str = "tollgate";

/// How tokens are to be chosen, as a trace shows it. It is read of the body only where there is a trace.
#[derive(Default, Deserialize)]
struct Sampling {
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<f64>,
    frequency_penalty: Option<f64>,
    presence_penalty: Option<f64>,
    seed: Option<i64>,
}

impl Sampling {
    fn show(&self, span: &Span) {
        let numbers = [
            (name::REQUEST_TEMPERATURE, self.temperature),
            (name::REQUEST_TOP_P, self.top_p),
            (name::REQUEST_TOP_K, self.top_k),
            (name::REQUEST_FREQUENCY_PENALTY, self.frequency_penalty),
            (name::REQUEST_PRESENCE_PENALTY, self.presence_penalty),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                set(span, name, number);
            }
        }
        if let Some(seed) = self.seed {
            set(span, name::REQUEST_SEED, seed);
        }
    }
}

/// A request, from its arrival to the end of its answer.
pub(crate) fn request(prompt: &Prompt) -> Span {
    let operation = prompt.endpoint.operation();
    let span = info_span!(
        target: TRACED,
        "inference",
        otel.name = format!("{operation} {}", prompt.model),
        otel.kind = "internal",
    );
    if span.is_disabled() {
        return span;
    }
    set(&span, name::OPERATION, operation);
    set(&span, name::PROVIDER, PROVIDER);
    set(&span, name::REQUEST_MODEL, prompt.model.clone());
    set(&span, name::REQUEST_STREAM, prompt.stream);
    set(&span, name::PRIORITY, prompt.class.as_str());
    if let Some(most) = prompt.max_tokens.and_then(|most| i64::try_from(most).ok()) {
        set(&span, name::REQUEST_MAX_TOKENS, most);
    }
    if prompt.choices > 1 {
        set(&span, name::REQUEST_CHOICES, whole(prompt.choices));
    }
    // What an engine will refuse is not shown.
    serde_json::from_slice::<Sampling>(&prompt.body).unwrap_or_default().show(&span);
    span
}

/// Its time in the queue, behind so many others.
pub(crate) fn queue(waiting: u32) -> Span {
    let span = info_span!(target: TRACED, "queue", otel.kind = "internal");
    if !span.is_disabled() {
        set(&span, name::WAITING, i64::from(waiting));
    }
    span
}

/// One engine that is asked.
pub(crate) fn attempt(parent: &Span, record: &UsageRecord, endpoint: Endpoint) -> Span {
    let (operation, model) = (endpoint.operation(), served(record));
    let span = info_span!(
        target: TRACED,
        parent: parent,
        "attempt",
        otel.name = format!("{operation} {model}"),
        otel.kind = "client",
    );
    if span.is_disabled() {
        return span;
    }
    set(&span, name::OPERATION, operation);
    set(&span, name::PROVIDER, PROVIDER);
    set(&span, name::REQUEST_MODEL, model.to_owned());
    set(&span, name::ENGINE, record.engine.clone());
    set(&span, name::ATTEMPT, i64::from(record.attempt));
    span
}

/// What came of an attempt: it was answered, or something went wrong.
pub(crate) fn tried(span: &Span, went_wrong: Option<&str>) {
    if span.is_disabled() {
        return;
    }
    set(span, name::OUTCOME, went_wrong.unwrap_or("answered").to_owned());
    if let Some(cause) = went_wrong {
        telemetry::fail(span, cause);
    }
}

/// What a request used, and how it ended.
pub(crate) fn ended(span: &Span, record: &UsageRecord, first_token: Option<Duration>) {
    if span.is_disabled() {
        return;
    }
    set(span, name::USAGE_ID, record.usage_id.clone());
    set(span, name::RESPONSE_MODEL, served(record).to_owned());
    set(span, name::INPUT_TOKENS, whole(record.prompt_tokens));
    set(span, name::CACHED_TOKENS, whole(record.cached_prompt_tokens));
    set(span, name::OUTPUT_TOKENS, whole(record.completion_tokens));
    if let Some(first) = first_token.filter(|_| record.stream) {
        set(span, name::FIRST_CHUNK, first.as_secs_f64());
    }
    match record.course.as_ref().map(|RequestCourse { reason, .. }| reason.as_str()) {
        Some("") | None => {}
        Some(reason) => telemetry::fail(span, reason),
    }
}

/// A request that is not answered, for this reason.
pub(crate) fn refused(span: &Span, reason: &'static str) {
    if !span.is_disabled() {
        telemetry::fail(span, reason);
    }
}

fn served(record: &UsageRecord) -> &str {
    if record.served_model.is_empty() { &record.model } else { &record.served_model }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
