//! The whole state, read from the tables at one revision, and the part of it that is about one thing.

use super::{StoreError, deletion::Kind, events, grants, groups::MembershipRow, keys, models, sets::ItemRow};
use futures_util::TryStreamExt;
use policy::{
    Alias, Change, Grant, GrantId, Group, GroupId, Loaded, Membership, Model, ModelId, ModelSet, ModelSetId,
    Policy, SessionId, SigningKey, Time, User, UserId,
};
use shared::{
    db::{self, Db, Tx},
    on_tx,
};
use sqlx::QueryBuilder;
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
    owner_deleted: bool,
    state: String,
}

/// A group or a set.
#[derive(sqlx::FromRow)]
struct SwitchRow {
    id: Uuid,
    disabled: bool,
}

#[derive(sqlx::FromRow)]
struct GrantRow {
    id: Uuid,
    model_id: Option<Uuid>,
    model_set_id: Option<Uuid>,
    grantee_kind: String,
    grantee_id: Option<Uuid>,
    action: String,
    effect: String,
    starts_at: Option<db::Time>,
    expires_at: Option<db::Time>,
}

#[derive(sqlx::FromRow)]
struct SigningKeyRow {
    kid: String,
    public: Vec<u8>,
    until: Option<db::Time>,
}

const USERS: &str = "SELECT id, role, disabled FROM users WHERE deleted_at IS NULL";
const GROUPS: &str = "SELECT id, disabled FROM groups WHERE deleted_at IS NULL";
const MEMBERSHIPS: &str =
    "SELECT group_id, member_kind, member_id, expires_at FROM memberships WHERE dead_ends = 0";
const MODELS: &str =
    "SELECT id, name, owner_kind, owner_id, owner_deleted, state FROM models WHERE deleted_at IS NULL";
const ALIASES: &str = "SELECT name, model_id FROM aliases WHERE dead_ends = 0";
const SETS: &str = "SELECT id, disabled FROM model_sets WHERE deleted_at IS NULL";
const ITEMS: &str = "SELECT set_id, item_kind, item_id FROM set_items WHERE dead_ends = 0";
const GRANTS: &str = "SELECT id, model_id, model_set_id, grantee_kind, grantee_id, action, effect, starts_at, \
    expires_at FROM grants WHERE dead_ends = 0";
const SIGNING_KEYS: &str = "SELECT kid, public, until FROM signing_keys";
/// What may be forgotten by the last end is left out, as the policy does that follows the ends one by one.
const ENDED: &str = "SELECT id, ended_at, tokens_until FROM sessions WHERE ended_at IS NOT NULL \
    AND tokens_until > (SELECT max(ended_at) FROM sessions WHERE ended_at IS NOT NULL)";

/// Facts of one sort.
#[derive(Debug, Clone, Copy)]
enum Sort {
    Users,
    Groups,
    Memberships,
    Models,
    Aliases,
    Sets,
    Items,
    Grants,
    Keys,
    SigningKeys,
    Ended,
}

/// Every fact comes after those that it refers to, and groups in groups before users in groups: the policy then works
/// out what users reach only once.
const ORDER: [(Sort, &str); 12] = [
    (Sort::Users, ""),
    (Sort::Groups, ""),
    (Sort::Memberships, " AND member_kind = 'group'"),
    (Sort::Memberships, " AND member_kind = 'user'"),
    (Sort::Models, ""),
    (Sort::Aliases, ""),
    (Sort::Sets, ""),
    (Sort::Items, ""),
    (Sort::Grants, ""),
    (Sort::Keys, ""),
    (Sort::SigningKeys, ""),
    (Sort::Ended, " ORDER BY ended_at"),
];

/// Facts that are held back until the policy takes them in together.
const BATCH: usize = 10_000;

/// Everything at the revision the head is at; `now` is the time before it was read. Rows go into the policy as they
/// arrive, so that there is no second copy of them.
pub(crate) async fn load(db: &Db, now: Time) -> Result<Loaded, StoreError> {
    let mut tx = db.begin_read().await?;
    if let Tx::Postgres(transaction) = &mut tx {
        // One statement lasts as long as it takes to work in all rows of a table.
        sqlx::query("SET LOCAL statement_timeout = 0").execute(transaction).await?;
    }
    let head = events::head_in(&mut tx).await?;
    let (mut policy, mut batch) = (Policy::new(), Vec::with_capacity(BATCH));
    let mut take = |batch: &mut Vec<Change>| {
        policy.apply_all(&*batch).map_err(|error| {
            tracing::error!(%error, "the tables contradict themselves");
            StoreError::Corrupt("policy")
        })?;
        batch.clear();
        Ok(())
    };
    for (sort, which) in ORDER {
        let mut put = |fact| {
            batch.push(fact);
            if batch.len() < BATCH { Ok(()) } else { take(&mut batch) }
        };
        read(&mut tx, sort, which, None, &mut put).await?;
    }
    take(&mut batch)?;
    tx.commit().await?;
    Ok(Loaded { epoch: head.epoch, revision: head.revision, at: now, policy })
}

/// The facts that refer to one thing, in an order in which they can be put: what goes when it goes.
pub(crate) async fn about(tx: &mut Tx, kind: Kind, id: Uuid) -> Result<Vec<Change>, StoreError> {
    let sorts: &[(Sort, &str)] = match kind {
        Kind::User => &[
            (Sort::Memberships, " AND member_kind = 'user' AND member_id = "),
            (Sort::Models, " AND owner_kind = 'user' AND owner_id = "),
            (Sort::Grants, " AND grantee_kind = 'user' AND grantee_id = "),
            (Sort::Keys, " AND user_id = "),
        ],
        Kind::Group => &[
            (Sort::Memberships, " AND member_kind = 'group' AND member_id = "),
            (Sort::Memberships, " AND group_id = "),
            (Sort::Models, " AND owner_kind = 'group' AND owner_id = "),
            (Sort::Grants, " AND grantee_kind = 'group' AND grantee_id = "),
        ],
        Kind::Model => &[
            (Sort::Aliases, " AND model_id = "),
            (Sort::Items, " AND item_kind = 'model' AND item_id = "),
            (Sort::Grants, " AND model_id = "),
        ],
        Kind::Set => &[
            (Sort::Items, " AND item_kind = 'set' AND item_id = "),
            (Sort::Items, " AND set_id = "),
            (Sort::Grants, " AND model_set_id = "),
        ],
    };
    let mut facts = Vec::new();
    for (sort, which) in sorts {
        let mut put = |fact| {
            facts.push(fact);
            Ok(())
        };
        read(tx, *sort, which, Some(id), &mut put).await?;
    }
    Ok(facts)
}

/// Puts each row of a query, which ends in `which` and perhaps in an id.
macro_rules! each {
    ($tx:expr, $base:expr, $which:expr, $id:expr, $put:expr, |$row:ident: $type:ty| $fact:expr) => {
        on_tx!($tx, |on| {
            let mut query = QueryBuilder::new($base);
            query.push($which);
            if let Some(id) = $id {
                query.push_bind::<Uuid>(id);
            }
            let mut rows = query.build_query_as::<$type>().fetch(on);
            while let Some($row) = rows.try_next().await? {
                $put($fact)?;
            }
        })
    };
}

async fn read(
    tx: &mut Tx,
    sort: Sort,
    which: &'static str,
    id: Option<Uuid>,
    put: &mut (impl FnMut(Change) -> Result<(), StoreError> + Send),
) -> Result<(), StoreError> {
    match sort {
        Sort::Users => each!(tx, USERS, which, id, put, |row: UserRow| Change::PutUser(user(row)?)),
        Sort::Groups => each!(tx, GROUPS, which, id, put, |row: SwitchRow| {
            Change::PutGroup(Group { id: GroupId(row.id), disabled: row.disabled })
        }),
        Sort::Memberships => each!(tx, MEMBERSHIPS, which, id, put, |row: MembershipRow| {
            Change::PutMembership(Membership::try_from(row)?)
        }),
        Sort::Models => each!(tx, MODELS, which, id, put, |row: ModelRow| Change::PutModel(model(row)?)),
        Sort::Aliases => each!(tx, ALIASES, which, id, put, |row: (String, Uuid)| {
            Change::PutAlias(Alias { name: row.0, model: ModelId(row.1) })
        }),
        Sort::Sets => each!(tx, SETS, which, id, put, |row: SwitchRow| {
            Change::PutModelSet(ModelSet { id: ModelSetId(row.id), disabled: row.disabled })
        }),
        Sort::Items => each!(tx, ITEMS, which, id, put, |row: ItemRow| {
            let (set, item) = row.try_into()?;
            Change::PutSetItem { set, item }
        }),
        Sort::Grants => each!(tx, GRANTS, which, id, put, |row: GrantRow| Change::PutGrant(grant(&row)?)),
        Sort::Keys => {
            for key in keys::facts(tx, id).await? {
                put(Change::PutKey(key))?;
            }
        }
        Sort::SigningKeys => each!(tx, SIGNING_KEYS, which, id, put, |row: SigningKeyRow| {
            Change::PutSigningKey(signing_key(row)?)
        }),
        Sort::Ended => each!(tx, ENDED, which, id, put, |row: (Uuid, db::Time, db::Time)| {
            Change::EndSession { session: SessionId(row.0), at: row.1.0, until: row.2.0 }
        }),
    }
    Ok(())
}

fn user(row: UserRow) -> Result<User, StoreError> {
    Ok(User { id: UserId(row.id), role: row.role.parse()?, disabled: row.disabled })
}

fn model(row: ModelRow) -> Result<Model, StoreError> {
    let owner = models::owner(row.owner_kind, row.owner_id, row.owner_deleted)?;
    Ok(Model { id: ModelId(row.id), name: row.name, owner, state: row.state.parse()? })
}

fn grant(row: &GrantRow) -> Result<Grant, StoreError> {
    Ok(Grant {
        id: GrantId(row.id),
        grantee: grants::grantee(&row.grantee_kind, row.grantee_id)?,
        target: grants::target(row.model_id, row.model_set_id)?,
        action: row.action.parse()?,
        effect: row.effect.parse()?,
        starts_at: row.starts_at.map(Time::from),
        expires_at: row.expires_at.map(Time::from),
    })
}

fn signing_key(row: SigningKeyRow) -> Result<SigningKey, StoreError> {
    let public = row.public.try_into().map_err(|_| StoreError::Corrupt("signing_keys"))?;
    Ok(SigningKey { id: row.kid, public, until: row.until.map(Time::from) })
}
