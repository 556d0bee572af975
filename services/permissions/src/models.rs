//! Models that callers may be permitted to use: register, read, list, change.

use crate::{
    check,
    error::Error,
    groups::must_exist,
    list::{Listed, Page},
    questions, store,
    write::{Record, Thing, Write, Writer},
};
use policy::{Change, Member, ModelId, ModelState, Time};
use serde_json::{Value, json};
use shared::{auth::Person, db::Db};
use uuid::Uuid;

/// A model that engines serve.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Model {
    pub(crate) id: ModelId,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) owner: Option<Member>,
    pub(crate) state: ModelState,
    pub(crate) created_at: Time,
}

/// What a new model is made of.
#[derive(Debug)]
pub(crate) struct NewModel {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) owner: Option<Member>,
}

/// What to change; `None` stays as it is.
#[derive(Debug)]
pub(crate) struct ModelPatch {
    pub(crate) id: ModelId,
    pub(crate) description: Option<String>,
    pub(crate) owner: Option<Member>,
    pub(crate) state: Option<ModelState>,
}

impl Model {
    /// What the policy knows of the model.
    pub(crate) fn fact(&self) -> policy::Model {
        policy::Model { id: self.id, name: self.name.clone(), owner: self.owner, state: self.state }
    }

    /// The model as events show it.
    pub(crate) fn image(&self) -> Value {
        json!({ "model": self.fact(), "description": self.description })
    }

    fn patched(self, patch: ModelPatch) -> Self {
        Self {
            description: patch.description.unwrap_or(self.description),
            owner: patch.owner.or(self.owner),
            state: patch.state.unwrap_or(self.state),
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
    let model = Model {
        id: ModelId(Uuid::now_v7()),
        name: new.name,
        description: new.description,
        owner,
        state: ModelState::Active,
        created_at: write.origin.now,
    };
    store::models::insert(&mut write.tx, &model).await.map_err(taken)?;
    let record = Record::created(Thing::model(model.id), model.image());
    write.record(record.with(Change::PutModel(model.fact())));
    Ok(model)
}

pub(crate) async fn get(db: &Db, id: ModelId) -> Result<Model, Error> {
    store::models::get(db, id).await?.ok_or_else(|| Error::not_found("model", id))
}

pub(crate) async fn list(db: &Db, search: &str, page: &Page) -> Result<Listed<Model>, Error> {
    let rows = store::models::list(db, page.after(), search, page.limit()).await?;
    Ok(page.cut(rows, |model| model.name.clone()))
}

/// Only what the person may use now: the policy says which, the table says the rest.
pub(crate) async fn list_usable(
    writer: &Writer,
    person: &Person,
    search: &str,
    page: &Page,
    now: Time,
) -> Result<Listed<Model>, Error> {
    let usable = questions::usable(writer.tail(), person, search, page, now)?;
    let Listed { rows, next } = page.cut(usable, |(_, name)| name.clone());
    let ids: Vec<ModelId> = rows.into_iter().map(|(id, _)| id).collect();
    Ok(Listed { rows: store::models::all_of(writer.db(), &ids).await?, next })
}

pub(crate) async fn update(write: &mut Write, patch: ModelPatch) -> Result<Model, Error> {
    check::may_manage(write, patch.id)?;
    let found = store::models::find(&mut write.tx, patch.id).await?;
    let before = found.ok_or_else(|| Error::not_found("model", patch.id))?;
    if let Some(owner) = patch.owner {
        must_exist(&mut write.tx, owner).await?;
    }
    let after = before.clone().patched(patch);
    if after != before {
        store::models::update(&mut write.tx, &after).await?;
        let record = Record::updated(Thing::model(after.id), before.image(), after.image());
        write.record(record.with(Change::PutModel(after.fact())));
    }
    Ok(after)
}

fn taken(error: store::StoreError) -> Error {
    if error.is_duplicate() {
        return Error::Exists { kind: "model", with: "with this name" };
    }
    error.into()
}
