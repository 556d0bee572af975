//! What chat and completions have in common: how to sample, how long, how to stream, how urgent.

use serde_json::Value;

use super::body::Body;
use super::fields::{Fields, Problem};
use crate::errors::ApiError;
use crate::prompt::Prompt;
use crate::text::Shape;

/// Alternatives per token that may be asked for.
const MOST_LOGPROBS: i64 = 20;
/// Answers per prompt that may be asked for.
const MOST_ANSWERS: i64 = 16_384;

/// Parameters as given.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sampling {
    pub(crate) n: i64,
    pub(crate) priority: i64,
    pub(crate) temperature: f64,
    pub(crate) seed: Option<i64>,
    /// The parameter's name and its value.
    pub(crate) max_tokens: Option<(&'static str, i64)>,
    min_tokens: i64,
    ignore_eos: bool,
    stop: Vec<String>,
    stop_token_ids: Vec<u32>,
    include_stop: bool,
    ranges: Ranges,
}

/// Values that are only checked: they change nothing about simulated text.
#[derive(Debug, Clone, Default, PartialEq)]
struct Ranges {
    top_p: Option<f64>,
    top_k: Option<i64>,
    min_p: Option<f64>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    repetition_penalty: Option<f64>,
}

/// Whether and how the answer is streamed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Streaming {
    pub(crate) on: bool,
    pub(crate) usage_at_the_end: bool,
    pub(crate) usage_everywhere: bool,
}

impl Streaming {
    /// What the real engine says before it looks at any field.
    pub(crate) fn check(body: &Body) -> Result<(), ApiError> {
        let options = body.get("stream_options").is_some_and(|options| !options.is_null());
        let on = body.get("stream").is_some_and(|stream| !matches!(stream, Value::Null | Value::Bool(false)));
        if options && !on {
            let message = "Stream options can only be defined when `stream=True`. (parameter=stream_options)";
            return Err(ApiError::bad_request(Some("stream_options"), message));
        }
        Ok(())
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Self {
        let on = fields.flag("stream").unwrap_or(false);
        let options = match fields.given("stream_options") {
            Some(Value::Object(options)) => options,
            Some(other) => {
                fields.problems.0.push(Problem::not_an_object("body.stream_options", other));
                return Self::default();
            }
            None => return Self { on, ..Self::default() },
        };
        let mut inner = Fields::new(options, "body.stream_options.");
        let usage_at_the_end = inner.flag("include_usage").unwrap_or(false);
        let usage_everywhere = inner.flag("continuous_usage_stats").unwrap_or(false) && usage_at_the_end;
        fields.problems.0.append(&mut inner.problems.0);
        Self { on, usage_at_the_end, usage_everywhere }
    }
}

impl Sampling {
    /// Reads the fields that come before `stream` in the real engine's list.
    pub(crate) fn read_first(&mut self, fields: &mut Fields<'_>, lengths: &[&'static str]) {
        self.ranges.frequency_penalty = fields.float("frequency_penalty");
        for name in lengths {
            // The later name, `max_completion_tokens`, wins over `max_tokens`.
            self.max_tokens = fields.int(name).map(|value| (*name, value)).or(self.max_tokens);
        }
        self.n = fields.int("n").unwrap_or(1);
        self.ranges.presence_penalty = fields.float("presence_penalty");
        self.seed = fields.int("seed");
        self.stop = stop(fields);
    }

    /// Reads the fields that come after `stream` in the real engine's list.
    pub(crate) fn read_last(&mut self, fields: &mut Fields<'_>) {
        self.temperature = fields.float("temperature").unwrap_or(1.0);
        self.ranges.top_p = fields.float("top_p");
        self.ranges.top_k = fields.int("top_k");
        self.ranges.min_p = fields.float("min_p");
        self.ranges.repetition_penalty = fields.float("repetition_penalty");
        self.stop_token_ids = token_ids(fields);
        self.include_stop = fields.strict_flag("include_stop_str_in_output").unwrap_or(false);
        self.ignore_eos = fields.strict_flag("ignore_eos").unwrap_or(false);
        self.min_tokens = fields.strict_int("min_tokens").unwrap_or(0);
        self.priority = fields.strict_int("priority").unwrap_or(0);
    }

    /// Refuses an answer longer than the model can hold, and a prompt longer than that.
    pub(crate) fn check_length(&self, prompt: &Prompt, max_model_len: u32) -> Result<(), ApiError> {
        if let Some((name, value)) = self.max_tokens
            && value > i64::from(max_model_len)
        {
            let problem = format!(
                "{name}={value} cannot be greater than max_model_len={max_model_len}. Please request fewer output tokens."
            );
            return Err(ApiError::out_of_range(name, value, &problem));
        }
        check_prompt(prompt, max_model_len)
    }

    /// Refuses values that no answer can be sampled with.
    pub(crate) fn check(&self, logprobs: Option<i64>) -> Result<(), ApiError> {
        let refuse = |message: String| Err(ApiError::bad_request(None, message));
        if self.n < 1 {
            return refuse(format!("n must be at least 1, got {}.", self.n));
        }
        if self.n > MOST_ANSWERS {
            return refuse(format!("n must be at most {MOST_ANSWERS}, got {}.", self.n));
        }
        self.check_ranges()?;
        if self.stop.iter().any(String::is_empty) {
            return refuse("stop cannot contain an empty string.".to_owned());
        }
        if let Some((_, value)) = self.max_tokens
            && value < 1
        {
            return Err(ApiError::out_of_range(
                "max_tokens",
                value,
                &format!("max_tokens must be at least 1, got {value}."),
            ));
        }
        if self.min_tokens < 0 {
            return refuse(format!(
                "min_tokens must be greater than or equal to 0, got {}.",
                self.min_tokens
            ));
        }
        if let Some((_, value)) = self.max_tokens
            && self.min_tokens > value
        {
            return refuse(format!(
                "min_tokens must be less than or equal to max_tokens={value}, got {}.",
                self.min_tokens
            ));
        }
        if self.temperature == 0.0 && self.n > 1 {
            return refuse(format!("n must be 1 when using greedy sampling, got {}.", self.n));
        }
        match logprobs {
            Some(many) if many > MOST_LOGPROBS => {
                let problem = format!(
                    "Requested sample logprobs of {many}, which is greater than max allowed: {MOST_LOGPROBS}"
                );
                Err(ApiError::out_of_range("logprobs", many, &problem))
            }
            _ => Ok(()),
        }
    }

    fn check_ranges(&self) -> Result<(), ApiError> {
        let Ranges { top_p, top_k, min_p, presence_penalty, frequency_penalty, repetition_penalty } =
            self.ranges;
        let refuse = |message: String| Err(ApiError::bad_request(None, message));
        for (name, value) in
            [("presence_penalty", presence_penalty), ("frequency_penalty", frequency_penalty)]
        {
            if let Some(value) = value.filter(|value| !(-2.0..=2.0).contains(value)) {
                return refuse(format!("{name} must be in [-2, 2], got {value:?}."));
            }
        }
        if let Some(value) = repetition_penalty.filter(|value| *value <= 0.0) {
            return refuse(format!("repetition_penalty must be greater than zero, got {value:?}."));
        }
        let value = self.temperature;
        if value < 0.0 {
            let problem = format!("temperature must be non-negative, got {value:?}.");
            return Err(ApiError::out_of_range("temperature", format!("{value:?}"), &problem));
        }
        if value > 2.0 {
            let problem = format!("temperature must be in [0, 2], got {value:?}.");
            return Err(ApiError::out_of_range("temperature", format!("{value:?}"), &problem));
        }
        if let Some(value) = top_p.filter(|value| *value <= 0.0 || *value > 1.0) {
            let problem = format!("top_p must be in (0, 1], got {value:?}.");
            return Err(ApiError::out_of_range("top_p", format!("{value:?}"), &problem));
        }
        if let Some(value) = top_k.filter(|value| *value < -1) {
            return refuse(format!("top_k must be 0 (disable), or at least 1, got {value}."));
        }
        if let Some(value) = min_p.filter(|value| !(0.0..=1.0).contains(value)) {
            return refuse(format!("min_p must be in [0, 1], got {value:?}."));
        }
        Ok(())
    }

    /// What the answer to a prompt will look like, given the room that is left and where chance begins.
    pub(crate) fn shape(&self, room: u32, default_length: u32, seed: u64) -> Shape {
        let wanted =
            self.max_tokens.map_or(default_length, |(_, value)| u32::try_from(value).unwrap_or(u32::MAX));
        Shape {
            seed,
            max_tokens: wanted.min(room),
            min_tokens: u32::try_from(self.min_tokens).unwrap_or(0),
            ignore_eos: self.ignore_eos,
            stop: self.stop.clone(),
            stop_token_ids: self.stop_token_ids.clone(),
            include_stop: self.include_stop,
        }
    }
}

/// Refuses a prompt that leaves no room for an answer. Counting stops one above the limit, hence "at least".
pub(crate) fn check_prompt(prompt: &Prompt, max_model_len: u32) -> Result<(), ApiError> {
    if prompt.len() <= max_model_len {
        return Ok(());
    }
    let counted = u64::from(max_model_len) + 1;
    let problem = format!(
        "This model's maximum context length is {max_model_len} tokens. However, your prompt contains at least {counted} input \
         tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input prompt."
    );
    Err(ApiError::out_of_range("input_tokens", counted, &problem))
}

fn stop(fields: &mut Fields<'_>) -> Vec<String> {
    let Some(value) = fields.given("stop") else { return Vec::new() };
    match value {
        Value::String(stop) => return vec![stop.clone()],
        Value::Array(list) if list.len() > 4 => {
            fields.report("string_type", "stop", "Input should be a valid string", value);
            let length = list.len();
            let message = format!("List should have at most 4 items after validation, not {length}");
            fields.report("too_long", "stop", &message, value);
            if let Some(problem) = fields.problems.0.last_mut() {
                problem.context =
                    Some(format!("{{'field_type': 'List', 'max_length': 4, 'actual_length': {length}}}"));
            }
        }
        Value::Array(list) => {
            let texts: Option<Vec<String>> =
                list.iter().map(|stop| stop.as_str().map(str::to_owned)).collect();
            if let Some(texts) = texts {
                return texts;
            }
            fields.report("string_type", "stop", "Input should be a valid string", value);
            for (place, entry) in list.iter().enumerate().filter(|(_, entry)| !entry.is_string()) {
                fields.report(
                    "string_type",
                    &format!("stop.{place}"),
                    "Input should be a valid string",
                    entry,
                );
            }
        }
        _ => {
            fields.report("string_type", "stop", "Input should be a valid string", value);
            fields.report("list_type", "stop", "Input should be a valid list", value);
        }
    }
    Vec::new()
}

fn token_ids(fields: &mut Fields<'_>) -> Vec<u32> {
    let Some(value) = fields.given("stop_token_ids") else { return Vec::new() };
    let ids =
        value.as_array().and_then(|list| list.iter().map(|id| u32::try_from(id.as_u64()?).ok()).collect());
    ids.unwrap_or_else(|| {
        fields.report("list_type", "stop_token_ids", "Input should be a valid list", value);
        Vec::new()
    })
}
