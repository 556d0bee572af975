//! What a record costs: by the version of its model's price that counted when it began.

use crate::{
    store::prices,
    usage::{Charge, Record},
};
use policy::Time;
use pricing::{Cost, History, Money, Tokens};
use shared::db::Tx;
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

/// The price lists of some models.
#[derive(Debug)]
pub(crate) struct Prices(HashMap<String, History<Uuid>>);

impl Prices {
    /// Reads those that these records need.
    pub(crate) async fn of(tx: &mut Tx, records: impl Iterator<Item = &Record>) -> Result<Self, sqlx::Error> {
        let models: BTreeSet<&str> = records.map(Record::priced_as).collect();
        Ok(Self(prices::histories(tx, &models).await?))
    }

    /// Reads those of these models.
    pub(crate) async fn of_models<'a>(
        tx: &mut Tx,
        models: impl Iterator<Item = &'a str>,
    ) -> Result<Self, sqlx::Error> {
        Ok(Self(prices::histories(tx, &models.collect()).await?))
    }

    /// What a record costs.
    pub(crate) fn charge(&self, record: &Record) -> Charge {
        self.cost(record.priced_as(), record.tokens(), record.start)
    }

    /// What a record costs by kind of token, where its cost is known.
    pub(crate) fn parts(&self, record: &Record, charge: Charge) -> Option<Cost> {
        let total = charge.cost?;
        let history = self.0.get(record.priced_as());
        let version = history.zip(charge.price).and_then(|(history, id)| history.named(&id));
        let parts = version.and_then(|version| version.price.parts(record.tokens()));
        Some(parts.unwrap_or_else(|| Cost { input: total.0.into(), ..Cost::default() }))
    }

    /// What tokens cost at a time. Where nothing was used that is nothing, whatever the price.
    pub(crate) fn cost(&self, model: &str, tokens: Tokens, at: Time) -> Charge {
        match self.0.get(model).and_then(|history| history.at(at.0)) {
            Some(version) => Charge { cost: version.price.cost(tokens), price: Some(version.id) },
            None => Charge { cost: tokens.is_none().then_some(Money(0)), price: None },
        }
    }
}
