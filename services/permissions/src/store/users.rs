//! The table of users. E-mail addresses are written and compared here and nowhere else.

use super::{LIST, StoreError, prefix_end};
use crate::users::{Filter, User};
use policy::{Role, UserId};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use sqlx::QueryBuilder;
use std::collections::HashMap;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct UserRow {
    id: Uuid,
    email: String,
    display_name: String,
    role: String,
    disabled: bool,
    created_at: Time,
    deleted_at: Option<Time>,
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
            deleted_at: row.deleted_at.map(policy::Time::from),
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, email, display_name, role, disabled, created_at, deleted_at FROM users ", $rest)
    };
}

const FIND: &str = select!("WHERE id = $1 AND deleted_at IS NULL");
const FIND_DELETED: &str = select!("WHERE id = $1 AND deleted_at > $2");
const LIST_AFTER: &str = select!("WHERE id > ");
const INSERT: &str = "INSERT INTO users (id, email, email_lower, display_name, display_name_lower, role, \
    password_hash, disabled, created_at) ";
const UPDATE: &str = "UPDATE users SET display_name = $2, display_name_lower = $3, role = $4, disabled = $5 \
    WHERE id = $1";
const SET_LOOKUP: &str = "UPDATE users SET email_lower = $2 WHERE id = $1";
const OTHER_OWNERS: &str = "SELECT EXISTS (SELECT 1 FROM users \
    WHERE role = 'owner' AND NOT disabled AND deleted_at IS NULL AND id <> $1)";
const ANY: &str = "SELECT EXISTS (SELECT 1 FROM users)";

/// What an address is found by: addresses are the same without regard to case.
fn lookup(email: &str) -> String {
    email.to_lowercase()
}

pub(crate) async fn get(db: &Db, id: UserId) -> Result<Option<User>, StoreError> {
    let row = on!(db, |pool| sqlx::query_as::<_, UserRow>(FIND).bind(id.uuid()).fetch_optional(pool).await)?;
    row.map(User::try_from).transpose()
}

pub(crate) async fn find(tx: &mut Tx, id: UserId) -> Result<Option<User>, StoreError> {
    let row = on_tx!(tx, |on| sqlx::query_as::<_, UserRow>(FIND).bind(id.uuid()).fetch_optional(on).await)?;
    row.map(User::try_from).transpose()
}

/// A user who was deleted after an instant.
pub(crate) async fn find_deleted(
    tx: &mut Tx,
    id: UserId,
    after: policy::Time,
) -> Result<Option<User>, StoreError> {
    let row = on_tx!(tx, |on| {
        let query = sqlx::query_as::<_, UserRow>(FIND_DELETED).bind(id.uuid()).bind(Time(after));
        query.fetch_optional(on).await
    })?;
    row.map(User::try_from).transpose()
}

/// The users after the id `after` that pass the filter.
pub(crate) async fn list(db: &Db, filter: &Filter, after: Uuid, limit: i64) -> Result<Vec<User>, StoreError> {
    let search = filter.search.to_lowercase();
    let rows = on!(db, |pool| {
        let mut query = QueryBuilder::new(LIST_AFTER);
        query.push_bind(after);
        if !filter.deleted {
            query.push(" AND deleted_at IS NULL");
        }
        if search.contains('@') {
            query.push(" AND email_lower = ").push_bind(lookup(&search));
        } else if !search.is_empty() {
            query.push(" AND display_name_lower >= ").push_bind(&search);
            query.push(" AND display_name_lower < ").push_bind(prefix_end(&search));
        }
        query.push(" ORDER BY id LIMIT ").push_bind(limit);
        query.build_query_as::<UserRow>().fetch_all(pool).await
    })?;
    rows.into_iter().map(User::try_from).collect()
}

/// Which of these users exist.
pub(crate) async fn living(tx: &mut Tx, ids: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
    let mut found = Vec::new();
    for ids in ids.chunks(LIST) {
        found.extend(on_tx!(tx, |on| {
            let mut query = QueryBuilder::new("SELECT id FROM users WHERE deleted_at IS NULL AND id IN (");
            let mut list = query.separated(", ");
            for id in ids {
                list.push_bind(*id);
            }
            query.push(")");
            query.build_query_scalar::<Uuid>().fetch_all(on).await
        })?);
    }
    Ok(found)
}

/// The users with these e-mail addresses, each at the place of its address.
pub(crate) async fn by_emails(tx: &mut Tx, emails: &[&str]) -> Result<Vec<Option<UserId>>, StoreError> {
    let mut found: HashMap<String, UserId> = HashMap::new();
    for emails in emails.chunks(LIST) {
        let rows: Vec<(String, Uuid)> = on_tx!(tx, |on| {
            let mut query = QueryBuilder::new("SELECT email_lower, id FROM users WHERE email_lower IN (");
            let mut list = query.separated(", ");
            for email in emails {
                list.push_bind(lookup(email));
            }
            query.push(")");
            query.build_query_as().fetch_all(on).await
        })?;
        found.extend(rows.into_iter().map(|(email, id)| (email, UserId(id))));
    }
    Ok(emails.iter().map(|email| found.get(&lookup(email)).copied()).collect())
}

pub(crate) async fn insert(tx: &mut Tx, user: &User, password_hash: Option<&str>) -> Result<(), StoreError> {
    put(tx, std::slice::from_ref(user), password_hash).await
}

/// Inserts users who have no password.
pub(crate) async fn insert_all(tx: &mut Tx, users: &[User]) -> Result<(), StoreError> {
    put(tx, users, None).await
}

async fn put(tx: &mut Tx, users: &[User], password_hash: Option<&str>) -> Result<(), StoreError> {
    for users in users.chunks(LIST) {
        on_tx!(tx, |on| {
            let mut query = QueryBuilder::new(INSERT);
            query.push_values(users, |mut row, user| {
                row.push_bind(user.id.uuid())
                    .push_bind(&user.email)
                    .push_bind(lookup(&user.email))
                    .push_bind(&user.display_name)
                    .push_bind(user.display_name.to_lowercase())
                    .push_bind(user.role.as_str())
                    .push_bind(password_hash)
                    .push_bind(user.disabled)
                    .push_bind(Time(user.created_at));
            });
            query.build().execute(on).await.map(drop)
        })?;
    }
    Ok(())
}

pub(crate) async fn update(tx: &mut Tx, user: &User) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(UPDATE)
        .bind(user.id.uuid())
        .bind(&user.display_name)
        .bind(user.display_name.to_lowercase())
        .bind(user.role.as_str())
        .bind(user.disabled)
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
pub(crate) async fn reclaim_email(tx: &mut Tx, user: &User) -> Result<(), StoreError> {
    set_lookup(tx, user.id, &lookup(&user.email)).await
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
