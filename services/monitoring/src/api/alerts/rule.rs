//! Rules as they cross the wire.

use crate::{
    alerting::kept::{KeptRule, severity_number},
    api::field,
    error::Violation,
};
use alerts::{Every, NoData, RuleText, Severity};
use proto::monitoring::v1 as pb;
use shared::time;

/// The label that the contract has a field for.
const SEVERITY: &str = "severity";

/// A rule as it is written, and whether it is looked at.
pub(super) fn read(rule: Option<pb::AlertRule>) -> Result<(RuleText, bool), Violation> {
    let rule = rule.ok_or_else(|| Violation::new("rule", "is required"))?;
    let every = |field: &str, given: Option<&prost_types::Duration>| {
        Ok::<_, Violation>(Every(field::duration(field, given)?.unwrap_or_default()))
    };
    let severity = super::severity(rule.severity()).unwrap_or(Severity::Warning);
    let no_data = match rule.no_data() {
        pb::NoDataPolicy::Unspecified | pb::NoDataPolicy::Ok => NoData::Ok,
        pb::NoDataPolicy::Alerting => NoData::Alerting,
        pb::NoDataPolicy::Keep => NoData::Keep,
    };
    if rule.labels.contains_key(SEVERITY) {
        return Err(Violation::new("rule.labels", "must leave `severity` to its field"));
    }
    if rule.labels.len() + rule.annotations.len() > 50 {
        return Err(Violation::new("rule.labels", "and annotations must be at most 50"));
    }
    let mut text = RuleText {
        alert: rule.name,
        expr: rule.expression,
        pending: every("rule.pending_for", rule.pending_for.as_ref())?,
        keep_firing_for: every("rule.keep_firing_for", rule.keep_firing_for.as_ref())?,
        cooldown: every("rule.cooldown", rule.cooldown.as_ref())?,
        no_data,
        labels: rule.labels.into_iter().collect(),
        annotations: rule.annotations.into_iter().collect(),
    };
    text.labels.insert(SEVERITY.to_owned(), severity.name().to_owned());
    Ok((text, !rule.disabled))
}

pub(super) fn described(rule: KeptRule) -> pb::AlertRule {
    let KeptRule { id, text, enabled, version, created, updated } = rule;
    let mut labels = text.labels;
    let severity =
        labels.remove(SEVERITY).and_then(|name| Severity::named(&name)).unwrap_or(Severity::Warning);
    let no_data = match text.no_data {
        NoData::Ok => pb::NoDataPolicy::Ok,
        NoData::Alerting => pb::NoDataPolicy::Alerting,
        NoData::Keep => pb::NoDataPolicy::Keep,
    };
    let every = |every: Every| (!every.0.is_zero()).then(|| time::duration_to_proto(every.0));
    pb::AlertRule {
        rule_id: id.to_string(),
        name: text.alert,
        expression: text.expr,
        pending_for: every(text.pending),
        keep_firing_for: every(text.keep_firing_for),
        cooldown: every(text.cooldown),
        severity: severity_number(severity),
        labels: labels.into_iter().collect(),
        annotations: text.annotations.into_iter().collect(),
        no_data: no_data.into(),
        disabled: !enabled,
        etag: version.to_string(),
        created_time: Some(time::to_proto(created)),
        updated_time: Some(time::to_proto(updated)),
    }
}
