//! The calls of this service: translated in, decided by one domain function, translated out.
//!
//! [`usage`] and [`prices`] serve them; [`record`] reads and writes single records, [`query`] what is asked of them,
//! [`change`] what becomes of them, [`field`] the fields that all have.

mod change;
mod field;
mod prices;
mod query;
mod record;
mod usage;

use shared::db::Db;

/// Serves `UsageService` and `PriceService`.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    db: Db,
}

impl Api {
    /// Serves from this ledger.
    pub(crate) fn new(db: Db) -> Self {
        Self { db }
    }
}
