//! Incidents (A8): what any service turns away is listed by permissions, in one process and in several.

use serde_json::Value;
use tests::{apart::Apart, http::Client, people, suite::Suite, until};

const WRONG_KEY: &str = "tgk_nobody-has-this";

/// A key that nobody has and a call that an office does not allow, asked of monitoring: both are listed.
async fn monitoring_reports(owner: &Client) {
    let member = people::person(owner, "ana.incidents").await;
    owner.with_key(WRONG_KEY).get("/api/v1/usage").await;
    let refused = owner.with_key(&member.key).get("/api/v1/incidents").await;
    assert_eq!(refused.status, 403);
    let list = async |kind: &str, method: &str| {
        let listed = owner.get(&format!("/api/v1/incidents?kind={kind}")).await.data();
        let all = listed["incidents"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|one: &Value| one["method"] == method)
    };
    let usage = "/tollgate.monitoring.v1.UsageService/GetUsage";
    let seen = until("the wrong key", || list("INCIDENT_KIND_CREDENTIAL_REFUSED", usage)).await;
    assert_eq!(seen["address"], "127.0.0.1");
    let incidents = "/tollgate.permissions.v1.IncidentService/ListIncidents";
    let seen = until("the refused call", || list("INCIDENT_KIND_CALL_REFUSED", incidents)).await;
    assert_eq!(seen["actor"], member.id);
}

#[tokio::test]
async fn monitoring_reports_in_one_process() {
    let suite = Suite::start(&[]).await;
    monitoring_reports(&suite.owner()).await;
}

#[tokio::test]
async fn monitoring_reports_from_a_process_of_its_own() {
    let apart = Apart::start(&[]).await;
    monitoring_reports(&apart.owner()).await;
}
