//! Models and their names.

use super::ApplyError;
use crate::{
    fact::{Alias, Model},
    id::ModelId,
    policy::{ModelEntry, Name, Place, Policy, Ruleset},
};

impl Policy {
    pub(super) fn put_model(&mut self, model: &Model) -> Result<(), ApplyError> {
        let owner = model.owner.map(|member| self.node(member)).transpose()?;
        let known = self.models.find(&model.id);
        self.free(&model.name, |name| !name.alias && Some(name.model) == known)?;
        self.disown(model.id);
        let fact = model.clone();
        let index = if let Some((index, entry)) = known.and_then(|i| Some((i, self.models.at_mut(i)?))) {
            let before = std::mem::replace(&mut entry.fact, fact);
            entry.owner = owner;
            self.names.remove(before.name.as_str());
            index
        } else {
            let (rules, within) = (Ruleset::default(), Box::default());
            let (up, aliases) = (Vec::new(), Vec::new());
            self.models.insert(ModelEntry { fact, owner, rules, within, up, aliases })
        };
        self.names.insert(model.name.as_str().into(), Name { model: index, alias: false });
        if let Some(links) = owner.and_then(|owner| self.links_mut(owner)) {
            links.owned.push(model.id);
        }
        Ok(())
    }

    pub(super) fn remove_model(&mut self, id: ModelId) {
        self.disown(id);
        let Some((index, entry)) = self.models.find(&id).and_then(|at| Some((at, self.models.at(at)?)))
        else {
            return;
        };
        let (chains, sets) = (entry.rules.chains().collect::<Vec<u32>>(), entry.up.clone());
        self.remove_chains(&chains);
        sets.into_iter().for_each(|set| self.take_out(set, Place::Model(index)));
        if let Some((_, entry)) = self.models.remove(&id) {
            self.names.remove(entry.fact.name.as_str());
            for alias in &entry.aliases {
                self.names.remove(alias);
            }
        }
    }

    pub(super) fn put_alias(&mut self, alias: &Alias) -> Result<(), ApplyError> {
        let model = self.model_index(alias.model)?;
        self.free(&alias.name, |name| name.alias)?;
        self.remove_alias(&alias.name);
        self.names.insert(alias.name.as_str().into(), Name { model, alias: true });
        if let Some(entry) = self.models.at_mut(model) {
            entry.aliases.push(alias.name.as_str().into());
        }
        Ok(())
    }

    pub(super) fn remove_alias(&mut self, name: &str) {
        let Some(known) = self.names.get(name).filter(|known| known.alias) else { return };
        if let Some(entry) = self.models.at_mut(known.model) {
            entry.aliases.retain(|alias| **alias != *name);
        }
        self.names.remove(name);
    }

    /// A name may be put when it stands for nothing, or for what is `replaced`.
    fn free(&self, name: &str, replaced: impl Fn(&Name) -> bool) -> Result<(), ApplyError> {
        let taken = self.names.get(name).filter(|known| !replaced(known));
        match taken.and_then(|known| self.models.at(known.model)) {
            Some(other) => Err(ApplyError::NameTaken { name: name.to_owned(), by: other.fact.id }),
            None => Ok(()),
        }
    }

    /// Leaves a model without an owner.
    pub(super) fn disown(&mut self, id: ModelId) {
        let Some(entry) = self.models.get_mut(&id) else { return };
        entry.fact.owner = None;
        let owner = entry.owner.take();
        if let Some(links) = owner.and_then(|owner| self.links_mut(owner)) {
            links.owned.retain(|owned| *owned != id);
        }
    }
}
