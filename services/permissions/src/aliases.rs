//! Further names of models, from the same name space as the models' own.

use crate::{
    check,
    error::Error,
    list::{Listed, Page},
    manage, store,
    write::{Record, Thing, Write},
};
use policy::{Change, ModelId, Target, Time};
use serde_json::json;
use shared::db::Db;

/// A further name of a model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Alias {
    pub(crate) fact: policy::Alias,
    pub(crate) created_at: Time,
}

/// Gives a model a name, or moves the name to it from another.
pub(crate) async fn set(write: &mut Write, name: String, model: ModelId) -> Result<Alias, Error> {
    manage::may_manage(write, &[Target::Model(model)]).await?;
    if store::models::name_taken(&mut write.tx, &name).await? {
        return Err(Error::Exists { kind: "model", with: "with this name" });
    }
    let before = store::aliases::find(&mut write.tx, &name).await?;
    if let Some(before) = &before {
        if before.fact.model == model {
            return Ok(before.clone());
        }
        check::may_manage(write, before.fact.model)?;
        store::aliases::delete(&mut write.tx, &name).await?;
    }
    let alias = Alias { fact: policy::Alias { name, model }, created_at: write.now() };
    store::aliases::insert(&mut write.tx, &alias).await?;
    let (thing, after) = (Thing::alias(&alias.fact.name), json!(alias.fact));
    let record = match before {
        Some(before) => Record::updated(thing, json!(before.fact), after).called("moved"),
        None => Record::created(thing, after),
    };
    write.record(record.with(Change::PutAlias(alias.fact.clone())));
    Ok(alias)
}

pub(crate) async fn delete(write: &mut Write, name: String) -> Result<(), Error> {
    let found = store::aliases::find(&mut write.tx, &name).await?;
    let alias = found.ok_or_else(|| Error::not_found("alias", &name))?;
    check::may_manage(write, alias.fact.model)?;
    store::aliases::delete(&mut write.tx, &name).await?;
    let record = Record::deleted(Thing::alias(&name), json!(alias.fact));
    write.record(record.with(Change::RemoveAlias(name)));
    Ok(())
}

pub(crate) async fn list(db: &Db, model: Option<ModelId>, page: &Page) -> Result<Listed<Alias>, Error> {
    let rows = store::aliases::list(db, model, page.after(), page.limit()).await?;
    Ok(page.cut(rows, |alias| alias.fact.name.clone()))
}
