//! The tree of routes.

use super::Alerting;
use crate::{
    error::{Error, Violation},
    store::alerts as store,
};
use alerts::Routing;
use policy::Time;
use serde_json::json;
use shared::event::{Change, Origin, log};

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

    pub(crate) async fn put_routing(
        &self,
        json: &str,
        version: i64,
        origin: &Origin,
    ) -> Result<Routed, Error> {
        let invalid = |problem: String| Violation::new("json", problem);
        let routing: Routing =
            serde_json::from_str(json).map_err(|error| invalid(format!("is no tree: {error}")))?;
        let receivers: Vec<&str> = self.receivers.all().map(|(name, _)| name).collect();
        routing.check(&receivers).map_err(|fault| invalid(fault.to_string()))?;
        let before = self.routing().await?;
        let mut tx = self.db.begin().await?;
        let desk = store::route(&mut tx, version, &routing, origin.at).await?.ok_or(Error::Etag)?;
        let (was, is) = (json!(before.routing), json!(routing));
        log::append(&mut tx, origin, vec![Change::updated("alert_routing", "1", was, is)]).await?;
        tx.commit().await?;
        Ok(Routed { routing, version: desk.routing_version, updated: desk.routing_updated })
    }
}
