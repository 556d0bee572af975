//! Encrypted columns: how names are closed and opened, and what is not yet sealed with the current key.
//!
//! Every value is converted by compare-and-set on what was read, so it does not matter who else writes meanwhile.

use super::StoreError;
use base64::{Engine, engine::general_purpose::STANDARD};
use policy::UserId;
use shared::{
    db::Db,
    on,
    seal::{SealError, Sealer},
};
use sqlx::QueryBuilder;
use uuid::Uuid;

const PROOF: &str = "UPDATE head SET seal = coalesce(seal, $1) WHERE id = 1 RETURNING seal";
const RENEW_PROOF: &str = "UPDATE head SET seal = $2 WHERE id = 1 AND seal = $1";
const CLEAR: &str = "SELECT id, email, display_name, seal FROM users WHERE id > $1 AND erased_at IS NULL \
    AND seal IS NULL ORDER BY id LIMIT $2";
const OLD: &str = "SELECT id, email, display_name, seal FROM users WHERE id > $1 AND erased_at IS NULL \
    AND coalesce(seal, '') <> $3 ORDER BY id LIMIT $2";
const NAMES_LEFT: &str = "SELECT count(*) FROM users WHERE erased_at IS NULL AND coalesce(seal, '') <> $1";
const PUT_SEED: &str = "UPDATE signing_keys SET seed = $3 WHERE kid = $1 AND seed = $2";
const NAME_PLACES: [&str; 2] = ["users.email", "users.display_name"];

/// The proof that is there, or this one from now on.
pub(crate) async fn proof(db: &Db, new: &[u8]) -> Result<Vec<u8>, StoreError> {
    Ok(on!(db, |pool| sqlx::query_scalar::<_, Vec<u8>>(PROOF).bind(new).fetch_one(pool).await)?)
}

/// Replaces the proof.
pub(crate) async fn renew_proof(db: &Db, old: &[u8], new: &[u8]) -> Result<(), StoreError> {
    on!(db, |pool| sqlx::query(RENEW_PROOF).bind(old).bind(new).execute(pool).await.map(drop))?;
    Ok(())
}

/// A user's e-mail address and display name as columns. Without `seal` they are clear.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) email: String,
    pub(crate) display_name: String,
    pub(crate) seal: Option<String>,
}

impl Names {
    pub(crate) fn close(sealer: Option<&Sealer>, id: UserId, email: &str, display_name: &str) -> Self {
        let close = |place: &str, text: &str| match sealer {
            Some(sealer) => STANDARD.encode(sealer.seal(&format!("{place} {id}"), text.as_bytes())),
            None => text.to_owned(),
        };
        let [email_place, name_place] = NAME_PLACES;
        Self {
            email: close(email_place, email),
            display_name: close(name_place, display_name),
            seal: sealer.map(Sealer::current),
        }
    }

    pub(crate) fn open(self, sealer: Option<&Sealer>, id: UserId) -> Result<(String, String), StoreError> {
        let sealed = self.seal.is_some();
        let [email_place, name_place] = NAME_PLACES;
        let email = open(sealer, sealed, email_place, id, self.email)?;
        Ok((email, open(sealer, sealed, name_place, id, self.display_name)?))
    }
}

/// A user's e-mail address alone.
pub(crate) fn open_email(
    sealer: &Sealer,
    id: UserId,
    email: String,
    seal: Option<&str>,
) -> Result<String, StoreError> {
    open(Some(sealer), seal.is_some(), NAME_PLACES[0], id, email)
}

fn open(
    sealer: Option<&Sealer>,
    sealed: bool,
    place: &str,
    id: UserId,
    text: String,
) -> Result<String, StoreError> {
    if !sealed {
        return Ok(text);
    }
    let bytes = STANDARD.decode(text).map_err(|_| SealError::Broken)?;
    Ok(sealer.ok_or(SealError::UnknownKey)?.open_text(&format!("{place} {id}"), &bytes)?)
}

/// What an e-mail address is found by: addresses are the same without regard to case.
pub(crate) fn email_lookup(sealer: Option<&Sealer>, email: &str) -> String {
    let email = email.to_lowercase();
    match sealer {
        Some(sealer) => hex::encode(sealer.index(NAME_PLACES[0], &email)),
        None => email,
    }
}

/// All that an address may be found by while keys are changed.
pub(crate) fn email_lookups(sealer: Option<&Sealer>, email: &str) -> Vec<String> {
    let email = email.to_lowercase();
    match sealer {
        Some(sealer) => sealer.indexes(NAME_PLACES[0], &email).iter().map(hex::encode).collect(),
        None => vec![email],
    }
}

#[derive(sqlx::FromRow)]
struct NamesRow {
    id: Uuid,
    email: String,
    display_name: String,
    seal: Option<String>,
}

/// Which names to convert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those that are clear.
    Clear,
    /// All that the current key did not seal.
    Old,
}

/// Seals the names of up to `limit` users after `after`. Returns the last of them, or `None` when there was none.
pub(crate) async fn convert_names(
    db: &Db,
    sealer: &Sealer,
    which: Which,
    after: Uuid,
    limit: i64,
) -> Result<Option<Uuid>, StoreError> {
    let current = sealer.current();
    let rows = on!(db, |pool| match which {
        Which::Clear => sqlx::query_as::<_, NamesRow>(CLEAR).bind(after).bind(limit).fetch_all(pool).await,
        Which::Old => {
            let query = sqlx::query_as::<_, NamesRow>(OLD).bind(after).bind(limit).bind(&current);
            query.fetch_all(pool).await
        }
    })?;
    let Some(last) = rows.last().map(|row| row.id) else { return Ok(None) };
    let mut converted = Vec::with_capacity(rows.len());
    for NamesRow { id, email, display_name, seal } in rows {
        let old = Names { email, display_name, seal };
        let (email, display_name) = old.clone().open(Some(sealer), UserId(id))?;
        let new = Names::close(Some(sealer), UserId(id), &email, &display_name);
        converted.push((id, old, new, email_lookup(Some(sealer), &email)));
    }
    on!(db, |pool| {
        let mut query = QueryBuilder::new(
            "UPDATE users SET email = v.column2, display_name = v.column3, \
            email_lower = CASE WHEN deleted_at IS NULL THEN v.column4 ELSE email_lower END, \
            seal = v.column5 FROM (",
        );
        query.push_values(&converted, |mut row, (id, old, new, lookup)| {
            row.push_bind(id).push_bind(&new.email).push_bind(&new.display_name).push_bind(lookup);
            row.push_bind(&new.seal).push_bind(&old.email).push_bind(&old.display_name);
        });
        query.push(
            ") AS v WHERE users.id = v.column1 AND users.email = v.column6 AND users.display_name = v.column7",
        );
        query.build().execute(pool).await.map(drop)
    })?;
    Ok(Some(last))
}

/// Users whose names the current key did not seal.
pub(crate) async fn names_left(db: &Db, sealer: &Sealer) -> Result<i64, StoreError> {
    let current = sealer.current();
    Ok(on!(db, |pool| sqlx::query_scalar(NAMES_LEFT).bind(&current).fetch_one(pool).await)?)
}

/// A column of sealed bytes in rows with a UUID, and perhaps the column that it is found by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
    pub(crate) lookup: Option<&'static str>,
}

impl Column {
    /// Where the value of a row belongs.
    pub(crate) fn place(&self, id: Uuid) -> String {
        format!("{}.{} {id}", self.table, self.column)
    }

    /// What the digests of this column are made for.
    pub(crate) fn domain(&self) -> String {
        format!("{}.{}", self.table, self.column)
    }
}

/// Seals up to `limit` values after `after` again that the current key did not seal. Returns the last of them.
pub(crate) async fn convert(
    db: &Db,
    sealer: &Sealer,
    column: Column,
    after: Uuid,
    limit: i64,
) -> Result<Option<Uuid>, StoreError> {
    let rows: Vec<(Uuid, Vec<u8>)> = on!(db, |pool| {
        let mut query = QueryBuilder::new("SELECT id, ");
        query.push(column.column).push(" FROM ").push(column.table).push(" WHERE id > ").push_bind(after);
        query.push(" AND length(").push(column.column).push(") > 0 AND substr(").push(column.column);
        query.push(", 2, 4) <> ").push_bind(name(sealer));
        query.push(" ORDER BY id LIMIT ").push_bind(limit);
        query.build_query_as().fetch_all(pool).await
    })?;
    let last = rows.last().map(|(id, _)| *id);
    for (id, old) in rows {
        let plain = sealer.open(&column.place(id), &old)?;
        let new = sealer.seal(&column.place(id), &plain);
        let lookup = column.lookup.zip(std::str::from_utf8(&plain).ok());
        on!(db, |pool| {
            let mut query = QueryBuilder::new("UPDATE ");
            query.push(column.table).push(" SET ").push(column.column).push(" = ").push_bind(&new);
            if let Some((by, text)) = lookup {
                query.push(", ").push(by).push(" = ").push_bind(sealer.index(&column.domain(), text));
            }
            query.push(" WHERE id = ").push_bind(id);
            query.push(" AND ").push(column.column).push(" = ").push_bind(&old);
            query.build().execute(pool).await.map(drop)
        })?;
    }
    Ok(last)
}

/// Values of a column that the current key did not seal.
pub(crate) async fn left(
    db: &Db,
    sealer: &Sealer,
    table: &'static str,
    column: &'static str,
) -> Result<i64, StoreError> {
    Ok(on!(db, |pool| {
        let mut query = QueryBuilder::new("SELECT count(*) FROM ");
        query.push(table).push(" WHERE length(").push(column).push(") > 0 AND substr(").push(column);
        query.push(", 2, 4) <> ").push_bind(name(sealer));
        query.build_query_scalar().fetch_one(pool).await
    })?)
}

/// The name of the current key as sealed bytes carry it, after their version.
fn name(sealer: &Sealer) -> Vec<u8> {
    hex::decode(sealer.current()).unwrap_or_default()
}

/// Replaces the sealed half of a signing key, unless it is another one by now.
pub(crate) async fn put_seed(db: &Db, kid: &str, old: &[u8], new: &[u8]) -> Result<(), StoreError> {
    on!(db, |pool| sqlx::query(PUT_SEED).bind(kid).bind(old).bind(new).execute(pool).await.map(drop))?;
    Ok(())
}
