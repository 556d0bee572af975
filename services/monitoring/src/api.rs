//! The calls of this service: translated in, decided by one domain function, translated out.
//!
//! [`alerts`], [`usage`], [`prices`], [`costs`], [`budgets`], [`instances`] and [`scaling`] serve them, [`keda`] what KEDA asks;
//! [`record`] reads and writes single records, [`course`] how they went, [`requests`] says why, [`query`] what is asked of
//! them, [`change`] what becomes of them, [`instance`] and [`policy`] are single
//! instances and policies, [`field`] the fields that all have. [`metrics`] serves what was measured,
//! [`health`] how everything is.

pub(crate) mod alerts;
mod budgets;
mod change;
mod costs;
mod course;
mod field;
mod health;
mod instance;
mod instances;
pub(crate) mod keda;
mod metrics;
mod policy;
mod prices;
mod query;
mod record;
mod requests;
mod scaling;
mod usage;

pub(crate) use instance::lease;

use crate::{health::Board, signals::Signals};
use pricing::gpu::Weights;
use shared::{
    db::Db,
    limits::{Gate, Thresholds},
};
use tokio_util::sync::CancellationToken;

/// Serves the services of the contract.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    db: Db,
    signals: Signals,
    board: Board,
    limits: Gate,
    stop: CancellationToken,
    weights: Weights,
}

impl Api {
    /// Serves from this database and what was measured; what is watched ends with `stop`.
    pub(crate) const fn new(
        db: Db,
        signals: Signals,
        board: Board,
        limits: Gate,
        stop: CancellationToken,
        weights: Weights,
    ) -> Self {
        Self { db, signals, board, limits, stop, weights }
    }

    /// Where warning and critical begin, as they are set now.
    fn thresholds(&self) -> Thresholds {
        self.limits.thresholds()
    }
}
