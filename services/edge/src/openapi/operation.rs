//! One route as an operation: parameters, body, answers.

use super::schema::{Schemas, behaves};
use crate::rest::{
    parameters::is_well_known,
    route::{Body, Route},
};
use prost_reflect::{FieldDescriptor, MessageDescriptor};
use serde_json::{Value, json};

pub(crate) fn describe(route: &Route, schemas: &mut Schemas) -> Value {
    let method = &route.method;
    let description = schemas.comments.of(&method.parent_file(), method.path());
    let service = method.parent_service().name().to_owned();
    let mut operation = json!({
        "operationId": operation_id(route, &service),
        "tags": [service],
        "summary": first_sentence(&description),
        "description": description,
        "parameters": parameters(route, schemas),
        "responses": {"200": answer(route, schemas), "default": {"$ref": "#/components/responses/Failure"}},
    });
    if is_public(route) {
        operation["security"] = json!([]);
    }
    if let Some(body) = request_body(route, schemas) {
        operation["requestBody"] = body;
    }
    operation
}

/// Whether no credential is needed.
fn is_public(route: &Route) -> bool {
    proto::ACCESS.iter().any(|row| row.public && row.path == route.grpc_path.as_str())
}

/// The method's name; a second way in to the same method adds its path.
fn operation_id(route: &Route, service: &str) -> String {
    let id = format!("{service}_{}", route.method.name());
    if route.is_additional { format!("{id}_{}_{}", route.verb, route.template) } else { id }
}

fn first_sentence(text: &str) -> String {
    let line = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let end = line.find(". ").map_or(line.len(), |end| end + 1);
    line[..end].trim_end_matches('.').to_owned()
}

fn parameters(route: &Route, schemas: &mut Schemas) -> Value {
    let input = route.method.input();
    let mut parameters = Vec::new();
    for name in route.template.variables() {
        if let Some(field) = nested(&input, name) {
            parameters.push(parameter(&field, name, "path", schemas));
        }
    }
    if !matches!(route.body, Body::Whole) {
        let mut found = Vec::new();
        query_fields(&input, "", &mut Vec::new(), &mut found);
        for (name, field) in found.into_iter().filter(|(name, _)| !is_bound(route, name)) {
            parameters.push(parameter(&field, &name, "query", schemas));
        }
    }
    Value::Array(parameters)
}

fn parameter(field: &FieldDescriptor, name: &str, place: &str, schemas: &mut Schemas) -> Value {
    json!({
        "name": name,
        "in": place,
        "required": place == "path" || behaves(field, "REQUIRED"),
        "description": schemas.comments.of(&field.parent_file(), field.path()),
        "schema": schemas.of_field(field),
    })
}

/// Whether path or body has this field.
fn is_bound(route: &Route, name: &str) -> bool {
    let first = name.split('.').next().unwrap_or_default();
    let in_body = matches!(&route.body, Body::Field(field) if field.name() == first);
    in_body || route.template.variables().any(|bound| bound == name)
}

fn nested(message: &MessageDescriptor, path: &str) -> Option<FieldDescriptor> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let field = message.get_field_by_name(first)?;
    match rest {
        Some(rest) => nested(field.kind().as_message()?, rest),
        None => Some(field),
    }
}

/// Every field that a query can name, dots between the levels.
fn query_fields(
    message: &MessageDescriptor,
    prefix: &str,
    above: &mut Vec<String>,
    found: &mut Vec<(String, FieldDescriptor)>,
) {
    if above.iter().any(|name| name == message.full_name()) {
        return;
    }
    above.push(message.full_name().to_owned());
    for field in message.fields() {
        let name = format!("{prefix}{}", field.name());
        match field.kind().as_message() {
            Some(inner) if !is_well_known(inner) => {
                if !field.is_list() && !field.is_map() {
                    query_fields(inner, &format!("{name}."), above, found);
                }
            }
            _ => found.push((name, field)),
        }
    }
    above.pop();
}

fn request_body(route: &Route, schemas: &mut Schemas) -> Option<Value> {
    let schema = match &route.body {
        Body::None => return None,
        Body::Field(field) => schemas.of_field(field),
        Body::Whole if route.template.variables().next().is_none() => {
            schemas.of_message(&route.method.input())
        }
        Body::Whole => {
            let bound: Vec<_> = route.template.variables().collect();
            schemas.object(&route.method.input(), &bound)
        }
    };
    Some(json!({"required": true, "content": {"application/json": {"schema": schema}}}))
}

fn answer(route: &Route, schemas: &mut Schemas) -> Value {
    let message = schemas.of_message(&route.method.output());
    let headers = json!({"x-request-id": {"$ref": "#/components/headers/RequestId"}});
    if route.method.is_server_streaming() {
        return json!({
            "description": "Server-sent events: each `data` line is one message; an event `error` ends a stream \
                that failed, with the failure's envelope.",
            "headers": headers,
            "content": {"text/event-stream": {"schema": message}},
        });
    }
    if route.is_document() {
        return json!({
            "description": "The answer, without an envelope.",
            "headers": headers,
            "content": {"application/json": {"schema": message}},
        });
    }
    json!({
        "description": "The answer in its envelope.",
        "headers": headers,
        "content": {"application/json": {"schema": {"allOf": [
            {"$ref": "#/components/schemas/Success"},
            {"type": "object", "properties": {"data": message}},
        ]}}},
    })
}
