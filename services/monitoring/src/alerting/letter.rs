//! What is sent: to whom, and the words for each kind of receiver.

use alerts::{Alert, Due, Fingerprint, GroupKey, Labels, Reason, State, Time};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Write as _};

/// Alerts of one message; more are counted.
const MOST: usize = 100;

/// A message and whom it is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) to: Target,
    pub(crate) content: Content,
}

/// Whom a message is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    Receiver(String),
    Email(Vec<String>),
}

impl Target {
    /// Few words for metrics; never an address.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Receiver(name) => name.clone(),
            Self::Email(_) => "_email".to_owned(),
        }
    }
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Content {
    Alerts(Message),
    Note { subject: String, text: String },
}

/// A message about a group of alerts, as Alertmanager writes it, version 4.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Message {
    pub(crate) version: String,
    pub(crate) group_key: String,
    pub(crate) truncated_alerts: u64,
    pub(crate) status: String,
    pub(crate) receiver: String,
    pub(crate) group_labels: Labels,
    pub(crate) common_labels: Labels,
    pub(crate) common_annotations: Labels,
    #[serde(rename = "externalURL")]
    pub(crate) external_url: String,
    #[serde(rename = "notification_reason")]
    pub(crate) reason: Reason,
    pub(crate) alerts: Vec<Told>,
}

/// An alert in a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Told {
    pub(crate) status: String,
    pub(crate) labels: Labels,
    pub(crate) annotations: Labels,
    pub(crate) starts_at: String,
    pub(crate) ends_at: String,
    #[serde(rename = "generatorURL")]
    pub(crate) generator_url: String,
    pub(crate) fingerprint: Fingerprint,
}

/// When something that has not ended ends, as Alertmanager writes it.
const NEVER: &str = "0001-01-01T00:00:00Z";

fn written(time: Option<Time>) -> String {
    let time = time.and_then(|time| jiff::Timestamp::from_microsecond(time.0).ok());
    time.map_or_else(|| NEVER.to_owned(), |time| time.to_string())
}

fn key(group: &GroupKey) -> String {
    format!("{}/{}:{}", group.receiver, group.route, group.labels)
}

impl Letter {
    /// The message that is due about alerts.
    pub(crate) fn about<'a>(
        due: &Due,
        find: impl Fn(Fingerprint) -> Option<&'a Alert>,
        external_url: &str,
    ) -> Self {
        let all: Vec<(Fingerprint, &Alert)> = due
            .firing
            .iter()
            .chain(&due.resolved)
            .filter_map(|number| Some((*number, find(*number)?)))
            .collect();
        let common = |of: fn(&Alert) -> &Labels| {
            let mut all = all.iter().map(|(_, alert)| of(alert));
            let first = all.next().cloned().unwrap_or_default();
            all.fold(first, |common, labels| common.common(labels))
        };
        let status = |firing| if firing { "firing" } else { "resolved" }.to_owned();
        let told = all.iter().take(MOST).map(|(number, alert)| Told {
            status: status(alert.state == State::Firing),
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            starts_at: written(Some(alert.since)),
            ends_at: written(alert.resolved),
            generator_url: format!("{external_url}/api/v1/alerts:history?fingerprint={number}"),
            fingerprint: *number,
        });
        let message = Message {
            version: "4".to_owned(),
            group_key: key(&due.group),
            truncated_alerts: all.len().saturating_sub(MOST) as u64,
            status: status(!due.firing.is_empty()),
            receiver: due.group.receiver.clone(),
            group_labels: due.group.labels.clone(),
            common_labels: common(|alert| &alert.labels),
            common_annotations: common(|alert| &alert.annotations),
            external_url: external_url.to_owned(),
            reason: due.reason,
            alerts: told.collect(),
        };
        Self { to: Target::Receiver(due.group.receiver.clone()), content: Content::Alerts(message) }
    }
}

impl Content {
    /// One line.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::Note { subject, .. } => subject.clone(),
            Self::Alerts(message) => {
                let mut names: BTreeMap<&str, usize> = BTreeMap::new();
                message
                    .alerts
                    .iter()
                    .for_each(|alert| *names.entry(alert.labels.get("alertname")).or_default() += 1);
                let names: Vec<&str> = names.into_keys().collect();
                let firing = message.alerts.iter().filter(|alert| alert.status == "firing").count();
                let count = if firing > 0 { format!(":{firing}") } else { String::new() };
                format!("[{}{count}] {}", message.status.to_uppercase(), names.join(", "))
            }
        }
    }

    /// All of it, for people.
    pub(crate) fn text(&self) -> String {
        let message = match self {
            Self::Note { text, .. } => return text.clone(),
            Self::Alerts(message) => message,
        };
        let mut text = String::new();
        for alert in &message.alerts {
            let summary = alert.annotations.get("summary");
            let said = if summary.is_empty() { alert.labels.get("alertname") } else { summary };
            let severity = alert.labels.get("severity");
            // Writing into a text cannot fail.
            let _ = writeln!(text, "{} {severity}: {said}", alert.status);
            let _ = writeln!(
                text,
                "  since {}{}",
                alert.starts_at,
                match alert.status.as_str() {
                    "resolved" => format!(" until {}", alert.ends_at),
                    _ => String::new(),
                }
            );
            let _ = writeln!(text, "  {}", alert.labels);
            for (name, value) in alert.annotations.iter().filter(|(name, _)| *name != "summary") {
                let _ = writeln!(text, "  {name}: {value}");
            }
            text.push('\n');
        }
        if message.truncated_alerts > 0 {
            let _ = writeln!(text, "and {} more\n", message.truncated_alerts);
        }
        let _ = writeln!(text, "{}", message.external_url);
        text
    }
}
