//! Google Cloud Monitoring: `projects.timeSeries.create` with one point per figure.

use super::Figure;
use crate::{
    Config,
    cloud::{self, LIMIT},
    web::{self, Site, Web},
};
use serde_json::{Value, json};

/// Writes for one instance.
pub(super) struct Google {
    api: Site,
    metadata: Site,
    path: String,
    resource: Value,
}

impl Google {
    pub(super) fn new(config: &Config, web: &Web) -> Result<Self, String> {
        let google = &config.google;
        let named = |name: &str, fault: String| format!("agent.google.{name}: {fault}");
        let labels = json!({
            "project_id": google.project,
            "location": "global",
            "namespace": config.pool,
            "node_id": config.instance_id,
        });
        Ok(Self {
            api: web.site(&google.api).map_err(|fault| named("api", fault))?,
            metadata: web.site(&google.metadata).map_err(|fault| named("metadata", fault))?,
            path: format!("/v3/projects/{}/timeSeries", google.project),
            resource: json!({ "type": "generic_node", "labels": labels }),
        })
    }

    pub(super) async fn write(&self, figures: &[Figure]) -> Result<(), String> {
        if figures.is_empty() {
            return Ok(());
        }
        let now =
            jiff::Timestamp::from_microsecond(shared::time::now().0).map_err(|error| error.to_string())?;
        let series: Vec<Value> = figures.iter().map(|figure| self.series(figure, now)).collect();
        let token = format!("Bearer {}", cloud::google_token(&self.metadata).await?);
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        let body = json!({ "timeSeries": series }).to_string();
        let answer = self.api.ask(web::request("POST", &self.path, &headers, body), LIMIT).await;
        let answer = answer.map_err(|silence| silence.to_string())?;
        if answer.status.is_success() {
            return Ok(());
        }
        let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let said = said["error"]["message"].as_str().unwrap_or_default().to_owned();
        Err(format!("it answers {}: {said}", answer.status.as_u16()))
    }

    fn series(&self, figure: &Figure, now: jiff::Timestamp) -> Value {
        json!({
            "metric": { "type": format!("custom.googleapis.com/{}", figure.name) },
            "resource": self.resource,
            "metricKind": "GAUGE",
            "valueType": "DOUBLE",
            "points": [{
                "interval": { "endTime": now.to_string() },
                "value": { "doubleValue": figure.value },
            }],
        })
    }
}
