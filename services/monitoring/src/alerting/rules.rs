//! Rules: made, read, changed, deleted, taken over and tried on the past.

use super::{
    Alerting,
    kept::{KeptRule, at},
    missing, page,
};
use crate::{
    error::{Error, Violation},
    place::{self, Place},
    store::alerts::{self as store, rules},
};
use alerts::{Fault, Fired, Measured, Past, Refused, Rule, RuleText, import, replay};
use policy::Time;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::event::{Change, Origin, log};
use std::time::Duration;
use uuid::Uuid;

/// Rules of an installation; a round over them stays within its second.
const MOST: usize = 5_000;
/// What rules are called in the log of changes.
const KIND: &str = "alert_rule";
/// The furthest that a rule is tried on, and how often in that time at most.
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
const STEPS: u32 = 2_000;

/// The place of a rule in the list.
#[derive(Debug, Serialize, Deserialize)]
struct Position {
    name: String,
    id: Uuid,
}

impl Place for Position {
    fn is_possible(&self) -> bool {
        !self.name.contains('\0')
    }
}

/// What became of a file.
#[derive(Debug, Default)]
pub(crate) struct Imported {
    pub(crate) made: Vec<KeptRule>,
    pub(crate) known: Vec<String>,
    pub(crate) refused: Vec<Refused>,
}

impl KeptRule {
    /// A rule that is not there yet.
    pub(crate) fn new(text: RuleText, enabled: bool, now: Time) -> Self {
        Self { id: Uuid::now_v7(), text, enabled, version: 1, created: now, updated: now }
    }

    /// That it was made, for the log.
    fn made(&self) -> Change {
        Change::created(KIND, self.id.to_string(), self.shown())
    }

    fn shown(&self) -> Value {
        json!({"enabled": self.enabled, "rule": self.text})
    }
}

fn invalid(fault: &Fault) -> Error {
    let field = match fault {
        Fault::Invalid { field: "name", .. } => "rule.name",
        Fault::Invalid { field: "labels", .. } => "rule.labels",
        Fault::Invalid { field: "annotations", .. } => "rule.annotations",
        _ => "rule.expression",
    };
    Violation::new(field, fault.to_string()).into()
}

impl Alerting {
    /// Makes a rule, or only says whether it could be.
    pub(crate) async fn create_rule(
        &self,
        text: RuleText,
        enabled: bool,
        dry: bool,
        origin: &Origin,
    ) -> Result<KeptRule, Error> {
        Rule::try_from(&text).map_err(|fault| invalid(&fault))?;
        let rule = KeptRule::new(text, enabled, origin.at);
        let there = rules::page(&self.db, None, None).await?;
        if there.len() >= MOST {
            return Err(Violation::new("rule", "would be one too many: there are 5,000").into());
        }
        if !dry {
            let mut tx = self.db.begin().await?;
            rules::insert(&mut tx, std::slice::from_ref(&rule)).await?;
            store::changed(&mut tx).await?;
            log::append(&mut tx, origin, vec![rule.made()]).await?;
            tx.commit().await?;
        }
        Ok(rule)
    }

    pub(crate) async fn rule(&self, id: Uuid) -> Result<KeptRule, Error> {
        rules::get(&self.db, id).await?.ok_or_else(|| missing("rule", id))
    }

    pub(crate) async fn rules(&self, size: u32, token: &str) -> Result<(Vec<KeptRule>, String), Error> {
        let after: Option<Position> = place::read("alert_rules", token)?;
        let after = after.as_ref().map(|after| (after.name.as_str(), after.id));
        let rows = rules::page(&self.db, after, Some(size + 1)).await?;
        Ok(page("alert_rules", rows, size, |rule| Position { name: rule.text.alert.clone(), id: rule.id }))
    }

    pub(crate) async fn update_rule(
        &self,
        (id, version): (Uuid, i64),
        text: &RuleText,
        enabled: bool,
        origin: &Origin,
    ) -> Result<KeptRule, Error> {
        Rule::try_from(text).map_err(|fault| invalid(&fault))?;
        let before = self.rule(id).await?;
        if before.version != version {
            return Err(Error::Etag);
        }
        let mut tx = self.db.begin().await?;
        let updated = rules::update(&mut tx, (id, version), text, enabled, origin.at).await?;
        let rule = updated.ok_or(Error::Etag)?;
        store::changed(&mut tx).await?;
        let change = Change::updated(KIND, id.to_string(), before.shown(), rule.shown());
        log::append(&mut tx, origin, vec![change]).await?;
        tx.commit().await?;
        Ok(rule)
    }

    pub(crate) async fn delete_rule(&self, id: Uuid, origin: &Origin) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let gone = rules::delete(&mut tx, id).await?.ok_or_else(|| missing("rule", id))?;
        store::changed(&mut tx).await?;
        log::append(&mut tx, origin, vec![Change::deleted(KIND, id.to_string(), gone.shown())]).await?;
        Ok(tx.commit().await?)
    }

    pub(crate) async fn import_rules(
        &self,
        yaml: &str,
        dry: bool,
        origin: &Origin,
    ) -> Result<Imported, Error> {
        let read = import(yaml).map_err(|fault| Violation::new("yaml", fault.to_string()))?;
        let there = rules::page(&self.db, None, None).await?;
        if there.len() + read.rules.len() > MOST {
            return Err(Violation::new("yaml", "has too many rules: there may be 5,000").into());
        }
        let mut imported = Imported { refused: read.refused, ..Imported::default() };
        for text in read.rules {
            if there.iter().any(|rule| (&rule.text.alert, &rule.text.expr) == (&text.alert, &text.expr)) {
                imported.known.push(text.alert);
            } else {
                imported.made.push(KeptRule::new(text, true, origin.at));
            }
        }
        if !dry && !imported.made.is_empty() {
            let mut tx = self.db.begin().await?;
            rules::insert(&mut tx, &imported.made).await?;
            store::changed(&mut tx).await?;
            log::append(&mut tx, origin, imported.made.iter().map(KeptRule::made).collect()).await?;
            tx.commit().await?;
        }
        Ok(imported)
    }

    /// What a rule would have said from `start` to `end`.
    pub(crate) fn test_rule(&self, text: &RuleText, (start, end): (Time, Time)) -> Result<Vec<Fired>, Error> {
        let rule = Rule::try_from(text).map_err(|fault| invalid(&fault))?;
        let whole = at(end).since(at(start));
        if end < start || whole > DAY {
            return Err(Violation::new("end_time", "must be at most a day after start_time").into());
        }
        let step = (whole / STEPS).max(Duration::from_secs(10));
        let (remembered, past) = (self.signals.remembering(), Past::default());
        let measured = Measured::new(&remembered, self.signals.step(), &past);
        Ok(replay(&rule, &measured, (at(start), at(end)), step))
    }
}
