//! The body as a whole: its content type, whether it is JSON, and whether it is an object.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use super::fields::{Problem, Problems};
use super::json;
use crate::errors::ApiError;

/// A JSON object.
pub(crate) type Body = Map<String, Value>;

/// Reads the object a request consists of.
pub(crate) fn parse(headers: &HeaderMap, bytes: &[u8]) -> Result<Body, ApiError> {
    if !is_json(headers) {
        let message = "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed";
        return Err(ApiError::invalid_body(None, message.to_owned()));
    }
    if bytes.is_empty() {
        return Err(problem(Problem::missing("body", &Value::Null)));
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(body)) => Ok(body),
        Ok(Value::Null) => Err(problem(Problem::missing("body", &Value::Null))),
        Ok(other) => Err(problem(Problem::not_an_object("body", &other))),
        Err(_) => Err(problem(not_json(bytes))),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let media = value.split(';').next().unwrap_or_default().trim();
    media.eq_ignore_ascii_case("application/json")
}

fn not_json(bytes: &[u8]) -> Problem {
    let text = String::from_utf8_lossy(bytes);
    let fault = json::fault(&text).unwrap_or(json::Fault { at: 0, problem: "Expecting value" });
    Problem::not_json(fault.at, fault.problem)
}

fn problem(problem: Problem) -> ApiError {
    Problems(vec![problem]).into_error()
}
