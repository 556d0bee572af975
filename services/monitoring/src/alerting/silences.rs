//! Silences: made, listed, ended; and what one would hold back.

use super::{
    Alerting,
    current::Before,
    kept::{Kept, KeptSilence, at},
    missing, page,
};
use crate::{
    error::{Error, Violation},
    place,
    store::alerts::{self as store, Filter, silences},
};
use alerts::{Fault, Matcher, SilenceState};
use policy::Time;
use serde_json::{Value, json};
use shared::event::{Change, Origin, log};
use uuid::Uuid;

/// Alerts that are shown of those that a silence holds back.
const SHOWN: u32 = 1_000;

/// What silences are called in the log of changes.
const KIND: &str = "silence";

/// A silence in the log of changes, where its comment is the reason.
fn shown(kept: &KeptSilence) -> Value {
    let matchers: Vec<String> = kept.silence.matchers.iter().map(ToString::to_string).collect();
    json!({"matchers": matchers, "start": kept.silence.start, "end": kept.silence.end})
}

fn invalid(fault: &Fault) -> Error {
    let field = match fault {
        Fault::Invalid { field: "end_time", .. } => "end_time",
        _ => "matchers",
    };
    Violation::new(field, fault.to_string()).into()
}

impl Alerting {
    /// Makes a silence, and says what it holds back.
    pub(crate) async fn silence(
        &self,
        silence: KeptSilence,
        origin: &Origin,
    ) -> Result<(KeptSilence, Vec<Kept>), Error> {
        silence.silence.check().map_err(|fault| invalid(&fault))?;
        let held = self.matched(&silence.silence.matchers).await?;
        let mut tx = self.db.begin().await?;
        silences::insert(&mut tx, &silence).await?;
        store::changed(&mut tx).await?;
        let change = Change::created(KIND, silence.id.to_string(), shown(&silence));
        log::append(&mut tx, origin, vec![change]).await?;
        tx.commit().await?;
        Ok((silence, held))
    }

    pub(crate) async fn silences(
        &self,
        state: Option<SilenceState>,
        now: Time,
        size: u32,
        token: &str,
    ) -> Result<(Vec<KeptSilence>, String), Error> {
        let list = format!("alert_silences {state:?}");
        let before: Option<Before> = place::read(&list, token)?;
        let before = before.map(|before| before.id);
        let rows = silences::page(&self.db, (state, now), before, Some(size + 1)).await?;
        Ok(page(&list, rows, size, |silence| Before { id: silence.id }))
    }

    pub(crate) async fn expire(&self, id: Uuid, origin: &Origin) -> Result<KeptSilence, Error> {
        let before = silences::get(&self.db, id).await?.ok_or_else(|| missing("silence", id))?;
        let mut tx = self.db.begin().await?;
        if !silences::expire(&mut tx, id, origin.at).await? {
            return Err(Error::SilenceOver);
        }
        store::changed(&mut tx).await?;
        let mut after = before.clone();
        after.silence.end = at(origin.at);
        let change = Change::updated(KIND, id.to_string(), shown(&before), shown(&after)).called("expired");
        log::append(&mut tx, origin, vec![change]).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// Alerts that matchers take.
    pub(crate) async fn matched(&self, matchers: &[Matcher]) -> Result<Vec<Kept>, Error> {
        let alerts = store::page(&self.db, Filter::default(), None, SHOWN).await?;
        Ok(alerts.into_iter().filter(|kept| kept.alert.labels.matched_by(matchers)).collect())
    }
}
