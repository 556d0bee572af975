//! Pages of other sites.

use crate::door::{Answer, Door};
use axum::{Router, body::Body};
use edge::Config;
use http::{Method, Request, StatusCode};

const OURS: &str = "https://console.example.org";

async fn ask(verb: Method, path: &str, origin: &str, preflight: bool) -> Answer {
    let config = Config { cors_origins: vec![OURS.to_owned()], ..Config::default() };
    let mut request = Request::builder().method(verb).uri(path).header("origin", origin);
    if preflight {
        request = request
            .header("access-control-request-method", "PATCH")
            .header("access-control-request-headers", "authorization");
    }
    Door::with(config, Router::new()).ask(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_configured_origin_may_ask_and_read() {
    let answer = ask(Method::OPTIONS, "/api/v1/users/u1", OURS, true).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(answer.header("access-control-allow-origin"), OURS);
    assert!(answer.header("access-control-allow-methods").contains("PATCH"));
    assert_eq!(answer.header("access-control-allow-headers"), "authorization");
    assert_eq!(answer.header("access-control-allow-credentials"), "");

    for path in ["/api/v1/users", "/v1/models"] {
        let answer = ask(Method::GET, path, OURS, false).await;
        assert_eq!(answer.header("access-control-allow-origin"), OURS);
        assert_eq!(answer.header("vary"), "origin");
    }
}

#[tokio::test]
async fn any_other_origin_is_not_let_in() {
    for origin in
        ["https://evil.example.org", "https://console.example.org.evil", "http://console.example.org", "null"]
    {
        let answer = ask(Method::OPTIONS, "/api/v1/users", origin, true).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert_eq!(answer.body["error_code"], "ORIGIN_NOT_ALLOWED");
        assert_eq!(answer.header("access-control-allow-origin"), "");
        // The browser keeps the answer from the page; the console's own requests carry an origin too.
        let answer = ask(Method::GET, "/api/v1/users", origin, false).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
}

#[test]
fn what_is_no_origin_is_not_configured() {
    let channel = shared::channel::in_process(tonic::service::Routes::default());
    let upstreams = edge::Upstreams {
        permissions: channel.clone(),
        inference: channel.clone(),
        monitoring: channel,
        inference_http: shared::channel::http_in_process(Router::new()),
    };
    for wrong in ["*", "null", "https://a.example/", "https://*.example", "a.example", "https://a@b", ""] {
        let config = Config { cors_origins: vec![wrong.to_owned()], ..Config::default() };
        let error = edge::router(config, upstreams.clone(), &shared::server::Tasks::default()).unwrap_err();
        assert!(matches!(error, edge::Error::Origin(_)), "{wrong}: {error}");
    }
}
