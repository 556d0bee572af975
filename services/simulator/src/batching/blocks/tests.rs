use std::collections::HashMap;

use super::*;

impl Blocks {
    /// Every block is in exactly one place, and those who hold it agree with it on how many they are.
    pub(in crate::batching) fn audit<'a>(&self, all: impl Iterator<Item = &'a Held>) {
        let (mut own, mut users) = (0, HashMap::new());
        for held in all {
            own += held.own;
            held.known.iter().for_each(|place| *users.entry(*place).or_insert(0) += 1);
        }
        assert_eq!(self.blank + self.idle + own + users.len() as u32, self.total);
        for (content, place) in &self.by_content {
            let slot = &self.slots[*place as usize];
            assert_eq!(slot.content, *content);
            assert_eq!(slot.users, users.get(place).copied().unwrap_or(0));
        }
        assert_eq!(self.by_content.len(), self.idle as usize + users.len());
        assert_eq!(self.slots.len(), self.by_content.len() + self.vacant.len());
        assert_eq!(self.in_line().len(), self.idle as usize);
    }

    /// What the idle blocks hold, the one to be given up first at the head.
    fn in_line(&self) -> Vec<u64> {
        let (mut line, mut place) = (Vec::new(), self.oldest);
        while let Some(slot) = self.slots.get(place as usize) {
            assert_eq!(slot.users, 0);
            line.push(slot.content);
            place = slot.newer;
        }
        line
    }
}

/// Blocks of a sequence that holds these contents, and so many more blocks.
fn filled(blocks: &mut Blocks, contents: &[u64], more: u32) -> Held {
    let mut held = Held::default();
    blocks.take(&mut held, contents.len() as u32 + more);
    blocks.learn(&mut held, contents);
    held
}

#[test]
fn the_end_of_a_prefix_is_given_up_before_its_beginning() {
    let mut blocks = Blocks::new(8);
    let (mut one, mut other) = (filled(&mut blocks, &[1, 2], 1), filled(&mut blocks, &[3], 0));
    blocks.release(&mut one);
    blocks.release(&mut other);
    assert_eq!(blocks.in_line(), [2, 1, 3]);
    assert_eq!((blocks.blank, blocks.free()), (5, 8));
    blocks.audit([].into_iter());
}

#[test]
fn blank_blocks_go_before_known_ones() {
    let mut blocks = Blocks::new(4);
    let mut one = filled(&mut blocks, &[1, 2], 0);
    blocks.release(&mut one);
    let held = filled(&mut blocks, &[], 3);
    assert_eq!((blocks.find(&[1, 2]), blocks.in_line()), (Found { blocks: 1, idle: 1 }, vec![1]));
    blocks.audit([&held].into_iter());
}

#[test]
fn a_shared_block_is_idle_only_when_its_last_user_has_gone() {
    let mut blocks = Blocks::new(4);
    let mut one = filled(&mut blocks, &[1], 0);
    let mut other = Held::default();
    blocks.share(&mut other, &[1]);
    blocks.release(&mut one);
    assert_eq!((blocks.idle(), blocks.find(&[1])), (0, Found { blocks: 1, idle: 0 }));
    blocks.release(&mut other);
    assert_eq!((blocks.idle(), blocks.find(&[1])), (1, Found { blocks: 1, idle: 1 }));
}

#[test]
fn taking_an_idle_block_again_takes_it_out_of_the_middle_of_the_line() {
    let mut blocks = Blocks::new(4);
    for content in [1, 2, 3] {
        let mut held = filled(&mut blocks, &[content], 0);
        blocks.release(&mut held);
    }
    let mut held = Held::default();
    blocks.share(&mut held, &[2]);
    assert_eq!(blocks.in_line(), [1, 3]);
    blocks.audit([&held].into_iter());
}

#[test]
fn the_same_content_is_known_once() {
    let mut blocks = Blocks::new(4);
    let (one, other) = (filled(&mut blocks, &[1], 0), filled(&mut blocks, &[1], 0));
    assert_eq!((one.known.len(), other.known.len(), other.own), (1, 0, 1));
    blocks.audit([&one, &other].into_iter());
}
