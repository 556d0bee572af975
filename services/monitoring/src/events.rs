//! The log of what is changed through this service: budgets, prices, rules, silences. Whoever changes something appends to
//! it in the same transaction, with [`shared::event::log::append`].

use crate::error::Error;
use shared::{db::Db, event::serve::Logged};

/// The log, in the service's database.
#[derive(Debug, Clone)]
pub(crate) struct Events(pub(crate) Db);

impl Logged for Events {
    type Error = Error;

    const SERVICE: &'static str = "monitoring";

    fn db(&self) -> Result<&Db, Error> {
        Ok(&self.0)
    }
}
