//! Groups of users and of other groups. A group is never in itself, however long the way round.

use crate::{
    error::Error,
    list::{Listed, Page},
    store,
    write::{Record, Thing, Write},
};
use policy::{Change, GroupId, Member, Membership, Time};
use serde_json::{Value, json};
use shared::db::{Db, Tx};
use uuid::Uuid;

/// A named set of users and groups.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) created_at: Time,
}

impl Group {
    /// What the policy knows of the group.
    pub(crate) const fn fact(&self) -> policy::Group {
        policy::Group { id: self.id, disabled: false }
    }

    /// The group as events show it.
    pub(crate) fn image(&self) -> Value {
        json!({ "name": self.name, "description": self.description })
    }
}

pub(crate) async fn create(write: &mut Write, name: String, description: String) -> Result<Group, Error> {
    let group = Group { id: GroupId(Uuid::now_v7()), name, description, created_at: write.now() };
    store::groups::insert(&mut write.tx, &group).await.map_err(taken)?;
    let record = Record::created(Thing::group(group.id), group.image());
    write.record(record.with(Change::PutGroup(group.fact())));
    Ok(group)
}

pub(crate) async fn list(db: &Db, page: &Page) -> Result<Listed<Group>, Error> {
    let rows = store::groups::list(db, page.after_id()?, page.limit()).await?;
    Ok(page.cut(rows, |group| group.id.to_string()))
}

pub(crate) async fn delete(write: &mut Write, id: GroupId) -> Result<(), Error> {
    let found = store::groups::find(&mut write.tx, id).await?;
    let group = found.ok_or_else(|| Error::not_found("group", id))?;
    store::groups::delete(&mut write.tx, id).await?;
    let record = Record::deleted(Thing::group(id), group.image());
    write.record(record.with(Change::RemoveGroup(id)));
    Ok(())
}

pub(crate) async fn add_member(write: &mut Write, membership: Membership) -> Result<(), Error> {
    must_exist(&mut write.tx, Member::Group(membership.group)).await?;
    must_exist(&mut write.tx, membership.member).await?;
    if let Member::Group(child) = membership.member {
        let inside = store::groups::is_in(&mut write.tx, membership.group, child).await?;
        if inside || child == membership.group {
            return Err(Error::GroupCycle);
        }
    }
    let before = store::groups::find_member(&mut write.tx, membership.group, membership.member).await?;
    store::groups::put_member(&mut write.tx, &membership).await?;
    let record = Record {
        thing: Thing::group(membership.group),
        action: if before.is_some() { "member_updated" } else { "member_added" },
        before: before.map(|before| json!(before)),
        after: Some(json!(membership)),
        change: Some(Change::PutMembership(membership)),
    };
    write.record(record);
    Ok(())
}

pub(crate) async fn remove_member(write: &mut Write, group: GroupId, member: Member) -> Result<(), Error> {
    must_exist(&mut write.tx, Member::Group(group)).await?;
    let found = store::groups::find_member(&mut write.tx, group, member).await?;
    let before = found.ok_or_else(|| Error::not_found("member", id(member)))?;
    store::groups::remove_member(&mut write.tx, group, member).await?;
    let record = Record::deleted(Thing::group(group), json!(before)).called("member_removed");
    write.record(record.with(Change::RemoveMembership { group, member }));
    Ok(())
}

pub(crate) async fn members(db: &Db, group: GroupId, page: &Page) -> Result<Listed<Membership>, Error> {
    let rows = store::groups::members(db, group, place(page)?, page.limit()).await?;
    if rows.is_empty() && !store::groups::is_there(db, group).await? {
        return Err(Error::not_found("group", group));
    }
    Ok(page.cut(rows, |row| match row.member {
        Member::User(id) => format!("user {id}"),
        Member::Group(id) => format!("group {id}"),
    }))
}

/// The member after which a page starts.
fn place(page: &Page) -> Result<Option<Member>, Error> {
    let Some((kind, id)) = page.after().split_once(' ') else { return Ok(None) };
    let id = Uuid::try_parse(id).map_err(|_| Error::page(shared::page::PageError::Token))?;
    Ok(Some(if kind == "user" { Member::User(id.into()) } else { Member::Group(id.into()) }))
}

/// Finds the user or group, or answers that it is not there.
pub(crate) async fn must_exist(tx: &mut Tx, member: Member) -> Result<(), Error> {
    let (kind, there) = match member {
        Member::User(id) => ("user", store::users::exists(tx, id).await?),
        Member::Group(id) => ("group", store::groups::exists(tx, id).await?),
    };
    if there { Ok(()) } else { Err(Error::not_found(kind, id(member))) }
}

fn id(member: Member) -> Uuid {
    match member {
        Member::User(id) => id.uuid(),
        Member::Group(id) => id.uuid(),
    }
}

fn taken(error: store::StoreError) -> Error {
    if error.is_duplicate() {
        return Error::Exists { kind: "group", with: "with this name" };
    }
    error.into()
}
