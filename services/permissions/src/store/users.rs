//! The table of users. E-mail addresses and display names are encrypted in it; here alone they are closed and opened.

use super::{
    StoreError,
    seals::{self, Names},
};
use crate::users::User;
use policy::{Role, UserId};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
    seal::Sealer,
};
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
        })
    }
}

const FIND: &str =
    "SELECT id, email, display_name, seal, role, disabled, created_at FROM users WHERE id = $1";
const LIST: &str = "SELECT id, email, display_name, seal, role, disabled, created_at FROM users \
    WHERE id > $1 ORDER BY id LIMIT $2";
const INSERT: &str = "INSERT INTO users (id, email, email_lower, display_name, role, password_hash, disabled, created_at, \
    seal) VALUES ($1, $2, $3, $4, $5, $6, FALSE, $7, $8)";
const UPDATE: &str = "UPDATE users SET role = $2, disabled = $3, email = $4, email_lower = $5, display_name = $6, \
    seal = $7 WHERE id = $1";
const EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM users WHERE id = $1)";
const TAKEN: &str = "SELECT EXISTS (SELECT 1 FROM users WHERE email_lower = $1)";
const OTHER_OWNERS: &str = "SELECT COUNT(*) FROM users WHERE role = 'owner' AND NOT disabled AND id <> $1";
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

pub(crate) async fn list(
    db: &Db,
    sealer: Option<&Sealer>,
    after: Uuid,
    limit: i64,
) -> Result<Vec<User>, StoreError> {
    let rows =
        on!(db, |pool| sqlx::query_as::<_, UserRow>(LIST).bind(after).bind(limit).fetch_all(pool).await)?;
    rows.into_iter().map(|row| row.open(sealer)).collect()
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

pub(crate) async fn insert(
    tx: &mut Tx,
    sealer: Option<&Sealer>,
    user: &User,
    password_hash: Option<&str>,
) -> Result<(), StoreError> {
    let names = Names::close(sealer, user.id, &user.email, &user.display_name);
    on_tx!(tx, |on| sqlx::query(INSERT)
        .bind(user.id.uuid())
        .bind(&names.email)
        .bind(seals::email_lookup(sealer, &user.email))
        .bind(&names.display_name)
        .bind(user.role.as_str())
        .bind(password_hash)
        .bind(Time(user.created_at))
        .bind(&names.seal)
        .execute(on)
        .await
        .map(drop))?;
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

/// Whether an enabled owner is left without this user.
pub(crate) async fn another_owner(tx: &mut Tx, id: UserId) -> Result<bool, StoreError> {
    let count: i64 = on_tx!(tx, |on| sqlx::query_scalar(OTHER_OWNERS).bind(id.uuid()).fetch_one(on).await)?;
    Ok(count > 0)
}

/// Whether there is any user at all.
pub(crate) async fn any(tx: &mut Tx) -> Result<bool, StoreError> {
    Ok(on_tx!(tx, |on| sqlx::query_scalar::<_, bool>(ANY).fetch_one(on).await)?)
}
