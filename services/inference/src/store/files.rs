//! Files, in pieces. What is not ready is being written, and is dropped when it never becomes ready.

use crate::error::{Error, Kept, Thing};
use shared::{
    db::{Time, Tx},
    on, on_tx,
    seal::rows::{Table, Vault},
};
use sqlx::QueryBuilder;
use uuid::Uuid;

/// Files.
pub(super) const FILES: Table = Table { name: "files", key: ("id", None), columns: &[NAME] };
/// What is in them.
pub(super) const PIECES: Table =
    Table { name: "file_pieces", key: ("file", Some("number")), columns: &[BODY] };

const NAME: &str = "name";
const BODY: &str = "body";

const BEGIN: &str = "INSERT INTO files (id, owner, purpose, name, bytes, ready, created, expires, seal) \
     VALUES ($1, $2, $3, $4, 0, FALSE, $5, $6, $7)";

const PIECE: &str = "INSERT INTO file_pieces (file, number, body, seal) VALUES ($1, $2, $3, $4)";

const READY: &str = "UPDATE files SET ready = TRUE, bytes = $2, expires = $3 WHERE id = $1";

const SELECT: &str = "SELECT id, owner, purpose, name, bytes, created, expires FROM files WHERE ready";

const READ: &str = "SELECT body FROM file_pieces WHERE file = $1 AND number = $2";

const DELETE: &str = "DELETE FROM files WHERE id = $1 AND owner = $2 AND ready RETURNING id";

const USED: &str = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS number FROM files WHERE owner = $1";

const PURGE: &str = "DELETE FROM files WHERE id IN (SELECT id FROM files WHERE expires <= $1 ORDER BY expires LIMIT $2) \
     RETURNING id";

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) id: Uuid,
    pub(crate) owner: Uuid,
    pub(crate) purpose: String,
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) created: policy::Time,
    pub(crate) expires: policy::Time,
}

/// Which of an owner's files are listed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Filter<'a> {
    pub(crate) purpose: Option<&'a str>,
    /// Those after this one, in the order of the list.
    pub(crate) after: Option<Uuid>,
    /// The oldest first.
    pub(crate) ascending: bool,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    owner: Uuid,
    purpose: String,
    name: Vec<u8>,
    bytes: i64,
    created: Time,
    expires: Time,
}

#[derive(sqlx::FromRow)]
struct BodyRow {
    body: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct NumberRow {
    number: i64,
}

#[derive(sqlx::FromRow)]
struct IdRow {
    id: Uuid,
}

/// Enters a file that is going to be written by `until`.
pub(crate) async fn begin(vault: &Vault, file: &File, until: policy::Time) -> Result<(), Error> {
    let name = FILES.seal(&vault.sealer, NAME, (file.id, 0), file.name.as_bytes());
    on!(&vault.db, |pool| {
        sqlx::query(BEGIN)
            .bind(file.id)
            .bind(file.owner)
            .bind(file.purpose.as_str())
            .bind(name.as_slice())
            .bind(Time(file.created))
            .bind(Time(until))
            .bind(vault.sealer.current())
            .execute(pool)
            .await
            .map(drop)
    })?;
    Ok(())
}

/// Adds a piece, counted from 0.
pub(crate) async fn piece(vault: &Vault, file: Uuid, number: u32, body: &[u8]) -> Result<(), Error> {
    let number = i64::from(number);
    let body = PIECES.seal(&vault.sealer, BODY, (file, number), body);
    on!(&vault.db, |pool| {
        let query = sqlx::query(PIECE).bind(file).bind(number).bind(body.as_slice());
        query.bind(vault.sealer.current()).execute(pool).await.map(drop)
    })?;
    Ok(())
}

/// It is whole.
pub(crate) async fn ready(tx: &mut Tx, file: &File) -> Result<(), Error> {
    let bytes = i64::try_from(file.bytes).unwrap_or(i64::MAX);
    on_tx!(tx, |connection| {
        sqlx::query(READY)
            .bind(file.id)
            .bind(bytes)
            .bind(Time(file.expires))
            .execute(connection)
            .await
            .map(drop)
    })?;
    Ok(())
}

/// One of somebody's.
pub(crate) async fn get(
    vault: &Vault,
    id: Uuid,
    owner: Uuid,
    now: policy::Time,
) -> Result<Option<File>, Error> {
    let row = on!(&vault.db, |pool| {
        let mut select = QueryBuilder::new(SELECT);
        select.push(" AND id = ").push_bind(id);
        select.push(" AND owner = ").push_bind(owner);
        select.push(" AND expires > ").push_bind(Time(now));
        select.build_query_as::<Row>().fetch_optional(pool).await
    })?;
    Ok(row.map(|row| row.open(vault)).transpose()?)
}

/// Somebody's, in the order of the filter.
pub(crate) async fn page(
    vault: &Vault,
    owner: Uuid,
    filter: Filter<'_>,
    limit: u32,
    now: policy::Time,
) -> Result<Vec<File>, Error> {
    let rows = on!(&vault.db, |pool| {
        let mut select = QueryBuilder::new(SELECT);
        select.push(" AND owner = ").push_bind(owner);
        select.push(" AND expires > ").push_bind(Time(now));
        if let Some(purpose) = filter.purpose {
            select.push(" AND purpose = ").push_bind(purpose);
        }
        if let Some(after) = filter.after {
            select.push(if filter.ascending { " AND id > " } else { " AND id < " }).push_bind(after);
        }
        select.push(if filter.ascending { " ORDER BY id LIMIT " } else { " ORDER BY id DESC LIMIT " });
        select.push_bind(i64::from(limit));
        select.build_query_as::<Row>().fetch_all(pool).await
    })?;
    Ok(rows.into_iter().map(|row| row.open(vault)).collect::<Result<_, _>>()?)
}

/// A piece of a file; nothing after the last one.
pub(crate) async fn read(vault: &Vault, file: Uuid, number: u32) -> Result<Option<Vec<u8>>, Error> {
    let number = i64::from(number);
    let row = on!(&vault.db, |pool| {
        sqlx::query_as::<_, BodyRow>(READ).bind(file).bind(number).fetch_optional(pool).await
    })?;
    Ok(row.map(|row| PIECES.open(&vault.sealer, BODY, (file, number), &row.body)).transpose()?)
}

/// Deletes one of somebody's.
pub(crate) async fn delete(vault: &Vault, id: Uuid, owner: Uuid) -> Result<(), Error> {
    let row = on!(&vault.db, |pool| {
        sqlx::query_as::<_, IdRow>(DELETE).bind(id).bind(owner).fetch_optional(pool).await
    })?;
    let missing = || Kept::missing(Thing::File, crate::files::name(id));
    Ok(row.map(|row| debug_assert_eq!(row.id, id)).ok_or_else(missing)?)
}

/// Bytes of somebody's files.
pub(crate) async fn used(vault: &Vault, owner: Uuid) -> Result<u64, Error> {
    let row = on!(&vault.db, |pool| sqlx::query_as::<_, NumberRow>(USED).bind(owner).fetch_one(pool).await)?;
    Ok(u64::try_from(row.number).unwrap_or(0))
}

/// Deletes up to `most` of those whose time is over. Returns how many.
pub(crate) async fn purge(vault: &Vault, most: u32, now: policy::Time) -> Result<usize, Error> {
    let rows = on!(&vault.db, |pool| {
        sqlx::query_as::<_, IdRow>(PURGE).bind(Time(now)).bind(i64::from(most)).fetch_all(pool).await
    })?;
    Ok(rows.len())
}

impl Row {
    fn open(self, vault: &Vault) -> Result<File, sqlx::Error> {
        Ok(File {
            id: self.id,
            owner: self.owner,
            purpose: self.purpose,
            name: FILES.open_text(&vault.sealer, NAME, (self.id, 0), &self.name)?,
            bytes: u64::try_from(self.bytes).unwrap_or(0),
            created: self.created.0,
            expires: self.expires.0,
        })
    }
}
