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
    /// The services, in the order of their names.
    pub(crate) fn all(&self) -> Vec<(&'static str, Channel)> {
        vec![
            ("inference", self.inference.clone()),
            ("monitoring", self.monitoring.clone()),
            ("permissions", self.permissions.clone()),
        ]
    }
}

/// Who owns which package of the contract.
#[derive(Debug)]
pub(crate) struct Owners {
    pub(crate) upstreams: Upstreams,
    /// What the edge answers itself.
    pub(crate) own: Channel,
}

impl Owners {
    /// The channel of the service that owns a package.
    pub(crate) fn of(&self, package: &str) -> Option<&Channel> {
        match package.split('.').nth(1)? {
            "permissions" => Some(&self.upstreams.permissions),
            "inference" => Some(&self.upstreams.inference),
            "monitoring" => Some(&self.upstreams.monitoring),
            "common" => Some(&self.own),
            _ => None,
        }
    }
}
