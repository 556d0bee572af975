//! Keys and verdicts on their way out.

use crate::keys::{Key, Rotation, State, Verdict};
use policy::{KeyId, ModelId, Time, UserId};
use proto::permissions::v1 as pb;
use shared::time;

/// A key as answers show it, but for its uses.
pub(super) fn unused(key: Key, now: Time) -> pb::Key {
    let state = key.state(now);
    let due_at = key.due_at();
    pb::Key {
        state: number(state).into(),
        stop_time: key.ends_at().map(time::to_proto),
        previous_until_time: key.previous_until(now).map(time::to_proto),
        rotation_due_time: due_at.map(time::to_proto),
        rotation_due: state == State::Active && due_at.is_some_and(|due| due <= now),
        rotation: key.rotation.map(rotation),
        etag: key.etag(),
        key_id: key.id.to_string(),
        user_id: key.user.to_string(),
        name: key.name,
        hint: key.hint,
        model_ids: key.limits.models.unwrap_or_default().iter().map(ModelId::to_string).collect(),
        scopes: scopes(key.limits.scopes),
        networks: key.limits.networks.iter().map(ToString::to_string).collect(),
        expire_time: key.expires_at.map(time::to_proto),
        create_time: Some(time::to_proto(key.created_at)),
        revoke_time: key.revoked_at.map(time::to_proto),
        secret_time: Some(time::to_proto(key.secret_at)),
        use_count: 0,
        last_use_time: None,
    }
}

/// A key with how often it was used and when last.
pub(super) fn used(key: pb::Key, uses: Option<(u64, Time)>) -> pb::Key {
    let Some((count, last)) = uses else { return key };
    let use_count = i64::try_from(count).unwrap_or(i64::MAX);
    pb::Key { use_count, last_use_time: Some(time::to_proto(last)), ..key }
}

fn scopes(scopes: policy::Scopes) -> Vec<i32> {
    if scopes == policy::Scopes::ALL {
        return Vec::new();
    }
    scopes.iter().map(super::request::scope_number).collect()
}

fn rotation(rotation: Rotation) -> pb::Rotation {
    let policy = if rotation.expires { pb::RotationPolicy::Expire } else { pb::RotationPolicy::Remind };
    pb::Rotation {
        every: Some(time::duration_to_proto(rotation.every)),
        grace: Some(time::duration_to_proto(rotation.grace)),
        policy: policy.into(),
    }
}

const fn number(state: State) -> pb::KeyState {
    match state {
        State::Active => pb::KeyState::Active,
        State::Expired => pb::KeyState::Expired,
        State::Revoked => pb::KeyState::Revoked,
    }
}

impl From<Verdict> for pb::VerifyKeyResponse {
    fn from(verdict: Verdict) -> Self {
        Self {
            good: verdict.good,
            reason: verdict.reason.to_owned(),
            key_id: verdict.key.as_ref().map(KeyId::to_string).unwrap_or_default(),
            user_id: verdict.user.as_ref().map(UserId::to_string).unwrap_or_default(),
            valid_until: verdict.valid_until.map(time::to_proto),
        }
    }
}
