//! Deleting what others refer to so that it can be taken back, and purging it when its time is over.
//!
//! A row that joins two things counts its deleted ends and holds only while there are none; see the migration. So a
//! deletion marks one row and raises the count of those that refer to it, and taking it back lowers that again.

use super::StoreError;
use shared::{
    db::{Db, Time, Tx},
    on, on_tx,
};
use uuid::Uuid;

/// What can be deleted and taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    User,
    Group,
    Model,
    Set,
}

struct Queries {
    /// `$2` is when, or NULL.
    mark: &'static str,
    /// `$2` is 1 or -1.
    ends: &'static [&'static str],
    due: &'static str,
    /// In this order, the thing itself last.
    purge: &'static [&'static str],
}

const USER: Queries = Queries {
    mark: "UPDATE users SET deleted_at = $2 WHERE id = $1",
    ends: &[
        "UPDATE memberships SET dead_ends = dead_ends + $2 WHERE member_kind = 'user' AND member_id = $1",
        "UPDATE grants SET dead_ends = dead_ends + $2 WHERE grantee_kind = 'user' AND grantee_id = $1",
        "UPDATE models SET owner_deleted = ($2 > 0) WHERE owner_kind = 'user' AND owner_id = $1",
        "UPDATE model_sets SET owner_deleted = ($2 > 0) WHERE owner_kind = 'user' AND owner_id = $1",
    ],
    due: "SELECT id FROM users WHERE deleted_at <= $1 ORDER BY deleted_at LIMIT 100",
    purge: &[
        "DELETE FROM memberships WHERE member_kind = 'user' AND member_id = $1",
        "DELETE FROM grants WHERE grantee_kind = 'user' AND grantee_id = $1",
        "UPDATE models SET owner_kind = NULL, owner_id = NULL, owner_deleted = FALSE \
            WHERE owner_kind = 'user' AND owner_id = $1",
        "UPDATE model_sets SET owner_kind = NULL, owner_id = NULL, owner_deleted = FALSE \
            WHERE owner_kind = 'user' AND owner_id = $1",
        "DELETE FROM keys WHERE user_id = $1",
        "DELETE FROM sessions WHERE user_id = $1",
        "DELETE FROM notifications WHERE user_id = $1",
        "DELETE FROM notifications WHERE request_id IN (SELECT id FROM access_requests WHERE requester = $1)",
        "DELETE FROM access_comments WHERE request_id IN (SELECT id FROM access_requests WHERE requester = $1)",
        "DELETE FROM access_decisions WHERE request_id IN (SELECT id FROM access_requests WHERE requester = $1)",
        "DELETE FROM access_requests WHERE requester = $1",
        "DELETE FROM users WHERE id = $1",
    ],
};

const GROUP: Queries = Queries {
    mark: "UPDATE groups SET deleted_at = $2 WHERE id = $1",
    ends: &[
        "UPDATE memberships SET dead_ends = dead_ends + $2 WHERE group_id = $1",
        "UPDATE memberships SET dead_ends = dead_ends + $2 WHERE member_kind = 'group' AND member_id = $1",
        "UPDATE grants SET dead_ends = dead_ends + $2 WHERE grantee_kind = 'group' AND grantee_id = $1",
        "UPDATE models SET owner_deleted = ($2 > 0) WHERE owner_kind = 'group' AND owner_id = $1",
        "UPDATE model_sets SET owner_deleted = ($2 > 0) WHERE owner_kind = 'group' AND owner_id = $1",
    ],
    due: "SELECT id FROM groups WHERE deleted_at <= $1 ORDER BY deleted_at LIMIT 100",
    purge: &[
        "DELETE FROM memberships WHERE group_id = $1",
        "DELETE FROM memberships WHERE member_kind = 'group' AND member_id = $1",
        "DELETE FROM grants WHERE grantee_kind = 'group' AND grantee_id = $1",
        "UPDATE models SET owner_kind = NULL, owner_id = NULL, owner_deleted = FALSE \
            WHERE owner_kind = 'group' AND owner_id = $1",
        "UPDATE model_sets SET owner_kind = NULL, owner_id = NULL, owner_deleted = FALSE \
            WHERE owner_kind = 'group' AND owner_id = $1",
        "UPDATE approval_policies SET approver_group = NULL WHERE approver_group = $1",
        // Without its group a rule would approve for everybody.
        "UPDATE approval_policies SET auto_group = NULL, auto_approve = FALSE WHERE auto_group = $1",
        "DELETE FROM groups WHERE id = $1",
    ],
};

const MODEL: Queries = Queries {
    mark: "UPDATE models SET deleted_at = $2 WHERE id = $1",
    ends: &[
        "UPDATE grants SET dead_ends = dead_ends + $2 WHERE model_id = $1",
        "UPDATE set_items SET dead_ends = dead_ends + $2 WHERE item_kind = 'model' AND item_id = $1",
        "UPDATE aliases SET dead_ends = dead_ends + $2 WHERE model_id = $1",
    ],
    due: "SELECT id FROM models WHERE deleted_at <= $1 ORDER BY deleted_at LIMIT 100",
    purge: &[
        "DELETE FROM grants WHERE model_id = $1",
        "DELETE FROM set_items WHERE item_kind = 'model' AND item_id = $1",
        "DELETE FROM aliases WHERE model_id = $1",
        "DELETE FROM approval_policies WHERE target_kind = 'model' AND target_id = $1",
        "DELETE FROM notifications WHERE request_id IN (SELECT id FROM access_requests WHERE model_id = $1)",
        "DELETE FROM access_comments WHERE request_id IN (SELECT id FROM access_requests WHERE model_id = $1)",
        "DELETE FROM access_decisions WHERE request_id IN (SELECT id FROM access_requests WHERE model_id = $1)",
        "DELETE FROM access_requests WHERE model_id = $1",
        "DELETE FROM models WHERE id = $1",
    ],
};

const SET: Queries = Queries {
    mark: "UPDATE model_sets SET deleted_at = $2 WHERE id = $1",
    ends: &[
        "UPDATE grants SET dead_ends = dead_ends + $2 WHERE model_set_id = $1",
        "UPDATE set_items SET dead_ends = dead_ends + $2 WHERE set_id = $1",
        "UPDATE set_items SET dead_ends = dead_ends + $2 WHERE item_kind = 'set' AND item_id = $1",
    ],
    due: "SELECT id FROM model_sets WHERE deleted_at <= $1 ORDER BY deleted_at LIMIT 100",
    purge: &[
        "DELETE FROM grants WHERE model_set_id = $1",
        "DELETE FROM approval_policies WHERE target_kind = 'set' AND target_id = $1",
        "DELETE FROM set_items WHERE set_id = $1",
        "DELETE FROM set_items WHERE item_kind = 'set' AND item_id = $1",
        "DELETE FROM model_sets WHERE id = $1",
    ],
};

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::User, Self::Group, Self::Model, Self::Set];

    const fn queries(self) -> &'static Queries {
        match self {
            Self::User => &USER,
            Self::Group => &GROUP,
            Self::Model => &MODEL,
            Self::Set => &SET,
        }
    }
}

/// Hides a thing and what refers to it.
pub(crate) async fn delete(tx: &mut Tx, kind: Kind, id: Uuid, at: policy::Time) -> Result<(), StoreError> {
    mark(tx, kind, id, Some(at), 1).await
}

/// Shows again what [`delete`] hid, unless another deletion hides it too.
pub(crate) async fn restore(tx: &mut Tx, kind: Kind, id: Uuid) -> Result<(), StoreError> {
    mark(tx, kind, id, None, -1).await
}

async fn mark(
    tx: &mut Tx,
    kind: Kind,
    id: Uuid,
    at: Option<policy::Time>,
    step: i32,
) -> Result<(), StoreError> {
    let Queries { mark, ends, .. } = kind.queries();
    on_tx!(tx, |on| sqlx::query(*mark).bind(id).bind(at.map(Time)).execute(on).await.map(drop))?;
    for query in *ends {
        on_tx!(tx, |on| sqlx::query(*query).bind(id).bind(step).execute(on).await.map(drop))?;
    }
    Ok(())
}

/// What was deleted up to an instant, at most a hundred of it.
pub(crate) async fn due(db: &Db, kind: Kind, until: policy::Time) -> Result<Vec<Uuid>, StoreError> {
    let query = kind.queries().due;
    Ok(on!(db, |pool| sqlx::query_scalar(query).bind(Time(until)).fetch_all(pool).await)?)
}

/// Forgets what was deleted, with all that refers to it.
pub(crate) async fn purge(tx: &mut Tx, kind: Kind, id: Uuid) -> Result<(), StoreError> {
    for query in kind.queries().purge {
        on_tx!(tx, |on| sqlx::query(*query).bind(id).execute(on).await.map(drop))?;
    }
    Ok(())
}
