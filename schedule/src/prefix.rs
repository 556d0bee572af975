//! Which beginnings of prompts an engine has seen lately and so keeps in its prefix cache.

use std::collections::HashMap;

/// Blocks remembered per engine. Two megabytes; an engine's own cache holds some tens of thousands of them.
const BLOCKS: usize = 65_536;

/// The blocks that an engine computed, each known by the hash of everything up to its end.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    blocks: HashMap<u64, u64>,
    clock: u64,
}

impl Seen {
    /// How many blocks from the beginning it has.
    pub(crate) fn matched(&self, prefix: &[u64]) -> usize {
        prefix.iter().take_while(|block| self.blocks.contains_key(block)).count()
    }

    /// It computes these.
    pub(crate) fn insert(&mut self, prefix: &[u64]) {
        self.clock += 1;
        for &block in prefix {
            self.blocks.insert(block, self.clock);
        }
        if self.blocks.len() > BLOCKS {
            let mut ages: Vec<u64> = self.blocks.values().copied().collect();
            let (_, &mut middle, _) = ages.select_nth_unstable(BLOCKS / 2);
            self.blocks.retain(|_, age| *age > middle);
        }
    }

    /// It lost them.
    pub(crate) fn clear(&mut self) {
        self.blocks.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let mut seen = Seen::default();
        seen.insert(&[1, 2, 3]);
        assert_eq!(seen.matched(&[1, 2, 9, 3]), 2);
        assert_eq!(seen.matched(&[2, 3]), 2);
        for block in 10..10 + BLOCKS as u64 {
            seen.insert(&[block]);
        }
        assert_eq!(seen.matched(&[1, 2, 3]), 0);
        assert_eq!(seen.matched(&[9 + BLOCKS as u64]), 1);
        assert!(seen.blocks.len() <= BLOCKS);
    }
}
