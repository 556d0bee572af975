//! What older keys sealed is sealed again with the current one, a little at a time and beside the requests.
//!
//! Keys are changed as those of permissions are: a new one is put first in the list, and once nothing is left the old one
//! may be taken out of it.

use super::{batches, files, popularity};
use opentelemetry::{KeyValue, metrics::Gauge};
use shared::{
    claims,
    seal::rows::{self, Table, Vault},
    server::Tasks,
    telemetry,
};
use std::{sync::LazyLock, time::Duration};

/// All that is sealed.
const TABLES: [Table; 6] = [
    claims::TABLE,
    files::FILES,
    files::PIECES,
    batches::BATCHES,
    batches::BATCH_LINES,
    popularity::REQUESTS,
];
/// Rows of one step; pieces of files are large.
const STEP: u32 = 20;
/// Between two looks for what other gateways have sealed with another key since.
const EVERY: Duration = Duration::from_secs(10 * 60);

static BEHIND: LazyLock<Gauge<u64>> = LazyLock::new(|| {
    let meter = telemetry::meter();
    let gauge = meter.u64_gauge("tollgate_jobs_sealed_with_old_keys");
    gauge.with_description("1 while older keys sealed rows of the table").build()
});

pub(super) fn start(vault: Vault, tasks: &Tasks) {
    tasks.repeat(EVERY, move || {
        let vault = vault.clone();
        async move {
            match convert(&vault).await {
                Ok(true) => tracing::info!(
                    "jobs, batches, files and requests are sealed with the current encryption key; older ones are not needed"
                ),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "not everything could be sealed with the current key; it is tried again");
                }
            }
        }
    });
}

/// Returns whether the older keys are not needed any more, which they were until now.
async fn convert(vault: &Vault) -> Result<bool, sqlx::Error> {
    let mut behind = false;
    for table in TABLES {
        while table.convert(vault, STEP).await? > 0 {}
        let is_behind = table.is_behind(vault).await?;
        BEHIND.record(is_behind.into(), &[KeyValue::new("tollgate_table", table.name)]);
        behind |= is_behind;
    }
    Ok(!behind && rows::renew(vault).await?)
}
