//! The KV cache: a number of blocks, each of a fixed number of tokens.
//!
//! A block is *blank* (free, its content of no use), *idle* (free, but its content is known and can be had again until
//! the block is needed), or *held* by sequences: by one alone, or by several that begin with the same tokens. Blank
//! blocks all look alike, so they are only counted; known ones sit in `slots`, the idle among them in a list with the
//! one to be given up next at its head.

use ahash::AHashMap;

/// No slot.
const NONE: u32 = u32::MAX;

/// All blocks of one engine.
#[derive(Debug)]
pub(super) struct Blocks {
    total: u32,
    blank: u32,
    idle: u32,
    slots: Vec<Slot>,
    /// Places in `slots` that stand for no block.
    vacant: Vec<u32>,
    by_content: AHashMap<u64, u32>,
    oldest: u32,
    newest: u32,
}

/// A block whose content is known.
#[derive(Debug)]
struct Slot {
    content: u64,
    users: u32,
    /// Neighbours in the list of idle ones.
    older: u32,
    newer: u32,
}

/// The blocks of one sequence.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Slots of blocks with known content, the first ones first.
    known: Vec<u32>,
    /// Blocks that are its own.
    own: u32,
}

/// How much of a prefix is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) blocks: u32,
    /// Those of them that count as free as long as nobody takes them.
    pub(super) idle: u32,
}

impl Held {
    #[cfg(test)]
    pub(super) fn len(&self) -> u32 {
        self.own + self.known.len() as u32
    }
}

impl Blocks {
    pub(super) fn new(total: u32) -> Self {
        let (slots, vacant, by_content) = (Vec::new(), Vec::new(), AHashMap::new());
        Self { total, blank: total, idle: 0, slots, vacant, by_content, oldest: NONE, newest: NONE }
    }

    pub(super) fn total(&self) -> u32 {
        self.total
    }

    pub(super) fn free(&self) -> u32 {
        self.blank + self.idle
    }

    pub(super) fn idle(&self) -> u32 {
        self.idle
    }

    /// Looks up the first blocks of a prefix.
    pub(super) fn find(&self, prefix: &[u64]) -> Found {
        let mut found = Found { blocks: 0, idle: 0 };
        for content in prefix {
            let Some(slot) = self.by_content.get(content).and_then(|slot| self.slots.get(*slot as usize))
            else {
                break;
            };
            found.blocks += 1;
            found.idle += u32::from(slot.users == 0);
        }
        found
    }

    /// Gives a sequence the blocks that [`Blocks::find`] found.
    pub(super) fn share(&mut self, held: &mut Held, found: &[u64]) {
        for content in found {
            let Some(&place) = self.by_content.get(content) else { return };
            if self.slots.get(place as usize).is_some_and(|slot| slot.users == 0) {
                self.unlink(place);
            }
            if let Some(slot) = self.slots.get_mut(place as usize) {
                slot.users += 1;
            }
            held.known.push(place);
        }
    }

    /// Gives a sequence so many blocks of its own; the caller has seen that they are free.
    pub(super) fn take(&mut self, held: &mut Held, many: u32) {
        for _ in self.blank..many {
            self.give_up_oldest();
        }
        let many = many.min(self.blank);
        self.blank -= many;
        held.own += many;
    }

    /// Remembers what some blocks of a sequence now hold. Content that another block holds already is not remembered
    /// twice.
    pub(super) fn learn(&mut self, held: &mut Held, contents: &[u64]) {
        for content in contents {
            if held.own == 0 || self.by_content.contains_key(content) {
                continue;
            }
            let slot = Slot { content: *content, users: 1, older: NONE, newer: NONE };
            let place = self.vacant.pop().unwrap_or(self.slots.len() as u32);
            match self.slots.get_mut(place as usize) {
                Some(vacant) => *vacant = slot,
                None => self.slots.push(slot),
            }
            self.by_content.insert(*content, place);
            held.own -= 1;
            held.known.push(place);
        }
    }

    /// Takes all blocks of a sequence back. The last ones are given up first: what they hold is worth nothing without
    /// those before.
    pub(super) fn release(&mut self, held: &mut Held) {
        self.blank += std::mem::take(&mut held.own);
        for place in held.known.drain(..).rev() {
            let Some(slot) = self.slots.get_mut(place as usize) else { continue };
            slot.users -= 1;
            if slot.users == 0 {
                self.link_newest(place);
            }
        }
    }

    fn give_up_oldest(&mut self) {
        let place = self.oldest;
        let Some(slot) = self.slots.get(place as usize) else { return };
        self.by_content.remove(&slot.content);
        self.unlink(place);
        self.vacant.push(place);
        self.blank += 1;
    }

    fn link_newest(&mut self, place: u32) {
        let older = std::mem::replace(&mut self.newest, place);
        if let Some(slot) = self.slots.get_mut(place as usize) {
            (slot.older, slot.newer) = (older, NONE);
        }
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = place,
            None => self.oldest = place,
        }
        self.idle += 1;
    }

    fn unlink(&mut self, place: u32) {
        let Some(slot) = self.slots.get(place as usize) else { return };
        let (older, newer) = (slot.older, slot.newer);
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        self.idle -= 1;
    }
}

#[cfg(test)]
mod tests;
