//! Erases what is known about one person. The id stays, and with it the log of events: events name people by id alone,
//! so nothing in them has to be rewritten and their chain still holds.
//!
//! What the person has part in ends by events as when others end it, so that every replica hears of it. Who was deleted
//! has part in nothing any more.

use crate::{
    access_requests,
    error::{Error, Forbidden},
    external, grants, groups, keys, models, sessions, sets, store,
    users::{User, only_owners_touch},
    write::{Record, Thing, Write},
};
use policy::{Change, GroupId, Member, ModelId, ModelSetId, Role, UserId};

/// What an erasure did.
#[derive(Debug, Default)]
pub(crate) struct Erased {
    /// Nothing, when it had been done before.
    pub(crate) done: bool,
    pub(crate) revoked_keys: usize,
}

/// Erases a person; `confirm` is the id once more, because there is no way back.
pub(crate) async fn erase(write: &mut Write, id: UserId, confirm: UserId) -> Result<Erased, Error> {
    write.origin.person().ok_or(Forbidden::NotYourself)?;
    if confirm != id {
        return Err(Error::invalid(
            "confirm",
            "must be the user_id once more; what is erased cannot be brought back",
        ));
    }
    let erased = store::erasure::is_erased(&mut write.tx, id).await?;
    if erased.ok_or_else(|| Error::not_found("user", id))? {
        return Ok(Erased::default());
    }
    let Some(before) = store::users::find(&mut write.tx, write.sealer.as_ref(), id).await? else {
        return erase_deleted(write, id).await;
    };
    only_owners_touch(before.role, &write.origin)?;
    let owner = before.role == Role::Owner && !before.disabled;
    if owner && !store::users::another_owner(&mut write.tx, id).await? {
        return Err(Error::LastOwner);
    }
    let revoked_keys = revoke_keys(write, id).await?;
    sessions::end_all(write, id, None).await?;
    leave(write, id).await?;
    withdraw(write, id).await?;
    let now = write.now();
    store::erasure::erase(&mut write.tx, id, now).await?;
    record(write, &before);
    Ok(Erased { done: true, revoked_keys })
}

/// Erases somebody who was deleted, who can then not be brought back.
async fn erase_deleted(write: &mut Write, id: UserId) -> Result<Erased, Error> {
    let found = store::users::find_deleted(&mut write.tx, write.sealer.as_ref(), id).await?;
    let before = found.ok_or_else(|| Error::not_found("user", id))?;
    only_owners_touch(before.role, &write.origin)?;
    leave(write, id).await?;
    let now = write.now();
    store::erasure::erase(&mut write.tx, id, now).await?;
    write.record(Record::deleted(Thing::user(id), before.image()).called("erased"));
    Ok(Erased { done: true, revoked_keys: 0 })
}

/// Ends what the person has part in.
async fn withdraw(write: &mut Write, id: UserId) -> Result<(), Error> {
    let parts = store::erasure::parts(&mut write.tx, id).await?;
    for group in parts.groups {
        groups::remove_members(write, GroupId(group), &[Member::User(id)]).await?;
    }
    grants::revoke_all(write, id).await?;
    for model in parts.models {
        models::disown(write, ModelId(model)).await?;
    }
    let owned: Vec<_> = parts.sets.into_iter().map(ModelSetId).collect();
    sets::disown(write, &owned).await
}

/// Ends what the person is part of beside the policy, deleted or not.
async fn leave(write: &mut Write, id: UserId) -> Result<(), Error> {
    for request in store::erasure::pending_requests(&mut write.tx, id).await? {
        access_requests::withdraw(write, request).await?;
    }
    external::unlink_all(write, id).await
}

async fn revoke_keys(write: &mut Write, id: UserId) -> Result<usize, Error> {
    let keys = store::keys::of_user(&mut write.tx, id).await?;
    let count = keys.len();
    for key in keys {
        keys::end(write, key).await?;
    }
    Ok(count)
}

/// The account is a disabled member from now on: an id that may do nothing.
fn record(write: &mut Write, before: &User) {
    let after = User { role: Role::Member, disabled: true, ..before.clone() };
    let record = Record::updated(Thing::user(after.id), before.image(), after.image()).called("erased");
    write.record(record.with(Change::PutUser(after.fact())));
}
