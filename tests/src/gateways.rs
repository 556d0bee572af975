//! Several gateways over the same engines, beside one of each other service.

use crate::{
    apart::{Apart, Role},
    http::Client,
    metrics,
    process::{Process, free_address},
    rpc::{self, Authorized},
    tls::Tls,
    until,
};
use std::net::SocketAddr;

/// The services and their gateways.
#[derive(Debug)]
pub struct Gateways {
    /// The gateways. They are dropped first.
    pub running: Vec<One>,
    /// The other services; it has no gateway of its own.
    pub apart: Apart,
    tls: Option<Tls>,
}

/// A gateway.
#[derive(Debug)]
pub struct One {
    /// Its process.
    pub process: Process,
    /// Where it is.
    pub address: SocketAddr,
    admin: SocketAddr,
    settings: Vec<(String, String)>,
}

/// What they encrypt with.
const KEYS: &str = "[\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"]";

impl Gateways {
    /// Starts as many as there are weights, with further settings for all, and waits until each engine has an owner.
    pub async fn start(weights: &[f64], engines: &[&str], settings: &[(&str, &str)]) -> Self {
        Self::begin(weights, engines, settings, None).await
    }

    /// The same with everything over TLS, as settings say; clients come like this.
    pub async fn over(tls: &Tls, weights: &[f64], engines: &[&str], settings: &[(&str, &str)]) -> Self {
        Self::begin(weights, engines, settings, Some(tls.clone())).await
    }

    async fn begin(weights: &[f64], engines: &[&str], settings: &[(&str, &str)], tls: Option<Tls>) -> Self {
        let list = engines.join(",");
        let ours = [("TOLLGATE_ENGINES", list.as_str()), ("TOLLGATE_INFERENCE__ENCRYPTION_KEYS", KEYS)];
        let settings = [&ours, settings].concat();
        let mut apart = Apart::prepare(&settings);
        if let Some(tls) = &tls {
            apart = apart.over(tls);
        }
        let scheme = if tls.is_some() { "https" } else { "http" };
        for role in [Role::Permissions, Role::Monitoring, Role::Edge] {
            apart.run(role).await;
        }
        let mut running = Vec::new();
        for (number, weight) in weights.iter().enumerate() {
            // The first is where the edge looks for one.
            let address = if number == 0 { apart.address(Role::Inference) } else { free_address() };
            let admin = free_address();
            let data = apart.data(Role::Inference).with_file_name(format!("gateway-{number}"));
            let settings = [
                ("TOLLGATE_PORTS__INFERENCE", address.to_string()),
                ("TOLLGATE_PORTS__INFERENCE_ADMIN", admin.to_string()),
                ("TOLLGATE_DATA_DIR", data.display().to_string()),
                ("TOLLGATE_INFERENCE__GATEWAYS__ADVERTISE", format!("{scheme}://{address}")),
                ("TOLLGATE_INFERENCE__GATEWAYS__WEIGHT", weight.to_string()),
            ];
            let settings: Vec<_> = settings.map(|(name, value)| (name.to_owned(), value)).into();
            let mut process = spawn(&apart, &settings);
            process.until_ok(admin, "/health/ready").await;
            running.push(One { process, address, admin, settings });
        }
        let gateways = Self { running, apart, tls };
        let all: Vec<usize> = (0..weights.len()).collect();
        gateways.until_owned(&all, engines.len() as u64).await;
        gateways
    }

    /// Starts one again where it was, after it was killed.
    pub async fn start_again(&mut self, number: usize) {
        let one = &mut self.running[number];
        one.process = spawn(&self.apart, &one.settings);
        one.process.until_ok(one.admin, "/health/ready").await;
    }

    /// A client of one, with the owner's key.
    #[must_use]
    pub fn client(&self, number: usize) -> Client {
        let plain = Client::new(self.running[number].address, Some(&self.apart.first_run().api_key));
        match &self.tls {
            Some(tls) => plain.over(tls),
            None => plain,
        }
    }

    /// A channel to one, with the owner's key.
    pub async fn channel(&self, number: usize) -> Authorized {
        let (address, key) = (self.running[number].address, self.apart.first_run().api_key);
        match &self.tls {
            Some(tls) => rpc::secured(address, tls, &key).await.unwrap(),
            None => rpc::channel(address, &key).await,
        }
    }

    /// The address by which the others know one.
    #[must_use]
    pub fn url(&self, number: usize) -> String {
        format!("http://{}", self.running[number].address)
    }

    /// Engines that one owns.
    pub async fn owned(&self, number: usize) -> u64 {
        self.metric(number, "tollgate_gateway_engines_owned", "").await
    }

    /// The sum of a metric of one, over all series whose labels contain a text.
    pub async fn metric(&self, number: usize, name: &str, label: &str) -> u64 {
        let page = Client::new(self.running[number].admin, None).get("/metrics").await.ok().text();
        metrics::sum(&page, name, label) as u64
    }

    /// Waits until these own so many engines together.
    pub async fn until_owned(&self, those: &[usize], engines: u64) {
        until(&format!("{engines} engines that {those:?} own"), async || {
            let mut owned = 0;
            for &number in those {
                owned += self.owned(number).await;
            }
            (owned == engines).then_some(())
        })
        .await;
    }
}

fn spawn(apart: &Apart, settings: &[(String, String)]) -> Process {
    let settings: Vec<(&str, &str)> =
        settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    apart.spawn(Role::Inference, &settings)
}
