//! Rule files of Prometheus, in and out. The rules that are shipped are such a file.

use crate::{
    fault::Fault,
    rule::{NoData, Rule, RuleText},
};
use serde::Deserialize;
use std::fmt::Write as _;

/// The rules that every installation begins with.
const DEFAULTS: &str = include_str!("../rules.yml");

/// What was read of a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Imported {
    /// What can be taken over.
    pub rules: Vec<RuleText>,
    /// What cannot, and why.
    pub refused: Vec<Refused>,
}

/// A rule that cannot be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its name, or that of the series that it would record.
    pub name: String,
    /// Why not.
    pub fault: Fault,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    groups: Vec<RuleGroup>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleGroup {
    #[expect(dead_code, reason = "rules are known by their own names")]
    name: String,
    #[serde(default)]
    #[expect(dead_code, reason = "all rules are evaluated at one pace")]
    interval: Option<String>,
    #[serde(default)]
    rules: Vec<Either>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Either {
    Alert(Box<RuleText>),
    Other(Other),
}

#[derive(Deserialize)]
struct Other {
    #[serde(default)]
    record: String,
    #[serde(default)]
    alert: String,
}

/// Reads a file of rules as Prometheus has them, with the three fields more that a [`RuleText`] has.
///
/// # Errors
/// When it is no such file. A single rule that cannot be taken over is among the refused instead.
pub fn import(text: &str) -> Result<Imported, Fault> {
    let file: File = serde_saphyr::from_str(text)
        .map_err(|error| Fault::invalid("the file", format!("is no rule file of Prometheus: {error}")))?;
    let mut imported = Imported::default();
    for rule in file.groups.into_iter().flat_map(|group| group.rules) {
        match rule {
            Either::Alert(rule) => match Rule::try_from(rule.as_ref()) {
                Ok(_) => imported.rules.push(*rule),
                Err(fault) => imported.refused.push(Refused { name: rule.alert.clone(), fault }),
            },
            Either::Other(other) if !other.record.is_empty() => imported.refused.push(Refused {
                name: other.record,
                fault: Fault::Unsupported("a recording rule".to_owned()),
            }),
            Either::Other(other) => imported.refused.push(Refused {
                name: other.alert,
                fault: Fault::invalid(
                    "the rule",
                    "has a field that rules do not have, or a value that cannot be",
                ),
            }),
        }
    }
    Ok(imported)
}

/// The rules that every installation begins with.
///
/// # Errors
/// Never; the tests of this crate read them.
pub fn defaults() -> Result<Vec<RuleText>, Fault> {
    let imported = import(DEFAULTS)?;
    match imported.refused.into_iter().next() {
        Some(refused) => Err(refused.fault),
        None => Ok(imported.rules),
    }
}

/// Rules as a file that Prometheus reads. What it does not have, cooldowns and what missing data mean, is left out and
/// said in a comment.
#[must_use]
pub fn export(rules: &[RuleText]) -> String {
    let mut text = "groups:\n  - name: tollgate\n    rules:\n".to_owned();
    for rule in rules {
        if !rule.cooldown.0.is_zero() {
            let _ = writeln!(
                text,
                "      # In Tollgate with a cooldown of {}.",
                crate::format_duration(rule.cooldown.0)
            );
        }
        if rule.no_data != NoData::Ok {
            let _ = writeln!(
                text,
                "      # In Tollgate {} while there are no data.",
                match rule.no_data {
                    NoData::Alerting => "alerting",
                    _ => "as it was",
                }
            );
        }
        let _ = writeln!(text, "      - alert: {}", quoted(&rule.alert));
        let _ = writeln!(text, "        expr: {}", quoted(rule.expr.trim()));
        for (name, time) in [("for", rule.pending), ("keep_firing_for", rule.keep_firing_for)] {
            if !time.0.is_zero() {
                let _ = writeln!(text, "        {name}: {}", crate::format_duration(time.0));
            }
        }
        for (name, fields) in [("labels", &rule.labels), ("annotations", &rule.annotations)] {
            if !fields.is_empty() {
                let _ = writeln!(text, "        {name}:");
            }
            for (name, value) in fields {
                let _ = writeln!(text, "          {name}: {}", quoted(value));
            }
        }
    }
    text
}

/// A text between single quotes, as YAML reads it back; line breaks become blanks, which mean the same in expressions
/// and sentences.
fn quoted(text: &str) -> String {
    format!("'{}'", text.split_whitespace().collect::<Vec<_>>().join(" ").replace('\'', "''"))
}
