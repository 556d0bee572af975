//! The whole state, read from the tables at one revision.

use super::{StoreError, events, grants, groups::MembershipRow, keys, models};
use policy::{
    Change, Grant, GrantId, Group, GroupId, Key, KeyId, Membership, Model, ModelId, Scopes, SessionId,
    SigningKey, Snapshot, Target, Time, User, UserId,
};
use shared::{
    db::{self, Db, Tx},
    on_tx,
};
use sqlx::types::Json;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct UserRow {
    id: Uuid,
    role: String,
    disabled: bool,
}

#[derive(sqlx::FromRow)]
struct ModelRow {
    id: Uuid,
    name: String,
    owner_kind: Option<String>,
    owner_id: Option<Uuid>,
    state: String,
}

#[derive(sqlx::FromRow)]
struct GrantRow {
    id: Uuid,
    model_id: Uuid,
    grantee_kind: String,
    grantee_id: Option<Uuid>,
    action: String,
    effect: String,
    starts_at: Option<db::Time>,
    expires_at: Option<db::Time>,
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    id: Uuid,
    user_id: Uuid,
    hash: Vec<u8>,
    models: Option<Json<Vec<ModelId>>>,
    expires_at: Option<db::Time>,
    revoked: bool,
}

#[derive(sqlx::FromRow)]
struct SigningKeyRow {
    kid: String,
    public: Vec<u8>,
    until: Option<db::Time>,
}

const USERS: &str = "SELECT id, role, disabled FROM users";
const GROUPS: &str = "SELECT id FROM groups";
/// Groups in groups first: the policy then works out what users reach only once.
const MEMBERSHIPS: &str = "SELECT group_id, member_kind, member_id, expires_at FROM memberships \
    ORDER BY member_kind";
const MODELS: &str = "SELECT id, name, owner_kind, owner_id, state FROM models";
const GRANTS: &str = "SELECT id, model_id, grantee_kind, grantee_id, action, effect, starts_at, expires_at \
    FROM grants";
const KEYS: &str =
    "SELECT id, user_id, hash, models, expires_at, revoked_at IS NOT NULL AS revoked FROM keys";

const SIGNING_KEYS: &str = "SELECT kid, public, until FROM signing_keys";
/// What may be forgotten by the last end is left out, as the policy does that follows the ends one by one.
const ENDED: &str = "SELECT id, ended_at, tokens_until FROM sessions WHERE ended_at IS NOT NULL \
    AND tokens_until > (SELECT max(ended_at) FROM sessions WHERE ended_at IS NOT NULL) ORDER BY ended_at";

macro_rules! rows {
    ($tx:expr, $row:ty, $query:expr) => {
        on_tx!($tx, |on| sqlx::query_as::<_, $row>($query).fetch_all(on).await)?
    };
}

/// Everything at the revision the head is at; `now` is the time before it was read.
pub(crate) async fn snapshot(db: &Db, now: Time) -> Result<Snapshot, StoreError> {
    let mut tx = db.begin_read().await?;
    let head = events::head_in(&mut tx).await?;
    let facts = all(&mut tx).await?;
    tx.commit().await?;
    Ok(Snapshot { epoch: head.epoch, revision: head.revision, at: now, facts })
}

/// Every fact after those that it refers to.
async fn all(tx: &mut Tx) -> Result<Vec<Change>, StoreError> {
    let mut facts = Vec::new();
    for row in rows!(tx, UserRow, USERS) {
        facts.push(Change::PutUser(user(row)?));
    }
    for (id,) in rows!(tx, (Uuid,), GROUPS) {
        facts.push(Change::PutGroup(Group { id: GroupId(id), disabled: false }));
    }
    for row in rows!(tx, MembershipRow, MEMBERSHIPS) {
        facts.push(Change::PutMembership(Membership::try_from(row)?));
    }
    for row in rows!(tx, ModelRow, MODELS) {
        facts.push(Change::PutModel(model(row)?));
    }
    for row in rows!(tx, GrantRow, GRANTS) {
        facts.push(Change::PutGrant(grant(&row)?));
    }
    for row in rows!(tx, KeyRow, KEYS) {
        facts.push(Change::PutKey(key(row)?));
    }
    for row in rows!(tx, SigningKeyRow, SIGNING_KEYS) {
        facts.push(Change::PutSigningKey(signing_key(row)?));
    }
    for (id, at, until) in rows!(tx, (Uuid, db::Time, db::Time), ENDED) {
        facts.push(Change::EndSession { session: SessionId(id), at: at.0, until: until.0 });
    }
    Ok(facts)
}

fn user(row: UserRow) -> Result<User, StoreError> {
    Ok(User { id: UserId(row.id), role: row.role.parse()?, disabled: row.disabled })
}

fn model(row: ModelRow) -> Result<Model, StoreError> {
    let owner = models::owner(row.owner_kind, row.owner_id)?;
    Ok(Model { id: ModelId(row.id), name: row.name, owner, state: row.state.parse()? })
}

fn grant(row: &GrantRow) -> Result<Grant, StoreError> {
    Ok(Grant {
        id: GrantId(row.id),
        grantee: grants::grantee(&row.grantee_kind, row.grantee_id)?,
        target: Target::Model(ModelId(row.model_id)),
        action: row.action.parse()?,
        effect: row.effect.parse()?,
        starts_at: row.starts_at.map(Time::from),
        expires_at: row.expires_at.map(Time::from),
    })
}

fn key(row: KeyRow) -> Result<Key, StoreError> {
    Ok(Key {
        id: KeyId(row.id),
        hash: keys::hash(&row.hash)?,
        owner: UserId(row.user_id),
        models: row.models.map(|models| models.0),
        expires_at: row.expires_at.map(Time::from),
        disabled: row.revoked,
        scopes: Scopes::ALL,
        networks: Vec::new(),
        previous: Vec::new(),
    })
}

fn signing_key(row: SigningKeyRow) -> Result<SigningKey, StoreError> {
    let public = row.public.try_into().map_err(|_| StoreError::Corrupt("signing_keys"))?;
    Ok(SigningKey { id: row.kid, public, until: row.until.map(Time::from) })
}
