//! Alerts: rules are looked at ([`watch`], [`known`]), messages leave through the [`outbox`], and people ask and decide in
//! the files named after what they ask about. What is wrong since when, and who is told when, the crate `alerts` decides.

pub(crate) mod current;
pub(crate) mod kept;
mod known;
pub(crate) mod letter;
pub(crate) mod notify;
mod outbox;
mod past;
pub(crate) mod receivers;
pub(crate) mod routing;
pub(crate) mod rules;
pub(crate) mod silences;
mod watch;

use crate::{alerting::receivers::Receivers, config::Alerts, error::Error, place, signals::Signals};
use outbox::Outbox;
use shared::{
    db::Db,
    seal::{
        Sealer,
        rows::{self, Vault},
    },
    server::Tasks,
};
use std::{sync::Arc, time::Duration};

/// Between two looks for rows that older keys sealed.
const RESEAL: Duration = Duration::from_secs(600);

/// The alerts of an installation.
#[derive(Clone)]
pub(crate) struct Alerting {
    db: Db,
    outbox: Outbox,
    receivers: Receivers,
    signals: Signals,
    settings: Arc<Alerts>,
}

impl std::fmt::Debug for Alerting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Alerting").finish_non_exhaustive()
    }
}

impl Alerting {
    /// Looks at rules and carries messages from now on until the process ends.
    ///
    /// # Errors
    /// One sentence, when a file that the configuration names cannot be used.
    pub(crate) fn start(
        db: Db,
        sealer: Sealer,
        settings: &Alerts,
        signals: Signals,
        tasks: &Tasks,
    ) -> Result<Self, String> {
        let receivers = Receivers::open(settings)?;
        let vault = Vault { db: db.clone(), sealer };
        reseal(vault.clone(), tasks);
        let outbox = Outbox::start(vault, receivers.clone(), settings.attempts, tasks);
        watch::Watch::start(db.clone(), outbox.clone(), signals.clone(), settings.clone(), tasks);
        Ok(Self { db, outbox, receivers, signals, settings: Arc::new(settings.clone()) })
    }
}

/// Seals what older keys sealed with the current one.
fn reseal(vault: Vault, tasks: &Tasks) {
    tasks.repeat(RESEAL, move || {
        let vault = vault.clone();
        async move {
            let sealed = async {
                rows::prove(&vault).await?;
                while shared::claims::TABLE.convert(&vault, 20).await? > 0 {}
                rows::renew(&vault).await
            };
            if let Err(error) = sealed.await {
                tracing::warn!(%error, "messages are not all sealed with the current key; it is tried again");
            }
        }
    });
}

/// A page of rows and the token of the next one, of one row more than the page has.
fn page<T, P: place::Place>(
    filter: &str,
    mut rows: Vec<T>,
    size: u32,
    place: impl Fn(&T) -> P,
) -> (Vec<T>, String) {
    let more = rows.len() > size as usize;
    rows.truncate(size as usize);
    let next = rows.last().filter(|_| more).map(|last| place::token(filter, &place(last)));
    (rows, next.unwrap_or_default())
}

/// Something that is not there.
fn missing(what: &'static str, id: impl ToString) -> Error {
    Error::Missing { what, id: id.to_string() }
}
