//! TLS as a command says it that calls a gateway.

use shared::tls::{Dialer, Fault, Trust};
use std::path::PathBuf;

/// Whom to trust at an `https` address, and as whom to come.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Secured {
    /// A PEM file with the authority that the server's certificate must be of; the public ones when left out.
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A PEM file with a certificate to show to the server.
    #[arg(long, global = true, value_name = "FILE", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// A PEM file with that certificate's private key.
    #[arg(long, global = true, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// The name in the server's certificate, when it is not the one in its address.
    #[arg(long, global = true, value_name = "NAME")]
    server_name: Option<String>,
}

impl Secured {
    /// What was said, or `None` when nothing was.
    pub(crate) fn trust(&self) -> Option<Trust> {
        let said = Trust {
            ca_file: self.ca.clone(),
            cert_file: self.client_cert.clone(),
            key_file: self.client_key.clone(),
            server_name: self.server_name.clone(),
        };
        (said != Trust::default()).then_some(said)
    }

    /// A dialer for what was said.
    pub(crate) fn dialer(&self) -> Result<Dialer, Fault> {
        Dialer::open(&self.trust().unwrap_or_default(), "the command's TLS")
    }
}
