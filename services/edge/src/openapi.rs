//! The OpenAPI 3.1 document, made from the same routes that serve: what it lists exists.
//!
//! [`operation`] describes one route, [`schema`] the messages that it needs, [`comments`] finds what the contract
//! says about each.

mod comments;
mod operation;
mod schema;

use crate::rest::route::Routes;
use comments::Comments;
use schema::Schemas;
use serde_json::{Map, Value, json};

/// The document for all routes.
pub(crate) fn document(routes: &Routes) -> Value {
    let mut schemas = Schemas::default();
    let mut paths = Map::new();
    for route in routes.iter() {
        let path = paths.entry(route.template.to_string()).or_insert_with(|| json!({}));
        if let Some(verbs) = path.as_object_mut() {
            verbs.insert(route.verb.as_str().to_ascii_lowercase(), operation::describe(route, &mut schemas));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tollgate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Management of users, groups, models, grants, keys, engines and usage. \
                OpenAI's own API is below /v1 and described by OpenAI.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"api_key": []}],
        "tags": tags(routes, &mut schemas.comments),
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "responses": {"Failure": {
                "description": "The request was refused or failed; `error_code` is stable.",
                "headers": {"x-request-id": {"$ref": "#/components/headers/RequestId"}},
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}},
            }},
            "headers": {"RequestId": {
                "description": "The caller's x-request-id, or a new one.",
                "schema": {"type": "string", "maxLength": 128},
            }},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or a session's token."},
                "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    })
}

fn tags(routes: &Routes, comments: &mut Comments) -> Value {
    let mut tags = Map::new();
    for service in routes.iter().map(|route| route.method.parent_service().clone()) {
        let description = comments.of(&service.parent_file(), service.path());
        tags.insert(service.name().to_owned(), json!({"name": service.name(), "description": description}));
    }
    tags.into_iter().map(|(_, tag)| tag).collect()
}
