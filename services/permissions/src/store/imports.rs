//! The table of how far imports have come.

use super::StoreError;
use crate::imports::{Failure, Kind, Progress};
use shared::{
    db::{Time, Tx},
    on_tx,
};
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct ImportRow {
    id: Uuid,
    kind: String,
    next_offset: i64,
    created: i64,
    existing: i64,
    failed: i64,
    failures: Vec<u8>,
    updated_at: Time,
}

const FIND: &str = "SELECT id, kind, next_offset, created, existing, failed, failures, updated_at FROM imports \
    WHERE actor = $1 AND id = $2";
const PUT: &str = "INSERT INTO imports (actor, id, kind, next_offset, created, existing, failed, failures, updated_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (actor, id) DO UPDATE SET \
    next_offset = excluded.next_offset, created = excluded.created, existing = excluded.existing, \
    failed = excluded.failed, failures = excluded.failures, updated_at = excluded.updated_at";

pub(crate) async fn find(tx: &mut Tx, actor: &str, id: Uuid) -> Result<Option<Progress>, StoreError> {
    let row = on_tx!(tx, |on| {
        sqlx::query_as::<_, ImportRow>(FIND).bind(actor).bind(id).fetch_optional(on).await
    })?;
    row.map(Progress::try_from).transpose()
}

pub(crate) async fn put(tx: &mut Tx, actor: &str, progress: &Progress) -> Result<(), StoreError> {
    let failures = serde_json::to_vec(&progress.failures)?;
    on_tx!(tx, |on| sqlx::query(PUT)
        .bind(actor)
        .bind(progress.id)
        .bind(progress.kind.as_str())
        .bind(number(progress.next))
        .bind(number(progress.created))
        .bind(number(progress.existing))
        .bind(number(progress.failed))
        .bind(failures)
        .bind(Time(progress.at))
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

impl TryFrom<ImportRow> for Progress {
    type Error = StoreError;

    fn try_from(row: ImportRow) -> Result<Self, StoreError> {
        let kind = [Kind::Grants, Kind::Users].into_iter().find(|kind| kind.as_str() == row.kind);
        Ok(Self {
            id: row.id,
            kind: kind.ok_or(StoreError::Corrupt("imports"))?,
            next: row.next_offset.unsigned_abs(),
            created: row.created.unsigned_abs(),
            existing: row.existing.unsigned_abs(),
            failed: row.failed.unsigned_abs(),
            failures: serde_json::from_slice::<Vec<Failure>>(&row.failures)?,
            at: row.updated_at.0,
        })
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
