//! The other side of TLS: clients that trust an authority, and a proxy that speaks it for a server that does not.

use crate::authority::{Authority, Issued};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};
use tonic::transport;

/// Whom a client trusts, and as whom it comes.
#[derive(Debug, Clone)]
pub struct Tls {
    authority: String,
    own: Option<Issued>,
}

impl Tls {
    /// Trusts an authority and has no certificate of its own.
    #[must_use]
    pub fn of(authority: &Authority) -> Self {
        Self { authority: authority.pem.clone(), own: None }
    }

    /// The same with a certificate.
    #[must_use]
    pub fn with(&self, own: &Issued) -> Self {
        Self { own: Some(own.clone()), ..self.clone() }
    }

    /// For a client of gRPC.
    #[must_use]
    pub fn for_grpc(&self) -> transport::ClientTlsConfig {
        let trusting = transport::ClientTlsConfig::new()
            .ca_certificate(transport::Certificate::from_pem(&self.authority));
        match &self.own {
            Some(own) => trusting.identity(transport::Identity::from_pem(&own.certificate, &own.key)),
            None => trusting,
        }
    }

    /// Shakes hands with a server at this machine's address, to speak HTTP/1.1 with it.
    ///
    /// # Errors
    /// When one of both has something against it.
    pub async fn secure(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let address = stream.peer_addr()?.ip();
        TlsConnector::from(Arc::new(self.config())).connect(address.into(), stream).await
    }

    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.unwrap().with_root_certificates(roots);
        let mut config = match &self.own {
            Some(own) => {
                let (chain, key) = pair(own);
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }
}

/// Speaks TLS before a plain server. Dropping it ends it.
#[derive(Debug)]
pub struct Proxy {
    /// Where it is.
    pub url: String,
    _running: JoinSet<()>,
}

impl Proxy {
    /// Puts it before a server.
    pub async fn start(own: &Issued, server: SocketAddr) -> Self {
        let (chain, key) = pair(own);
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let config = builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    // Who does not trust the certificate leaves here.
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut server = TcpStream::connect(server).await.unwrap();
                    // Either side may hang up.
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
                });
            }
        });
        Self { url, _running: running }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn pair(own: &Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let certificate = CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap();
    (vec![certificate], PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap())
}
