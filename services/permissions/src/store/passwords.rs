//! What the table of users keeps to sign in with.

use super::{StoreError, seals};
use policy::UserId;
use shared::{
    db::{Db, Tx},
    on, on_tx,
    seal::Sealer,
};
use uuid::Uuid;

/// Who signs in with an e-mail address.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Account {
    id: Uuid,
    email: String,
    seal: Option<String>,
    /// `None` for who signs in elsewhere.
    pub(crate) password_hash: Option<String>,
    pub(crate) disabled: bool,
}

impl Account {
    pub(crate) const fn user(&self) -> UserId {
        UserId(self.id)
    }

    /// What the account signs in as.
    pub(crate) fn email(&self, sealer: &Sealer) -> Result<String, StoreError> {
        seals::open_email(sealer, self.user(), self.email.clone(), self.seal.as_deref())
    }
}

const BY_EMAIL: &str = "SELECT id, email, seal, password_hash, disabled FROM users WHERE email_lower = $1";
const BY_ID: &str =
    "SELECT id, email, seal, password_hash, disabled FROM users WHERE id = $1 AND deleted_at IS NULL";
const SET: &str = "UPDATE users SET password_hash = $2 WHERE id = $1";
const CHANGE: &str = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2";

pub(crate) async fn by_email(db: &Db, sealer: &Sealer, email: &str) -> Result<Option<Account>, StoreError> {
    for lookup in seals::email_lookups(Some(sealer), email) {
        let found = on!(db, |pool| {
            sqlx::query_as::<_, Account>(BY_EMAIL).bind(&lookup).fetch_optional(pool).await
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

pub(crate) async fn of(db: &Db, user: UserId) -> Result<Option<Account>, StoreError> {
    Ok(on!(db, |pool| sqlx::query_as::<_, Account>(BY_ID).bind(user.uuid()).fetch_optional(pool).await)?)
}

pub(crate) async fn set(tx: &mut Tx, user: UserId, hash: &str) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(SET).bind(user.uuid()).bind(hash).execute(on).await.map(drop))?;
    Ok(())
}

/// Replaces the password's hash unless it is another one by now. Returns whether it did.
pub(crate) async fn change(tx: &mut Tx, user: UserId, old: &str, new: &str) -> Result<bool, StoreError> {
    let done = on_tx!(tx, |on| {
        let query = sqlx::query(CHANGE).bind(user.uuid()).bind(old).bind(new);
        query.execute(on).await.map(|done| done.rows_affected())
    })?;
    Ok(done > 0)
}
