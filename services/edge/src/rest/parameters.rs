//! Text from the path and the query into the tree of JSON that the message is made of.

use super::path;
use crate::error::Rejection;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

/// The pairs of a query, decoded.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = Result<(String, String), Rejection>> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((path::decode(name, true)?, path::decode(value, true)?))
    })
}

/// The field of that name, as the protos have it or in camel case.
pub(crate) fn field(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name))
}

/// Whether a message is written as one JSON value rather than field by field.
pub(crate) fn is_well_known(message: &MessageDescriptor) -> bool {
    message.package_name() == "google.protobuf"
}

/// Puts one parameter where its dotted name says.
pub(crate) fn place(
    tree: &mut Map<String, Value>,
    message: &MessageDescriptor,
    name: &str,
    text: &str,
) -> Result<(), Rejection> {
    let unknown = || Rejection::field(name, format!("{} takes no such parameter", message.name()));
    let (outer, last) = name.rsplit_once('.').map_or((None, name), |(outer, last)| (Some(outer), last));
    let (mut tree, mut inner) = (tree, message.clone());
    for step in outer.iter().flat_map(|outer| outer.split('.')) {
        let field = field(&inner, step).filter(|field| !field.is_list()).ok_or_else(unknown)?;
        inner = match field.kind() {
            Kind::Message(message) if !is_well_known(&message) => message,
            _ => return Err(unknown()),
        };
        let slot = tree.entry(field.name()).or_insert_with(|| Value::Object(Map::new()));
        tree = slot.as_object_mut().ok_or_else(unknown)?;
    }
    let field = field(&inner, last).ok_or_else(unknown)?;
    let value = value(&field, text).map_err(|problem| Rejection::field(name, problem))?;
    if field.is_list() {
        let slot = tree.entry(field.name()).or_insert_with(|| Value::Array(Vec::new()));
        slot.as_array_mut().ok_or_else(unknown)?.push(value);
    } else if tree.insert(field.name().to_owned(), value).is_some() {
        return Err(Rejection::field(name, "is given twice"));
    }
    Ok(())
}

/// A parameter's text as the JSON of its field. Ranges and names of enum values are checked with the message.
fn value(field: &FieldDescriptor, text: &str) -> Result<Value, &'static str> {
    match field.kind() {
        Kind::Bool => text.parse().map(Value::Bool).map_err(|_| "must be true or false"),
        Kind::Double | Kind::Float => text.parse::<f64>().map(Value::from).map_err(|_| "must be a number"),
        Kind::String | Kind::Bytes => Ok(Value::from(text)),
        Kind::Enum(_) => Ok(text.parse::<i32>().map_or_else(|_| Value::from(text), Value::from)),
        Kind::Message(_) if field.is_map() => Err("is a map and cannot stand in the URL"),
        Kind::Message(message) if is_well_known(&message) => Ok(Value::from(text)),
        Kind::Message(_) => Err("is a message; name one of its fields after a dot"),
        _ => match (text.parse::<i64>(), text.parse::<u64>()) {
            (Ok(number), _) => Ok(Value::from(number)),
            (_, Ok(number)) => Ok(Value::from(number)),
            _ => Err("must be an integer"),
        },
    }
}
