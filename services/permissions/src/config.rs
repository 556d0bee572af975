//! Settings of the permissions service, with their defaults.

mod events;

pub use events::Events;

use crate::{
    provider::{self, IdentityProvider},
    sessions::LONGEST_ACCESS,
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use shared::{config::Validate, seal::Sealer};
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
    /// Keys that encrypt single columns, each 32 random bytes in base64: the first one encrypts, all of them decrypt.
    /// Empty: whoever starts the service keeps one in its data directory.
    pub encryption_keys: Vec<SecretString>,
    /// How long a key works when its creator names no end.
    #[serde(with = "humantime_serde")]
    pub key_lifetime: Duration,
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
    /// Who else people may sign in with.
    pub identity_providers: Vec<IdentityProvider>,
    /// The log of events.
    pub events: Events,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            database: SecretString::default(),
            fresh_within: Duration::from_secs(2),
            serve_stale_for: Duration::from_secs(15 * 60),
            poll_interval: Duration::from_millis(100),
            encryption_keys: Vec::new(),
            key_lifetime: Duration::from_secs(90 * DAY),
            access_token_lifetime: Duration::from_secs(15 * 60),
            session_lifetime: Duration::from_secs(DAY),
            signing_key_lifetime: Duration::from_secs(30 * DAY),
            signing_key_lead: Duration::from_secs(5 * 60),
            identity_providers: Vec::new(),
            events: Events::default(),
        }
    }
}

/// Seconds.
const DAY: u64 = 24 * 60 * 60;
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
            "permissions.events.keep_for",
            "permissions.events.checkpoint_after",
            "permissions.events.checkpoint_every",
            "permissions.events.look_every",
        ];
        assert_eq!(keys, expected);
    }
}
