//! The calls of this service: translated in, decided by one domain function, translated out.
//!
//! [`usage`], [`prices`], [`budgets`], [`instances`] and [`scaling`] serve them, [`keda`] what KEDA asks; [`record`] reads and writes
//! single records, [`query`] what is asked of them, [`change`] what becomes of them, [`instance`] and [`policy`] are single
//! instances and policies, [`field`] the fields that all have.

mod budgets;
mod change;
mod field;
mod instance;
mod instances;
pub(crate) mod keda;
mod policy;
mod prices;
mod query;
mod record;
mod scaling;
mod usage;

pub(crate) use instance::lease;

use shared::db::Db;
use tokio_util::sync::CancellationToken;

/// Serves the services of the contract.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    db: Db,
    stop: CancellationToken,
}

impl Api {
    /// Serves from this database; what is watched ends with `stop`.
    pub(crate) fn new(db: Db, stop: CancellationToken) -> Self {
        Self { db, stop }
    }
}
