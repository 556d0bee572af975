//! The side that listens: which certificate it shows, and whose it asks for.

use super::{
    Config, Fault,
    live::{Live, Source},
    named,
    read::{Reader, provider},
};
use crate::server::Tasks;
use rustls::{
    RootCertStore, ServerConfig,
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, SingleCertAndKey},
};
use std::{fmt, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Who comes through a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// People and SDKs.
    Edge,
    /// Services, and people who ask one directly.
    Service,
    /// Probes and metrics.
    Admin,
}

/// TLS of all listeners of a process.
#[derive(Clone)]
pub struct Listeners(Arc<Live<Config>>);

/// Takes connections of one kind of listener.
#[derive(Clone)]
pub struct Acceptor {
    live: Arc<Live<Config>>,
    door: Door,
}

/// By kind of listener.
pub(super) struct Made {
    edge: Arc<ServerConfig>,
    service: Arc<ServerConfig>,
    admin: Arc<ServerConfig>,
}

impl Listeners {
    /// Reads the files, or is `None` when no certificate is configured.
    ///
    /// # Errors
    /// What is wrong with a setting.
    pub fn open(config: &Config) -> Result<Option<Self>, Fault> {
        if named(config.cert_file.as_ref()).is_none() && named(config.key_file.as_ref()).is_none() {
            return Ok(None);
        }
        Ok(Some(Self(Live::open(config.clone())?)))
    }

    /// Reads the files again when they change, until the process ends.
    pub fn watch(&self, tasks: &Tasks) {
        self.0.watch(tasks);
    }

    /// TLS of one kind of listener; `None` where it speaks none.
    #[must_use]
    pub fn acceptor(&self, door: Door) -> Option<Acceptor> {
        let plain = door == Door::Admin && !self.0.source().admin;
        (!plain).then(|| Acceptor { live: Arc::clone(&self.0), door })
    }

    #[cfg(test)]
    pub(super) fn look(&self) {
        self.0.look();
    }
}

impl Acceptor {
    /// Shakes hands. A client that is refused has been told why, by an alert.
    pub(crate) fn accept(&self, stream: TcpStream) -> tokio_rustls::Accept<TcpStream> {
        let made = self.live.get();
        let config = match self.door {
            Door::Edge => &made.edge,
            Door::Service => &made.service,
            Door::Admin => &made.admin,
        };
        TlsAcceptor::from(Arc::clone(config)).accept(stream)
    }
}

/// A connection over TLS.
pub(crate) type Secured = TlsStream<TcpStream>;

impl Source for Config {
    type Made = Made;

    fn section(&self) -> &str {
        "tls"
    }

    fn make(&self, reader: &mut Reader) -> Result<Made, Fault> {
        let identity =
            reader.identity("tls", named(self.cert_file.as_ref()), named(self.key_file.as_ref()))?;
        let identity = identity.ok_or_else(|| Fault("tls.cert_file: is needed".to_owned()))?;
        let clients = named(self.client_ca_file.as_ref());
        let clients = reader.authorities("tls.client_ca_file", clients)?;
        let edge = named(self.edge_client_ca_file.as_ref());
        let edge = reader.authorities("tls.edge_client_ca_file", edge)?;
        Ok(Made {
            edge: server("tls.edge_client_ca_file", &identity, edge)?,
            service: server("tls.client_ca_file", &identity, clients)?,
            admin: server("tls.cert_file", &identity, None)?,
        })
    }
}

fn server(
    setting: &str,
    identity: &Arc<CertifiedKey>,
    clients: Option<RootCertStore>,
) -> Result<Arc<ServerConfig>, Fault> {
    let fault = |error: &dyn fmt::Display| Fault(format!("{setting}: {error}"));
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| fault(&error))?;
    let builder = match clients {
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| fault(&error))?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(identity))));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

impl fmt::Debug for Listeners {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Listeners").field(self.0.source()).finish()
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Acceptor").field("door", &self.door).finish_non_exhaustive()
    }
}
