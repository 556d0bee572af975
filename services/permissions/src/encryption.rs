//! Encryption at rest: the keys at hand are those of the store, nothing that should be sealed is clear, and what an
//! older key sealed is sealed again with the current one.
//!
//! Keys are changed by putting a new one first in the list and starting again. From then on the new key seals, a task
//! converts the rest in small steps, and once nothing is left the old key may be taken out of the list.

use crate::{
    error::Error,
    signing,
    store::{
        self, StoreError,
        seals::{self, Which},
    },
};
use opentelemetry::metrics::Gauge;
use shared::{db::Db, seal::Sealer, server::Tasks, telemetry};
use std::{sync::LazyLock, time::Duration};
use uuid::Uuid;

const PLACE: &str = "head.seal";
const HEAD: &str = "head";
const PROOF: &[u8] = b"tollgate";
/// Rows converted by one step.
const STEP: i64 = 200;
/// Pause between looks for what other processes have sealed with another key since.
const EVERY: Duration = Duration::from_secs(10 * 60);

/// Columns of sealed bytes that are converted.
const COLUMNS: &[seals::Column] =
    &[store::incidents::ADDRESS, seals::Column { table: "sessions", column: "client", lookup: None }];
const SIGNING_KEYS: &str = "signing_keys";

static LEFT: LazyLock<Gauge<u64>> = LazyLock::new(|| {
    let meter = telemetry::meter();
    meter.u64_gauge("tollgate_sealed_with_old_keys").with_description("Rows that older keys sealed").build()
});

/// What is not sealed with the current key.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) current: String,
    pub(crate) left: Vec<(&'static str, i64)>,
}

impl Status {
    /// Whether only the current key is needed.
    pub(crate) fn is_complete(&self) -> bool {
        self.left.iter().all(|(_, rows)| *rows == 0)
    }
}

/// Opens the store's proof, or leaves one in a store that has none: found out before anything is sealed wrongly.
pub(crate) async fn prove(db: &Db, sealer: &Sealer) -> Result<(), Error> {
    let proof = seals::proof(db, &sealer.seal(PLACE, PROOF)).await?;
    sealer.open(PLACE, &proof)?;
    Ok(())
}

/// Seals what is clear: the names of versions that did not encrypt, and of the first run. Done before anything is
/// served; when it is interrupted, the next start goes on.
pub(crate) async fn close(db: &Db, sealer: &Sealer) -> Result<(), Error> {
    Ok(convert_names(db, sealer, Which::Clear).await?)
}

/// Starts the task that seals again what older keys sealed.
pub(crate) fn start(db: &Db, sealer: &Sealer, tasks: &Tasks) {
    let (db, sealer) = (db.clone(), sealer.clone());
    tasks.repeat(EVERY, move || {
        let (db, sealer) = (db.clone(), sealer.clone());
        async move {
            if let Err(error) = convert(&db, &sealer).await {
                tracing::warn!(%error, "not everything could be sealed with the current key; it is tried again");
            }
        }
    });
}

async fn convert(db: &Db, sealer: &Sealer) -> Result<(), Error> {
    convert_names(db, sealer, Which::Old).await?;
    for column in COLUMNS {
        let mut after = Uuid::nil();
        while let Some(last) = seals::convert(db, sealer, *column, after, STEP).await? {
            after = last;
        }
    }
    convert_signing_keys(db, sealer).await?;
    let status = status(db, sealer).await?;
    let left: i64 = status.left.iter().map(|(_, rows)| rows).sum();
    LEFT.record(u64::try_from(left).unwrap_or_default(), &[]);
    if status.left.iter().all(|(table, rows)| *rows == 0 || *table == HEAD) {
        renew(db, sealer).await?;
    }
    Ok(())
}

async fn convert_names(db: &Db, sealer: &Sealer, which: Which) -> Result<(), StoreError> {
    let mut after = Uuid::nil();
    while let Some(last) = seals::convert_names(db, sealer, which, after, STEP).await? {
        after = last;
    }
    Ok(())
}

/// There are only ever a few of them.
async fn convert_signing_keys(db: &Db, sealer: &Sealer) -> Result<(), Error> {
    for key in store::signing::all(db).await? {
        if !sealer.is_current(&key.sealed_seed) {
            let place = signing::place(&key.kid);
            let seed = sealer.open(&place, &key.sealed_seed)?;
            seals::put_seed(db, &key.kid, &key.sealed_seed, &sealer.seal(&place, &seed)).await?;
        }
    }
    Ok(())
}

/// Seals the proof with the current key, last of all: from here on the store opens without the older ones.
async fn renew(db: &Db, sealer: &Sealer) -> Result<(), Error> {
    let new = sealer.seal(PLACE, PROOF);
    let proof = seals::proof(db, &new).await?;
    if !sealer.is_current(&proof) {
        seals::renew_proof(db, &proof, &new).await?;
        tracing::info!(
            "everything is sealed with the current encryption key; older ones are not needed any more"
        );
    }
    Ok(())
}

/// What is left to be sealed with the current key.
pub(crate) async fn status(db: &Db, sealer: &Sealer) -> Result<Status, Error> {
    let mut left = vec![("users", seals::names_left(db, sealer).await?)];
    let columns = COLUMNS.iter().map(|column| (column.table, column.column));
    let others = [(SIGNING_KEYS, "seed"), ("answers", "answer")];
    for (table, column) in columns.chain(others) {
        left.push((table, seals::left(db, sealer, table, column).await?));
    }
    let proof = seals::proof(db, &sealer.seal(PLACE, PROOF)).await?;
    left.push((HEAD, i64::from(!sealer.is_current(&proof))));
    Ok(Status { current: sealer.current(), left })
}
