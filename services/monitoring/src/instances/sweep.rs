//! Gives up what was silent for too long, and forgets what is long over. Every replica does; the first one counts.

use super::give_up;
use crate::{
    moment::{at, since},
    store::{self, instances as rows},
};
use policy::Time;
use scaling::Lease;
use shared::db::Db;
use std::time::Duration;

/// Events, and instances that have ended, are kept for so long: what they cost is made of both.
const KEEP: Duration = Duration::from_secs(90 * 24 * 3_600);

/// One round.
///
/// # Errors
/// When the store is away.
pub(crate) async fn sweep(db: &Db, lease: Lease, now: Time) -> Result<(), sqlx::Error> {
    let before = |span: Duration| at(since(now).saturating_sub(span));
    store::timed(db, "sweep_instances", async {
        for instance in rows::silent(db, before(lease.lost)).await? {
            let id = instance.id.clone();
            if give_up(db, instance, now).await? {
                tracing::warn!(instance = id, "nothing is heard of an instance: it counts no longer");
            }
        }
        rows::forget(db, before(KEEP), before(KEEP)).await
    })
    .await
}
