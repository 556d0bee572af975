//! Who holds a copy of the policy, and how far it is. Times are the store's own, so that nobody's clock matters.

use super::{StoreError, events};
use crate::replicas::{Gateway, Kind, Report, Seen};
use policy::{Epoch, Revision};
use shared::{
    db::{Db, Time},
    on,
};
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    kind: String,
    name: String,
    epoch: Uuid,
    revision: i64,
    seen_at: Time,
    sequence: i64,
    gateway: Option<Vec<u8>>,
    now: Time,
}

const CLUSTER: &str = "SELECT cluster FROM head WHERE id = 1";
const REMOVE: &str = "DELETE FROM replicas WHERE id = $1";

/// One query per engine: only the name of the clock differs.
struct Queries {
    report: &'static str,
    list: &'static str,
    forget: &'static str,
}

const POSTGRES: Queries = Queries {
    report: "INSERT INTO replicas (id, kind, name, epoch, revision, sequence, gateway, seen_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, now()) \
        ON CONFLICT (id) DO UPDATE SET epoch = $4, revision = $5, sequence = $6, gateway = $7, seen_at = now() \
        WHERE replicas.sequence <= $6",
    list: "SELECT id, kind, name, epoch, revision, seen_at, sequence, gateway, now() AS now FROM replicas \
        ORDER BY name, id",
    forget: "DELETE FROM replicas WHERE seen_at < now() - interval '1 hour'",
};

const SQLITE: Queries = Queries {
    report: "INSERT INTO replicas (id, kind, name, epoch, revision, sequence, gateway, seen_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, CAST(unixepoch('subsec') * 1000000 AS INTEGER)) \
        ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, revision = excluded.revision, \
        sequence = excluded.sequence, gateway = excluded.gateway, seen_at = excluded.seen_at \
        WHERE replicas.sequence <= excluded.sequence",
    list: "SELECT id, kind, name, epoch, revision, seen_at, sequence, gateway, \
        CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS now FROM replicas ORDER BY name, id",
    forget: "DELETE FROM replicas WHERE seen_at < (unixepoch() - 3600) * 1000000",
};

fn queries(db: &Db) -> &'static Queries {
    match db {
        Db::Postgres(_) => &POSTGRES,
        Db::Sqlite(_) => &SQLITE,
    }
}

/// The id of the installation.
pub(crate) async fn cluster(db: &Db) -> Result<Uuid, StoreError> {
    Ok(on!(db, |pool| sqlx::query_scalar::<_, Uuid>(CLUSTER).fetch_one(pool).await)?)
}

/// Notes how far a replica is, now.
pub(crate) async fn report(db: &Db, report: &Report) -> Result<(), StoreError> {
    let (query, place) = (queries(db).report, report.place);
    let gateway = report.gateway.as_ref();
    on!(db, |pool| {
        sqlx::query(query)
            .bind(report.id)
            .bind(report.kind.as_str())
            .bind(&report.name)
            .bind(place.epoch.uuid())
            .bind(events::number(place.revision))
            .bind(gateway.map_or(0, |gateway| gateway.sequence))
            .bind(gateway.map(|gateway| gateway.said.as_slice()))
            .execute(pool)
            .await
            .map(drop)
    })?;
    Ok(())
}

/// Forgets a replica that has ended.
pub(crate) async fn remove(db: &Db, id: Uuid) -> Result<(), StoreError> {
    on!(db, |pool| sqlx::query(REMOVE).bind(id).execute(pool).await.map(drop))?;
    Ok(())
}

/// Forgets replicas that have not been heard of for an hour.
pub(crate) async fn forget(db: &Db) -> Result<(), StoreError> {
    on!(db, |pool| sqlx::query(queries(db).forget).execute(pool).await.map(drop))?;
    Ok(())
}

/// Every replica that is known, by name.
pub(crate) async fn list(db: &Db) -> Result<Vec<Seen>, StoreError> {
    let query = queries(db).list;
    let rows = on!(db, |pool| sqlx::query_as::<_, Row>(query).fetch_all(pool).await)?;
    rows.into_iter().map(Seen::try_from).collect()
}

impl TryFrom<Row> for Seen {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let place = crate::token::Token {
            epoch: Epoch(row.epoch),
            revision: u64::try_from(row.revision)
                .map(Revision)
                .map_err(|_| StoreError::Corrupt("replicas"))?,
        };
        let kind = Kind::from_word(&row.kind).ok_or(StoreError::Corrupt("replicas"))?;
        let gateway = row.gateway.map(|said| Gateway { sequence: row.sequence, said });
        let report = Report { id: row.id, kind, name: row.name, place, gateway };
        Ok(Self { report, at: row.seen_at.0, now: row.now.0 })
    }
}
