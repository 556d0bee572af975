//! Annotations that the contract does not use today.

use super::*;
use crate::Upstreams;
use crate::rest::body;
use prost_reflect::Value;
use shared::channel;

const HEAD: &str = r#"
    syntax = "proto3";
    package tollgate.permissions.v1;
    import "google/api/annotations.proto";
    message Answer {}
    message Inner { string name = 1; repeated int32 numbers = 2; }
    message Ask { string id = 1; Inner inner = 2; optional bool fast = 3; repeated Inner more = 4; }
"#;

fn routes(rule: &str) -> Result<Routes, Error> {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "{HEAD} service S {{ rpc M(Ask) returns (Answer) {{ option (google.api.http) = {{{rule}}}; }} }}"
    );
    std::fs::write(folder.path().join("s.proto"), text).unwrap();
    let proto = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let mut compiler = protox::Compiler::new([folder.path(), &proto]).unwrap();
    let pool = compiler.include_imports(true).open_file("s.proto").unwrap().descriptor_pool();
    let channel = channel::in_process(tonic::service::Routes::default());
    let upstreams = Upstreams {
        permissions: channel.clone(),
        inference: channel.clone(),
        monitoring: channel,
        inference_http: channel::http_in_process(axum::Router::new()),
    };
    let own = upstreams.permissions.clone();
    Routes::from_descriptors(&pool, &Owners { upstreams, own })
}

fn ask(
    routes: &Routes,
    verb: Method,
    path: &str,
    query: &str,
    body: &str,
) -> Result<DynamicMessage, Rejection> {
    body::message(&routes.find(&verb, path)?, query, body.as_bytes())
}

#[test]
fn a_second_binding_is_a_second_way_in() {
    let routes = routes(r#"get: "/a/{id}" additional_bindings { post: "/a:find" body: "*" }"#).unwrap();
    let one = ask(&routes, Method::GET, "/a/7", "inner.name=x&inner.numbers=1&inner.numbers=2&fast=true", "")
        .unwrap();
    let two = r#"{"id":"7","inner":{"name":"x","numbers":[1,2]},"fast":true}"#;
    assert_eq!(one, ask(&routes, Method::POST, "/a:find", "", two).unwrap());
    assert_eq!(routes.iter().filter(|route| route.is_additional).count(), 1);
    assert!(ask(&routes, Method::GET, "/a/7", "more.name=x", "").is_err());
    assert!(ask(&routes, Method::GET, "/a/7", "inner=x", "").is_err());
}

#[test]
fn a_field_can_be_the_body_and_the_query_has_the_others() {
    let routes = routes(r#"put: "/a/{id}" body: "inner""#).unwrap();
    let message = ask(&routes, Method::PUT, "/a/7", "fast=false", r#"{"name":"x"}"#).unwrap();
    assert_eq!(message.get_field_by_name("id").unwrap().as_ref(), &Value::String("7".to_owned()));
    assert!(message.has_field_by_name("inner") && message.has_field_by_name("fast"));
    assert!(ask(&routes, Method::PUT, "/a/7", "inner.name=x", "{}").is_err());
    assert!(ask(&routes, Method::PUT, "/a/7", "id=8", "{}").is_err());
}

#[test]
fn a_path_binds_nested_fields_and_the_most_exact_path_is_taken() {
    let routes = routes(
        r#"get: "/a/{id}" additional_bindings { get: "/a/{inner.name}:by-name" } additional_bindings { get: "/a/all" }"#,
    )
    .unwrap();
    let set = |path: &str| {
        let message = ask(&routes, Method::GET, path, "", "").unwrap();
        let fields: Vec<_> = message.fields().map(|(field, _)| field.name().to_owned()).collect();
        fields.join(",")
    };
    assert_eq!(set("/a/x:by-name"), "inner");
    assert_eq!(set("/a/all"), "");
    assert_eq!(set("/a/x:other"), "id");
}

#[test]
fn what_cannot_be_served_is_refused_when_the_edge_is_built() {
    for (rule, problem) in [
        (r#"get: "/a/**""#, "this path or verb is not supported"),
        (r#"custom: { kind: "LINK" path: "/a" }"#, "this path or verb is not supported"),
        (r#"get: "/a/{nothing}""#, "the path names what is not a scalar field of the request"),
        (r#"get: "/a/{inner}""#, "the path names what is not a scalar field of the request"),
        (r#"post: "/a" body: "nothing""#, "the body names a field that there is not"),
        (r#"get: "/a" response_body: "x""#, "response_body is not supported"),
    ] {
        let error = routes(rule).unwrap_err().to_string();
        assert_eq!(error, format!("tollgate.permissions.v1.S.M: {problem}"), "{rule}");
    }
}
