//! Whether a tree of JSON has the shape of a message, so that whatever does not belong is named by its path.
//!
//! Types of values are checked afterwards, when the tree is converted.

use super::parameters::{self, is_well_known};
use crate::error::Rejection;
use prost_reflect::{FieldDescriptor, MessageDescriptor};
use serde_json::Value;
use std::collections::HashSet;

/// Deepest nesting. One level of a `google.protobuf.Struct` is three of a message, and services decode no
/// message that is deeper than 100.
const MAX_DEPTH: usize = 30;

/// Names the first field that is unknown, given twice, one too many of a oneof, or nested too deeply.
pub(crate) fn check(
    message: &MessageDescriptor,
    value: &Value,
    at: &str,
    depth: usize,
) -> Result<(), Rejection> {
    if is_well_known(message) {
        return check_depth(value, at, depth);
    }
    if depth > MAX_DEPTH {
        return Err(too_deep(at));
    }
    let mut seen = HashSet::new();
    for (key, value) in value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        let Some(field) = parameters::field(message, key) else {
            return Err(Rejection::field(at, format!("{} has no such field", message.name())));
        };
        check_once(&mut seen, &field).map_err(|problem| Rejection::field(&at, problem))?;
        check_inside(&field, value, &at, depth + 1)?;
    }
    Ok(())
}

fn check_once(seen: &mut HashSet<String>, field: &FieldDescriptor) -> Result<(), String> {
    if !seen.insert(field.full_name().to_owned()) {
        return Err("is given twice".to_owned());
    }
    let Some(oneof) = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) else { return Ok(()) };
    // A field and its oneof may not share a name, so one set serves both.
    if !seen.insert(oneof.full_name().to_owned()) {
        let names: Vec<_> = oneof.fields().map(|field| field.name().to_owned()).collect();
        return Err(format!("only one of {} may be given", names.join(", ")));
    }
    Ok(())
}

fn check_inside(field: &FieldDescriptor, value: &Value, at: &str, depth: usize) -> Result<(), Rejection> {
    let kind = field.kind();
    let Some(inner) = kind.as_message().filter(|_| !field.is_map()) else {
        return check_depth(value, at, depth);
    };
    match value {
        Value::Array(items) if field.is_list() => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| check(inner, item, &format!("{at}[{index}]"), depth)),
        value => check(inner, value, at, depth),
    }
}

fn check_depth(value: &Value, at: &str, depth: usize) -> Result<(), Rejection> {
    if depth > MAX_DEPTH {
        return Err(too_deep(at));
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| check_depth(item, at, depth + 1)),
        Value::Object(fields) => fields.values().try_for_each(|item| check_depth(item, at, depth + 1)),
        _ => Ok(()),
    }
}

fn too_deep(at: &str) -> Rejection {
    Rejection::field(at, "is nested too deeply")
}
