//! What an operator can set for an agent.

use serde::Deserialize;
use shared::config::{Secret, Validate};
use std::{path::PathBuf, time::Duration};

/// Settings under `agent`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name of the instance, unique in the installation and the same after a restart; empty: the node and the engine's
    /// port.
    pub instance_id: String,
    /// Instances that serve the same; what is scaled together.
    pub pool: String,
    /// Name of this machine; empty: its host name.
    pub node: String,
    /// Where the agent finds the engine.
    pub engine: String,
    /// Where gateways find it; empty: as the agent does.
    pub engine_url: String,
    /// Addresses of every gateway that sends requests to the engine; empty: `upstream.inference` alone.
    pub gateways: Vec<String>,
    /// Between two looks at the GPUs and the engine.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    /// How GPUs are read.
    pub gpu: Gpu,
    /// The program that reads GPUs.
    pub nvidia_smi: PathBuf,
    /// The library that reads GPUs.
    pub nvml: PathBuf,
    /// When the engine is ready.
    pub warm_up: WarmUp,
    /// How the engine is emptied.
    pub drain: Drain,
    /// Where this machine runs.
    pub cloud: Cloud,
    /// What becomes of an instance that has nothing to do.
    pub idle: Idle,
    /// Custom metrics of Google Cloud Monitoring.
    pub google: Google,
    /// Custom metrics of CloudWatch.
    pub cloudwatch: CloudWatch,
}

/// How GPUs are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gpu {
    /// By `nvidia-smi`, where there is one.
    NvidiaSmi,
    /// By NVIDIA's management library, without a program every few seconds.
    Nvml,
    /// Not at all.
    Off,
}

/// When an engine is ready.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WarmUp {
    /// How long weights may load before the instance is given up.
    #[serde(with = "humantime_serde")]
    pub within: Duration,
    /// How long the completion that proves it may take.
    #[serde(with = "humantime_serde")]
    pub completion: Duration,
}

/// How an engine is emptied.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// Longest time for what runs to finish.
    #[serde(with = "humantime_serde")]
    pub limit: Duration,
    /// So long before a cloud takes the machine the agent is done.
    #[serde(with = "humantime_serde")]
    pub reserve: Duration,
    /// Whether the engine is drained when the agent is told to stop.
    pub on_stop: bool,
}

/// Where this machine runs, and whom it asks whether it may stay.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cloud {
    /// Whose machine this is.
    pub provider: Provider,
    /// Whether the cloud may take the machine away at any time.
    pub spot: bool,
    /// Base URL of the metadata server; empty: the provider's own.
    pub metadata: String,
    /// Between two questions, where the answer does not come by itself.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
}

/// Whose machine this is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Nobody is asked.
    #[default]
    None,
    /// Amazon EC2.
    Aws,
    /// Google Compute Engine.
    Gcp,
    /// Microsoft Azure.
    Azure,
}

/// What becomes of an instance that has nothing to do.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Idle {
    /// After so long without work it is drained and stopped; absent: never.
    #[serde(with = "humantime_serde")]
    pub after: Option<Duration>,
    /// Only says what it would do.
    pub dry_run: bool,
    /// How it is stopped.
    pub stop: Stop,
    /// The program that stops it, and its arguments; for `command`.
    pub command: Vec<String>,
    /// Base URL of the API that stops it; empty: the provider's own.
    pub api: String,
    /// Key of RunPod's API; for `runpod`.
    pub api_key: Secret,
    /// Id of the pod; for `runpod`.
    pub pod: String,
    /// Region; for `aws`. Empty: the one that the metadata server names.
    pub region: String,
}

/// How an instance is stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// By a program.
    #[default]
    Command,
    /// Compute Engine's `instances.stop`, as the machine's own service account.
    Gcp,
    /// EC2's `StopInstances`, as the machine's own role.
    Aws,
    /// RunPod's `stop`.
    Runpod,
}

/// Custom metrics of Google Cloud Monitoring.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Google {
    /// Project to write to; empty: nothing is written.
    pub project: String,
    /// Base URL of the API.
    pub api: String,
    /// Base URL of the metadata server, which gives the token.
    pub metadata: String,
    /// Between two writes.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
}

/// Custom metrics of CloudWatch.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CloudWatch {
    /// Region to write to; empty: nothing is written.
    pub region: String,
    /// Under which name the figures stand.
    pub namespace: String,
    /// Base URL of the API; empty: the region's own.
    pub api: String,
    /// Base URL of the metadata server, which gives the credentials of the machine's role.
    pub metadata: String,
    /// Between two writes.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
}

const GOOGLE_METADATA: &str = "http://metadata.google.internal";
const LINK_LOCAL: &str = "http://169.254.169.254";
const MINUTE: Duration = Duration::from_secs(60);

impl Default for Config {
    fn default() -> Self {
        Self {
            instance_id: String::new(),
            pool: "default".into(),
            node: String::new(),
            engine: "http://127.0.0.1:8000".into(),
            engine_url: String::new(),
            gateways: Vec::new(),
            every: Duration::from_secs(10),
            gpu: Gpu::NvidiaSmi,
            nvidia_smi: "nvidia-smi".into(),
            nvml: "libnvidia-ml.so.1".into(),
            warm_up: WarmUp::default(),
            drain: Drain::default(),
            cloud: Cloud::default(),
            idle: Idle::default(),
            google: Google::default(),
            cloudwatch: CloudWatch::default(),
        }
    }
}

impl Default for WarmUp {
    fn default() -> Self {
        Self { within: 30 * MINUTE, completion: 2 * MINUTE }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self { limit: 5 * MINUTE, reserve: Duration::from_secs(10), on_stop: true }
    }
}

impl Default for Cloud {
    fn default() -> Self {
        Self { provider: Provider::None, spot: false, metadata: String::new(), every: Duration::from_secs(1) }
    }
}

impl Default for Idle {
    fn default() -> Self {
        Self {
            after: None,
            dry_run: true,
            stop: Stop::Command,
            command: Vec::new(),
            api: String::new(),
            api_key: Secret::default(),
            pod: String::new(),
            region: String::new(),
        }
    }
}

impl Default for Google {
    fn default() -> Self {
        Self {
            project: String::new(),
            api: "https://monitoring.googleapis.com".into(),
            metadata: GOOGLE_METADATA.into(),
            every: MINUTE,
        }
    }
}

impl Default for CloudWatch {
    fn default() -> Self {
        Self {
            region: String::new(),
            namespace: "Tollgate".into(),
            api: String::new(),
            metadata: LINK_LOCAL.into(),
            every: MINUTE,
        }
    }
}

impl Cloud {
    /// Where the metadata server is.
    pub(crate) fn metadata(&self) -> &str {
        match (self.metadata.as_str(), self.provider) {
            ("", Provider::Gcp) => GOOGLE_METADATA,
            ("", _) => LINK_LOCAL,
            (own, _) => own,
        }
    }
}

impl Provider {
    /// As the contract names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Aws => "aws",
            Self::Gcp => "gcp",
            Self::Azure => "azure",
        }
    }
}

impl Config {
    /// The same with what was left out found out.
    pub(crate) fn filled(mut self) -> Self {
        let trimmed = |url: &str| url.trim_end_matches('/').to_owned();
        self.engine = trimmed(&self.engine);
        self.engine_url = trimmed(if self.engine_url.is_empty() { &self.engine } else { &self.engine_url });
        if self.node.is_empty() {
            let name = shared::process::name();
            name.rsplit_once(':').map_or(name.as_str(), |(host, _)| host).clone_into(&mut self.node);
        }
        if self.instance_id.is_empty() {
            let port = self.engine.rsplit_once(':').map_or("", |(_, port)| port);
            let known = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
            let node: String = self.node.chars().filter(|letter| known(*letter)).collect();
            self.instance_id = format!("{node}:{}", port.trim_matches('/'));
        }
        self
    }
}

impl Validate for Config {
    fn validate(&self, faults: &mut Vec<String>) {
        let url = |url: &str| url.parse().is_ok_and(|uri: http::Uri| uri.scheme().is_some());
        let urls =
            [("engine", &self.engine)].into_iter().chain(self.gateways.iter().map(|one| ("gateways", one)));
        for (name, value) in urls {
            if !url(value) {
                faults.push(format!("agent.{name}: `{value}` is not a URL like http://127.0.0.1:8000"));
            }
        }
        if self.pool.is_empty() {
            faults.push("agent.pool: must not be empty".into());
        }
        if self.every < Duration::from_secs(1) {
            faults.push("agent.every: must be at least 1s".into());
        }
        if self.cloud.every < Duration::from_millis(100) {
            faults.push("agent.cloud.every: must be at least 100ms".into());
        }
        if self.idle.after.is_some() && !self.idle.dry_run {
            match self.idle.stop {
                Stop::Command if self.idle.command.is_empty() => {
                    faults.push("agent.idle.command: is needed to stop the machine".into());
                }
                Stop::Runpod if self.idle.pod.is_empty() => {
                    faults.push("agent.idle.pod: is needed to stop the pod".into());
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_faults_are_named() {
        let mut faults = Vec::new();
        Config::default().validate(&mut faults);
        assert_eq!(faults, [""; 0]);
        let idle = Idle { after: Some(MINUTE), dry_run: false, ..Idle::default() };
        Config { engine: "engine".into(), pool: String::new(), idle, ..Config::default() }
            .validate(&mut faults);
        let fields: Vec<_> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
        assert_eq!(fields, ["agent.engine", "agent.pool", "agent.idle.command"]);
    }

    #[test]
    fn an_instance_is_named_after_its_node_and_port() {
        let config =
            Config { node: "gpu/7".into(), engine: "http://127.0.0.1:8001/".into(), ..Config::default() };
        let config = config.filled();
        assert_eq!(
            (config.instance_id.as_str(), config.engine_url.as_str()),
            ("gpu7:8001", "http://127.0.0.1:8001")
        );
    }
}
