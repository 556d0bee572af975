//! Sets of models and of other sets, so that one grant covers many models. A set is never in itself.

use crate::{
    deletion,
    error::Error,
    etag,
    groups::must_exist,
    list::{Listed, Page},
    manage,
    store::{self, deletion::Kind},
    write::{Record, Thing, Write},
};
use policy::{Change, Member, ModelSetId, Target, Time};
use serde::Serialize;
use serde_json::{Value, json};
use shared::db::Db;
use uuid::Uuid;

/// A named set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ModelSet {
    pub(crate) id: ModelSetId,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) owner: Option<Member>,
    pub(crate) disabled: bool,
    pub(crate) created_at: Time,
    pub(crate) deleted_at: Option<Time>,
}

/// What a new set is made of.
#[derive(Debug)]
pub(crate) struct NewSet {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) owner: Option<Member>,
}

/// What to change; `None` stays as it is, `Some(None)` is taken away.
#[derive(Debug)]
pub(crate) struct SetPatch {
    pub(crate) id: ModelSetId,
    pub(crate) etag: String,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) owner: Option<Option<Member>>,
    pub(crate) disabled: Option<bool>,
}

/// Which sets to list.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    /// What the name contains, in any case; empty is no condition.
    pub(crate) search: String,
    /// Deleted ones too.
    pub(crate) deleted: bool,
}

impl ModelSet {
    /// What the policy knows of the set.
    pub(crate) const fn fact(&self) -> policy::ModelSet {
        policy::ModelSet { id: self.id, disabled: self.disabled }
    }

    /// The set as events show it.
    pub(crate) fn image(&self) -> Value {
        json!({
            "name": self.name,
            "description": self.description,
            "owner": self.owner,
            "disabled": self.disabled,
        })
    }

    pub(crate) fn etag(&self) -> String {
        etag::of(self)
    }

    fn patched(self, patch: SetPatch) -> Self {
        Self {
            name: patch.name.unwrap_or(self.name),
            description: patch.description.unwrap_or(self.description),
            owner: patch.owner.unwrap_or(self.owner),
            disabled: patch.disabled.unwrap_or(self.disabled),
            ..self
        }
    }
}

pub(crate) async fn create(write: &mut Write, new: NewSet) -> Result<ModelSet, Error> {
    let caller = write.origin.person().map(|person| Member::User(person.user));
    let owner = new.owner.or(caller);
    if let Some(owner) = owner {
        must_exist(&mut write.tx, owner).await?;
    }
    name_is_free(write, &new.name).await?;
    let set = ModelSet {
        id: ModelSetId(Uuid::now_v7()),
        name: new.name,
        description: new.description,
        owner,
        disabled: false,
        created_at: write.now(),
        deleted_at: None,
    };
    store::sets::insert(&mut write.tx, &set).await?;
    let record = Record::created(Thing::set(set.id), set.image());
    write.record(record.with(Change::PutModelSet(set.fact())));
    Ok(set)
}

async fn name_is_free(write: &mut Write, name: &str) -> Result<(), Error> {
    if store::sets::name_taken(&mut write.tx, name).await? {
        return Err(Error::Exists { kind: "model_set", with: "with this name" });
    }
    Ok(())
}

pub(crate) async fn get(db: &Db, id: ModelSetId) -> Result<ModelSet, Error> {
    store::sets::get(db, id).await?.ok_or_else(|| Error::not_found("model_set", id))
}

pub(crate) async fn list(db: &Db, filter: &Filter, page: &Page) -> Result<Listed<ModelSet>, Error> {
    let rows = store::sets::list(db, filter, page.after_name()?, page.limit()).await?;
    Ok(page.cut(rows, |set| format!("{} {}", set.name, set.id)))
}

/// Takes sets from their owner, who is erased.
pub(crate) async fn disown(write: &mut Write, ids: &[ModelSetId]) -> Result<(), Error> {
    for before in store::sets::all_of(&mut write.tx, ids).await? {
        store::sets::set_owner(&mut write.tx, before.id, None).await?;
        let after = ModelSet { owner: None, ..before.clone() };
        let record = Record::updated(Thing::set(after.id), before.image(), after.image());
        write.record(record.with(Change::PutModelSet(after.fact())));
    }
    Ok(())
}

pub(crate) async fn update(write: &mut Write, patch: SetPatch) -> Result<ModelSet, Error> {
    let before = manage::may_manage_set(write, patch.id).await?;
    etag::matches(&patch.etag, &before.etag())?;
    if let Some(name) = patch.name.as_ref().filter(|name| **name != before.name) {
        name_is_free(write, name).await?;
    }
    if let Some(owner) = patch.owner {
        if let Some(owner) = owner {
            must_exist(&mut write.tx, owner).await?;
        }
        store::sets::set_owner(&mut write.tx, patch.id, owner).await?;
    }
    let after = before.clone().patched(patch);
    if after != before {
        store::sets::update(&mut write.tx, &after).await?;
        let record = Record::updated(Thing::set(after.id), before.image(), after.image());
        write.record(record.with(Change::PutModelSet(after.fact())));
    }
    Ok(after)
}

pub(crate) async fn delete(write: &mut Write, id: ModelSetId, etag: &str) -> Result<(), Error> {
    let set = manage::may_manage_set(write, id).await?;
    etag::matches(etag, &set.etag())?;
    let now = write.now();
    store::deletion::delete(&mut write.tx, Kind::Set, id.uuid(), now).await?;
    write.record(Record::deleted(Thing::set(id), set.image()).with(Change::RemoveModelSet(id)));
    Ok(())
}

pub(crate) async fn undelete(write: &mut Write, id: ModelSetId) -> Result<ModelSet, Error> {
    let found = store::sets::find_deleted(&mut write.tx, id).await?;
    let deleted = found.ok_or_else(|| Error::not_found("model_set", id))?;
    manage::may_undelete(write, deleted.owner)?;
    name_is_free(write, &deleted.name).await?;
    let set = ModelSet { deleted_at: None, ..deleted };
    let back = Record::created(Thing::set(id), set.image()).with(Change::PutModelSet(set.fact()));
    deletion::restore(write, Kind::Set, id.uuid(), back).await?;
    // While it was away, what it is in may have been put into what is in it.
    if store::sets::above(&mut write.tx, id).await?.contains(&id) {
        return Err(Error::SetCycle);
    }
    Ok(set)
}

pub(crate) async fn items(db: &Db, id: ModelSetId, page: &Page) -> Result<Listed<Target>, Error> {
    let rows = store::sets::items(db, id, place(page)?, page.limit()).await?;
    if rows.is_empty() {
        get(db, id).await?;
    }
    Ok(page.cut(rows, |item| match item {
        Target::Model(id) => format!("model {id}"),
        Target::Set(id) => format!("set {id}"),
    }))
}

/// The item after which a page starts.
pub(crate) fn place(page: &Page) -> Result<Option<Target>, Error> {
    let Some((kind, id)) = page.after().split_once(' ') else { return Ok(None) };
    let id = Uuid::try_parse(id).map_err(|_| Error::page(shared::page::PageError::Token))?;
    Ok(Some(if kind == "model" { Target::Model(id.into()) } else { Target::Set(id.into()) }))
}

/// Puts items in. Whoever does must manage each of them: what is granted on the set then covers them too.
pub(crate) async fn add_items(write: &mut Write, id: ModelSetId, items: &[Target]) -> Result<(), Error> {
    manage::may_manage_set(write, id).await?;
    let mut circle = store::sets::above(&mut write.tx, id).await?;
    circle.push(id);
    manage::may_manage(write, items).await?;
    if items.iter().any(|item| matches!(item, Target::Set(set) if circle.contains(set))) {
        return Err(Error::SetCycle);
    }
    let there = store::sets::find_items(&mut write.tx, id, items).await?;
    let new: Vec<Target> = items.iter().copied().filter(|item| !there.contains(item)).collect();
    store::sets::add_items(&mut write.tx, id, &new).await?;
    for item in new {
        let record = Record::created(Thing::set(id), json!({ "item": item })).called("item_added");
        write.record(record.with(Change::PutSetItem { set: id, item }));
    }
    Ok(())
}

pub(crate) async fn remove_items(write: &mut Write, id: ModelSetId, items: &[Target]) -> Result<(), Error> {
    manage::may_manage_set(write, id).await?;
    let there = store::sets::find_items(&mut write.tx, id, items).await?;
    if let Some(missing) = items.iter().find(|item| !there.contains(item)) {
        let id = match missing {
            Target::Model(id) => id.uuid(),
            Target::Set(id) => id.uuid(),
        };
        return Err(Error::not_found("item", id));
    }
    manage::may_manage(write, items).await?;
    store::sets::remove_items(&mut write.tx, id, items).await?;
    for item in items.iter().copied() {
        let record = Record::deleted(Thing::set(id), json!({ "item": item })).called("item_removed");
        write.record(record.with(Change::RemoveSetItem { set: id, item }));
    }
    Ok(())
}
