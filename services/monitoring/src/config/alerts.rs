//! What an operator can set of alerts: who can be told, and with which secrets.

use serde::Deserialize;
use shared::{
    config::{ExposeSecret, Secret},
    tls::Trust,
};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// Settings under `monitoring.alerts`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// Between two evaluations of all rules.
    #[serde(with = "humantime_serde")]
    pub evaluate_every: Duration,
    /// Where people find this installation; messages name it.
    pub external_url: String,
    /// How long it is known what happened to alerts.
    #[serde(with = "humantime_serde")]
    pub keep_history_for: Duration,
    /// How often a message is tried, with growing waits of up to five minutes, before it is declared failed.
    pub attempts: u32,
    /// Who can be told, by name. Alerts go to `default`, or else to the first, until routes say more.
    pub receivers: BTreeMap<String, Receiver>,
    /// How mail is sent.
    pub smtp: Smtp,
    /// Whom HTTPS receivers are trusted by.
    pub tls: Trust,
}

/// Somebody who can be told.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Receiver {
    /// Mail.
    Email {
        /// Addresses.
        to: Vec<String>,
    },
    /// An incoming webhook of Slack.
    Slack {
        /// Its URL, which is a secret.
        url: Secret,
        /// A channel other than the webhook's own.
        #[serde(default)]
        channel: String,
    },
    /// Whatever understands Alertmanager's webhooks.
    Webhook {
        /// Its URL, which may hold a secret.
        url: Secret,
        /// What bodies are signed with: `X-Signature: sha256=` and the HMAC in hexadecimal digits.
        #[serde(default)]
        secret: Secret,
    },
}

/// How mail is sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Smtp {
    /// The server. Empty: no mail is sent.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept private.
    pub encryption: Encryption,
    /// Who sends, like `Tollgate <tollgate@example.org>`.
    pub from: String,
    /// Who signs in. Empty: nobody does.
    pub user: String,
    /// Their password.
    pub password: Secret,
    /// Authorities to trust beside the public ones.
    pub ca_file: Option<PathBuf>,
}

/// How a connection to a mail server is kept private.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// It begins in the clear and must be encrypted before anything is said.
    #[default]
    Starttls,
    /// It is encrypted from the start.
    Tls,
    /// It is not: for a server on the same machine.
    None,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            evaluate_every: Duration::from_secs(1),
            external_url: "http://127.0.0.1:8080".to_owned(),
            keep_history_for: Duration::from_secs(90 * 86_400),
            attempts: 20,
            receivers: BTreeMap::new(),
            smtp: Smtp::default(),
            tls: Trust::default(),
        }
    }
}

impl Default for Smtp {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 587,
            encryption: Encryption::default(),
            from: "Tollgate <tollgate@localhost>".to_owned(),
            user: String::new(),
            password: Secret::default(),
            ca_file: None,
        }
    }
}

impl Alerts {
    /// Who hears of alerts that no route says more of.
    #[must_use]
    pub fn first_receiver(&self) -> Option<&str> {
        let named = self.receivers.get_key_value("default");
        named.or_else(|| self.receivers.first_key_value()).map(|(name, _)| name.as_str())
    }

    /// Adds one sentence per fault.
    pub(crate) fn validate(&self, faults: &mut Vec<String>) {
        let key = "monitoring.alerts";
        if self.evaluate_every < Duration::from_millis(100) || self.evaluate_every > Duration::from_secs(60) {
            faults.push(format!("{key}.evaluate_every: must be from 100ms to 1m"));
        }
        if !(1..=1_000).contains(&self.attempts) {
            faults.push(format!("{key}.attempts: must be from 1 to 1,000"));
        }
        for (name, receiver) in &self.receivers {
            let key = format!("{key}.receivers.{name}");
            match receiver {
                Receiver::Email { to } => {
                    if self.smtp.host.is_empty() {
                        faults.push(format!("{key}: needs monitoring.alerts.smtp.host to send mail"));
                    }
                    if to.is_empty() || to.iter().any(|to| to.parse::<lettre::message::Mailbox>().is_err()) {
                        faults.push(format!("{key}.email.to: must be addresses"));
                    }
                }
                Receiver::Slack { url, .. } => check_url(&key, "slack", url, faults),
                Receiver::Webhook { url, secret } => {
                    check_url(&key, "webhook", url, faults);
                    if let Err(fault) = secret.read() {
                        faults.push(format!("{key}.webhook.secret.file: {fault}"));
                    }
                }
            }
        }
        if self.smtp.from.parse::<lettre::message::Mailbox>().is_err() {
            faults
                .push(format!("{key}.smtp.from: must be an address, like `Tollgate <tollgate@example.org>`"));
        }
        if let Err(fault) = self.smtp.password.read() {
            faults.push(format!("{key}.smtp.password.file: {fault}"));
        }
    }
}

/// The fault never repeats the URL: it is a secret.
fn check_url(key: &str, kind: &str, url: &Secret, faults: &mut Vec<String>) {
    let problem = match url.read() {
        Err(fault) => fault,
        Ok(None) => "is needed, as `value` or `file`".to_owned(),
        Ok(Some(url)) => match url.expose_secret().parse::<http::Uri>() {
            Ok(uri) if matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() => return,
            _ => "must be an address that begins with http:// or https://".to_owned(),
        },
    };
    faults.push(format!("{key}.{kind}.url: {problem}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_are_checked_and_their_secrets_not_shown() {
        let read = |text: &str| serde_json::from_str::<Alerts>(text);
        let faults = |alerts: &Alerts| {
            let mut faults = Vec::new();
            alerts.validate(&mut faults);
            faults
        };
        let good = r#"{"smtp": {"host": "mx"}, "receivers": {"a": {"email": {"to": ["a@example.org"]}},
            "b": {"slack": {"url": {"value": "https://hooks.example.org/hush"}}}}}"#;
        let good = read(good).unwrap();
        assert_eq!((faults(&good).len(), good.first_receiver()), (0, Some("a")));
        assert!(!format!("{good:?}").contains("hush"));
        let bad = r#"{"evaluate_every": "1h", "receivers": {"a": {"email": {"to": ["nobody"]}},
            "b": {"slack": {"url": {"value": "hush"}}}, "c": {"webhook": {"url": {"file": "/nowhere"}}}}}"#;
        let named = faults(&read(bad).unwrap());
        assert_eq!(named.len(), 5, "{named:?}");
        assert!(named.iter().all(|fault| fault.starts_with("monitoring.alerts.") && !fault.contains("hush")));
        assert!(read(r#"{"receivers": {"a": {"pager": {}}}}"#).is_err());
    }
}
