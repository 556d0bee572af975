//! Settings of the permissions service, with their defaults.

mod events;

pub use events::Events;

use crate::{
    provider::{self, IdentityProvider},
    sessions::LONGEST_ACCESS,
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use shared::{config::Validate, limits::Gate, redis, seal::Sealer};
use std::time::Duration;

/// Settings under `permissions`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `postgres://…` or `sqlite:PATH`. Empty: whoever starts the service names a file in its data directory.
    #[serde(deserialize_with = "shared::config::secret")]
    pub database: SecretString,
    /// How long after the last look at the database answers still count as fresh.
    #[serde(with = "humantime_serde")]
    pub fresh_within: Duration,
    /// How long answers are given, marked stale, while the database is away; zero: not at all.
    #[serde(with = "humantime_serde")]
    pub serve_stale_for: Duration,
    /// How often the database is asked for what other processes wrote.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
    /// Keys that encrypt single columns, each 32 random bytes in base64 or `file:` and the path of a file that holds
    /// them: the first one encrypts, all of them decrypt.
    /// Empty: whoever starts the service keeps one in its data directory.
    pub encryption_keys: Vec<SecretString>,
    /// How long a key works when its creator names no end.
    #[serde(with = "humantime_serde")]
    pub key_lifetime: Duration,
    /// How long the old secret of a rotated key works on when the request does not say.
    #[serde(with = "humantime_serde")]
    pub key_rotation_grace: Duration,
    /// What all services share of Redis; whoever starts the service fills it in.
    #[serde(skip)]
    pub redis: redis::Config,
    /// What limits calls; whoever starts the service fills it in.
    #[serde(skip)]
    pub limits: Gate,
    /// How long an access token works.
    #[serde(with = "humantime_serde")]
    pub access_token_lifetime: Duration,
    /// How long a session goes on at the longest.
    #[serde(with = "humantime_serde")]
    pub session_lifetime: Duration,
    /// How long a key signs access tokens before the next one takes over.
    #[serde(with = "humantime_serde")]
    pub signing_key_lifetime: Duration,
    /// How long a key is published before it signs: by then every service knows it.
    #[serde(with = "humantime_serde")]
    pub signing_key_lead: Duration,
    /// How long what is kept.
    pub retention: Retention,
    /// Who else people may sign in with.
    pub identity_providers: Vec<IdentityProvider>,
    /// The log of events.
    pub events: Events,
}

/// Settings under `permissions.retention`: how long what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Security incidents.
    #[serde(with = "humantime_serde")]
    pub incidents: Duration,
    /// Answers to requests with a request id.
    #[serde(with = "humantime_serde")]
    pub answers: Duration,
    /// Sessions that have ended.
    #[serde(with = "humantime_serde")]
    pub ended_sessions: Duration,
    /// What was deleted and may be taken back.
    #[serde(with = "humantime_serde")]
    pub deleted: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            incidents: DAY.saturating_mul(90),
            answers: DAY,
            ended_sessions: DAY.saturating_mul(30),
            deleted: DAY.saturating_mul(30),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            database: SecretString::default(),
            fresh_within: Duration::from_secs(2),
            serve_stale_for: Duration::from_secs(15 * 60),
            poll_interval: Duration::from_millis(100),
            encryption_keys: Vec::new(),
            key_lifetime: DAY.saturating_mul(90),
            key_rotation_grace: DAY,
            redis: redis::Config::default(),
            limits: Gate::default(),
            access_token_lifetime: Duration::from_secs(15 * 60),
            session_lifetime: DAY,
            signing_key_lifetime: DAY.saturating_mul(30),
            signing_key_lead: Duration::from_secs(5 * 60),
            retention: Retention::default(),
            identity_providers: Vec::new(),
            events: Events::default(),
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest lifetime of a key: a hundred years.
const MAX_LIFETIME: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

impl Validate for Config {
    fn validate(&self, faults: &mut Vec<String>) {
        let database = self.database.expose_secret();
        let known = ["postgres://", "postgresql://", "sqlite:"];
        if !database.is_empty() && !known.iter().any(|scheme| database.starts_with(scheme)) {
            faults.push("permissions.database: must begin with postgres:// or sqlite:".to_owned());
        }
        let sealer = Sealer::new(&self.encryption_keys);
        if let Some(fault) = sealer.err().filter(|_| !self.encryption_keys.is_empty()) {
            faults.push(format!("permissions.encryption_keys: {fault}"));
        }
        let shortest = Duration::from_millis(10);
        if !(shortest..=Duration::from_secs(60)).contains(&self.poll_interval) {
            faults.push("permissions.poll_interval: must be between 10ms and 60s".to_owned());
        }
        if self.fresh_within < self.poll_interval.saturating_mul(2) {
            faults.push("permissions.fresh_within: must be at least twice poll_interval".to_owned());
        }
        if self.key_lifetime < Duration::from_secs(1) || self.key_lifetime > MAX_LIFETIME {
            faults.push("permissions.key_lifetime: must be between 1s and 100 years".to_owned());
        }
        if self.key_rotation_grace > DAY.saturating_mul(90) {
            faults.push("permissions.key_rotation_grace: must be at most 90 days".to_owned());
        }
        if self.retention.ended_sessions < DAY {
            faults.push(
                "permissions.retention.ended_sessions: must be 24h or more, so that every service has heard of the end"
                    .to_owned(),
            );
        }
        if self.retention.answers < crate::write::KEPT {
            faults.push(
                "permissions.retention.answers: must be 24h or more, for so long a request can be repeated"
                    .to_owned(),
            );
        }
        let second = Duration::from_secs(1);
        if !(second..=LONGEST_ACCESS).contains(&self.access_token_lifetime) {
            faults.push("permissions.access_token_lifetime: must be between 1s and 1h".to_owned());
        }
        if self.session_lifetime < self.access_token_lifetime || self.session_lifetime > MAX_LIFETIME {
            faults.push(
                "permissions.session_lifetime: must not be shorter than access_token_lifetime".to_owned(),
            );
        }
        if self.signing_key_lead < second {
            faults.push("permissions.signing_key_lead: must be at least 1s".to_owned());
        }
        if self.signing_key_lifetime < self.signing_key_lead.saturating_mul(2) {
            faults
                .push("permissions.signing_key_lifetime: must be at least twice signing_key_lead".to_owned());
        }
        provider::validate(&self.identity_providers, faults);
        self.events.validate(faults);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_each_fault_names_its_key() {
        let mut faults = Vec::new();
        Config::default().validate(&mut faults);
        assert_eq!(faults, Vec::<String>::new());
        let broken = Config {
            database: "mysql://localhost".into(),
            poll_interval: Duration::ZERO,
            fresh_within: Duration::ZERO,
            key_lifetime: Duration::ZERO,
            key_rotation_grace: Duration::MAX,
            retention: Retention { answers: Duration::ZERO, ..Retention::default() },
            events: Events {
                keep_for: Duration::from_secs(1),
                checkpoint_after: 0,
                checkpoint_every: Duration::ZERO,
                look_every: Duration::ZERO,
            },
            ..Config::default()
        };
        broken.validate(&mut faults);
        let keys: Vec<_> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
        let expected = [
            "permissions.database",
            "permissions.poll_interval",
            "permissions.key_lifetime",
            "permissions.key_rotation_grace",
            "permissions.retention.answers",
            "permissions.events.keep_for",
            "permissions.events.checkpoint_after",
            "permissions.events.checkpoint_every",
            "permissions.events.look_every",
        ];
        assert_eq!(keys, expected);
    }
}
