//! Both clouds as servers on this machine that take what the real ones take, and keep it.

use super::*;
use crate::{
    config::{CloudWatch, Google, Gpu},
    observe::{EngineSeen, Window},
};
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::{get, post, put},
};
use serde_json::{Value, json};
use shared::tls::{Dialer, Trust};
use std::{net::Ipv4Addr, sync::Mutex};

type Kept = Arc<Mutex<Vec<(HeaderMap, String)>>>;

const ROLE: &str = r#"{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY","Token":"session","Expiration":"2026-11-22T12:00:00Z"}"#;

async fn keep(State(kept): State<Kept>, headers: HeaderMap, body: String) -> (StatusCode, &'static str) {
    kept.lock().unwrap().push((headers, body));
    (StatusCode::OK, "{}")
}

/// A server that is a metadata server and both APIs at once.
async fn fake() -> (String, Kept) {
    let kept = Kept::default();
    let role = "/latest/meta-data/iam/security-credentials/";
    let token = "/computeMetadata/v1/instance/service-accounts/default/token";
    let routes = Router::new()
        .route("/v3/projects/demo/timeSeries", post(keep))
        .route("/", post(keep))
        .route(
            token,
            get(async || r#"{"access_token":"ya29.token","expires_in":3599,"token_type":"Bearer"}"#),
        )
        .route("/latest/api/token", put(async || "token-1"))
        .route(role, get(async || "gpu-node"))
        .route("/latest/meta-data/iam/security-credentials/gpu-node", get(async || ROLE))
        .with_state(Arc::clone(&kept));
    let listener = shared::server::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    Tasks::default().spawn(async move { axum::serve(listener, routes).await.unwrap_or_default() });
    (base, kept)
}

fn config(base: &str) -> Config {
    let google = Google {
        project: "demo".into(),
        api: base.into(),
        metadata: base.into(),
        every: Duration::from_millis(50),
    };
    let cloudwatch = CloudWatch {
        region: "eu-central-1".into(),
        api: base.into(),
        metadata: base.into(),
        every: Duration::from_millis(50),
        ..CloudWatch::default()
    };
    let (pool, instance_id, gpu) = ("chat".into(), "node-1:8000".into(), Gpu::Off);
    Config { pool, instance_id, gpu, google, cloudwatch, ..Config::default() }
}

fn seen() -> Seen {
    let gpu = gpu::Gpu { usage: Some(0.5), memory_used: Some(2e9), ..gpu::Gpu::default() };
    let buckets = series::Buckets::new(Arc::from([0.1, 1.0]), vec![3.0, 1.0, 0.0], 0.8).unwrap();
    let engine = EngineSeen {
        waiting: Some(4.0),
        kv_usage: Some(0.25),
        kv_bytes: Some(8e9),
        window: Window { first_token: Some(buckets), per_token: None, tokens: Some(50.0) },
        ..EngineSeen::default()
    };
    Seen { gpus: vec![gpu.clone(), gpu], engine }
}

/// Writes until both have been written to once.
async fn written() -> Vec<(HeaderMap, String)> {
    let (base, kept) = fake().await;
    let web = Web::new(Dialer::open(&Trust::default(), "agent").unwrap());
    let heard = Heard { pool_queue: Some(7), ..Heard::default() };
    let (seen, heard) = (watch::Sender::new(seen()), watch::Sender::new(heard));
    let tasks = Tasks::default();
    start(&config(&base), &web, seen.subscribe(), heard.subscribe(), &tasks).unwrap();
    let both = async || {
        let kept = kept.lock().unwrap();
        let google = kept.iter().find(|(_, body)| body.starts_with('{')).cloned();
        let aws = kept.iter().find(|(_, body)| body.starts_with("Action=")).cloned();
        Some(vec![google?, aws?])
    };
    let written = ::tests::until("both writes", both).await;
    assert!(tasks.end(Duration::from_secs(5)).await);
    written
}

#[tokio::test]
async fn both_clouds_get_every_figure_that_is_known() {
    let written = written().await;
    let (headers, body) = &written[0];
    assert_eq!(headers["authorization"], "Bearer ya29.token");
    let body: Value = serde_json::from_str(body).unwrap();
    let series = body["timeSeries"].as_array().unwrap();
    let told: Vec<(&str, f64)> = series
        .iter()
        .map(|one| {
            let value = one["points"][0]["value"]["doubleValue"].as_f64().unwrap();
            (one["metric"]["type"].as_str().unwrap(), value)
        })
        .collect();
    let expected = [
        ("custom.googleapis.com/gpu/usage_percent", 50.0),
        ("custom.googleapis.com/gpu/memory_used_gb", 4.0),
        ("custom.googleapis.com/vllm/ttft_ms", 200.0),
        ("custom.googleapis.com/vllm/tps", 50.0),
        ("custom.googleapis.com/vllm/queue_length", 4.0),
        ("custom.googleapis.com/vllm/kv_cache_usage_gb", 2.0),
        ("custom.googleapis.com/queue/pending_requests", 7.0),
    ];
    assert_eq!(told, expected, "nobody knows the time per token, so nothing is written of it");
    assert_eq!(series[0]["metricKind"], "GAUGE");
    assert_eq!(
        series[0]["resource"]["labels"],
        json!({"project_id": "demo", "location": "global", "namespace": "chat", "node_id": "node-1:8000"})
    );
    assert!(series[0]["points"][0]["interval"]["endTime"].as_str().unwrap().ends_with('Z'));

    let (headers, body) = &written[1];
    let signed = headers["authorization"].to_str().unwrap();
    assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{signed}");
    assert!(signed.contains("/eu-central-1/monitoring/aws4_request, SignedHeaders="), "{signed}");
    assert_eq!(headers["x-amz-security-token"], "session");
    assert!(body.starts_with("Action=PutMetricData&Version=2010-08-01&Namespace=Tollgate&"), "{body}");
    assert!(
        body.contains("MetricData.member.1.MetricName=gpu%2Fusage_percent&MetricData.member.1.Value=50&")
    );
    assert!(body.contains("MetricData.member.1.Dimensions.member.2.Value=node-1%3A8000"), "{body}");
}

#[test]
fn nothing_known_is_nothing_written() {
    assert_eq!(figures(&Seen::default(), &Heard::default()), []);
}
