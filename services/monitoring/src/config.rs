//! What an operator can set for this service.

mod alerts;
mod gpu;
mod health;

pub use alerts::{Alerts, Encryption, Receiver, Smtp};
pub use gpu::Gpu;
pub use health::Health;

use serde::Deserialize;
use shared::{
    config::{ExposeSecret, SecretString, Validate},
    limits::Gate,
    seal::Sealer,
};
use std::net::SocketAddr;

/// Settings under `monitoring`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the ledger is: `postgres://…` or `sqlite:PATH`. Empty: whoever starts the service names a file in its
    /// data directory.
    #[serde(deserialize_with = "shared::config::secret")]
    pub database: SecretString,
    /// Calls in progress at once; more are refused with a hint to come back.
    pub in_flight: usize,
    /// Where KEDA finds its external scaler, such as `0.0.0.0:7005`. KEDA shows no credential of Tollgate's: whoever
    /// reaches this address reads how many replicas are recommended. Not served when there is none.
    pub keda_listen: Option<SocketAddr>,
    /// Keys that encrypt messages that have not left, each 32 random bytes in base64 or `file:` and the path of a file that
    /// holds them: the first one encrypts, all of them decrypt. Replicas that share a database share them. Empty: whoever
    /// starts the service keeps one in its data directory.
    pub encryption_keys: Vec<SecretString>,
    /// Alerts and who is told of them.
    pub alerts: Alerts,
    /// How the cost of GPUs is shared.
    pub gpu: Gpu,
    /// From where on what everything depends on counts as slow or full.
    pub health: Health,
    /// What limits calls; whoever starts the service fills it in.
    #[serde(skip)]
    pub limits: Gate,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            database: SecretString::default(),
            in_flight: 256,
            encryption_keys: Vec::new(),
            alerts: Alerts::default(),
            gpu: Gpu::default(),
            health: Health::default(),
            keda_listen: None,
            limits: Gate::default(),
        }
    }
}

impl Validate for Config {
    fn validate(&self, faults: &mut Vec<String>) {
        let url = self.database.expose_secret();
        let schemes = ["postgres://", "postgresql://", "sqlite:"];
        if !url.is_empty() && !schemes.iter().any(|scheme| url.starts_with(scheme)) {
            faults.push("monitoring.database: must begin with postgres:// or sqlite:".into());
        }
        let sealer = Sealer::new(&self.encryption_keys);
        if let Some(fault) = sealer.err().filter(|_| !self.encryption_keys.is_empty()) {
            faults.push(format!("monitoring.encryption_keys: {fault}"));
        }
        self.alerts.validate(faults);
        self.gpu.validate(faults);
        self.health.validate(faults);
        if self.in_flight == 0 {
            faults.push("monitoring.in_flight: must be at least 1".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_faults_are_named_without_the_secret() {
        let mut faults = Vec::new();
        Config::default().validate(&mut faults);
        assert!(faults.is_empty());
        Config { database: "mysql://user:hush@db".into(), in_flight: 0, ..Config::default() }
            .validate(&mut faults);
        assert_eq!(faults.len(), 2);
        assert!(faults[0].starts_with("monitoring.database: ") && !faults[0].contains("hush"));
        assert!(faults[1].starts_with("monitoring.in_flight: "));
    }

    #[test]
    fn keys_that_do_not_exist_are_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"database": "sqlite:x", "in_flight": 3}"#).is_ok());
        assert!(serde_json::from_str::<Config>(r#"{"databse": "sqlite:x"}"#).is_err());
    }
}
