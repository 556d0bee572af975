//! Alerts that are there, who knows of them, and what happened.

use super::{
    Alerting,
    kept::{Acknowledgement, Event, EventKind, Kept, severity_number},
    missing, page,
};
use crate::{
    error::Error,
    place::{self, Place},
    store::alerts::{self as store, Filter, history},
};
use alerts::{Fingerprint, Severity, State};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::event::{Change, Origin, log};
use uuid::Uuid;

/// The place of an alert in the list.
#[derive(Debug, Serialize, Deserialize)]
struct Position {
    severity: i32,
    fingerprint: Fingerprint,
}

impl Place for Position {
    fn is_possible(&self) -> bool {
        true
    }
}

/// The place of what has an id that grows.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Before {
    pub(super) id: Uuid,
}

impl Place for Before {
    fn is_possible(&self) -> bool {
        true
    }
}

impl Alerting {
    pub(crate) async fn alerts(
        &self,
        filter: Filter,
        size: u32,
        token: &str,
    ) -> Result<(Vec<Kept>, String), Error> {
        let list = format!("alerts {filter:?}");
        let after: Option<Position> = place::read(&list, token)?;
        let after = after.map(|after| (after.severity, after.fingerprint.to_string()));
        let after = after.as_ref().map(|(severity, fingerprint)| (*severity, fingerprint.as_str()));
        let rows = store::page(&self.db, filter, after, size + 1).await?;
        Ok(page(&list, rows, size, |kept| Position {
            severity: severity_number(
                Severity::named(kept.alert.labels.get("severity")).unwrap_or(Severity::Warning),
            ),
            fingerprint: kept.fingerprint,
        }))
    }

    pub(crate) async fn acknowledge(&self, fingerprint: Fingerprint, origin: &Origin) -> Result<Kept, Error> {
        let (by, note) = (origin.actor.clone(), origin.reason.clone());
        let known = Acknowledgement { at: origin.at, by, note };
        let alert = store::get(&self.db, fingerprint).await?.ok_or_else(|| missing("alert", fingerprint))?;
        if alert.alert.state != State::Firing {
            return Err(Error::NotFiring);
        }
        let mut tx = self.db.begin().await?;
        if !store::acknowledge(&mut tx, fingerprint, &known).await? {
            return Err(Error::NotFiring);
        }
        let labels = &alert.alert.labels;
        let event = Event::of(EventKind::Acknowledged, fingerprint, labels, known.at, known.by.clone());
        history::insert(&mut tx, &event).await?;
        store::changed(&mut tx).await?;
        let (before, after) = (json!({"acknowledged": false}), json!({"acknowledged": true}));
        let change = Change::updated("alert", fingerprint.to_string(), before, after).called("acknowledged");
        log::append(&mut tx, origin, vec![change]).await?;
        tx.commit().await?;
        Ok(Kept { acknowledgement: Some(known), ..alert })
    }

    pub(crate) async fn history(
        &self,
        filter: (Option<Fingerprint>, Option<EventKind>),
        size: u32,
        token: &str,
    ) -> Result<(Vec<Event>, String), Error> {
        let list = format!("alert_history {filter:?}");
        let before: Option<Before> = place::read(&list, token)?;
        let rows = history::page(&self.db, filter, before.map(|before| before.id), size + 1).await?;
        Ok(page(&list, rows, size, |event| Before { id: event.id }))
    }
}
