//! The document says what is served, and nothing else.

use crate::door::Door;
use axum::body::Body;
use http::{Request, StatusCode};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use serde_json::{Value, json};
use shared::channel::{self, Channel};
use std::{collections::HashSet, convert::Infallible};
use tonic::Status;
use tower::ServiceExt;

const VERBS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// Every rule of the contract: verb, path and method, read independently of the edge.
fn contract() -> Vec<(String, String, MethodDescriptor)> {
    let pool = DescriptorPool::decode(proto::DESCRIPTORS).unwrap();
    let http = pool.get_extension_by_name("google.api.http").unwrap();
    let mut rules = Vec::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        assert!(
            method.is_client_streaming() || method.options().has_extension(&http),
            "{} has no path",
            method.full_name()
        );
        if !method.options().has_extension(&http) {
            continue;
        }
        let rule = method.options().get_extension(&http).as_message().unwrap().clone();
        let more = rule.get_field_by_name("additional_bindings").unwrap().into_owned();
        let more: Vec<DynamicMessage> =
            more.as_list().unwrap().iter().map(|rule| rule.as_message().unwrap().clone()).collect();
        for rule in std::iter::once(rule).chain(more) {
            let verb = VERBS.iter().find(|verb| rule.has_field_by_name(verb)).unwrap();
            let path = rule.get_field_by_name(verb).unwrap().as_str().unwrap().to_owned();
            rules.push(((*verb).to_owned(), path, method.clone()));
        }
    }
    rules
}

async fn document() -> Value {
    let answer = Door::open().get("/api/openapi.json").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/json");
    answer.body
}

/// A service that says which method of which package reached it.
fn recorder(service: &'static str) -> Channel {
    channel::in_process(tower::service_fn(move |request: http::Request<tonic::body::Body>| async move {
        let status = Status::aborted(format!("{service} {}", request.uri().path()));
        Ok::<_, Infallible>(status.into_http::<tonic::body::Body>())
    }))
}

#[tokio::test]
async fn every_method_of_the_contract_is_served_by_its_service() {
    let upstreams = edge::Upstreams {
        permissions: recorder("permissions"),
        inference: recorder("inference"),
        monitoring: recorder("monitoring"),
        inference_http: channel::http_in_process(axum::Router::new()),
    };
    let router = edge::router(edge::Config::default(), upstreams, &shared::server::Tasks::default()).unwrap();
    let rules = contract();
    assert!(rules.len() >= 28);
    for (verb, path, method) in rules {
        assert!(path.starts_with("/api/") || path.starts_with("/.well-known/"), "{path}");
        let fill =
            |part: &str| part.split_once('}').map_or_else(|| part.to_owned(), |(_, rest)| format!("7{rest}"));
        let path: String = path.split('{').map(fill).collect();
        let request =
            Request::builder().method(verb.to_uppercase().as_str()).uri(&path).body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::CONFLICT, "{verb} {path}");
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let service = method.parent_service();
        let owner = service.package_name().split('.').nth(1).unwrap();
        let asked = body["error"].as_str().unwrap();
        let (own, call) =
            (format!("/{}/", service.full_name()), format!("/{}/{}", service.full_name(), method.name()));
        match owner {
            // What every service has the edge asks of all of them, and may look before it changes anything.
            "common" => assert!(asked.contains(&own), "{call} asked {asked}"),
            _ => assert_eq!(asked, format!("{owner} {call}")),
        }
    }
}

#[tokio::test]
async fn the_document_lists_every_route_and_no_other() {
    let document = document().await;
    let mut listed: Vec<_> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, verbs)| {
            verbs.as_object().unwrap().keys().map(move |verb| (verb.clone(), path.clone()))
        })
        .collect();
    let mut served: Vec<_> = contract().into_iter().map(|(verb, path, _)| (verb, path)).collect();
    listed.sort();
    served.sort();
    assert_eq!(listed, served);
}

#[tokio::test]
async fn the_document_is_whole() {
    let document = document().await;
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    assert_eq!(schemes["bearer"]["scheme"], "bearer");
    assert_eq!(schemes["api_key"]["name"], "X-API-Key");
    let mut ids = HashSet::new();
    for (path, verbs) in document["paths"].as_object().unwrap() {
        for operation in verbs.as_object().unwrap().values() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{path}");
            assert!(!operation["description"].as_str().unwrap().is_empty(), "{path} has no comment");
            check_parameters(path, operation);
            let content = operation["responses"]["200"]["content"].as_object().unwrap();
            assert!(content.contains_key("application/json") != content.contains_key("text/event-stream"));
            assert_eq!(operation["responses"]["default"]["$ref"], "#/components/responses/Failure");
        }
    }
    check_node(&document, &document, "");
}

fn check_parameters(path: &str, operation: &Value) {
    let parameters = operation["parameters"].as_array().unwrap();
    let in_path: HashSet<_> = parameters
        .iter()
        .filter(|one| one["in"] == "path")
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    let in_template: HashSet<_> =
        path.split('{').skip(1).map(|part| part.split('}').next().unwrap()).collect();
    assert_eq!(in_path, in_template, "{path}");
    for parameter in parameters {
        assert!(parameter["schema"].is_object(), "{path}");
        assert!(parameter["in"] == "query" || parameter["required"] == true, "{path}");
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"]["properties"];
    assert!(
        in_path.iter().all(|name| body.get(name).is_none()),
        "{path}: the path's fields are not the body's"
    );
}

/// Every reference leads somewhere and every type is one.
fn check_node(document: &Value, node: &Value, at: &str) {
    if let Some(target) = node.get("$ref").and_then(Value::as_str) {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some_and(|found| !found.is_null()), "{at}: {target}");
    }
    if let Some(kind) = node.get("type").and_then(Value::as_str).filter(|_| !at.contains("securitySchemes")) {
        let kinds = ["object", "array", "string", "number", "integer", "boolean", "null"];
        assert!(kinds.contains(&kind), "{at}: {kind}");
    }
    match node {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| check_node(document, value, &format!("{at}/{key}")))
        }
        Value::Array(items) => items.iter().for_each(|value| check_node(document, value, at)),
        _ => {}
    }
}

#[tokio::test]
async fn messages_are_described_by_the_contracts_comments() {
    let document = document().await;
    let user = &document["components"]["schemas"]["tollgate.permissions.v1.User"];
    assert_eq!(user["description"], "A person or machine account.");
    assert_eq!(user["properties"]["user_id"]["readOnly"], true);
    assert_eq!(user["properties"]["create_time"]["format"], "date-time");
    assert_eq!(user["properties"]["role"]["$ref"], "#/components/schemas/tollgate.common.v1.Role");
    let create = &document["paths"]["/api/v1/users"]["post"];
    assert_eq!(create["summary"], "Creates a user");
    assert_eq!(create["tags"][0], "UserService");
    let watch = &document["paths"]["/api/v1/policy:watch"]["get"];
    assert!(watch["responses"]["200"]["content"]["text/event-stream"].is_object());
    let sign_in = &document["paths"]["/api/auth/login"]["post"];
    assert_eq!((&sign_in["security"], &create["security"]), (&json!([]), &Value::Null));
    let keys = &document["paths"]["/.well-known/jwks.json"]["get"]["responses"]["200"]["content"];
    let schema = &keys["application/json"]["schema"]["$ref"];
    assert_eq!(schema, "#/components/schemas/tollgate.permissions.v1.GetJwksResponse");
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let door = Door::open();
    let page = door.send(Request::get("/api/docs").body(Body::empty()).unwrap()).await;
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert!(page.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let page = axum::body::to_bytes(page.into_body(), 1 << 20).await.unwrap();
    let page = String::from_utf8(page.to_vec()).unwrap();
    assert!(!page.contains("//"));
    for asset in ["/api/docs/docs.js", "/api/docs/docs.css"] {
        assert!(page.contains(asset));
        assert_eq!(door.get(asset).await.status, StatusCode::OK);
    }
}
