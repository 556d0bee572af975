//! Tables whose rows say in a column `seal` which key sealed them. What older keys sealed is found by it and sealed again,
//! and the table `seals` holds a proof of the keys that are needed to read the others.
//!
//! Every row is converted by compare-and-set on what was read, so it does not matter who else writes meanwhile.

use super::{SealError, Sealer};
use crate::{
    db::{Db, Tx},
    on,
};
use sqlx::{QueryBuilder, Row as _};
use uuid::Uuid;

const PROOF: &str = "INSERT INTO seals (id, proof) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET proof = seals.proof \
     RETURNING proof";
const RENEW_PROOF: &str = "UPDATE seals SET proof = $2 WHERE id = 1 AND proof = $1";
const PLACE: &str = "seals.proof";
const TEXT: &[u8] = b"tollgate";

/// A database with sealed columns, and the keys to them.
#[derive(Debug, Clone)]
pub struct Vault {
    /// The database.
    pub db: Db,
    /// The keys.
    pub sealer: Sealer,
}

/// A table with sealed columns.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The column with the id, and the one with the number where rows have one besides.
    pub key: (&'static str, Option<&'static str>),
    /// The sealed columns; their bytes may be empty or NULL, which is not sealed.
    pub columns: &'static [&'static str],
}

struct Found {
    id: Uuid,
    number: i64,
    seal: String,
    values: Vec<Option<Vec<u8>>>,
}

impl Vault {
    /// Begins a write transaction.
    ///
    /// # Errors
    /// As [`Db::begin`].
    pub async fn begin(&self) -> Result<Tx, sqlx::Error> {
        self.db.begin().await
    }
}

impl Table {
    /// Seals a value of a row for its place.
    #[must_use]
    pub fn seal(&self, sealer: &Sealer, column: &str, (id, number): (Uuid, i64), plain: &[u8]) -> Vec<u8> {
        sealer.seal(&self.place(column, id, number), plain)
    }

    /// Opens a value of a row.
    ///
    /// # Errors
    /// [`sqlx::Error::Decode`] when no key fits, or the value is not of this place.
    pub fn open(
        &self,
        sealer: &Sealer,
        column: &str,
        (id, number): (Uuid, i64),
        sealed: &[u8],
    ) -> Result<Vec<u8>, sqlx::Error> {
        if sealed.is_empty() {
            return Ok(Vec::new());
        }
        sealer.open(&self.place(column, id, number), sealed).map_err(unreadable)
    }

    /// Opens a text of a row.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub fn open_text(
        &self,
        sealer: &Sealer,
        column: &str,
        key: (Uuid, i64),
        sealed: &[u8],
    ) -> Result<String, sqlx::Error> {
        let bytes = self.open(sealer, column, key, sealed)?;
        String::from_utf8(bytes).map_err(|_| unreadable(SealError::Broken))
    }

    fn place(&self, column: &str, id: Uuid, number: i64) -> String {
        format!("{}.{column} {id} {number}", self.name)
    }

    /// Seals up to `limit` rows again that the current key did not seal. Returns how many it found.
    ///
    /// # Errors
    /// When the database is away, or a value cannot be opened.
    pub async fn convert(&self, vault: &Vault, limit: u32) -> Result<usize, sqlx::Error> {
        let current = vault.sealer.current();
        let rows = self.old(&vault.db, &current, limit).await?;
        for row in &rows {
            let mut new = Vec::with_capacity(row.values.len());
            for (column, value) in self.columns.iter().zip(&row.values) {
                new.push(match value {
                    Some(sealed) if !sealed.is_empty() => {
                        let key = (row.id, row.number);
                        let plain = self.open(&vault.sealer, column, key, sealed)?;
                        Some(self.seal(&vault.sealer, column, key, &plain))
                    }
                    nothing => nothing.clone(),
                });
            }
            self.put(&vault.db, row, &new, &current).await?;
        }
        Ok(rows.len())
    }

    async fn old(&self, db: &Db, current: &str, limit: u32) -> Result<Vec<Found>, sqlx::Error> {
        // Each side by itself is a walk along the index, for any planner.
        let before = self.beside(db, "<", current, limit).await?;
        if before.is_empty() { self.beside(db, ">", current, limit).await } else { Ok(before) }
    }

    async fn beside(
        &self,
        db: &Db,
        side: &'static str,
        current: &str,
        limit: u32,
    ) -> Result<Vec<Found>, sqlx::Error> {
        on!(db, |pool| {
            let mut select = QueryBuilder::new("SELECT ");
            select.push(self.key.0).push(", ").push(self.key.1.unwrap_or("CAST(0 AS BIGINT)")).push(", seal");
            for column in self.columns {
                select.push(", ").push(column);
            }
            select.push(" FROM ").push(self.name);
            select.push(" WHERE seal ").push(side).push(" ").push_bind(current);
            select.push(" ORDER BY seal LIMIT ").push_bind(i64::from(limit));
            let rows = select.build().fetch_all(pool).await?;
            let read = rows.iter().map(|row| {
                let values = (0..self.columns.len()).map(|at| row.try_get(3 + at));
                let values = values.collect::<Result<_, sqlx::Error>>()?;
                Ok(Found { id: row.try_get(0)?, number: row.try_get(1)?, seal: row.try_get(2)?, values })
            });
            read.collect()
        })
    }

    async fn put(
        &self,
        db: &Db,
        old: &Found,
        new: &[Option<Vec<u8>>],
        current: &str,
    ) -> Result<(), sqlx::Error> {
        on!(db, |pool| {
            let mut update = QueryBuilder::new("UPDATE ");
            update.push(self.name).push(" SET seal = ").push_bind(current);
            for (column, value) in self.columns.iter().zip(new) {
                update.push(", ").push(column).push(" = ").push_bind(value);
            }
            update.push(" WHERE ").push(self.key.0).push(" = ").push_bind(old.id);
            if let Some(number) = self.key.1 {
                update.push(" AND ").push(number).push(" = ").push_bind(old.number);
            }
            update.push(" AND seal = ").push_bind(&old.seal);
            for (column, value) in self.columns.iter().zip(&old.values) {
                update.push(" AND ").push(column).push(" IS NOT DISTINCT FROM ").push_bind(value);
            }
            update.build().execute(pool).await.map(drop)
        })
    }

    /// Whether there are rows that the current key did not seal.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn is_behind(&self, vault: &Vault) -> Result<bool, sqlx::Error> {
        let current = vault.sealer.current();
        let (first, last): (Option<String>, Option<String>) = on!(&vault.db, |pool| {
            let mut ends = QueryBuilder::new("SELECT (SELECT MIN(seal) FROM ");
            ends.push(self.name).push("), (SELECT MAX(seal) FROM ").push(self.name).push(")");
            ends.build_query_as().fetch_one(pool).await
        })?;
        Ok(first.into_iter().chain(last).any(|seal| seal != current))
    }
}

/// Opens the proof of the database, or leaves one where there is none: found out before anything is sealed wrongly.
///
/// # Errors
/// [`sqlx::Error::Decode`] when none of the keys is the one that is needed; else when the database is away.
pub async fn prove(vault: &Vault) -> Result<(), sqlx::Error> {
    vault.sealer.open(PLACE, &proof(vault).await?).map(drop).map_err(unreadable)
}

/// Seals the proof with the current key, last of all: from here on the database opens without the older ones. Returns
/// whether that was to be done.
///
/// # Errors
/// When the database is away.
pub async fn renew(vault: &Vault) -> Result<bool, sqlx::Error> {
    let old = proof(vault).await?;
    if vault.sealer.is_current(&old) {
        return Ok(false);
    }
    let new = vault.sealer.seal(PLACE, TEXT);
    on!(&vault.db, |pool| sqlx::query(RENEW_PROOF).bind(&old).bind(&new).execute(pool).await.map(drop))?;
    Ok(true)
}

async fn proof(vault: &Vault) -> Result<Vec<u8>, sqlx::Error> {
    let new = vault.sealer.seal(PLACE, TEXT);
    on!(&vault.db, |pool| sqlx::query_scalar(PROOF).bind(&new).fetch_one(pool).await)
}

fn unreadable(error: SealError) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
