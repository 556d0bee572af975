//! Who may change a set of models, what a grant is on, or something that was deleted.
//!
//! For single models the policy knows; see [`check::may_manage`]. A set is managed by its owner too, and by whoever
//! manages every model that is in it.

use crate::{
    check,
    error::{Error, Forbidden},
    sets::ModelSet,
    store,
    write::{Origin, Write},
};
use policy::{Action, Member, ModelId, ModelSetId, Role, Target};

/// Whether the caller's role alone is enough.
fn is_admin(origin: &Origin) -> bool {
    origin.person().is_some_and(|person| matches!(person.role, Role::Owner | Role::Admin))
}

/// Whether the caller owns what has this owner, by itself or in a group.
fn owns(write: &Write, owner: Option<Member>) -> Result<bool, Error> {
    let Some(person) = write.origin.person() else { return Ok(false) };
    let view = check::current(write)?;
    if check::key_models(view.policy(), person).is_some() {
        return Ok(false);
    }
    Ok(match owner {
        Some(Member::User(user)) => user == person.user,
        Some(Member::Group(group)) => {
            view.policy().groups_of(person.user, write.now()).any(|one| one == group)
        }
        None => false,
    })
}

/// Whether the caller may take the deletion of something back that had this owner.
pub(crate) fn may_undelete(write: &Write, owner: Option<Member>) -> Result<(), Error> {
    if is_admin(&write.origin) || owns(write, owner)? {
        Ok(())
    } else {
        Err(Forbidden::ManageRequired.into())
    }
}

/// Whether the caller may change what is in a set, and what is granted on it.
pub(crate) async fn may_manage_set(write: &mut Write, id: ModelSetId) -> Result<ModelSet, Error> {
    let found = may_manage_sets(write, &[id]).await?.pop();
    found.ok_or_else(|| Error::not_found("model_set", id))
}

async fn may_manage_sets(write: &mut Write, ids: &[ModelSetId]) -> Result<Vec<ModelSet>, Error> {
    let sets = managed(write, ids).await?;
    if let Some(missing) = ids.iter().find(|id| sets.iter().all(|(set, _)| set.id != **id)) {
        return Err(Error::not_found("model_set", missing));
    }
    if sets.iter().any(|(_, managed)| !managed) {
        return Err(Forbidden::ManageRequired.into());
    }
    Ok(sets.into_iter().map(|(set, _)| set).collect())
}

/// Which of these sets exist, and whether the caller may manage each: as many queries for all as for one.
pub(crate) async fn managed(write: &mut Write, ids: &[ModelSetId]) -> Result<Vec<(ModelSet, bool)>, Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sets = store::sets::all_of(&mut write.tx, ids).await?;
    if is_admin(&write.origin) {
        return Ok(sets.into_iter().map(|set| (set, true)).collect());
    }
    let inside = store::sets::models_inside(&mut write.tx, ids).await?;
    let mut all = Vec::with_capacity(sets.len());
    for set in sets {
        let models = inside.iter().filter(|(id, _)| *id == set.id).map(|(_, model)| *model);
        let managed = owns(write, set.owner)? || manages_all(write, models)?;
        all.push((set, managed));
    }
    Ok(all)
}

/// Whether the caller manages every one of these models. Nobody does when there is none.
fn manages_all(write: &Write, models: impl Iterator<Item = ModelId>) -> Result<bool, Error> {
    let Some(person) = write.origin.person() else { return Ok(false) };
    let view = check::current(write)?;
    let free = check::key_models(view.policy(), person).is_none();
    let manages = |model| view.policy().check(person.user, model, Action::Manage, write.now()).allowed;
    let mut models = models.peekable();
    Ok(free && models.peek().is_some() && models.all(manages))
}

/// Whether the caller may change all of what these grants or set items are about; it exists then.
pub(crate) async fn may_manage(write: &mut Write, targets: &[Target]) -> Result<(), Error> {
    let (mut models, mut sets) = (Vec::new(), Vec::new());
    for target in targets {
        match target {
            Target::Model(model) => models.push(*model),
            Target::Set(set) => sets.push(*set),
        }
    }
    for model in &models {
        check::may_manage(write, *model)?;
    }
    if let Some(missing) = store::models::missing(&mut write.tx, &models).await? {
        return Err(Error::not_found("model", missing));
    }
    if !sets.is_empty() {
        may_manage_sets(write, &sets).await?;
    }
    Ok(())
}
