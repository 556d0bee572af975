//! Models that callers may be permitted to use: register, read, list, change, delete.

use crate::{
    check, deletion,
    error::{Error, Forbidden},
    etag,
    groups::must_exist,
    list::{Listed, Page},
    manage, questions,
    store::{self, deletion::Kind},
    write::{Record, Thing, Write, Writer},
};
use policy::{Change, Member, ModelId, ModelState, Time};
use serde::Serialize;
use serde_json::{Value, json};
use shared::{auth::Person, db::Db};
use uuid::Uuid;

/// A model that engines serve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Model {
    pub(crate) id: ModelId,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) owner: Option<Member>,
    pub(crate) state: ModelState,
    /// What to use instead of a deprecated model.
    pub(crate) replacement: Option<ModelId>,
    /// When a deprecated model is meant to go.
    pub(crate) sunset_at: Option<Time>,
    pub(crate) created_at: Time,
    pub(crate) deleted_at: Option<Time>,
}

/// What a new model is made of.
#[derive(Debug)]
pub(crate) struct NewModel {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) owner: Option<Member>,
}

/// What to change; `None` stays as it is, `Some(None)` is taken away.
#[derive(Debug)]
pub(crate) struct ModelPatch {
    pub(crate) id: ModelId,
    pub(crate) etag: String,
    pub(crate) description: Option<String>,
    pub(crate) owner: Option<Option<Member>>,
    pub(crate) state: Option<ModelState>,
    pub(crate) replacement: Option<Option<ModelId>>,
    pub(crate) sunset_at: Option<Option<Time>>,
}

/// Which models to list; what is empty is no condition.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    /// What the name contains, in any case.
    pub(crate) search: String,
    pub(crate) states: Vec<ModelState>,
    pub(crate) owner: Option<Member>,
    /// Deleted ones too.
    pub(crate) deleted: bool,
}

impl Filter {
    fn passes(&self, model: &policy::Model) -> bool {
        let found = || model.name.to_lowercase().contains(&self.search.to_lowercase());
        let state = self.states.is_empty() || self.states.contains(&model.state);
        state && self.owner.is_none_or(|owner| model.owner == Some(owner)) && found()
    }
}

impl Model {
    /// What the policy knows of the model.
    pub(crate) fn fact(&self) -> policy::Model {
        policy::Model { id: self.id, name: self.name.clone(), owner: self.owner, state: self.state }
    }

    /// The model as events show it.
    pub(crate) fn image(&self) -> Value {
        json!({
            "model": self.fact(),
            "description": self.description,
            "replacement": self.replacement,
            "sunset_at": self.sunset_at,
        })
    }

    pub(crate) fn etag(&self) -> String {
        etag::of(self)
    }

    fn patched(self, patch: ModelPatch) -> Self {
        let state = patch.state.unwrap_or(self.state);
        let deprecated = state == ModelState::Deprecated;
        Self {
            description: patch.description.unwrap_or(self.description),
            owner: patch.owner.unwrap_or(self.owner),
            state,
            replacement: patch.replacement.unwrap_or(self.replacement).filter(|_| deprecated),
            sunset_at: patch.sunset_at.unwrap_or(self.sunset_at).filter(|_| deprecated),
            ..self
        }
    }
}

pub(crate) async fn register(write: &mut Write, new: NewModel) -> Result<Model, Error> {
    let caller = write.origin.person().map(|person| Member::User(person.user));
    let owner = new.owner.or(caller);
    if let Some(owner) = owner {
        must_exist(&mut write.tx, owner).await?;
    }
    name_is_free(write, &new.name).await?;
    let model = Model {
        id: ModelId(Uuid::now_v7()),
        name: new.name,
        description: new.description,
        owner,
        state: ModelState::Active,
        replacement: None,
        sunset_at: None,
        created_at: write.now(),
        deleted_at: None,
    };
    store::models::insert(&mut write.tx, &model).await?;
    let record = Record::created(Thing::model(model.id), model.image());
    write.record(record.with(Change::PutModel(model.fact())));
    Ok(model)
}

/// Names and aliases are one name space.
pub(crate) async fn name_is_free(write: &mut Write, name: &str) -> Result<(), Error> {
    if store::models::name_taken(&mut write.tx, name).await? {
        return Err(Error::Exists { kind: "model", with: "with this name" });
    }
    match store::aliases::find(&mut write.tx, name).await? {
        Some(_) => Err(Error::Exists { kind: "alias", with: "with this name" }),
        None => Ok(()),
    }
}

pub(crate) async fn get(db: &Db, id: ModelId) -> Result<Model, Error> {
    store::models::get(db, id).await?.ok_or_else(|| Error::not_found("model", id))
}

pub(crate) async fn list(db: &Db, filter: &Filter, page: &Page) -> Result<Listed<Model>, Error> {
    let rows = store::models::list(db, filter, page.after_name()?, page.limit()).await?;
    Ok(page.cut(rows, |model| format!("{} {}", model.name, model.id)))
}

/// Only what the person may use now: the policy says which, the table says the rest.
pub(crate) async fn list_usable(
    writer: &Writer,
    person: &Person,
    filter: &Filter,
    page: &Page,
    now: Time,
) -> Result<Listed<Model>, Error> {
    let usable = questions::usable(writer.tail(), person, |model| filter.passes(model), page, now)?;
    let Listed { rows, next } = page.cut(usable, |(_, name)| name.clone());
    let ids: Vec<ModelId> = rows.into_iter().map(|(id, _)| id).collect();
    Ok(Listed { rows: store::models::all_of(writer.db(), &ids).await?, next })
}

/// The model, which the caller may manage and knows as it is.
async fn managed(write: &mut Write, id: ModelId, sent: &str) -> Result<Model, Error> {
    check::may_manage(write, id)?;
    let found = store::models::find(&mut write.tx, id).await?;
    let model = found.ok_or_else(|| Error::not_found("model", id))?;
    etag::matches(sent, &model.etag())?;
    Ok(model)
}

pub(crate) async fn update(write: &mut Write, patch: ModelPatch) -> Result<Model, Error> {
    let before = managed(write, patch.id, &patch.etag).await?;
    if let Some(Some(owner)) = patch.owner {
        must_exist(&mut write.tx, owner).await?;
    }
    let (replacement, sunset_at) = (patch.replacement.flatten(), patch.sunset_at.flatten());
    let owner = patch.owner;
    let after = before.clone().patched(patch);
    if let Some(replacement) = replacement {
        can_replace(write, &after, replacement).await?;
    }
    if sunset_at.is_some() && after.sunset_at.is_none() {
        return Err(Error::invalid("sunset_time", "is for deprecated models; set state DEPRECATED too"));
    }
    if let Some(owner) = owner {
        store::models::set_owner(&mut write.tx, after.id, owner).await?;
    }
    if after != before {
        store::models::update(&mut write.tx, &after).await?;
        let record = Record::updated(Thing::model(after.id), before.image(), after.image());
        write.record(record.with(Change::PutModel(after.fact())));
    }
    Ok(after)
}

/// Takes a model from its owner, who is erased.
pub(crate) async fn disown(write: &mut Write, id: ModelId) -> Result<(), Error> {
    let Some(before) = store::models::find(&mut write.tx, id).await? else { return Ok(()) };
    store::models::set_owner(&mut write.tx, id, None).await?;
    let after = Model { owner: None, ..before.clone() };
    let record = Record::updated(Thing::model(id), before.image(), after.image());
    write.record(record.with(Change::PutModel(after.fact())));
    Ok(())
}

async fn can_replace(write: &mut Write, model: &Model, replacement: ModelId) -> Result<(), Error> {
    const FIELD: &str = "replacement_model_id";
    if model.replacement.is_none() {
        return Err(Error::invalid(FIELD, "is for deprecated models; set state DEPRECATED too"));
    }
    if replacement == model.id {
        return Err(Error::invalid(FIELD, "must be another model"));
    }
    let found = store::models::find(&mut write.tx, replacement).await?;
    found.map(drop).ok_or_else(|| Error::not_found("model", replacement))
}

pub(crate) async fn delete(write: &mut Write, id: ModelId, etag: &str) -> Result<(), Error> {
    let model = managed(write, id, etag).await?;
    let now = write.now();
    store::deletion::delete(&mut write.tx, Kind::Model, id.uuid(), now).await?;
    let record = Record::deleted(Thing::model(id), model.image());
    write.record(record.with(Change::RemoveModel(id)));
    Ok(())
}

pub(crate) async fn undelete(write: &mut Write, id: ModelId) -> Result<Model, Error> {
    let found = store::models::find_deleted(&mut write.tx, id).await?;
    let deleted = found.ok_or_else(|| Error::not_found("model", id))?;
    manage::may_undelete(write, deleted.owner)?;
    name_is_free(write, &deleted.name).await?;
    if store::aliases::taken(&mut write.tx, id).await?.is_some() {
        return Err(Error::Exists {
            kind: "model or alias",
            with: "with the name of an alias of this model",
        });
    }
    let model = Model { deleted_at: None, ..deleted };
    let back = Record::created(Thing::model(id), model.image()).with(Change::PutModel(model.fact()));
    deletion::restore(write, Kind::Model, id.uuid(), back).await?;
    Ok(model)
}

/// Deleted things are shown to owners and admins alone.
pub(crate) fn may_see_deleted(person: Option<&Person>) -> Result<(), Forbidden> {
    let admin = |person: &Person| matches!(person.role, policy::Role::Owner | policy::Role::Admin);
    if person.is_some_and(admin) { Ok(()) } else { Err(Forbidden::AdminRequired) }
}
