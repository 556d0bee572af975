//! The services behind the edge.

use shared::channel::{Channel, HttpChannel};

/// One channel per service; each is a socket or a server in this process.
#[derive(Debug, Clone)]
pub struct Upstreams {
    /// Users, groups, models, grants, keys.
    pub permissions: Channel,
    /// Inference over gRPC, engines.
    pub inference: Channel,
    /// Usage.
    pub monitoring: Channel,
    /// OpenAI's API, as bytes.
    pub inference_http: HttpChannel,
}

impl Upstreams {
    /// The channel of the service that owns a package.
    pub(crate) fn of(&self, package: &str) -> Option<&Channel> {
        match package.split('.').nth(1)? {
            "permissions" => Some(&self.permissions),
            "inference" => Some(&self.inference),
            "monitoring" => Some(&self.monitoring),
            _ => None,
        }
    }
}
