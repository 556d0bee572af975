//! The body of a request, and the message that body, path and query make together.
//!
//! All three are put into one tree of JSON first, so a field is named, checked (in [`shape`]) and converted in
//! one way wherever it stands.

use super::{
    parameters, path,
    route::{Body as BodyRule, Found},
    shape,
};
use crate::{Config, error::Rejection};
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::{Map, Value};

/// Reads the whole body, bounded in size and time.
pub(crate) async fn read(headers: &HeaderMap, body: Body, config: &Config) -> Result<Bytes, Rejection> {
    let limit = config.max_body_bytes;
    let all = Limited::new(body, limit).collect();
    let all = tokio::time::timeout(config.management_timeout, all).await.map_err(|_| Rejection::Slow)?;
    let body = all.map_err(|error| match error.is::<LengthLimitError>() {
        true => Rejection::TooLarge { limit },
        false => Rejection::BrokenOff,
    })?;
    let body = body.to_bytes();
    if body.is_empty() || is_json(headers) { Ok(body) } else { Err(Rejection::ContentType) }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// Makes the message of a call.
pub(crate) fn message(found: &Found<'_>, query: &str, body: &[u8]) -> Result<DynamicMessage, Rejection> {
    let input = found.route.method.input();
    let mut tree = in_body(&found.route.body, body)?;
    for (name, text) in &found.captures {
        // What the path says counts, also when a body says it again.
        if let Some(field) = parameters::field(&input, name) {
            tree.remove(field.name());
            tree.remove(field.json_name());
        }
        parameters::place(&mut tree, &input, name, &path::decode(text, false)?)?;
    }
    for pair in parameters::pairs(query) {
        let (name, text) = pair?;
        in_query(found, &input, &name)?;
        parameters::place(&mut tree, &input, &name, &text)?;
    }
    let tree = Value::Object(tree);
    shape::check(&input, &tree, "", 0)?;
    convert(input, tree)
}

fn in_body(rule: &BodyRule, body: &[u8]) -> Result<Map<String, Value>, Rejection> {
    let parse = || serde_json::from_slice(body).map_err(|error| Rejection::Json(error.to_string()));
    match rule {
        _ if body.is_empty() => Ok(Map::new()),
        BodyRule::None => Err(Rejection::BodyNotTaken),
        BodyRule::Field(field) => Ok(Map::from_iter([(field.name().to_owned(), parse()?)])),
        BodyRule::Whole => match parse()? {
            Value::Object(fields) => Ok(fields),
            _ => Err(Rejection::Json("it must be an object".to_owned())),
        },
    }
}

/// Refuses parameters that belong elsewhere.
fn in_query(found: &Found<'_>, input: &MessageDescriptor, name: &str) -> Result<(), Rejection> {
    let first = name.split('.').next().unwrap_or_default();
    let field = parameters::field(input, first);
    let named = |other: &str| field.as_ref().is_some_and(|field| field.name() == other);
    match &found.route.body {
        BodyRule::Whole => Err(Rejection::field(name, "belongs in the body; this method takes no query")),
        BodyRule::Field(body) if named(body.name()) => Err(Rejection::field(name, "is the body")),
        _ if found.captures.iter().any(|(bound, _)| named(bound)) => {
            Err(Rejection::field(name, "is given in the path"))
        }
        _ => Ok(()),
    }
}

fn convert(input: MessageDescriptor, tree: Value) -> Result<DynamicMessage, Rejection> {
    let mut track = serde_path_to_error::Track::new();
    let tree = serde_path_to_error::Deserializer::new(tree, &mut track);
    DynamicMessage::deserialize(input, tree)
        .map_err(|error| Rejection::field(track.path().to_string(), error.to_string()))
}
