//! TLS of listeners and of channels: which files it is made of, and one way to speak it.
//!
//! [`Config`] and [`Trust`] name PEM files. [`Listeners`] takes connections with them, [`Dialer`] makes them. Both read
//! their files again when these change ([`live`]), so that a renewed certificate needs no restart. [`read`] is where a
//! file's faults are found, each named by its setting.

mod accept;
mod dial;
mod live;
mod read;

pub(crate) use accept::Secured;
pub use accept::{Acceptor, Door, Listeners};
pub use dial::{Connector, Dialed, Dialer, Objection, Protocol};

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What is wrong with a setting, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

/// TLS of a process: of its listeners, and towards other services. Files are PEM.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Certificate of every listener, followed by its intermediates. Without one, listeners speak no TLS.
    pub cert_file: Option<PathBuf>,
    /// The certificate's private key.
    pub key_file: Option<PathBuf>,
    /// Authorities of clients: who connects to a service's own port must show a certificate of one of them.
    pub client_ca_file: Option<PathBuf>,
    /// The same for the address that people and SDKs use.
    pub edge_client_ca_file: Option<PathBuf>,
    /// Whether probes and metrics are served over TLS too. Kubernetes' probes of gRPC cannot, and nothing secret is said
    /// there.
    pub admin: bool,
    /// Whom this process trusts as another service, and as whom it shows itself there.
    pub services: Trust,
}

/// Whom a client trusts, and as whom it shows itself. Files are PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trust {
    /// The only authorities that are trusted. Without a file: the public ones.
    pub ca_file: Option<PathBuf>,
    /// Certificate to show when asked for one, followed by its intermediates.
    pub cert_file: Option<PathBuf>,
    /// The certificate's private key.
    pub key_file: Option<PathBuf>,
    /// The name that the other side's certificate must be for, when it is not the one in the address.
    pub server_name: Option<String>,
}

impl Config {
    /// Adds one sentence per fault.
    pub fn validate(&self, faults: &mut Vec<String>) {
        if named(self.cert_file.as_ref()).is_none() {
            let needing = [
                ("tls.client_ca_file", named(self.client_ca_file.as_ref()).is_some()),
                ("tls.edge_client_ca_file", named(self.edge_client_ca_file.as_ref()).is_some()),
                ("tls.admin", self.admin),
            ];
            for (setting, _) in needing.into_iter().filter(|(_, is_set)| *is_set) {
                faults.push(format!("{setting}: needs tls.cert_file and tls.key_file beside it"));
            }
        }
        if let Err(fault) = Listeners::open(self) {
            faults.push(fault.0);
        }
        self.services.validate("tls.services", faults);
    }
}

impl Trust {
    /// Adds one sentence per fault; `section` is where this stands in the configuration.
    pub fn validate(&self, section: &str, faults: &mut Vec<String>) {
        if let Err(fault) = Dialer::open(self, section) {
            faults.push(fault.0);
        }
    }

    /// The same with paths that hold wherever they are read from.
    ///
    /// # Errors
    /// When there is no current folder.
    pub fn absolute(mut self) -> std::io::Result<Self> {
        for path in [&mut self.ca_file, &mut self.cert_file, &mut self.key_file].into_iter().flatten() {
            *path = std::path::absolute(&*path)?;
        }
        Ok(self)
    }
}

/// A path that is set; an empty one is not, as a deployment's template may leave it so.
fn named(path: Option<&PathBuf>) -> Option<&Path> {
    path.map(PathBuf::as_path).filter(|path| !path.as_os_str().is_empty())
}

#[cfg(test)]
mod tests;
