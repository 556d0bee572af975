//! One node of the tree of shares.

use super::Share;
use crate::request::Ticket;
use std::collections::{BTreeSet, HashMap};

/// An order within a class; less is sooner.
pub(crate) type Rank = i64;

/// What is next below a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Next {
    Request(Ticket),
    Child(usize),
}

/// In which of its parent's orders a child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Listed {
    #[default]
    Nowhere,
    Near,
    Beyond,
    Idle,
}

/// The most urgent request of each class, where there is one.
pub(super) type Heads = [Option<Rank>; 4];

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) parent: Option<usize>,
    pub(super) id: u128,
    pub(super) weight: u64,
    /// What was spent below, divided by the weight.
    pub(super) counter: u64,
    /// The counter of the child that had the least, among those with requests waiting.
    pub(super) measure: u64,
    pub(super) children: HashMap<u128, usize>,
    /// Requests of its own, and children that may be next, by class.
    pub(super) ready: [BTreeSet<(Rank, Next)>; 4],
    /// Children with requests waiting, by counter: within the band of the measure, and beyond it.
    pub(super) near: BTreeSet<(u64, usize)>,
    pub(super) beyond: BTreeSet<(u64, usize)>,
    /// Children with none that nobody holds on to.
    pub(super) idle: BTreeSet<(u64, usize)>,
    /// What its parent has been told.
    pub(super) shown: Heads,
    /// Where it is among its siblings.
    pub(super) listed: Listed,
    pub(super) active: bool,
    pub(super) holds: usize,
}

impl Node {
    pub(super) fn of(parent: usize, share: Share, counter: u64) -> Self {
        let weight = u64::from(share.weight.max(1));
        Self { parent: Some(parent), id: share.id, weight, counter, ..Self::default() }
    }

    /// Takes a child out of the order that it is in.
    pub(super) fn unlist(&mut self, listed: Listed, entry: &(u64, usize)) {
        match listed {
            Listed::Nowhere => false,
            Listed::Near => self.near.remove(entry),
            Listed::Beyond => self.beyond.remove(entry),
            Listed::Idle => self.idle.remove(entry),
        };
    }

    pub(super) fn heads(&self) -> Heads {
        self.ready.each_ref().map(|ready| ready.first().map(|first| first.0))
    }

    /// Whether its parent has been told all that there is: beyond the band nothing is told of what waits below.
    pub(super) fn is_settled(&self) -> bool {
        let heads = self.heads();
        if heads.iter().all(Option::is_none) {
            return !self.active && !self.is_forgettable();
        }
        self.active && (self.shown == heads || self.shown.iter().all(Option::is_none))
    }

    pub(super) fn is_forgettable(&self) -> bool {
        self.holds == 0 && self.children.is_empty()
    }
}
