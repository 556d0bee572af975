//! Events on their way into the table: many by one statement, which each engine takes best in a shape of its own.

use super::{StoreError, number};
use crate::write::Origin;
use policy::Revision;
use serde_json::Value;
use shared::{
    db::{Held, Time, Tx},
    event::{Event, Link},
};
use sqlx::{Postgres, QueryBuilder, Sqlite, types::Json};
use uuid::Uuid;

/// A parameter for each column, not for each value: PostgreSQL would take as long to read those as to store the rows.
const POSTGRES: &str = "INSERT INTO events (revision, ordinal, kind, id, action, before, after, change, actor, key_id, \
    request_id, reason, occurred_at, link) \
    SELECT $1, ordinal, kind, id, action, before::json, after::json, change::json, $2, $3, $4, $5, $6, link \
    FROM unnest($7::bigint[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], \
        $14::bytea[]) AS event (ordinal, kind, id, action, before, after, change, link)";
const SQLITE: &str = "INSERT INTO events (revision, ordinal, kind, id, action, before, after, change, actor, key_id, \
    request_id, reason, occurred_at, link) ";

/// Inserts events of one transaction, each with its link.
pub(super) async fn insert(
    tx: &mut Tx,
    revision: Revision,
    origin: &Origin,
    rows: &[(Event, Link)],
) -> Result<(), StoreError> {
    let common = Common { revision, origin };
    match tx {
        Tx::Postgres(on) => common.postgres(on, rows).await?,
        Tx::Sqlite(on) => common.sqlite(on, rows).await?,
    }
    Ok(())
}

/// What is the same for all events of a transaction.
#[derive(Clone, Copy)]
struct Common<'a> {
    revision: Revision,
    origin: &'a Origin,
}

impl Common<'_> {
    fn key(self) -> Option<Uuid> {
        self.origin.key().map(policy::KeyId::uuid)
    }

    async fn postgres(self, on: &mut Held<Postgres>, rows: &[(Event, Link)]) -> Result<(), sqlx::Error> {
        fn all<'a, T>(rows: &'a [(Event, Link)], part: impl Fn(&'a (Event, Link)) -> T) -> Vec<T> {
            rows.iter().map(part).collect()
        }
        fn json(value: Option<&Value>) -> Option<String> {
            value.map(Value::to_string)
        }
        sqlx::query(POSTGRES)
            .bind(number(self.revision))
            .bind(self.origin.name())
            .bind(self.key())
            .bind(&self.origin.request_id)
            .bind(&self.origin.reason)
            .bind(Time(self.origin.now))
            .bind(all(rows, |(event, _)| i64::from(event.ordinal)))
            .bind(all(rows, |(event, _)| event.kind.as_str()))
            .bind(all(rows, |(event, _)| event.id.as_str()))
            .bind(all(rows, |(event, _)| event.action.as_str()))
            .bind(all(rows, |(event, _)| json(event.before.as_ref())))
            .bind(all(rows, |(event, _)| json(event.after.as_ref())))
            .bind(all(rows, |(event, _)| json(event.change.as_ref())))
            .bind(all(rows, |(_, link)| &link.0[..]))
            .execute(on)
            .await
            .map(drop)
    }

    async fn sqlite(self, on: &mut Held<Sqlite>, rows: &[(Event, Link)]) -> Result<(), sqlx::Error> {
        let mut query = QueryBuilder::new(SQLITE);
        query.push_values(rows, |mut row, (event, link)| {
            row.push_bind(number(self.revision))
                .push_bind(i64::from(event.ordinal))
                .push_bind(&event.kind)
                .push_bind(&event.id)
                .push_bind(&event.action)
                .push_bind(event.before.as_ref().map(Json))
                .push_bind(event.after.as_ref().map(Json))
                .push_bind(event.change.as_ref().map(Json))
                .push_bind(self.origin.name())
                .push_bind(self.key())
                .push_bind(&self.origin.request_id)
                .push_bind(&self.origin.reason)
                .push_bind(Time(self.origin.now))
                .push_bind(&link.0[..]);
        });
        query.build().execute(on).await.map(drop)
    }
}
