//! The HTTP client that talks to identity providers: TLS, no redirects, bounded time and size.
//!
//! Whatever a provider answers is written by somebody else, so nothing of it is trusted before it was bounded here.
//! Plain HTTP is spoken with a provider on this machine alone, where it is a test or a development set-up.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use openidconnect::url::{Host, Url};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{path::Path, sync::Arc, time::Duration};

/// Longest time for one request, from connecting to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer.
const ANSWER: usize = 1024 * 1024;
/// GitHub answers nobody who does not name himself.
const USER_AGENT: HeaderValue = HeaderValue::from_static("tollgate");

/// Why a provider gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// It would have been asked in the clear.
    #[error("an address of the identity provider is not https")]
    Plain,
    /// It was asked a moment ago, in vain.
    #[error("the identity provider did not answer a moment ago")]
    JustFailed,
    /// It took too long.
    #[error("the identity provider did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// It said too much.
    #[error("the answer of the identity provider is larger than 1 MiB")]
    TooLarge,
    /// There was no connection, or it broke.
    #[error("the identity provider cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A client for the addresses of one provider.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    plain: bool,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Http").field("plain", &self.plain).finish_non_exhaustive()
    }
}

impl Http {
    /// A client that trusts the public certificate authorities and those of `ca_file`. `plain`: also speaks HTTP, with
    /// this machine.
    ///
    /// # Errors
    /// One sentence, when the file cannot be read.
    pub(crate) fn new(ca_file: Option<&Path>, plain: bool) -> Result<Self, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = ca_file {
            add(&mut roots, path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), plain })
    }

    /// One request and its whole answer, whatever its status.
    pub(crate) async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, HttpError> {
        if !self.may_ask(request.uri()) {
            return Err(HttpError::Plain);
        }
        let mut request = request.map(|body| Full::new(Bytes::from(body)));
        request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
        tokio::time::timeout(TIMEOUT, self.exchange(request)).await.map_err(|_| HttpError::Timeout)?
    }

    fn may_ask(&self, uri: &Uri) -> bool {
        let url = Url::parse(&uri.to_string());
        url.is_ok_and(|url| url.scheme() == "https" || (self.plain && is_local(&url)))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Vec<u8>>, HttpError> {
        let answer =
            self.client.request(request).await.map_err(|error| HttpError::Unreachable(error.into()))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { HttpError::TooLarge } else { HttpError::Unreachable(error) }
        })?;
        Ok(Response::from_parts(head, body.to_bytes().to_vec()))
    }
}

/// Whether an address is of this machine, whatever a name server says.
pub(crate) fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    let mut added = 0;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
        added += 1;
    }
    if added == 0 { Err("has no certificate in PEM".to_owned()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
