//! Groups of users and of other groups. A group is never in itself, however long the way round.

mod members;
mod ways;

use crate::{
    deletion,
    error::Error,
    etag,
    list::{Listed, Page},
    store::{self, deletion::Kind},
    write::{Record, Thing, Write},
};
#[cfg(any(test, fuzzing))]
pub(crate) use members::place;
pub(crate) use members::{add_members, members, memberships, must_exist, remove_members};
use policy::{Change, GroupId, Time};
use serde::Serialize;
use serde_json::{Value, json};
use shared::db::Db;
use uuid::Uuid;
pub(crate) use ways::{Edge, Way};

/// A named set of users and groups.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) disabled: bool,
    pub(crate) created_at: Time,
    pub(crate) deleted_at: Option<Time>,
}

/// What to change; `None` stays as it is.
#[derive(Debug)]
pub(crate) struct GroupPatch {
    pub(crate) id: GroupId,
    pub(crate) etag: String,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) disabled: Option<bool>,
}

/// Which groups to list.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    /// What the name contains, in any case; empty is no condition.
    pub(crate) search: String,
    /// Deleted ones too.
    pub(crate) deleted: bool,
}

impl Group {
    /// What the policy knows of the group.
    pub(crate) const fn fact(&self) -> policy::Group {
        policy::Group { id: self.id, disabled: self.disabled }
    }

    /// The group as events show it.
    pub(crate) fn image(&self) -> Value {
        json!({ "name": self.name, "description": self.description, "disabled": self.disabled })
    }

    pub(crate) fn etag(&self) -> String {
        etag::of(self)
    }

    fn patched(self, patch: GroupPatch) -> Self {
        Self {
            name: patch.name.unwrap_or(self.name),
            description: patch.description.unwrap_or(self.description),
            disabled: patch.disabled.unwrap_or(self.disabled),
            ..self
        }
    }
}

pub(crate) async fn create(write: &mut Write, name: String, description: String) -> Result<Group, Error> {
    name_is_free(write, &name).await?;
    let id = GroupId(Uuid::now_v7());
    let created_at = write.now();
    let group = Group { id, name, description, disabled: false, created_at, deleted_at: None };
    store::groups::insert(&mut write.tx, &group).await?;
    let record = Record::created(Thing::group(group.id), group.image());
    write.record(record.with(Change::PutGroup(group.fact())));
    Ok(group)
}

async fn name_is_free(write: &mut Write, name: &str) -> Result<(), Error> {
    if store::groups::name_taken(&mut write.tx, name).await? {
        return Err(Error::Exists { kind: "group", with: "with this name" });
    }
    Ok(())
}

pub(crate) async fn get(db: &Db, id: GroupId) -> Result<Group, Error> {
    store::groups::get(db, id).await?.ok_or_else(|| Error::not_found("group", id))
}

pub(crate) async fn list(db: &Db, filter: &Filter, page: &Page) -> Result<Listed<Group>, Error> {
    let rows = store::groups::list(db, filter, page.after_id()?, page.limit()).await?;
    Ok(page.cut(rows, |group| group.id.to_string()))
}

/// The group, which the caller knows as it is.
async fn known(write: &mut Write, id: GroupId, sent: &str) -> Result<Group, Error> {
    let found = store::groups::find(&mut write.tx, id).await?;
    let group = found.ok_or_else(|| Error::not_found("group", id))?;
    etag::matches(sent, &group.etag())?;
    Ok(group)
}

pub(crate) async fn update(write: &mut Write, patch: GroupPatch) -> Result<Group, Error> {
    let before = known(write, patch.id, &patch.etag).await?;
    if let Some(name) = patch.name.as_ref().filter(|name| **name != before.name) {
        name_is_free(write, name).await?;
    }
    let after = before.clone().patched(patch);
    if after != before {
        store::groups::update(&mut write.tx, &after).await?;
        let record = Record::updated(Thing::group(after.id), before.image(), after.image());
        write.record(record.with(Change::PutGroup(after.fact())));
    }
    Ok(after)
}

pub(crate) async fn delete(write: &mut Write, id: GroupId, etag: &str) -> Result<(), Error> {
    let group = known(write, id, etag).await?;
    let now = write.now();
    store::deletion::delete(&mut write.tx, Kind::Group, id.uuid(), now).await?;
    write.record(Record::deleted(Thing::group(id), group.image()).with(Change::RemoveGroup(id)));
    Ok(())
}

pub(crate) async fn undelete(write: &mut Write, id: GroupId) -> Result<Group, Error> {
    let found = store::groups::find_deleted(&mut write.tx, id).await?;
    let deleted = found.ok_or_else(|| Error::not_found("group", id))?;
    name_is_free(write, &deleted.name).await?;
    let group = Group { deleted_at: None, ..deleted };
    let back = Record::created(Thing::group(id), group.image()).with(Change::PutGroup(group.fact()));
    deletion::restore(write, Kind::Group, id.uuid(), back).await?;
    // While it was away, what it is in may have been put into what is in it.
    if store::groups::above(&mut write.tx, id).await?.contains(&id) {
        return Err(Error::GroupCycle);
    }
    Ok(group)
}
