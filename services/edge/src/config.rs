//! What can be set about the edge.

use serde::Deserialize;
use std::time::Duration;

/// Settings of the edge.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Origins of other sites whose pages may call, such as `https://console.example.org`. None by default.
    pub cors_origins: Vec<String>,
    /// Largest body of a management call, in bytes.
    pub max_body_bytes: usize,
    /// How long a unary management call may take when the caller does not say.
    #[serde(with = "humantime_serde")]
    pub management_timeout: Duration,
    /// Pause after which a quiet event stream gets a comment, so that proxies keep it open.
    #[serde(with = "humantime_serde")]
    pub stream_heartbeat: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cors_origins: Vec::new(),
            max_body_bytes: 1024 * 1024,
            management_timeout: Duration::from_secs(10),
            stream_heartbeat: Duration::from_secs(15),
        }
    }
}
