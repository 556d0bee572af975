//! The tables of sign-ins under way, of identities, and of the memberships that identities made.

use super::{StoreError, seals};
use crate::external::{Account, Identity, SignIn, Standing};
use policy::{GroupId, Role, UserId};
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
    seal::Sealer,
};
use sqlx::AssertSqlSafe;
use std::collections::BTreeMap;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct SignInRow {
    provider: String,
    proof: Vec<u8>,
    redirect_uri: String,
}

#[derive(sqlx::FromRow)]
struct IdentityRow {
    id: Uuid,
    provider: String,
    subject: String,
    user_id: Uuid,
    created_at: Time,
    last_used_at: Time,
}

impl From<IdentityRow> for Identity {
    fn from(row: IdentityRow) -> Self {
        Self {
            id: row.id,
            provider: row.provider,
            subject: row.subject,
            user: UserId(row.user_id),
            created_at: row.created_at.0,
            last_used_at: row.last_used_at.0,
        }
    }
}

#[derive(sqlx::FromRow)]
struct AccountRow {
    id: Uuid,
    role: String,
    disabled: bool,
}

impl TryFrom<AccountRow> for Account {
    type Error = StoreError;

    fn try_from(row: AccountRow) -> Result<Self, StoreError> {
        Ok(Self { user: UserId(row.id), role: row.role.parse::<Role>()?, disabled: row.disabled })
    }
}

const BEGIN: &str = "INSERT INTO sign_ins \
    (state_hash, token_hash, provider, proof, redirect_uri, expires_at) \
    VALUES ($1, $2, $3, $4, $5, $6)";
const TAKE: &str = "DELETE FROM sign_ins WHERE state_hash = $1 AND token_hash = $2 AND expires_at > $3 \
    RETURNING provider, proof, redirect_uri";
const FORGET: &str = "DELETE FROM sign_ins WHERE expires_at <= $1";
const BY_SUBJECT: &str = "SELECT id, provider, subject, user_id, created_at, last_used_at FROM identities \
    WHERE provider = $1 AND subject = $2";
const FIND: &str =
    "SELECT id, provider, subject, user_id, created_at, last_used_at FROM identities WHERE id = $1";
const OF_USER: &str = "SELECT id, provider, subject, user_id, created_at, last_used_at FROM identities \
    WHERE user_id = $1 ORDER BY id";
const INSERT: &str = "INSERT INTO identities (id, provider, subject, user_id, created_at, last_used_at) \
    VALUES ($1, $2, $3, $4, $5, $6)";
const DELETE: &str = "DELETE FROM identities WHERE id = $1";
const USED: &str = "UPDATE identities SET last_used_at = $2 WHERE id = $1";
const MADE: &str = "SELECT made.identity_id, made.group_id FROM identity_memberships made JOIN memberships m \
    ON m.group_id = made.group_id AND m.member_kind = 'user' AND m.member_id = made.user_id \
    WHERE made.user_id = $1 AND m.dead_ends = 0";
const IN_GROUPS: &str = "SELECT group_id FROM memberships \
    WHERE member_kind = 'user' AND member_id = $1 AND dead_ends = 0 AND (expires_at IS NULL OR expires_at > $2)";
const NOTE: &str = "INSERT INTO identity_memberships (identity_id, group_id, user_id) VALUES ($1, $2, $3) \
    ON CONFLICT DO NOTHING";
const DROP_NOTE: &str = "DELETE FROM identity_memberships WHERE identity_id = $1 AND group_id = $2";
const ACCOUNT: &str = "SELECT id, role, disabled FROM users WHERE id = $1 AND deleted_at IS NULL";
const ACCOUNT_BY_EMAIL: &str =
    "SELECT id, role, disabled FROM users WHERE email_lower = $1 AND deleted_at IS NULL";

/// Keeps a sign-in until it is completed, under the digests of what the browser carries.
pub(crate) async fn begin(db: &Db, sign_in: &SignIn, state: &[u8], token: &[u8]) -> Result<(), StoreError> {
    on!(db, |pool| sqlx::query(BEGIN)
        .bind(state)
        .bind(token)
        .bind(&sign_in.provider)
        .bind(&sign_in.sealed_proof)
        .bind(&sign_in.redirect_uri)
        .bind(Time(sign_in.expires_at))
        .execute(pool)
        .await
        .map(drop))?;
    Ok(())
}

/// Takes a sign-in that is under way, so that nobody can take it again.
pub(crate) async fn take(
    db: &Db,
    state: &[u8],
    token: &[u8],
    now: policy::Time,
) -> Result<Option<SignIn>, StoreError> {
    let row = on!(db, |pool| {
        let query = sqlx::query_as::<_, SignInRow>(TAKE).bind(state).bind(token).bind(Time(now));
        query.fetch_optional(pool).await
    })?;
    Ok(row.map(|row| SignIn {
        provider: row.provider,
        sealed_proof: row.proof,
        redirect_uri: row.redirect_uri,
        expires_at: now,
    }))
}

/// Forgets sign-ins that nobody completed in time.
pub(crate) async fn forget(db: &Db, now: policy::Time) -> Result<(), StoreError> {
    on!(db, |pool| sqlx::query(FORGET).bind(Time(now)).execute(pool).await.map(drop))?;
    Ok(())
}

pub(crate) async fn by_subject(
    tx: &mut Tx,
    provider: &str,
    subject: &str,
) -> Result<Option<Identity>, StoreError> {
    let row = on_tx!(tx, |on| {
        sqlx::query_as::<_, IdentityRow>(BY_SUBJECT).bind(provider).bind(subject).fetch_optional(on).await
    })?;
    Ok(row.map(Identity::from))
}

pub(crate) async fn find(tx: &mut Tx, id: Uuid) -> Result<Option<Identity>, StoreError> {
    let row = on_tx!(tx, |on| sqlx::query_as::<_, IdentityRow>(FIND).bind(id).fetch_optional(on).await)?;
    Ok(row.map(Identity::from))
}

pub(crate) async fn of_user(tx: &mut Tx, user: UserId) -> Result<Vec<Identity>, StoreError> {
    let rows =
        on_tx!(tx, |on| sqlx::query_as::<_, IdentityRow>(OF_USER).bind(user.uuid()).fetch_all(on).await)?;
    Ok(rows.into_iter().map(Identity::from).collect())
}

pub(crate) async fn insert(tx: &mut Tx, identity: &Identity) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(INSERT)
        .bind(identity.id)
        .bind(&identity.provider)
        .bind(&identity.subject)
        .bind(identity.user.uuid())
        .bind(Time(identity.created_at))
        .bind(Time(identity.last_used_at))
        .execute(on)
        .await
        .map(drop))?;
    Ok(())
}

pub(crate) async fn delete(tx: &mut Tx, id: Uuid) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(DELETE).bind(id).execute(on).await.map(drop))?;
    Ok(())
}

/// Notes when an identity signed somebody in, as part of a change.
pub(crate) async fn used(tx: &mut Tx, id: Uuid, now: policy::Time) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(USED).bind(id).bind(Time(now)).execute(on).await.map(drop))?;
    Ok(())
}

/// Notes when an identity signed somebody in, and nothing else.
pub(crate) async fn note_use(db: &Db, id: Uuid, now: policy::Time) -> Result<(), StoreError> {
    on!(db, |pool| sqlx::query(USED).bind(id).bind(Time(now)).execute(pool).await.map(drop))?;
    Ok(())
}

/// In which groups a user is, and which identities put him there.
pub(crate) async fn standing(tx: &mut Tx, user: UserId, now: policy::Time) -> Result<Standing, StoreError> {
    let groups: Vec<Uuid> = on_tx!(tx, |on| {
        sqlx::query_scalar(IN_GROUPS).bind(user.uuid()).bind(Time(now)).fetch_all(on).await
    })?;
    let made: Vec<(Uuid, Uuid)> =
        on_tx!(tx, |on| sqlx::query_as(MADE).bind(user.uuid()).fetch_all(on).await)?;
    Ok(Standing {
        groups: groups.into_iter().map(GroupId).collect(),
        made: made.into_iter().map(|(identity, group)| (identity, GroupId(group))).collect(),
    })
}

/// Notes that a membership is there because of an identity.
pub(crate) async fn note(tx: &mut Tx, id: Uuid, group: GroupId, user: UserId) -> Result<(), StoreError> {
    on_tx!(tx, |on| {
        let query = sqlx::query(NOTE).bind(id).bind(group.uuid()).bind(user.uuid());
        query.execute(on).await.map(drop)
    })?;
    Ok(())
}

pub(crate) async fn drop_note(tx: &mut Tx, id: Uuid, group: GroupId) -> Result<(), StoreError> {
    on_tx!(tx, |on| sqlx::query(DROP_NOTE).bind(id).bind(group.uuid()).execute(on).await.map(drop))?;
    Ok(())
}

/// The groups of these names that are there.
pub(crate) async fn groups_named<'n>(
    tx: &mut Tx,
    names: impl ExactSizeIterator<Item = &'n String> + Clone,
) -> Result<BTreeMap<String, GroupId>, StoreError> {
    if names.len() == 0 {
        return Ok(BTreeMap::new());
    }
    // The text depends on the number of names alone; the names are bound.
    let places: Vec<String> = (1..=names.len()).map(|place| format!("${place}")).collect();
    let text =
        format!("SELECT name, id FROM groups WHERE deleted_at IS NULL AND name IN ({})", places.join(", "));
    let rows: Vec<(String, Uuid)> = on_tx!(tx, |on| {
        let mut query = sqlx::query_as(AssertSqlSafe(text));
        for name in names.clone() {
            query = query.bind(name);
        }
        query.fetch_all(on).await
    })?;
    Ok(rows.into_iter().map(|(name, id)| (name, GroupId(id))).collect())
}

pub(crate) async fn account(tx: &mut Tx, user: UserId) -> Result<Option<Account>, StoreError> {
    let row = on_tx!(tx, |on| {
        sqlx::query_as::<_, AccountRow>(ACCOUNT).bind(user.uuid()).fetch_optional(on).await
    })?;
    row.map(Account::try_from).transpose()
}

/// The account with this address, in any case and whichever of the keys it is kept under.
pub(crate) async fn account_by_email(
    tx: &mut Tx,
    sealer: Option<&Sealer>,
    email: &str,
) -> Result<Option<Account>, StoreError> {
    for lookup in seals::email_lookups(sealer, email) {
        let row = on_tx!(tx, |on| {
            sqlx::query_as::<_, AccountRow>(ACCOUNT_BY_EMAIL).bind(&lookup).fetch_optional(on).await
        })?;
        if let Some(row) = row {
            return row.try_into().map(Some);
        }
    }
    Ok(None)
}
