//! The table of users. E-mail addresses and display names are encrypted in it; here alone they are closed and opened.

use super::{
    LIST, StoreError,
    seals::{self, Names},
};
use crate::users::{Filter, User};
use policy::{Role, UserId};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
    seal::Sealer,
};
use sqlx::QueryBuilder;
use std::collections::HashMap;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct UserRow {
    id: Uuid,
    email: String,
    display_name: String,
    seal: Option<String>,
    role: String,
    disabled: bool,
    created_at: Time,
    deleted_at: Option<Time>,
}

impl UserRow {
    fn open(self, sealer: Option<&Sealer>) -> Result<User, StoreError> {
        let row = self;
        let names = Names { email: row.email, display_name: row.display_name, seal: row.seal };
        let (email, display_name) = names.open(sealer, UserId(row.id))?;
        Ok(User {
            id: UserId(row.id),
            email,
            display_name,
            role: row.role.parse::<Role>()?,
            disabled: row.disabled,
            created_at: row.created_at.0,
            deleted_at: row.deleted_at.map(policy::Time::from),
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, email, display_name, seal, role, disabled, created_at, deleted_at FROM users ",
            $rest
        )
    };
}

const FIND: &str = select!("WHERE id = $1 AND deleted_at IS NULL");
const FIND_DELETED: &str = select!("WHERE id = $1 AND deleted_at IS NOT NULL");
const LIST_AFTER: &str = select!("WHERE id > ");
const INSERT: &str = "INSERT INTO users (id, email, email_lower, display_name, role, password_hash, disabled, \
    created_at, seal) ";
const UPDATE: &str = "UPDATE users SET role = $2, disabled = $3, email = $4, email_lower = $5, display_name = $6, \
    seal = $7 WHERE id = $1";
const EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM users WHERE id = $1 AND deleted_at IS NULL)";
const TAKEN: &str = "SELECT EXISTS (SELECT 1 FROM users WHERE email_lower = $1)";
const SET_LOOKUP: &str = "UPDATE users SET email_lower = $2 WHERE id = $1";
const OTHER_OWNERS: &str = "SELECT EXISTS (SELECT 1 FROM users \
    WHERE role = 'owner' AND NOT disabled AND deleted_at IS NULL AND id <> $1)";
const ANY: &str = "SELECT EXISTS (SELECT 1 FROM users)";

pub(crate) async fn get(db: &Db, sealer: Option<&Sealer>, id: UserId) -> Result<Option<User>, StoreError> {
    let row = on!(db, |pool| sqlx::query_as::<_, UserRow>(FIND).bind(id.uuid()).fetch_optional(pool).await)?;
    row.map(|row| row.open(sealer)).transpose()
}

pub(crate) async fn find(
    tx: &mut Tx,
    sealer: Option<&Sealer>,
    id: UserId,
) -> Result<Option<User>, StoreError> {
    let row = on_tx!(tx, |on| sqlx::query_as::<_, UserRow>(FIND).bind(id.uuid()).fetch_optional(on).await)?;
    row.map(|row| row.open(sealer)).transpose()
}

/// A user who was deleted and can be taken back.
pub(crate) async fn find_deleted(
    tx: &mut Tx,
    sealer: Option<&Sealer>,
    id: UserId,
) -> Result<Option<User>, StoreError> {
    let row = on_tx!(tx, |on| {
        let query = sqlx::query_as::<_, UserRow>(FIND_DELETED).bind(id.uuid());
        query.fetch_optional(on).await
    })?;
    row.map(|row| row.open(sealer)).transpose()
}

/// The users after the id `after` that pass the filter.
pub(crate) async fn list(
    db: &Db,
    sealer: Option<&Sealer>,
    filter: &Filter,
    after: Uuid,
    limit: i64,
) -> Result<Vec<User>, StoreError> {
    let rows = on!(db, |pool| {
        let mut query = QueryBuilder::new(LIST_AFTER);
        query.push_bind(after);
        if !filter.deleted {
            query.push(" AND deleted_at IS NULL");
        }
        if let Some(email) = &filter.email {
            query.push(" AND email_lower IN (");
            let mut list = query.separated(", ");
            for lookup in seals::email_lookups(sealer, email) {
                list.push_bind(lookup);
            }
            query.push(")");
        }
        query.push(" ORDER BY id LIMIT ").push_bind(limit);
        query.build_query_as::<UserRow>().fetch_all(pool).await
    })?;
    rows.into_iter().map(|row| row.open(sealer)).collect()
}

/// Whether there is such a user, outside of a write.
pub(crate) async fn is_there(db: &Db, id: UserId) -> Result<bool, StoreError> {
    Ok(on!(db, |pool| sqlx::query_scalar::<_, bool>(EXISTS).bind(id.uuid()).fetch_one(pool).await)?)
}

/// Whether there is such a user.
pub(crate) async fn exists(tx: &mut Tx, id: UserId) -> Result<bool, StoreError> {
    Ok(on_tx!(tx, |on| sqlx::query_scalar::<_, bool>(EXISTS).bind(id.uuid()).fetch_one(on).await)?)
}

/// Whether somebody has this e-mail address, whichever of the keys it is kept under.
pub(crate) async fn has_email(tx: &mut Tx, sealer: Option<&Sealer>, email: &str) -> Result<bool, StoreError> {
    for lookup in seals::email_lookups(sealer, email) {
        let taken: bool = on_tx!(tx, |on| sqlx::query_scalar(TAKEN).bind(&lookup).fetch_one(on).await)?;
        if taken {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The users with these e-mail addresses, each at the place of its address.
pub(crate) async fn by_emails(
    tx: &mut Tx,
    sealer: Option<&Sealer>,
    emails: &[&str],
) -> Result<Vec<Option<UserId>>, StoreError> {
    let lookups: Vec<Vec<String>> = emails.iter().map(|email| seals::email_lookups(sealer, email)).collect();
    let all: Vec<&String> = lookups.iter().flatten().collect();
    let mut found: HashMap<String, UserId> = HashMap::new();
    for some in all.chunks(LIST) {
        let rows: Vec<(String, Uuid)> = on_tx!(tx, |on| {
            let mut query = QueryBuilder::new("SELECT email_lower, id FROM users WHERE email_lower IN (");
            let mut list = query.separated(", ");
            for lookup in some {
                list.push_bind(*lookup);
            }
            query.push(")");
            query.build_query_as().fetch_all(on).await
        })?;
        found.extend(rows.into_iter().map(|(lookup, id)| (lookup, UserId(id))));
    }
    Ok(lookups.iter().map(|lookups| lookups.iter().find_map(|lookup| found.get(lookup).copied())).collect())
}

pub(crate) async fn insert(
    tx: &mut Tx,
    sealer: Option<&Sealer>,
    user: &User,
    password_hash: Option<&str>,
) -> Result<(), StoreError> {
    put(tx, sealer, std::slice::from_ref(user), password_hash).await
}

/// Inserts users who have no password.
pub(crate) async fn insert_all(
    tx: &mut Tx,
    sealer: Option<&Sealer>,
    users: &[User],
) -> Result<(), StoreError> {
    put(tx, sealer, users, None).await
}

async fn put(
    tx: &mut Tx,
    sealer: Option<&Sealer>,
    users: &[User],
    password_hash: Option<&str>,
) -> Result<(), StoreError> {
    for users in users.chunks(LIST) {
        on_tx!(tx, |on| {
            let mut query = QueryBuilder::new(INSERT);
            query.push_values(users, |mut row, user| {
                let names = Names::close(sealer, user.id, &user.email, &user.display_name);
                row.push_bind(user.id.uuid())
                    .push_bind(names.email)
                    .push_bind(seals::email_lookup(sealer, &user.email))
                    .push_bind(names.display_name)
                    .push_bind(user.role.as_str())
                    .push_bind(password_hash)
                    .push_bind(user.disabled)
                    .push_bind(Time(user.created_at))
                    .push_bind(names.seal);
            });
            query.build().execute(on).await.map(drop)
        })?;
    }
    Ok(())
}

pub(crate) async fn update(tx: &mut Tx, sealer: Option<&Sealer>, user: &User) -> Result<(), StoreError> {
    let names = Names::close(sealer, user.id, &user.email, &user.display_name);
    on_tx!(tx, |on| sqlx::query(UPDATE)
        .bind(user.id.uuid())
        .bind(user.role.as_str())
        .bind(user.disabled)
        .bind(&names.email)
        .bind(seals::email_lookup(sealer, &user.email))
        .bind(&names.display_name)
        .bind(&names.seal)
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

/// Lets another user have the e-mail address. No address begins with a space.
pub(crate) async fn release_email(tx: &mut Tx, id: UserId) -> Result<(), StoreError> {
    set_lookup(tx, id, &format!(" deleted {id}")).await
}

/// Takes the e-mail address again; it is a duplicate when another user has it by now.
pub(crate) async fn reclaim_email(
    tx: &mut Tx,
    sealer: Option<&Sealer>,
    user: &User,
) -> Result<(), StoreError> {
    set_lookup(tx, user.id, &seals::email_lookup(sealer, &user.email)).await
}

async fn set_lookup(tx: &mut Tx, id: UserId, text: &str) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(SET_LOOKUP).bind(id.uuid()).bind(text).execute(on).await.map(drop))?;
    Ok(())
}

/// Whether an enabled owner is left without this user.
pub(crate) async fn another_owner(tx: &mut Tx, id: UserId) -> Result<bool, StoreError> {
    Ok(on_tx!(tx, |on| sqlx::query_scalar::<_, bool>(OTHER_OWNERS).bind(id.uuid()).fetch_one(on).await)?)
}

/// Whether there is any user at all.
pub(crate) async fn any(tx: &mut Tx) -> Result<bool, StoreError> {
    Ok(on_tx!(tx, |on| sqlx::query_scalar::<_, bool>(ANY).fetch_one(on).await)?)
}
