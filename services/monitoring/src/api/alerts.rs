//! `AlertRuleService` and `AlertService`, call by call; what silences and notifications share with them is here, too.

mod notifications;
mod rule;
mod silences;

use super::field;
use crate::{
    alerting::{
        Alerting,
        kept::{Event, EventKind, Kept, severity_number},
        rules::DAY,
    },
    error::Violation,
    store::alerts::Filter,
};
use alerts::{Fingerprint, Labels, Severity, State, Suppression};
use policy::Time;
use proto::monitoring::v1 as pb;
use shared::{event::Origin, time};
use std::collections::HashMap;
use tonic::{Request, Response, Status};

/// Characters of a comment or note.
const MAX_NOTE: usize = 1_000;
/// Bytes of a rule file.
const MAX_FILE: usize = 1024 * 1024;

/// Serves everything about alerts.
#[derive(Debug, Clone)]
pub(crate) struct AlertApi(pub(crate) Alerting);

#[tonic::async_trait]
impl pb::alert_rule_service_server::AlertRuleService for AlertApi {
    async fn create_alert_rule(
        &self,
        request: Request<pb::CreateAlertRuleRequest>,
    ) -> Result<Response<pb::CreateAlertRuleResponse>, Status> {
        let origin = Origin::of(&request, "")?;
        let asked = request.into_inner();
        let (text, enabled) = rule::read(asked.rule)?;
        let rule = self.0.create_rule(text, enabled, asked.validate_only, &origin).await?;
        Ok(Response::new(pb::CreateAlertRuleResponse { rule: Some(rule::described(rule)) }))
    }

    async fn get_alert_rule(
        &self,
        request: Request<pb::GetAlertRuleRequest>,
    ) -> Result<Response<pb::GetAlertRuleResponse>, Status> {
        let rule = self.0.rule(field::id("rule_id", &request.get_ref().rule_id)?).await?;
        Ok(Response::new(pb::GetAlertRuleResponse { rule: Some(rule::described(rule)) }))
    }

    async fn list_alert_rules(
        &self,
        request: Request<pb::ListAlertRulesRequest>,
    ) -> Result<Response<pb::ListAlertRulesResponse>, Status> {
        let asked = request.into_inner();
        let (rules, next_page_token) =
            self.0.rules(field::page_size(asked.page_size)?, &asked.page_token).await?;
        let rules = rules.into_iter().map(rule::described).collect();
        Ok(Response::new(pb::ListAlertRulesResponse { rules, next_page_token }))
    }

    async fn update_alert_rule(
        &self,
        request: Request<pb::UpdateAlertRuleRequest>,
    ) -> Result<Response<pb::UpdateAlertRuleResponse>, Status> {
        let origin = Origin::of(&request, "")?;
        let asked = request.into_inner();
        let id = field::id("rule_id", &asked.rule_id)?;
        let (text, enabled) = rule::read(asked.rule)?;
        let rule = self.0.update_rule((id, etag(&asked.etag)?), &text, enabled, &origin).await?;
        Ok(Response::new(pb::UpdateAlertRuleResponse { rule: Some(rule::described(rule)) }))
    }

    async fn delete_alert_rule(
        &self,
        request: Request<pb::DeleteAlertRuleRequest>,
    ) -> Result<Response<pb::DeleteAlertRuleResponse>, Status> {
        let origin = Origin::of(&request, "")?;
        self.0.delete_rule(field::id("rule_id", &request.get_ref().rule_id)?, &origin).await?;
        Ok(Response::new(pb::DeleteAlertRuleResponse {}))
    }

    async fn import_alert_rules(
        &self,
        request: Request<pb::ImportAlertRulesRequest>,
    ) -> Result<Response<pb::ImportAlertRulesResponse>, Status> {
        let origin = Origin::of(&request, "")?;
        let asked = request.into_inner();
        if asked.yaml.len() > MAX_FILE {
            return Err(Violation::new("yaml", "must have at most 1 MiB").into());
        }
        let imported = self.0.import_rules(&asked.yaml, asked.validate_only, &origin).await?;
        let refused = imported.refused.into_iter();
        let refused =
            refused.map(|one| pb::RefusedAlertRule { name: one.name, problem: one.fault.to_string() });
        Ok(Response::new(pb::ImportAlertRulesResponse {
            rules: imported.made.into_iter().map(rule::described).collect(),
            known: imported.known,
            refused: refused.collect(),
        }))
    }

    async fn test_alert_rule(
        &self,
        request: Request<pb::TestAlertRuleRequest>,
    ) -> Result<Response<pb::TestAlertRuleResponse>, Status> {
        let asked = request.into_inner();
        let end = field::optional_instant("end_time", asked.end_time.as_ref())?.unwrap_or_else(time::now);
        let start = field::optional_instant("start_time", asked.start_time.as_ref())?;
        let start = start.unwrap_or_else(|| minus(end, DAY / 24));
        let text = match asked.rule {
            Some(rule) => rule::read(Some(rule))?.0,
            None => self.0.rule(field::id("rule_id", &asked.rule_id)?).await?.text,
        };
        let alerts = self.0.test_rule(&text, (start, end))?.into_iter().map(|fired| pb::TestedAlert {
            labels: pairs(&fired.labels),
            start_time: Some(moment(fired.since)),
            firing_time: fired.fired.map(moment),
            end_time: fired.ended.map(moment),
            highest_value: fired.highest,
        });
        Ok(Response::new(pb::TestAlertRuleResponse { alerts: alerts.collect() }))
    }
}

#[tonic::async_trait]
impl pb::alert_service_server::AlertService for AlertApi {
    async fn list_alerts(
        &self,
        request: Request<pb::ListAlertsRequest>,
    ) -> Result<Response<pb::ListAlertsResponse>, Status> {
        let asked = request.into_inner();
        let state = match asked.state() {
            pb::AlertState::Unspecified => None,
            pb::AlertState::Pending => Some(State::Pending),
            pb::AlertState::Firing => Some(State::Firing),
            pb::AlertState::Resolved => Some(State::Resolved),
        };
        let filter = Filter { state, severity: severity(asked.severity()) };
        let (alerts, next_page_token) =
            self.0.alerts(filter, field::page_size(asked.page_size)?, &asked.page_token).await?;
        let alerts = alerts.into_iter().map(described).collect();
        Ok(Response::new(pb::ListAlertsResponse { alerts, next_page_token }))
    }

    async fn acknowledge_alert(
        &self,
        request: Request<pb::AcknowledgeAlertRequest>,
    ) -> Result<Response<pb::AcknowledgeAlertResponse>, Status> {
        let note = field::text("note", request.get_ref().note.clone(), MAX_NOTE)?;
        let origin = Origin::of(&request, &note)?;
        let alert = self.0.acknowledge(fingerprint(&request.get_ref().fingerprint)?, &origin).await?;
        Ok(Response::new(pb::AcknowledgeAlertResponse { alert: Some(described(alert)) }))
    }

    async fn list_alert_history(
        &self,
        request: Request<pb::ListAlertHistoryRequest>,
    ) -> Result<Response<pb::ListAlertHistoryResponse>, Status> {
        let asked = request.into_inner();
        let of = (!asked.fingerprint.is_empty()).then(|| fingerprint(&asked.fingerprint)).transpose()?;
        let filter = (of, EventKind::from_number(asked.kind));
        let (events, next_page_token) =
            self.0.history(filter, field::page_size(asked.page_size)?, &asked.page_token).await?;
        let events = events.into_iter().map(event).collect();
        Ok(Response::new(pb::ListAlertHistoryResponse { events, next_page_token }))
    }
}

fn minus(time: Time, duration: std::time::Duration) -> Time {
    Time(time.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(0)).max(0))
}

fn moment(at: alerts::Time) -> prost_types::Timestamp {
    time::to_proto(Time(at.0))
}

fn pairs(labels: &Labels) -> HashMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn etag(text: &str) -> Result<i64, Violation> {
    text.parse().map_err(|_| Violation::new("etag", "must be one that a read of this answered"))
}

fn fingerprint(text: &str) -> Result<Fingerprint, Violation> {
    text.parse().map_err(|_| Violation::new("fingerprint", "must be 16 hexadecimal digits"))
}

/// The severity of a number, which are those of the contract; nothing when it is unspecified.
fn severity(number: pb::AlertSeverity) -> Option<Severity> {
    Severity::ALL.into_iter().find(|severity| severity_number(*severity) == number as i32)
}

fn described(kept: Kept) -> pb::Alert {
    let Kept { fingerprint, rule, alert, held, told, acknowledgement } = kept;
    let severity = Severity::named(alert.labels.get("severity")).unwrap_or(Severity::Warning);
    let state = match alert.state {
        State::Pending => pb::AlertState::Pending,
        State::Firing => pb::AlertState::Firing,
        State::Resolved => pb::AlertState::Resolved,
    };
    let suppressed_by = held.map(|held| {
        let mut by = pb::AlertSuppression::default();
        match held {
            Suppression::Silenced(id) => by.silence_id = id,
            Suppression::Inhibited(other) => by.inhibited_by = other.to_string(),
            Suppression::Acknowledged => by.acknowledged = true,
            Suppression::Cooldown(until) => by.cooldown_until = Some(moment(until)),
        }
        by
    });
    let (acknowledged_time, acknowledged_by, acknowledgement) = match acknowledgement {
        Some(known) => (Some(time::to_proto(known.at)), known.by, known.note),
        None => Default::default(),
    };
    pb::Alert {
        fingerprint: fingerprint.to_string(),
        rule_id: rule.to_string(),
        state: state.into(),
        severity: severity_number(severity),
        labels: pairs(&alert.labels),
        annotations: pairs(&alert.annotations),
        value: alert.value,
        start_time: Some(moment(alert.since)),
        firing_time: alert.fired.map(moment),
        resolved_time: alert.resolved.map(moment),
        suppressed_by,
        notified_time: told.map(time::to_proto),
        acknowledged_by,
        acknowledged_time,
        acknowledgement,
    }
}

fn event(event: Event) -> pb::AlertEvent {
    pb::AlertEvent {
        event_id: event.id.to_string(),
        time: Some(time::to_proto(event.at)),
        kind: event.kind.number(),
        fingerprint: event.fingerprint.map(|fingerprint| fingerprint.to_string()).unwrap_or_default(),
        name: event.name,
        severity: severity_number(event.severity),
        labels: pairs(&event.labels),
        detail: event.detail,
    }
}
