//! Alerts: what is wrong, the rules that say so, and who is told.

use super::{
    call::Client,
    names::{duration, in_past},
    plan::{Column, Plan, request},
};
use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

const ALERTS: &[Column] = &[
    ("ALERT", "labels.alertname"),
    ("SEVERITY", "severity"),
    ("STATE", "state"),
    ("SINCE", "start_time"),
    ("SUMMARY", "annotations.summary"),
    ("SILENCE", "suppressed_by.silence_id"),
    ("FINGERPRINT", "fingerprint"),
];

const HISTORY: &[Column] = &[
    ("TIME", "time"),
    ("WHAT", "kind"),
    ("ALERT", "name"),
    ("SEVERITY", "severity"),
    ("DETAIL", "detail"),
    ("FINGERPRINT", "fingerprint"),
];

const RULES: &[Column] = &[
    ("ID", "rule_id"),
    ("NAME", "name"),
    ("SEVERITY", "severity"),
    ("FOR", "pending_for"),
    ("COOLDOWN", "cooldown"),
    ("EXPRESSION", "expression"),
];

const TESTED: &[Column] = &[
    ("SINCE", "start_time"),
    ("FIRED", "firing_time"),
    ("UNTIL", "end_time"),
    ("HIGHEST", "highest_value"),
    ("LABELS", "labels"),
];

const RECEIVERS: &[Column] = &[("RECEIVER", "name"), ("KIND", "kind")];

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Severity {
    Info,
    Warning,
    Error,
    Critical,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum State {
    Pending,
    Firing,
    Resolved,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Alerts {
    /// Lists alerts that fire or wait to, the worst first.
    List {
        #[arg(long)]
        state: Option<State>,
        #[arg(long)]
        severity: Option<Severity>,
    },
    /// Says that you know of an alert: it is not repeated until it resolves.
    Acknowledge {
        fingerprint: String,
        /// What others should know.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// What happened to alerts, the newest first.
    History {
        /// Only of this alert.
        #[arg(long, default_value = "")]
        fingerprint: String,
    },
    /// Lists rules.
    Rules,
    /// Makes a rule.
    AddRule {
        name: String,
        /// Like `avg by (engine) (tollgate_engine_kv_cache_usage) > 0.9`.
        expression: String,
        #[arg(long, value_enum, default_value = "warning")]
        severity: Severity,
        /// How long it has to be so: 5m, 1h.
        #[arg(long = "for")]
        pending: Option<String>,
        /// How long nobody is told of the same alert anew.
        #[arg(long)]
        cooldown: Option<String>,
        /// A sentence for people.
        #[arg(long, default_value = "")]
        summary: String,
    },
    /// Deletes a rule.
    DeleteRule { rule_id: String },
    /// Takes over a rule file of Prometheus.
    Import {
        /// The file; `-`: standard input.
        file: PathBuf,
        /// Only say what would be taken over.
        #[arg(long)]
        dry_run: bool,
    },
    /// What a rule would have said of the past.
    Test {
        rule_id: String,
        /// From so long ago on: 30m, 12h.
        #[arg(long, default_value = "1h")]
        since: String,
    },
    /// Lists who can be told.
    Receivers,
    /// Tells a receiver that this is a test.
    TestReceiver { receiver: String },
    /// Shows the tree of routes.
    Routes,
    /// Replaces the tree of routes by one in a file of JSON.
    SetRoutes {
        /// The file; `-`: standard input.
        file: PathBuf,
        /// Of the tree that was read.
        #[arg(long)]
        etag: String,
    },
}

impl Alerts {
    #[expect(clippy::unused_async, reason = "as the other nouns, some of which look names up")]
    pub(crate) async fn plan(self, _client: &Client) -> anyhow::Result<Plan> {
        Ok(match self {
            Self::List { state, severity } => {
                let state = state.map(|state| json!(format!("ALERT_STATE_{}", word(state))));
                let asked = request([("state", state), ("severity", severity.map(named))]);
                Plan::list("AlertService/ListAlerts", asked, "alerts", ALERTS)
            }
            Self::Acknowledge { fingerprint, note } => Plan::thing(
                "AlertService/AcknowledgeAlert",
                json!({ "fingerprint": fingerprint, "note": note }),
                "alert",
            ),
            Self::History { fingerprint } => {
                let asked = json!({ "fingerprint": fingerprint });
                Plan::list("AlertService/ListAlertHistory", asked, "events", HISTORY)
            }
            Self::Rules => Plan::list("AlertRuleService/ListAlertRules", json!({}), "rules", RULES),
            Self::AddRule { name, expression, severity, pending, cooldown, summary } => {
                let rule = request([
                    ("name", Some(json!(name))),
                    ("expression", Some(json!(expression))),
                    ("severity", Some(named(severity))),
                    ("pending_for", pending.as_deref().map(duration).transpose()?),
                    ("cooldown", cooldown.as_deref().map(duration).transpose()?),
                    ("annotations", (!summary.is_empty()).then(|| json!({ "summary": summary }))),
                ]);
                Plan::thing("AlertRuleService/CreateAlertRule", json!({ "rule": rule }), "rule")
            }
            Self::DeleteRule { rule_id } => {
                Plan::done("AlertRuleService/DeleteAlertRule", json!({ "rule_id": rule_id }), "deleted")
            }
            Self::Import { file, dry_run } => Plan::thing(
                "AlertRuleService/ImportAlertRules",
                json!({ "yaml": text(&file)?, "validate_only": dry_run }),
                "",
            ),
            Self::Test { rule_id, since } => {
                let asked = json!({ "rule_id": rule_id, "start_time": in_past(&since)? });
                Plan::list("AlertRuleService/TestAlertRule", asked, "alerts", TESTED)
            }
            Self::Receivers => {
                Plan::list("NotificationService/ListReceivers", json!({}), "receivers", RECEIVERS)
            }
            Self::TestReceiver { receiver } => {
                Plan::thing("NotificationService/TestReceiver", json!({ "receiver": receiver }), "")
            }
            Self::Routes => Plan::thing("NotificationService/GetAlertRouting", json!({}), "routing"),
            Self::SetRoutes { file, etag } => Plan::thing(
                "NotificationService/PutAlertRouting",
                json!({ "json": text(&file)?, "etag": etag }),
                "routing",
            ),
        })
    }
}

fn text(file: &Path) -> anyhow::Result<String> {
    if file.as_os_str() == "-" {
        return Ok(io::read_to_string(io::stdin())?);
    }
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn named(severity: Severity) -> Value {
    json!(format!("ALERT_SEVERITY_{}", word(severity)))
}

fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_uppercase()).unwrap_or_default()
}
