//! The whole configuration, defined once; each service gets its part.

use clap::Args;
use figment::value::{Dict, Value};
use serde::Deserialize;
use shared::{
    config::{self, Faults, Loaded, Secret, SecretString, Validate},
    limits::Gate,
    redis,
    server::Network,
    telemetry, tls,
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// What the command line can say; everything else is in the file or the environment.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Options {
    /// A TOML file; TOLLGATE_CONFIG names it otherwise.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for databases, journal and first-run.json.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address to listen on, such as 127.0.0.1:8080.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

/// Settings of every service in one place.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Folder for databases, journal and first-run.json.
    pub(crate) data_dir: PathBuf,
    /// Address of `up` and of the edge.
    pub(crate) listen: SocketAddr,
    /// Addresses of the other services.
    pub(crate) ports: Ports,
    /// What stands between this process and its clients.
    pub(crate) network: Network,
    /// TLS of listeners and towards other services.
    pub(crate) tls: tls::Config,
    /// Where the services find each other when each runs alone.
    pub(crate) upstream: Upstream,
    /// What services prove themselves with; begins with `tgs_`. `up` makes one up when there is none.
    pub(crate) service_token: Secret,
    /// What processes of several machines share; optional.
    pub(crate) redis: redis::Config,
    /// How much callers may of what they do.
    pub(crate) limits: limits::Settings,
    pub(crate) telemetry: telemetry::Config,
    pub(crate) permissions: permissions::Config,
    pub(crate) inference: inference::Config,
    pub(crate) monitoring: monitoring::Config,
    pub(crate) agent: agent::Config,
    pub(crate) edge: edge::Config,
}

/// Addresses to listen on; an admin port lies 100 above each service's, the edge's one above.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Ports {
    pub(crate) permissions: SocketAddr,
    pub(crate) permissions_admin: SocketAddr,
    pub(crate) inference: SocketAddr,
    pub(crate) inference_admin: SocketAddr,
    pub(crate) monitoring: SocketAddr,
    pub(crate) monitoring_admin: SocketAddr,
    pub(crate) agent_admin: SocketAddr,
    pub(crate) edge_admin: SocketAddr,
}

/// Base URLs of the services.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Upstream {
    pub(crate) permissions: String,
    pub(crate) inference: String,
    pub(crate) monitoring: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from(".tollgate"),
            listen: local(8080),
            ports: Ports::default(),
            network: Network::default(),
            tls: tls::Config::default(),
            upstream: Upstream::default(),
            service_token: Secret::default(),
            redis: redis::Config::default(),
            limits: limits::Settings::default(),
            telemetry: telemetry::Config::default(),
            permissions: permissions::Config::default(),
            inference: inference::Config::default(),
            monitoring: monitoring::Config::default(),
            agent: agent::Config::default(),
            edge: edge::Config::default(),
        }
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            permissions: local(7001),
            permissions_admin: local(7101),
            inference: local(7002),
            inference_admin: local(7102),
            monitoring: local(7003),
            monitoring_admin: local(7103),
            agent_admin: local(7104),
            edge_admin: local(8081),
        }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        let at = |port: u16| format!("http://127.0.0.1:{port}");
        Self { permissions: at(7001), inference: at(7002), monitoring: at(7003) }
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

impl Validate for Config {
    fn validate(&self, faults: &mut Vec<String>) {
        self.tls.validate(faults);
        self.redis.validate(faults);
        self.limits.validate(faults);
        self.permissions.validate(faults);
        self.inference.validate(faults);
        self.monitoring.validate(faults);
        self.agent.validate(faults);
        shared::auth::validate_token(&self.service_token, faults);
        self.telemetry.validate(faults);
        let upstream = &self.upstream;
        let urls = [
            ("permissions", &upstream.permissions),
            ("inference", &upstream.inference),
            ("monitoring", &upstream.monitoring),
        ];
        for (name, url) in urls {
            let known = |uri: http::Uri| matches!(uri.scheme_str(), Some("http" | "https"));
            if !url.parse().is_ok_and(known) {
                faults.push(format!(
                    "upstream.{name}: `{url}` is not a URL like http://permissions:7001 or https://permissions:7001"
                ));
            }
        }
    }
}

impl Options {
    /// The file that is read, when there is one.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| config::file(&config::environment()))
    }

    /// Reads the configuration of this process.
    pub(crate) fn load(&self) -> Result<Loaded<Config>, Faults> {
        let mut overrides = Dict::new();
        if let Some(folder) = &self.data_dir {
            overrides.insert("data_dir".into(), Value::from(folder.to_string_lossy().into_owned()));
        }
        if let Some(listen) = self.listen {
            overrides.insert("listen".into(), Value::from(listen.to_string()));
        }
        let mut loaded = config::load::<Config>(self.config.as_deref(), &config::environment(), overrides)?;
        loaded.config.inference.data_dir.clone_from(&loaded.config.data_dir);
        loaded.config.permissions.redis.clone_from(&loaded.config.redis);
        loaded.config.inference.redis.clone_from(&loaded.config.redis);
        Ok(loaded)
    }
}

impl Config {
    /// The limits of this process, which all of its services ask.
    pub(crate) fn gate(&mut self) -> Gate {
        let gate = Gate::new(self.limits.clone());
        self.permissions.limits = gate.clone();
        self.inference.limits = gate.clone();
        self.monitoring.limits = gate.clone();
        gate
    }

    /// A service's database: as configured, else a file in the data folder.
    pub(crate) fn database(&self, configured: &SecretString, file: &str) -> SecretString {
        use config::ExposeSecret;
        if configured.expose_secret().is_empty() {
            sqlite(&self.data_dir.join(file))
        } else {
            configured.clone()
        }
    }
}

fn sqlite(path: &Path) -> SecretString {
    format!("sqlite:{}", path.display()).into()
}
