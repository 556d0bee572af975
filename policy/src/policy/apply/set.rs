//! Sets of models and what is in them.

use ahash::AHashSet;

use super::ApplyError;
use crate::{
    fact::{ModelSet, Target},
    id::ModelSetId,
    policy::{Place, Policy, Ruleset, SetEntry, reach::Touched},
};

impl Policy {
    pub(super) fn put_set(&mut self, set: &ModelSet, touched: &mut Touched) {
        let fact = *set;
        let Some(index) = self.sets.find(&set.id) else {
            let (rules, up) = (Ruleset::default(), Vec::new());
            let (models, sets) = (AHashSet::new(), AHashSet::new());
            self.sets.insert(SetEntry { fact, rules, up, models, sets });
            return;
        };
        let Some(entry) = self.sets.at_mut(index) else { return };
        let before = std::mem::replace(&mut entry.fact, fact);
        if before.disabled != set.disabled {
            self.touch_models(Place::Set(index), touched);
        }
    }

    pub(super) fn put_set_item(
        &mut self,
        set: ModelSetId,
        item: Target,
        touched: &mut Touched,
    ) -> Result<(), ApplyError> {
        let set = self.sets.find(&set).ok_or(ApplyError::UnknownSet(set))?;
        let item = self.place(item)?;
        let Some(entry) = self.sets.at_mut(set) else { return Ok(()) };
        let new = match item {
            Place::Model(model) => entry.models.insert(model),
            Place::Set(child) => entry.sets.insert(child),
        };
        if new {
            if let Some(up) = self.up_mut(item) {
                up.push(set);
            }
            self.touch_models(item, touched);
        }
        Ok(())
    }

    pub(super) fn remove_set_item(&mut self, set: ModelSetId, item: Target, touched: &mut Touched) {
        if let (Some(set), Ok(item)) = (self.sets.find(&set), self.place(item)) {
            self.take_out(set, item);
            self.touch_models(item, touched);
        }
    }

    pub(super) fn remove_set(&mut self, id: ModelSetId, touched: &mut Touched) {
        let Some((index, entry)) = self.sets.find(&id).and_then(|at| Some((at, self.sets.at(at)?))) else {
            return;
        };
        let (chains, up) = (entry.rules.chains().collect::<Vec<u32>>(), entry.up.clone());
        self.touch_models(Place::Set(index), touched);
        self.remove_chains(&chains);
        up.into_iter().for_each(|set| self.take_out(set, Place::Set(index)));
        let Some((_, entry)) = self.sets.remove(&id) else { return };
        let sets = entry.sets.into_iter().map(Place::Set);
        for item in sets.chain(entry.models.into_iter().map(Place::Model)) {
            if let Some(up) = self.up_mut(item) {
                up.retain(|set| *set != index);
            }
        }
    }

    pub(super) fn take_out(&mut self, set: u32, item: Place) {
        if let Some(up) = self.up_mut(item) {
            up.retain(|one| *one != set);
        }
        if let Some(entry) = self.sets.at_mut(set) {
            match item {
                Place::Model(model) => entry.models.remove(&model),
                Place::Set(child) => entry.sets.remove(&child),
            };
        }
    }

    fn up_mut(&mut self, item: Place) -> Option<&mut Vec<u32>> {
        match item {
            Place::Model(index) => self.models.at_mut(index).map(|entry| &mut entry.up),
            Place::Set(index) => self.sets.at_mut(index).map(|entry| &mut entry.up),
        }
    }
}
