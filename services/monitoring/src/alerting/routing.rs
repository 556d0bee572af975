//! The tree of routes.

use super::Alerting;
use crate::{
    error::{Error, Violation},
    store::alerts as store,
};
use alerts::Routing;
use policy::Time;

/// A tree, and which version of it that is.
#[derive(Debug)]
pub(crate) struct Routed {
    pub(crate) routing: Routing,
    pub(crate) version: i64,
    pub(crate) updated: Option<Time>,
}

impl Alerting {
    pub(crate) async fn routing(&self) -> Result<Routed, Error> {
        let desk = store::desk(&self.db).await?;
        let usual = || self.settings.first_receiver().map(Routing::to).unwrap_or_default();
        Ok(Routed {
            routing: desk.routing.unwrap_or_else(usual),
            version: desk.routing_version,
            updated: desk.routing_updated,
        })
    }

    pub(crate) async fn put_routing(&self, json: &str, version: i64, now: Time) -> Result<Routed, Error> {
        let invalid = |problem: String| Violation::new("json", problem);
        let routing: Routing =
            serde_json::from_str(json).map_err(|error| invalid(format!("is no tree: {error}")))?;
        let receivers: Vec<&str> = self.receivers.all().map(|(name, _)| name).collect();
        routing.check(&receivers).map_err(|fault| invalid(fault.to_string()))?;
        let desk = store::route(&self.db, version, &routing, now).await?.ok_or(Error::Etag)?;
        Ok(Routed { routing, version: desk.routing_version, updated: desk.routing_updated })
    }
}
