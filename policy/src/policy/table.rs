//! Interning: a fact keeps one small number from its first put to its removal, and the number is reused after.
//!
//! The index holds numbers only and reads ids where the facts are, so an id is kept once.

use std::hash::Hash;

use ahash::RandomState;
use hashbrown::HashTable;

/// Something that is kept by an id it knows itself.
pub(crate) trait Entry {
    type Id: Copy + Eq + Hash;

    fn id(&self) -> Self::Id;
}

#[derive(Debug, Clone)]
pub(crate) struct Table<T> {
    state: RandomState,
    index: HashTable<u32>,
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { state: RandomState::new(), index: HashTable::new(), slots: Vec::new(), free: Vec::new() }
    }
}

impl<T: Entry> Table<T> {
    #[inline]
    pub(crate) fn find(&self, id: &T::Id) -> Option<u32> {
        let hash = self.state.hash_one(id);
        self.index.find(hash, |index| self.has(*index, id)).copied()
    }

    #[inline]
    pub(crate) fn at(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize)?.as_ref()
    }

    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.as_mut()
    }

    pub(crate) fn get(&self, id: &T::Id) -> Option<&T> {
        self.at(self.find(id)?)
    }

    pub(crate) fn get_mut(&mut self, id: &T::Id) -> Option<&mut T> {
        self.at_mut(self.find(id)?)
    }

    /// Keeps a fact whose id is not in the table yet.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let hash = self.state.hash_one(value.id());
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(slot) = self.slots.get_mut(index as usize) {
            *slot = Some(value);
        }
        let Self { state, index: numbers, slots, .. } = self;
        let rehash = |known: &u32| {
            let slot = slots.get(*known as usize).and_then(Option::as_ref);
            slot.map_or(0, |value| state.hash_one(value.id()))
        };
        numbers.insert_unique(hash, index, rehash);
        index
    }

    pub(crate) fn remove(&mut self, id: &T::Id) -> Option<(u32, T)> {
        let hash = self.state.hash_one(id);
        let Self { index: numbers, slots, .. } = self;
        let same = |known: &u32| {
            slots.get(*known as usize).and_then(Option::as_ref).is_some_and(|one| one.id() == *id)
        };
        let (index, _) = numbers.find_entry(hash, same).ok()?.remove();
        let value = self.slots.get_mut(index as usize)?.take()?;
        self.free.push(index);
        Some((index, value))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten()
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    #[inline]
    fn has(&self, index: u32, id: &T::Id) -> bool {
        self.at(index).is_some_and(|one| one.id() == *id)
    }
}
