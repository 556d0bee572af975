//! CloudWatch: `PutMetricData` of the query API, signed with version 4.

use super::Figure;
use crate::{
    Config, cloud,
    web::{Site, Web},
};

/// Writes for one instance.
pub(super) struct CloudWatch {
    api: Site,
    metadata: Site,
    region: String,
    namespace: String,
    dimensions: [(&'static str, String); 2],
}

impl CloudWatch {
    pub(super) fn new(config: &Config, web: &Web) -> Result<Self, String> {
        let own = &config.cloudwatch;
        let named = |name: &str, fault: String| format!("agent.cloudwatch.{name}: {fault}");
        let default = format!("https://monitoring.{}.amazonaws.com", own.region);
        let api = if own.api.is_empty() { &default } else { &own.api };
        Ok(Self {
            api: web.site(api).map_err(|fault| named("api", fault))?,
            metadata: web.site(&own.metadata).map_err(|fault| named("metadata", fault))?,
            region: own.region.clone(),
            namespace: own.namespace.clone(),
            dimensions: [("Pool", config.pool.clone()), ("Instance", config.instance_id.clone())],
        })
    }

    pub(super) async fn write(&self, figures: &[Figure]) -> Result<(), String> {
        if figures.is_empty() {
            return Ok(());
        }
        let credentials = cloud::aws_role(&self.metadata).await?;
        let form = cloud::form(&self.fields(figures));
        let answer = cloud::aws_form(&self.api, credentials, &self.region, "monitoring", form).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        // <ErrorResponse><Error><Type>…</Type><Code>…</Code><Message>…
        let code = answer.body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
        let code = code.map_or("", |(code, _)| code);
        Err(format!("it answers {}: {code}", answer.status.as_u16()))
    }

    fn fields(&self, figures: &[Figure]) -> Vec<(String, String)> {
        let mut fields: Vec<(String, String)> = vec![
            ("Action".into(), "PutMetricData".into()),
            ("Version".into(), "2010-08-01".into()),
            ("Namespace".into(), self.namespace.clone()),
        ];
        for (number, figure) in (1..).zip(figures) {
            let member = format!("MetricData.member.{number}");
            fields.push((format!("{member}.MetricName"), figure.name.into()));
            fields.push((format!("{member}.Value"), figure.value.to_string()));
            for (place, (name, value)) in (1..).zip(&self.dimensions) {
                let dimension = format!("{member}.Dimensions.member.{place}");
                fields.push((format!("{dimension}.Name"), (*name).into()));
                fields.push((format!("{dimension}.Value"), value.clone()));
            }
        }
        fields
    }
}
