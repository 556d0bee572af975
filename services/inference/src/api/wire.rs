//! Between the contract's messages and the engines' JSON.

use crate::{error::Error, prompt::Endpoint};
use bytes::Bytes;
use proto::inference::v1 as pb;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tonic::Status;
use uuid::Uuid;

/// Texts in one embedding call.
const MAX_INPUTS: usize = 2_048;

/// The body for an engine, and the route it goes to.
pub(super) fn prompt(prompt: Option<&pb::Prompt>, stream: bool) -> Result<(Endpoint, Bytes), Error> {
    let prompt = prompt.ok_or(Error::Invalid { param: "prompt", problem: "is required" })?;
    let mut body = prompt.extra.as_ref().map(object).unwrap_or_default();
    let endpoint = match (prompt.messages.is_empty(), prompt.text.is_empty()) {
        (false, true) => {
            let turns =
                prompt.messages.iter().map(|turn| json!({"role": turn.role, "content": turn.content}));
            body.insert("messages".into(), turns.collect());
            Endpoint::Chat
        }
        (true, false) => {
            body.insert("prompt".into(), prompt.text.clone().into());
            Endpoint::Completions
        }
        _ => return Err(Error::Invalid { param: "prompt", problem: "needs either `messages` or `text`" }),
    };
    body.insert("model".into(), prompt.model.clone().into());
    body.insert("stream".into(), stream.into());
    if stream {
        body.insert("stream_options".into(), json!({"include_usage": true}));
    }
    // JSON has no word for them.
    for (param, number) in [("temperature", prompt.temperature), ("top_p", prompt.top_p)] {
        if number.is_some_and(|number| !number.is_finite()) {
            return Err(Error::Invalid { param, problem: "must be a finite number" });
        }
    }
    let optional = [
        ("tollgate", own(&prompt.cache, &prompt.tags, &prompt.template)),
        ("max_tokens", prompt.max_tokens.map(Value::from)),
        ("temperature", prompt.temperature.map(Value::from)),
        ("top_p", prompt.top_p.map(Value::from)),
        ("seed", prompt.seed.map(Value::from)),
        ("stop", (!prompt.stop.is_empty()).then(|| json!(prompt.stop))),
    ];
    body.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Ok((endpoint, Value::Object(body).to_string().into()))
}

/// The body of an embedding call.
pub(super) fn embed(request: &pb::EmbedRequest) -> Result<Bytes, Error> {
    if !(1..=MAX_INPUTS).contains(&request.inputs.len()) {
        return Err(Error::Invalid { param: "inputs", problem: "must hold 1 to 2,048 texts" });
    }
    let mut body = json!({"model": request.model, "input": request.inputs});
    if let Some(own) = own(&request.cache, &request.tags, "") {
        body["tollgate"] = own;
    }
    Ok(body.to_string().into())
}

/// What is not for the engine.
fn own(cache: &str, tags: &[String], template: &str) -> Option<Value> {
    let template = (!template.is_empty()).then_some(template);
    let said = !cache.is_empty() || !tags.is_empty() || template.is_some();
    said.then(|| json!({"cache": cache, "tags": tags, "template": template}))
}

#[derive(Deserialize)]
struct Answer {
    model: String,
    choices: Vec<AnswerChoice>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct AnswerChoice {
    index: u32,
    #[serde(default)]
    message: Option<Content>,
    #[serde(default)]
    delta: Option<Content>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    content: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Embedded {
    model: String,
    data: Vec<Vector>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Vector {
    index: u32,
    embedding: Vec<f32>,
}

/// An answer as a message.
pub(super) fn inferred(usage_id: Uuid, json: &[u8]) -> Result<pb::InferResponse, Status> {
    let answer: Answer = parse(json)?;
    Ok(pb::InferResponse {
        usage_id: usage_id.to_string(),
        model: answer.model,
        choices: answer.choices.into_iter().map(choice).collect(),
        usage: answer.usage.map(usage),
    })
}

/// An event as a message, unless it says nothing.
pub(super) fn streamed(usage_id: Uuid, event: &[u8]) -> Result<Option<pb::InferStreamResponse>, Status> {
    let data = event.strip_prefix(b"data:").unwrap_or(event).trim_ascii();
    let answer: Answer = parse(data)?;
    let choices: Vec<pb::Choice> = answer.choices.into_iter().map(choice).collect();
    let usage = answer.usage.map(usage);
    let says = usage.is_some()
        || choices.iter().any(|choice| !(choice.text.is_empty() && choice.finish_reason.is_empty()));
    Ok(says.then(|| pb::InferStreamResponse { usage_id: usage_id.to_string(), choices, usage }))
}

/// Vectors as a message.
pub(super) fn embedded(usage_id: Uuid, json: &[u8]) -> Result<pb::EmbedResponse, Status> {
    let answer: Embedded = parse(json)?;
    let vectors = answer.data.into_iter();
    Ok(pb::EmbedResponse {
        usage_id: usage_id.to_string(),
        model: answer.model,
        embeddings: vectors.map(|one| pb::Embedding { index: one.index, values: one.embedding }).collect(),
        usage: answer.usage.map(usage),
    })
}

fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Status> {
    serde_json::from_slice(json).map_err(|error| {
        tracing::warn!(%error, "an engine's answer is not understood");
        Error::EngineFailed { cause: "its answer was not understood" }.into()
    })
}

fn choice(choice: AnswerChoice) -> pb::Choice {
    let content = choice.message.or(choice.delta).and_then(|content| content.content);
    pb::Choice {
        index: choice.index,
        text: choice.text.or(content).unwrap_or_default(),
        finish_reason: choice.finish_reason.unwrap_or_default(),
    }
}

fn usage(usage: Usage) -> pb::TokenUsage {
    pb::TokenUsage {
        prompt_tokens: usage.prompt_tokens,
        completion_tokens: usage.completion_tokens.unwrap_or(0),
    }
}

/// The JSON of a message.
pub(super) fn json(fields: &prost_types::Struct) -> String {
    Value::Object(object(fields)).to_string()
}

/// JSON as a message, when it is an object.
pub(super) fn object_of(json: &[u8]) -> Option<prost_types::Struct> {
    let fields: Map<String, Value> = serde_json::from_slice(json).ok()?;
    Some(fields_of(fields))
}

fn fields_of(fields: Map<String, Value>) -> prost_types::Struct {
    prost_types::Struct { fields: fields.into_iter().map(|(name, value)| (name, value_of(value))).collect() }
}

fn value_of(value: Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        Value::String(value) => Kind::StringValue(value),
        Value::Array(values) => {
            Kind::ListValue(prost_types::ListValue { values: values.into_iter().map(value_of).collect() })
        }
        Value::Object(fields) => Kind::StructValue(fields_of(fields)),
    };
    prost_types::Value { kind: Some(kind) }
}

fn object(fields: &prost_types::Struct) -> Map<String, Value> {
    fields.fields.iter().map(|(name, value)| (name.clone(), json_value(value))).collect()
}

fn json_value(value: &prost_types::Value) -> Value {
    use prost_types::value::Kind;
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => (*value).into(),
        Some(Kind::StringValue(value)) => value.clone().into(),
        Some(Kind::ListValue(list)) => list.values.iter().map(json_value).collect(),
        Some(Kind::StructValue(fields)) => object(fields).into(),
        // A Struct knows no integers; engines refuse 5.0 where they want 5.
        Some(Kind::NumberValue(value)) if value.fract() == 0.0 && value.abs() < 9e15 => {
            (*value as i64).into()
        }
        Some(Kind::NumberValue(value)) => (*value).into(),
    }
}
