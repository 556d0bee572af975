//! Rules: what is wrong, how long that has to be so, and how bad it is.

use crate::{
    duration::Every, expression::Expression, fault::Fault, labels::Labels, matcher::is_label_name,
    template::Template,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// The label with the name of the rule.
pub(crate) const NAME: &str = "alertname";
/// The label with the severity.
pub(crate) const SEVERITY: &str = "severity";
/// The furthest that an expression may look back, and the longest of a rule's times: longer ones are budgets' business.
const LONGEST: Duration = Duration::from_secs(31 * 86_400);
/// Bytes of an expression, and of a label or annotation.
const LONG: usize = 4_096;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Somebody may like to know.
    Info,
    /// Somebody should look within a day.
    Warning,
    /// Something does not work as it should.
    Error,
    /// Somebody has to look now.
    Critical,
}

impl Severity {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Info, Self::Warning, Self::Error, Self::Critical];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }

    /// The severity of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.name() == name)
    }
}

/// What it means that there was nothing to look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoData {
    /// Nothing is wrong.
    #[default]
    Ok,
    /// That is wrong by itself: an alert with the rule's labels and `no_data="true"`.
    Alerting,
    /// What was wrong still is, and nothing else.
    Keep,
}

/// A rule as it is written and kept: an alerting rule of Prometheus with three fields more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleText {
    /// Its name.
    pub alert: String,
    /// What it looks at.
    pub expr: String,
    /// How long it has to be so before it is an alert.
    #[serde(rename = "for", default, skip_serializing_if = "is_zero")]
    pub pending: Every,
    /// How long an alert stays after it was last so: what comes and goes is one alert.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub keep_firing_for: Every,
    /// How long after it was told of nobody is told of the same alert anew when it resolved and came back.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cooldown: Every,
    /// What it means that there was nothing to look at.
    #[serde(default, skip_serializing_if = "is_ok")]
    pub no_data: NoData,
    /// What its alerts have beside the labels of their series; `severity` is one of them.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Sentences for people.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

fn is_zero(every: &Every) -> bool {
    every.0.is_zero()
}

fn is_ok(no_data: &NoData) -> bool {
    *no_data == NoData::Ok
}

/// A rule that can be evaluated.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Whatever its owner knows it by; two rules with the same labels have different alerts.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it looks at.
    pub expression: Expression,
    /// How long it has to be so.
    pub pending: Duration,
    /// How long an alert stays.
    pub keep_firing: Duration,
    /// How long nobody is told of the same alert anew.
    pub cooldown: Duration,
    /// What it means that there was nothing to look at.
    pub no_data: NoData,
    /// How bad it is.
    pub severity: Severity,
    /// What its alerts have beside the labels of their series.
    pub labels: Vec<(String, Template)>,
    /// Sentences for people.
    pub annotations: Vec<(String, Template)>,
}

impl TryFrom<&RuleText> for Rule {
    type Error = Fault;

    fn try_from(text: &RuleText) -> Result<Self, Fault> {
        if text.alert.is_empty() || text.alert.len() > 200 || text.alert.chars().any(char::is_control) {
            return Err(Fault::invalid(
                "name",
                "must have 1 to 200 characters, none of them a control character",
            ));
        }
        if text.expr.len() > LONG {
            return Err(Fault::invalid("expression", "must have at most 4,096 bytes"));
        }
        let expression: Expression = text.expr.parse()?;
        if expression.is_number() {
            return Err(Fault::invalid(
                "expression",
                "must be about series, like `errors > 0`; it is a number",
            ));
        }
        let times = [expression.reach(), text.pending.0, text.keep_firing_for.0, text.cooldown.0];
        if times.into_iter().any(|time| time > LONGEST) {
            return Err(Fault::invalid("windows and times", "must be at most 31d"));
        }
        let severity = match text.labels.get(SEVERITY) {
            None => Severity::Warning,
            Some(name) => Severity::named(name).ok_or_else(|| {
                Fault::invalid(
                    "severity",
                    format!("must be info, warning, error or critical; it is `{name}`"),
                )
            })?,
        };
        if text.labels.contains_key(NAME) {
            return Err(Fault::invalid("labels", "must leave `alertname` to the name"));
        }
        let templates = |texts: &BTreeMap<String, String>, field: &'static str| {
            let read = texts.iter().filter(|(name, _)| field == "annotations" || name.as_str() != SEVERITY);
            let read = read.map(|(name, text)| {
                if !is_label_name(name) || text.len() > LONG {
                    return Err(Fault::invalid(
                        field,
                        format!("have a name or text that cannot be: `{name}`"),
                    ));
                }
                Ok((name.clone(), Template::new(text)?))
            });
            read.collect::<Result<Vec<_>, Fault>>()
        };
        Ok(Self {
            id: String::new(),
            name: text.alert.clone(),
            expression,
            pending: text.pending.0,
            keep_firing: text.keep_firing_for.0,
            cooldown: text.cooldown.0,
            no_data: text.no_data,
            severity,
            labels: templates(&text.labels, "labels")?,
            annotations: templates(&text.annotations, "annotations")?,
        })
    }
}

impl Rule {
    /// The labels of an alert about a series.
    #[must_use]
    pub fn labels(&self, series: &Labels, value: f64) -> Labels {
        let mut labels = series.clone();
        for (name, template) in &self.labels {
            labels.set(name, template.fill(series, value));
        }
        labels.set(SEVERITY, self.severity.name());
        labels.set(NAME, &self.name);
        labels
    }

    /// The sentences of an alert about a series.
    #[must_use]
    pub fn annotations(&self, series: &Labels, value: f64) -> Labels {
        self.annotations.iter().map(|(name, template)| (name, template.fill(series, value))).collect()
    }
}
