//! The calls of this service: translated in, decided by one domain function, translated out.
//!
//! [`usage`] serves them; [`record`] reads and writes single records, [`query`] what is asked of them, [`field`] the
//! fields that both have.

mod field;
mod query;
mod record;
mod usage;

use shared::db::Db;

/// Serves `UsageService`.
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
