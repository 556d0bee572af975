//! What is kept of alerts, as the rest of this service speaks of it.

use alerts::{Alert, Fingerprint, Labels, Routing, RuleText, Severity, Silence, Suppression};
use policy::Time;
use uuid::Uuid;

/// Who evaluates, and what may have changed.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    /// How often rules, silences, routes and acknowledgements changed.
    pub(crate) version: i64,
    /// Whether the installation has its first rules.
    pub(crate) seeded: bool,
    /// The tree of routes, when one was put.
    pub(crate) routing: Option<Routing>,
    pub(crate) routing_version: i64,
    pub(crate) routing_updated: Option<Time>,
}

/// A rule.
#[derive(Debug, Clone)]
pub(crate) struct KeptRule {
    pub(crate) id: Uuid,
    pub(crate) text: RuleText,
    pub(crate) enabled: bool,
    pub(crate) version: i64,
    pub(crate) created: Time,
    pub(crate) updated: Time,
}

/// That somebody knows of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acknowledgement {
    pub(crate) at: Time,
    pub(crate) by: String,
    pub(crate) note: String,
}

/// An alert.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) rule: Uuid,
    pub(crate) alert: Alert,
    pub(crate) held: Option<Suppression>,
    /// When somebody was last told that it fires.
    pub(crate) told: Option<Time>,
    pub(crate) acknowledgement: Option<Acknowledgement>,
}

/// A silence and why there is one.
#[derive(Debug, Clone)]
pub(crate) struct KeptSilence {
    pub(crate) id: Uuid,
    pub(crate) silence: Silence,
    pub(crate) comment: String,
    pub(crate) creator: String,
    pub(crate) created: Time,
}

/// What can happen to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    Firing,
    Resolved,
    Suppressed,
    Notified,
    NotNotified,
    Acknowledged,
}

impl EventKind {
    const ALL: [Self; 6] = [
        Self::Firing,
        Self::Resolved,
        Self::Suppressed,
        Self::Notified,
        Self::NotNotified,
        Self::Acknowledged,
    ];

    /// The number in the table and in the contract; never given to another one.
    pub(crate) const fn number(self) -> i32 {
        self as i32 + 1
    }

    pub(crate) fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// What happened to an alert.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: Uuid,
    pub(crate) at: Time,
    pub(crate) kind: EventKind,
    /// Nothing for a message that is about no alert.
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) name: String,
    pub(crate) severity: Severity,
    pub(crate) labels: Labels,
    pub(crate) detail: String,
}

impl Event {
    pub(crate) fn of(
        kind: EventKind,
        fingerprint: Fingerprint,
        labels: &Labels,
        at: Time,
        detail: String,
    ) -> Self {
        Self {
            id: Uuid::now_v7(),
            at,
            kind,
            fingerprint: Some(fingerprint),
            name: labels.get("alertname").to_owned(),
            severity: Severity::named(labels.get("severity")).unwrap_or(Severity::Warning),
            labels: labels.clone(),
            detail,
        }
    }
}

/// The number of a severity in tables and in the contract; never given to another one.
pub(crate) const fn severity_number(severity: Severity) -> i32 {
    severity as i32 + 1
}

/// The time as alerts have it.
pub(crate) const fn at(time: Time) -> alerts::Time {
    alerts::Time(time.0)
}
