//! The table of users.

use super::StoreError;
use crate::users::User;
use policy::{Role, UserId};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct UserRow {
    id: Uuid,
    email: String,
    display_name: String,
    role: String,
    disabled: bool,
    created_at: Time,
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: UserId(row.id),
            email: row.email,
            display_name: row.display_name,
            role: row.role.parse::<Role>()?,
            disabled: row.disabled,
            created_at: row.created_at.0,
        })
    }
}

const FIND: &str = "SELECT id, email, display_name, role, disabled, created_at FROM users WHERE id = $1";
const LIST: &str = "SELECT id, email, display_name, role, disabled, created_at FROM users \
    WHERE id > $1 ORDER BY id LIMIT $2";
const INSERT: &str = "INSERT INTO users (id, email, email_lower, display_name, role, password_hash, disabled, created_at) \
    VALUES ($1, $2, $3, $4, $5, $6, FALSE, $7)";
const UPDATE: &str = "UPDATE users SET display_name = $2, role = $3, disabled = $4 WHERE id = $1";
const OTHER_OWNERS: &str = "SELECT COUNT(*) FROM users WHERE role = 'owner' AND NOT disabled AND id <> $1";
const ANY: &str = "SELECT EXISTS (SELECT 1 FROM users)";

pub(crate) async fn get(db: &Db, id: UserId) -> Result<Option<User>, StoreError> {
    let row = on!(db, |pool| sqlx::query_as::<_, UserRow>(FIND).bind(id.uuid()).fetch_optional(pool).await)?;
    row.map(User::try_from).transpose()
}

pub(crate) async fn find(tx: &mut Tx, id: UserId) -> Result<Option<User>, StoreError> {
    let row = on_tx!(tx, |on| sqlx::query_as::<_, UserRow>(FIND).bind(id.uuid()).fetch_optional(on).await)?;
    row.map(User::try_from).transpose()
}

pub(crate) async fn list(db: &Db, after: Uuid, limit: i64) -> Result<Vec<User>, StoreError> {
    let rows =
        on!(db, |pool| sqlx::query_as::<_, UserRow>(LIST).bind(after).bind(limit).fetch_all(pool).await)?;
    rows.into_iter().map(User::try_from).collect()
}

pub(crate) async fn insert(tx: &mut Tx, user: &User, password_hash: Option<&str>) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(INSERT)
        .bind(user.id.uuid())
        .bind(&user.email)
        .bind(user.email.to_lowercase())
        .bind(&user.display_name)
        .bind(user.role.as_str())
        .bind(password_hash)
        .bind(Time(user.created_at))
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

pub(crate) async fn update(tx: &mut Tx, user: &User) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(UPDATE)
        .bind(user.id.uuid())
        .bind(&user.display_name)
        .bind(user.role.as_str())
        .bind(user.disabled)
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
