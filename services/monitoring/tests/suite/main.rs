//! The service as its callers meet it: through its channel, behind its layers, on both engines.
//!
//! [`ledger`] starts the service, [`postgres`] a server for it, [`sample`] makes records; the other modules are
//! tests, named after the calls they are about.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

/// Runs the same functions on each engine; they take the service to test.
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let ledger = crate::ledger::Ledger::sqlite().await;
                super::$name(&ledger).await;
                ledger.end().await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let ledger = crate::ledger::Ledger::postgres().await;
                super::$name(&ledger).await;
                ledger.end().await;
            })+
        }
    };
}

mod alerting;
mod budgets;
mod burn;
mod correct;
mod delivery;
mod events;
mod export;
mod gpus;
mod health;
mod identify;
mod inbox;
mod instances;
mod interrupt;
mod ledger;
mod metrics;
mod mutations;
mod postgres;
mod prices;
mod record;
mod records;
mod replicas;
mod report;
mod restrict;
mod sample;
mod scalability;
mod series;
mod slow_readers;
mod statements;
mod turned;
mod why;
