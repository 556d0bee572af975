//! The side that connects: whom it trusts, and which certificate it shows when asked for one.
//!
//! One connector for gRPC and for HTTP, and for plain addresses too.

mod stream;

pub use stream::{Dialed, Objection};

use super::{
    Fault, Trust,
    live::{Live, Source},
    named,
    read::{Reader, provider},
};
use crate::server::Tasks;
use futures_util::future::BoxFuture;
use http::Uri;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName, sign::SingleCertAndKey};
use std::{
    fmt, io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use stream::Heard;
use tower::Service;

/// Whatever kept a connection from being made.
type Error = Box<dyn std::error::Error + Send + Sync>;

/// What is spoken over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, for gRPC.
    Http2,
}

/// Makes connections as one section of the configuration says.
#[derive(Clone)]
pub struct Dialer(Arc<Live<Named>>);

/// A section, and its name.
struct Named {
    trust: Trust,
    section: String,
}

struct Made {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl Dialer {
    /// Reads the files of `section`.
    ///
    /// # Errors
    /// What is wrong with a setting.
    pub fn open(trust: &Trust, section: &str) -> Result<Self, Fault> {
        Ok(Self(Live::open(Named { trust: trust.clone(), section: section.to_owned() })?))
    }

    /// Reads the files again when they change, until the process ends.
    pub fn watch(&self, tasks: &Tasks) {
        self.0.watch(tasks);
    }

    /// Connects within a time, handshake included.
    #[must_use]
    pub fn connector(&self, protocol: Protocol, limit: Duration) -> Connector {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Over several addresses of one name, the time is shared.
        tcp.set_connect_timeout(Some(limit));
        Connector { live: Arc::clone(&self.0), tcp, protocol, limit, heard: Heard::default() }
    }

    #[cfg(test)]
    pub(super) fn look(&self) {
        self.0.look();
    }
}

impl Source for Named {
    type Made = Made;

    fn section(&self) -> &str {
        &self.section
    }

    fn make(&self, reader: &mut Reader) -> Result<Made, Fault> {
        let Self { trust, section } = self;
        let (certificate, key) = (named(trust.cert_file.as_ref()), named(trust.key_file.as_ref()));
        let identity = reader.identity(section, certificate, key)?;
        let roots = reader.authorities(&format!("{section}.ca_file"), named(trust.ca_file.as_ref()))?;
        let public = || RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let name = trust.server_name.as_ref().filter(|name| !name.is_empty());
        let server_name = name.map(|name| {
            let parsed = ServerName::try_from(name.clone());
            parsed.map_err(|_| Fault(format!("{section}.server_name: `{name}` is no DNS name or IP address")))
        });
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Fault(format!("{section}: {error}")))?;
        let builder = builder.with_root_certificates(roots.unwrap_or_else(public));
        let mut http1 = match identity {
            Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
            None => builder.with_no_client_auth(),
        };
        let mut http2 = http1.clone();
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        http2.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Made { http1: Arc::new(http1), http2: Arc::new(http2), server_name: server_name.transpose()? })
    }
}

/// Connects to `http` and `https` addresses.
#[derive(Clone)]
pub struct Connector {
    live: Arc<Live<Named>>,
    tcp: HttpConnector,
    protocol: Protocol,
    limit: Duration,
    heard: Heard,
}

impl Connector {
    /// What TLS had against the last connection that it had anything against; said once.
    #[must_use]
    pub fn objection(&self) -> Option<Objection> {
        self.heard.take()
    }

    /// The connector of this moment's certificates.
    fn current(&self) -> HttpsConnector<HttpConnector> {
        let made = self.live.get();
        let config = match self.protocol {
            Protocol::Http1 => &made.http1,
            Protocol::Http2 => &made.http2,
        };
        let (tcp, config) = (self.tcp.clone(), Arc::clone(config));
        match &made.server_name {
            Some(name) => {
                HttpsConnector::new(tcp, config, false, Arc::new(FixedServerNameResolver::new(name.clone())))
            }
            None => HttpsConnector::from((tcp, config)),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = Dialed;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let (connecting, limit, heard) = (self.current().call(address), self.limit, self.heard.clone());
        // What was said of an earlier connection is not said of this one.
        heard.take();
        Box::pin(async move {
            let late = || io::Error::new(io::ErrorKind::TimedOut, "no connection in time");
            let inner = tokio::time::timeout(limit, connecting).await.map_err(|_| late())?;
            let inner = inner.inspect_err(|error| heard.note(error.as_ref()))?;
            Ok(Dialed { inner, heard })
        })
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Dialer").field(&self.0.source().trust).finish()
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connector").field("trust", &self.live.source().trust).finish_non_exhaustive()
    }
}
