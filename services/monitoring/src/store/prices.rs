//! The price list. Versions are added and read, never changed.

use crate::prices::{Position, PriceVersion, Query};
use policy::UserId;
use pricing::{History, Money, Price, Version};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

const COLUMNS: &str =
    "price_id, model, input, cache_read, output, effective_from, source, reason, created_by, created_time";

#[derive(sqlx::FromRow)]
struct Row {
    price_id: Uuid,
    model: String,
    input: Option<i64>,
    cache_read: Option<i64>,
    output: Option<i64>,
    effective_from: Time,
    source: String,
    reason: String,
    created_by: Uuid,
    created_time: Time,
}

#[derive(sqlx::FromRow)]
struct ImportRow {
    body_hash: Vec<u8>,
    imported: i64,
    unchanged: i64,
}

/// What a model costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CurrentPrice {
    pub(crate) model: String,
    pub(crate) price: Price,
}

/// What an import came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) id: Uuid,
    pub(crate) body_hash: [u8; 32],
    pub(crate) imported: usize,
    pub(crate) unchanged: usize,
    pub(crate) created: policy::Time,
}

/// The versions of these models' prices.
pub(crate) async fn histories(
    tx: &mut Tx,
    models: &BTreeSet<&str>,
) -> Result<HashMap<String, History<Uuid>>, sqlx::Error> {
    let mut versions: HashMap<String, Vec<Version<Uuid>>> = HashMap::new();
    // A list of values has an end: SQLite takes 32,766.
    let models: Vec<&str> = models.iter().copied().collect();
    for part in models.chunks(1_000) {
        let rows = on_tx!(tx, |connection| {
            let mut select = QueryBuilder::new("SELECT ");
            select.push(COLUMNS).push(" FROM prices WHERE model IN (");
            let mut list = select.separated(", ");
            for model in part {
                list.push_bind(*model);
            }
            select.push(")");
            select.build_query_as::<Row>().persistent(false).fetch_all(&mut *connection).await
        })?;
        for row in rows {
            let read = PriceVersion::from(row);
            let version =
                Version { id: read.id, from: read.from.0, written: read.created.0, price: read.price };
            versions.entry(read.model).or_default().push(version);
        }
    }
    Ok(versions.into_iter().map(|(model, versions)| (model, History::new(versions))).collect())
}

/// Adds versions whose ids are new.
pub(crate) async fn insert(tx: &mut Tx, prices: &[PriceVersion]) -> Result<(), sqlx::Error> {
    for part in prices.chunks(1_000) {
        on_tx!(tx, |connection| {
            let mut query = QueryBuilder::new("INSERT INTO prices (");
            query.push(COLUMNS).push(") ");
            query.push_values(part, |mut row, price| {
                row.push_bind(price.id)
                    .push_bind(price.model.as_str())
                    .push_bind(price.price.input.map(|money| money.0))
                    .push_bind(price.price.cache_read.map(|money| money.0))
                    .push_bind(price.price.output.map(|money| money.0))
                    .push_bind(Time(price.from))
                    .push_bind(price.source.as_str())
                    .push_bind(price.reason.as_str())
                    .push_bind(price.by.uuid())
                    .push_bind(Time(price.created));
            });
            query.build().persistent(false).execute(&mut *connection).await.map(drop)
        })?;
    }
    Ok(())
}

/// The version with this id.
pub(crate) async fn get(tx: &mut Tx, id: Uuid) -> Result<Option<PriceVersion>, sqlx::Error> {
    let row = on_tx!(tx, |connection| {
        let mut select = QueryBuilder::new("SELECT ");
        select.push(COLUMNS).push(" FROM prices WHERE price_id = ").push_bind(id);
        select.build_query_as::<Row>().fetch_optional(connection).await
    })?;
    Ok(row.map(PriceVersion::from))
}

/// The versions with these ids.
pub(crate) async fn versions(db: &Db, ids: &[Uuid]) -> Result<Vec<PriceVersion>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = on!(db, |pool| {
        let mut select = QueryBuilder::new("SELECT ");
        select.push(COLUMNS).push(" FROM prices WHERE price_id IN (");
        let mut list = select.separated(", ");
        for id in ids {
            list.push_bind(*id);
        }
        select.push(")");
        select.build_query_as::<Row>().persistent(false).fetch_all(pool).await
    })?;
    Ok(rows.into_iter().map(PriceVersion::from).collect())
}

/// The first versions of a list, those after `after` when there is one: by model, the newest of each first.
pub(crate) async fn page(
    db: &Db,
    query: &Query,
    after: Option<&Position>,
    limit: u32,
) -> Result<Vec<PriceVersion>, sqlx::Error> {
    let rows = on!(db, |pool| {
        let mut select = QueryBuilder::new("SELECT ");
        select.push(COLUMNS).push(" FROM prices AS p WHERE 1 = 1");
        if let Some(model) = &query.model {
            select.push(" AND model = ").push_bind(model);
        }
        if let Some(at) = query.at {
            select.push(" AND price_id = (SELECT l.price_id FROM prices AS l WHERE l.model = p.model AND l.effective_from <= ");
            select.push_bind(Time(at));
            select.push(" ORDER BY l.effective_from DESC, l.created_time DESC, l.price_id DESC LIMIT 1)");
        }
        if let Some(after) = after {
            select.push(" AND (model > ").push_bind(&after.model);
            select.push(" OR (model = ").push_bind(&after.model);
            select.push(" AND (effective_from, created_time, price_id) < (").push_bind(Time(after.from));
            select.push(", ").push_bind(Time(after.created));
            select.push(", ").push_bind(after.id).push(")))");
        }
        select.push(" ORDER BY model, effective_from DESC, created_time DESC, price_id DESC LIMIT ");
        select.push_bind(i64::from(limit));
        select.build_query_as::<Row>().fetch_all(pool).await
    })?;
    Ok(rows.into_iter().map(PriceVersion::from).collect())
}

/// What each model costs at a time.
pub(crate) async fn current(tx: &mut Tx, at: policy::Time) -> Result<Vec<CurrentPrice>, sqlx::Error> {
    let rows: Vec<Row> = on_tx!(tx, |connection| {
        let mut select = QueryBuilder::new("SELECT ");
        select.push(COLUMNS).push(" FROM prices AS p WHERE price_id = (SELECT l.price_id FROM prices AS l ");
        select.push("WHERE l.model = p.model AND l.effective_from <= ").push_bind(Time(at));
        select.push(
            " ORDER BY l.effective_from DESC, l.created_time DESC, l.price_id DESC LIMIT 1) ORDER BY model",
        );
        select.build_query_as().fetch_all(connection).await
    })?;
    let rows = rows.into_iter().map(PriceVersion::from);
    Ok(rows.map(|version| CurrentPrice { model: version.model, price: version.price }).collect())
}

/// What an import with this id came to.
pub(crate) async fn import(tx: &mut Tx, id: Uuid) -> Result<Option<([u8; 32], usize, usize)>, sqlx::Error> {
    let row = on_tx!(tx, |connection| {
        let mut select =
            QueryBuilder::new("SELECT body_hash, imported, unchanged FROM price_imports WHERE import_id = ");
        select.push_bind(id);
        select.build_query_as::<ImportRow>().fetch_optional(connection).await
    })?;
    let unreadable =
        || sqlx::Error::Decode("price_imports: a row holds what this version cannot read".into());
    let count = |number: i64| usize::try_from(number).map_err(|_| unreadable());
    let read = |row: ImportRow| {
        let hash = row.body_hash.try_into().map_err(|_| unreadable())?;
        Ok((hash, count(row.imported)?, count(row.unchanged)?))
    };
    row.map(read).transpose()
}

/// Notes an import.
pub(crate) async fn insert_import(tx: &mut Tx, import: &Import) -> Result<(), sqlx::Error> {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    on_tx!(tx, |connection| {
        let mut query = QueryBuilder::new(
            "INSERT INTO price_imports (import_id, body_hash, imported, unchanged, created_time) VALUES (",
        );
        query.push_bind(import.id).push(", ").push_bind(import.body_hash.as_slice());
        query.push(", ").push_bind(number(import.imported)).push(", ").push_bind(number(import.unchanged));
        query.push(", ").push_bind(Time(import.created)).push(")");
        query.build().execute(connection).await.map(drop)
    })
}

impl From<Row> for PriceVersion {
    fn from(row: Row) -> Self {
        Self {
            id: row.price_id,
            model: row.model,
            price: Price {
                input: row.input.map(Money),
                cache_read: row.cache_read.map(Money),
                output: row.output.map(Money),
            },
            from: row.effective_from.0,
            source: row.source,
            reason: row.reason,
            by: UserId(row.created_by),
            created: row.created_time.0,
        }
    }
}
