//! The table of incidents. Addresses are encrypted in it and found by a keyed digest.

use super::{StoreError, seals::Column};
use crate::incidents::{Bucket, Filter, Incident};
use policy::KeyId;
use shared::{
    db::{Db, Time},
    on,
    seal::Sealer,
    security::{self, Kind, Seen},
};
use sqlx::QueryBuilder;
use std::{net::IpAddr, time::Duration};
use uuid::Uuid;

/// Where addresses are.
pub(crate) const ADDRESS: Column =
    Column { table: "incidents", column: "address", lookup: Some("address_index") };

/// Rows inserted by one statement; SQLite takes 32,766 parameters.
const ROWS: usize = 1_000;
/// Longest method or detail that is kept, in bytes.
const LONGEST: usize = 200;

#[derive(sqlx::FromRow)]
struct IncidentRow {
    id: Uuid,
    kind: String,
    actor: String,
    key_id: Option<Uuid>,
    address: Option<Vec<u8>>,
    method: String,
    detail: String,
    count: i64,
    first_at: Time,
    last_at: Time,
}

impl IncidentRow {
    fn open(self, sealer: &Sealer) -> Result<Incident, StoreError> {
        let open = |sealed: &Vec<u8>| sealer.open_text(&ADDRESS.place(self.id), sealed);
        let address: Option<IpAddr> =
            self.address.as_ref().map(open).transpose()?.and_then(|text| text.parse().ok());
        let incident = security::Incident {
            kind: Kind::from_word(&self.kind).unwrap_or(Kind::Other),
            actor: self.actor,
            key: self.key_id.map(KeyId),
            address,
            method: self.method,
            detail: self.detail,
        };
        let count = u64::try_from(self.count).unwrap_or_default();
        let seen = Seen { incident, count, first: self.first_at.0, last: self.last_at.0 };
        Ok(Incident { id: self.id, seen })
    }
}

const INSERT: &str = "INSERT INTO incidents (id, kind, actor, key_id, address, address_index, method, detail, count, \
    first_at, last_at) ";
const SELECT: &str = "SELECT id, kind, actor, key_id, address, method, detail, count, first_at, last_at \
    FROM incidents WHERE first_at >= ";
const FORGET: &str =
    "DELETE FROM incidents WHERE id IN (SELECT id FROM incidents WHERE first_at <= $1 LIMIT 1000)";
const DUE: &str = "SELECT count(*) FROM incidents WHERE first_at <= $1";

/// Keeps incidents.
pub(crate) async fn insert(db: &Db, sealer: &Sealer, incidents: &[Seen]) -> Result<(), StoreError> {
    for incidents in incidents.chunks(ROWS) {
        on!(db, |pool| {
            let mut query = QueryBuilder::new(INSERT);
            query.push_values(incidents, |mut row, Seen { incident, count, first, last }| {
                let id = Uuid::now_v7();
                let address = incident.address.map(|address| address.to_canonical().to_string());
                row.push_bind(id)
                    .push_bind(incident.kind.as_str())
                    .push_bind(cut(&incident.actor))
                    .push_bind(incident.key.map(KeyId::uuid))
                    .push_bind(address.as_ref().map(|text| sealer.seal(&ADDRESS.place(id), text.as_bytes())))
                    .push_bind(address.as_ref().map(|text| sealer.index(&ADDRESS.domain(), text)))
                    .push_bind(cut(&incident.method))
                    .push_bind(cut(&incident.detail))
                    .push_bind(i64::try_from(*count).unwrap_or(i64::MAX))
                    .push_bind(Time(*first))
                    .push_bind(Time(*last));
            });
            query.build().execute(pool).await.map(drop)
        })?;
    }
    Ok(())
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST)]
}

macro_rules! narrowed {
    ($query:expr, $sealer:expr, $filter:expr) => {
        $query.push_bind(Time($filter.from)).push(" AND first_at < ").push_bind(Time($filter.to));
        if let Some(kind) = $filter.kind {
            $query.push(" AND kind = ").push_bind(kind.as_str());
        }
        if let Some(actor) = &$filter.actor {
            $query.push(" AND actor = ").push_bind(actor).push(" AND actor <> ''");
        }
        if let Some(address) = $filter.address {
            let text = address.to_canonical().to_string();
            $query.push(" AND address_index IN (");
            let mut list = $query.separated(", ");
            for digest in $sealer.indexes(&ADDRESS.domain(), &text) {
                list.push_bind(digest);
            }
            $query.push(")");
        }
    };
}

/// The incidents before `before` that pass the filter, newest first.
pub(crate) async fn list(
    db: &Db,
    sealer: &Sealer,
    filter: &Filter,
    before: Option<(policy::Time, Uuid)>,
    limit: i64,
) -> Result<Vec<Incident>, StoreError> {
    let rows = on!(db, |pool| {
        let mut query = QueryBuilder::new(SELECT);
        narrowed!(query, sealer, filter);
        if let Some((time, id)) = before {
            query.push(" AND (first_at, id) < (").push_bind(Time(time)).push(", ").push_bind(id).push(")");
        }
        query.push(" ORDER BY first_at DESC, id DESC LIMIT ").push_bind(limit);
        query.build_query_as::<IncidentRow>().fetch_all(pool).await
    })?;
    rows.into_iter().map(|row| row.open(sealer)).collect()
}

/// How many incidents of each kind began in each bucket.
pub(crate) async fn count(
    db: &Db,
    sealer: &Sealer,
    filter: &Filter,
    width: Duration,
) -> Result<Vec<Bucket>, StoreError> {
    // The engines count time differently, and only this query calculates with it.
    let micros = match db {
        Db::Postgres(_) => "CAST(EXTRACT(EPOCH FROM first_at) * 1000000 AS bigint)",
        Db::Sqlite(_) => "first_at",
    };
    let width = i64::try_from(width.as_micros()).unwrap_or(i64::MAX).max(1);
    let rows: Vec<(i64, String, i64)> = on!(db, |pool| {
        let mut query = QueryBuilder::new("SELECT (");
        query.push(micros).push(" - ").push_bind(filter.from.micros()).push(") / ").push_bind(width);
        query.push(" AS bucket, kind, CAST(sum(count) AS bigint) FROM incidents WHERE first_at >= ");
        narrowed!(query, sealer, filter);
        query.push(" GROUP BY bucket, kind ORDER BY bucket, kind");
        query.build_query_as().fetch_all(pool).await
    })?;
    let start = |number: i64| policy::Time(filter.from.micros().saturating_add(number.saturating_mul(width)));
    let bucket = |(number, kind, count): (i64, String, i64)| Bucket {
        start: start(number),
        kind: Kind::from_word(&kind).unwrap_or(Kind::Other),
        count,
    };
    Ok(rows.into_iter().map(bucket).collect())
}

/// Deletes some of what happened up to `until`. Returns how many.
pub(crate) async fn forget(db: &Db, until: policy::Time) -> Result<u64, StoreError> {
    Ok(on!(db, |pool| {
        sqlx::query(FORGET).bind(Time(until)).execute(pool).await.map(|done| done.rows_affected())
    })?)
}

/// How many happened up to `until`.
pub(crate) async fn due(db: &Db, until: policy::Time) -> Result<i64, StoreError> {
    Ok(on!(db, |pool| sqlx::query_scalar(DUE).bind(Time(until)).fetch_one(pool).await)?)
}
