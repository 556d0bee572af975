//! Budgets: who may spend how much in a day or a month of a place.
//!
//! [`change`] makes and ends them, [`spend`] counts what records cost against them in the transactions that keep the
//! records, [`lease`] hands parts of hard ones to gateways, [`status`] says how they stand. The arithmetic is the crate
//! `budgets`'.

pub(crate) mod change;
pub(crate) mod gauge;
pub(crate) mod lease;
pub(crate) mod spend;
pub(crate) mod status;

use crate::usage::Record;
use budgets::{
    Limit,
    window::{Calendar, Period, UnknownZone},
};
use policy::{GroupId, KeyId, Time, UserId};
use serde_json::{Value, json};
use uuid::Uuid;

/// Whom or what a budget is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Subject {
    User(UserId),
    Group(GroupId),
    Key(KeyId),
    /// A model's own name.
    Model(String),
}

/// A budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Budget {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) subject: Subject,
    pub(crate) period: Period,
    pub(crate) zone: String,
    pub(crate) limit: Limit,
    pub(crate) hard: bool,
    pub(crate) created: Time,
    pub(crate) updated: Time,
    pub(crate) by: UserId,
    /// Grows with every change.
    pub(crate) revision: i64,
}

impl Budget {
    /// Its days or months.
    pub(crate) fn calendar(&self) -> Result<Calendar, UnknownZone> {
        Calendar::new(self.period, &self.zone)
    }

    /// As the log of changes has it: whose it is by id, and no name of a person.
    pub(crate) fn logged(&self) -> Value {
        let (kind, of) = match &self.subject {
            Subject::User(user) => ("user", user.to_string()),
            Subject::Group(group) => ("group", group.to_string()),
            Subject::Key(key) => ("key", key.to_string()),
            Subject::Model(model) => ("model", model.clone()),
        };
        json!({
            "name": self.name, "subject": { kind: of }, "period": format!("{:?}", self.period).to_lowercase(),
            "zone": self.zone, "limit": format!("{:?}", self.limit), "hard": self.hard, "revision": self.revision,
        })
    }

    /// Whether it says the same as another one of the same id.
    pub(crate) fn says(&self, other: &Self) -> bool {
        (&self.name, &self.subject, self.period, &self.zone, self.limit, self.hard)
            == (&other.name, &other.subject, other.period, &other.zone, other.limit, other.hard)
    }
}

impl Subject {
    /// All whose budgets a record counts against.
    pub(crate) fn of(record: &Record) -> impl Iterator<Item = Self> {
        let model = Some(record.priced_as()).filter(|name| !name.is_empty());
        let all = [
            Some(Self::User(record.user)),
            record.group.map(Self::Group),
            record.api_key.map(Self::Key),
            model.map(|name| Self::Model(name.to_owned())),
        ];
        all.into_iter().flatten()
    }
}
