//! The clouds that stop machines, as a server on this machine that takes what the real ones take, and keeps it.

use super::*;
use crate::config::Cloud;
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post, put},
};
use shared::{
    server::Tasks,
    tls::{Dialer, Trust},
};
use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

/// The path, the headers and the body of a call.
type Call = (String, HeaderMap, String);

#[derive(Clone, Default)]
struct Kept {
    calls: Arc<Mutex<Vec<Call>>>,
    refuses: bool,
}

const ROLE: &str = r#"{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY","Token":"session","Expiration":"2026-11-22T12:00:00Z"}"#;

async fn keep(State(kept): State<Kept>, request: Request) -> StatusCode {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 10_000).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    kept.calls.lock().unwrap().push((head.uri.path().to_owned(), head.headers, body));
    if kept.refuses { StatusCode::FORBIDDEN } else { StatusCode::OK }
}

/// A metadata server and the APIs at once.
async fn fake(kept: Kept) -> String {
    let role = "/latest/meta-data/iam/security-credentials/";
    let google = "/computeMetadata/v1/";
    let routes = Router::new()
        .route("/latest/api/token", put(async || "token-1"))
        .route(role, get(async || "gpu-node"))
        .route(&format!("{role}gpu-node"), get(async || ROLE))
        .route("/latest/meta-data/placement/region", get(async || "eu-central-1"))
        .route("/latest/meta-data/instance-id", get(async || "i-0abc\n"))
        .route(
            &format!("{google}instance/service-accounts/default/token"),
            get(async || r#"{"access_token":"ya29.token","expires_in":3599,"token_type":"Bearer"}"#),
        )
        .route(&format!("{google}project/project-id"), get(async || "demo"))
        .route(&format!("{google}instance/zone"), get(async || "projects/42/zones/europe-west4-a"))
        .route(&format!("{google}instance/name"), get(async || "gpu-1"))
        .route("/compute/v1/projects/demo/zones/europe-west4-a/instances/gpu-1/stop", post(keep))
        .route("/v1/pods/pod-9/stop", post(keep))
        .route("/", post(keep))
        .with_state(kept);
    let listener = shared::server::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    Tasks::default().spawn(async move { axum::serve(listener, routes).await.unwrap_or_default() });
    base
}

async fn stop(way: Way, kept: &Kept) -> Result<(), String> {
    let base = fake(kept.clone()).await;
    let idle = Idle {
        stop: way,
        api: base.clone(),
        api_key: serde_json::from_str(r#"{"value": "rpa_key"}"#).unwrap(),
        pod: "pod-9".into(),
        ..Idle::default()
    };
    let cloud = Cloud { metadata: base, ..Cloud::default() };
    let web = Web::new(Dialer::open(&Trust::default(), "agent").unwrap());
    Stop::new(&Config { idle, cloud, ..Config::default() }, &web).unwrap().ask().await
}

#[tokio::test]
async fn each_cloud_is_asked_to_stop_this_machine_and_no_other() {
    let kept = Kept::default();
    for way in [Way::Gcp, Way::Aws, Way::Runpod] {
        stop(way, &kept).await.unwrap();
    }
    let calls = kept.calls.lock().unwrap().clone();
    let [(google, by_google, _), (ec2, by_ec2, form), (runpod, by_runpod, _)] = &calls[..] else {
        panic!("{calls:?}")
    };
    assert_eq!(google, "/compute/v1/projects/demo/zones/europe-west4-a/instances/gpu-1/stop");
    assert_eq!(by_google["authorization"], "Bearer ya29.token");
    assert_eq!(ec2, "/");
    assert_eq!(form, "Action=StopInstances&Version=2016-11-15&InstanceId.1=i-0abc");
    let signed = by_ec2["authorization"].to_str().unwrap();
    assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{signed}");
    assert!(signed.contains("/eu-central-1/ec2/aws4_request"), "{signed}");
    assert_eq!(by_ec2["x-amz-security-token"], "session");
    assert_eq!(runpod, "/v1/pods/pod-9/stop");
    assert_eq!(by_runpod["authorization"], "Bearer rpa_key");
}

#[tokio::test]
async fn a_refusal_is_told_without_what_was_sent() {
    let kept = Kept { refuses: true, ..Kept::default() };
    for way in [Way::Gcp, Way::Aws, Way::Runpod] {
        let why = stop(way, &kept).await.unwrap_err();
        assert!(why.contains("403") && !why.contains("rpa_key") && !why.contains("ya29"), "{why}");
    }
    assert_eq!(kept.calls.lock().unwrap().len(), 3, "asked once each");
}

#[tokio::test]
async fn a_program_stops_it_and_its_failure_is_told() {
    let web = Web::new(Dialer::open(&Trust::default(), "agent").unwrap());
    let run = async |command: &[&str]| {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        let config = Config { idle: Idle { command, ..Idle::default() }, ..Config::default() };
        Stop::new(&config, &web).unwrap().ask().await
    };
    assert_eq!(run(&["true"]).await, Ok(()));
    assert_eq!(run(&["sh", "-c", "exit 3"]).await, Err("the program ended with exit status: 3".into()));
    assert!(run(&["/nowhere/stop"]).await.is_err());
    assert!(run(&[]).await.is_err());
}
