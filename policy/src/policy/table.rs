//! Interning: a fact keeps one small number from its first put to its removal, and the number is reused after.

use std::hash::Hash;

use ahash::AHashMap;

#[derive(Debug, Clone)]
pub(crate) struct Table<I, T> {
    index: AHashMap<I, u32>,
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<I, T> Default for Table<I, T> {
    fn default() -> Self {
        Self { index: AHashMap::new(), slots: Vec::new(), free: Vec::new() }
    }
}

impl<I: Copy + Eq + Hash, T> Table<I, T> {
    #[inline]
    pub(crate) fn find(&self, id: &I) -> Option<u32> {
        self.index.get(id).copied()
    }

    #[inline]
    pub(crate) fn at(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize)?.as_ref()
    }

    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.as_mut()
    }

    pub(crate) fn get(&self, id: &I) -> Option<&T> {
        self.at(self.find(id)?)
    }

    pub(crate) fn get_mut(&mut self, id: &I) -> Option<&mut T> {
        self.at_mut(self.find(id)?)
    }

    pub(crate) fn insert(&mut self, id: I, value: T) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(slot) = self.slots.get_mut(index as usize) {
            *slot = Some(value);
        }
        self.index.insert(id, index);
        index
    }

    pub(crate) fn remove(&mut self, id: &I) -> Option<(u32, T)> {
        let index = self.index.remove(id)?;
        let value = self.slots.get_mut(index as usize)?.take()?;
        self.free.push(index);
        Some((index, value))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten()
    }
}
