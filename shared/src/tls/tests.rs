//! TLS with real certificates over real sockets.

mod crowd;
mod files;
mod refusals;
mod rotation;
mod served;

use super::*;
use crate::{
    channel,
    health::Health,
    server::{self, Limits, Tasks},
};
use ::tests::authority::{Authority, Files};
use std::net::SocketAddr;
use tempfile::TempDir;
use tonic::Status;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// A folder with an authority, what it issued for `localhost`, and a listener that shows it.
struct Place {
    folder: TempDir,
    authority: Authority,
    ca: PathBuf,
    own: Files,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let authority = Authority::new("Tollgate tests");
        let ca = authority.write(folder.path(), "ca");
        let own = authority.issue(&["localhost"]).write(folder.path(), "server");
        Self { folder, authority, ca, own }
    }

    /// A listener's configuration without client certificates.
    fn config(&self) -> Config {
        Config {
            cert_file: Some(self.own.certificate.clone()),
            key_file: Some(self.own.key.clone()),
            ..Config::default()
        }
    }

    /// A listener's configuration that asks services for certificates.
    fn mutual(&self) -> Config {
        Config { client_ca_file: Some(self.ca.clone()), ..self.config() }
    }

    /// A client that trusts the authority.
    fn trust(&self) -> Trust {
        Trust { ca_file: Some(self.ca.clone()), ..Trust::default() }
    }

    /// The same with a certificate of its own.
    fn trust_as(&self, client: &Files) -> Trust {
        let (certificate, key) = (client.certificate.clone(), client.key.clone());
        Trust { cert_file: Some(certificate), key_file: Some(key), ..self.trust() }
    }
}

/// A listener with probes and gRPC's health behind it.
struct Served {
    address: SocketAddr,
    listeners: Listeners,
    tasks: Tasks,
}

impl Served {
    async fn new(config: &Config) -> Self {
        Self::with(config, Limits::default()).await
    }

    async fn with(config: &Config, limits: Limits) -> Self {
        let listeners = Listeners::open(config).unwrap().unwrap();
        let limits = Limits { tls: listeners.acceptor(Door::Service), ..limits };
        let listener = server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::default();
        let routes = server::admin(Health::default()).unwrap();
        tasks.spawn(server::serve(listener, routes, limits, tasks.stopping()));
        Self { address, listeners, tasks }
    }

    /// Its address by a name.
    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}", self.address.port())
    }

    /// One call over gRPC.
    async fn ask(&self, trust: &Trust) -> Result<(), Status> {
        ask(&self.url("localhost"), &dialer(trust)).await
    }
}

fn dialer(trust: &Trust) -> Dialer {
    Dialer::open(trust, "tls.services").unwrap()
}

async fn ask(url: &str, dialer: &Dialer) -> Result<(), Status> {
    let channel = channel::remote(url, dialer).unwrap();
    let check = HealthCheckRequest { service: String::new() };
    ::tests::within("an answer", HealthClient::new(channel).check(check)).await.map(drop)
}

/// What TLS had against a call.
#[track_caller]
fn objected(answer: Result<(), Status>) -> String {
    let status = answer.unwrap_err();
    let cause = std::error::Error::source(&status).unwrap_or_else(|| panic!("{status:?} has no cause"));
    let objection = cause.downcast_ref::<Objection>();
    objection.unwrap_or_else(|| panic!("TLS had nothing against it: {cause:?}")).to_string()
}
