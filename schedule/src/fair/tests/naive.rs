//! The same shares without anything kept in order: each answer is a walk over all nodes.

use crate::{
    class::Class,
    fair::{PARTS, Rank, Share},
    request::Ticket,
};
use std::collections::BTreeMap;

type Path = Vec<u128>;

#[derive(Debug, Default)]
struct Node {
    weight: u64,
    counter: u64,
    measure: u64,
    active: bool,
    holds: usize,
}

pub(super) struct Naive {
    band: u64,
    nodes: BTreeMap<Path, Node>,
    requests: BTreeMap<Ticket, (Path, Class, Rank)>,
}

impl Naive {
    pub(super) fn new(band: u64) -> Self {
        let nodes = BTreeMap::from([(Path::new(), Node::default())]);
        Self { band: band * PARTS, nodes, requests: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn hold(&mut self, path: &[Share]) {
        let mut at = Path::new();
        for share in path {
            let counter = self.nodes[&at].measure;
            at.push(share.id);
            let node = self.nodes.entry(at.clone()).or_insert_with(|| Node { counter, ..Node::default() });
            node.weight = share.weight.into();
        }
        self.node(&at).holds += 1;
    }

    pub(super) fn release(&mut self, path: &[u128]) {
        self.node(path).holds -= 1;
        self.climb(path, |_| ());
    }

    pub(super) fn insert(&mut self, path: Path, class: Class, rank: Rank, ticket: Ticket) {
        self.requests.insert(ticket, (path.clone(), class, rank));
        self.climb(&path, |_| ());
    }

    pub(super) fn remove(&mut self, ticket: Ticket) {
        let (path, ..) = self.requests.remove(&ticket).unwrap();
        self.climb(&path, |_| ());
    }

    pub(super) fn charge(&mut self, path: &[u128], tokens: u64) {
        self.climb(path, |node| node.counter += tokens * PARTS / node.weight);
    }

    pub(super) fn refund(&mut self, path: &[u128], tokens: u64) {
        self.climb(path, |node| node.counter = node.counter.saturating_sub(tokens * PARTS / node.weight));
    }

    /// Whether somebody was beyond the band, beside whom the path is now.
    pub(super) fn pass(&mut self, path: &[u128]) -> bool {
        for end in (1..=path.len()).rev() {
            let (at, parent) = (&path[..end], &path[..end - 1]);
            let most = self.least(parent).unwrap_or(0) + self.band;
            let counters =
                self.children(parent).filter(|(_, child)| child.active).map(|(_, child)| child.counter);
            if let Some(counter) = counters.filter(|counter| *counter > most).min() {
                self.node(at).counter = counter;
                self.climb(at, |_| ());
                return true;
            }
        }
        false
    }

    pub(super) fn first(&self, order: &[Class]) -> Option<(Class, Ticket)> {
        order.iter().find_map(|&class| Some((class, self.best(&[], class)?.1)))
    }

    /// The most urgent request of a class at or below a node, of those whose turn it is.
    fn best(&self, at: &[u128], class: Class) -> Option<(Rank, Ticket)> {
        let own = self.requests.iter().filter(|(_, (path, of, _))| path == at && *of == class);
        let own = own.map(|(&ticket, &(_, _, rank))| (rank, ticket)).min();
        let least = self.least(at).unwrap_or(0);
        let near = self.children(at).filter(|(_, child)| child.active && child.counter <= least + self.band);
        let below = near.filter_map(|(path, _)| self.best(path, class)).min();
        [own, below].into_iter().flatten().min()
    }

    fn climb(&mut self, path: &[u128], change: impl Fn(&mut Node)) {
        for end in (1..=path.len()).rev() {
            let (at, parent) = (&path[..end], &path[..end - 1]);
            let measure = self.nodes[parent].measure;
            let active = self.requests.values().any(|(of, ..)| of.starts_with(at));
            let node = self.node(at);
            change(node);
            if active && !node.active {
                node.counter = node.counter.max(measure);
            }
            node.active = active;
            if let Some(least) = self.least(parent) {
                self.node(parent).measure = least;
            }
            self.forget(parent);
        }
    }

    fn forget(&mut self, parent: &[u128]) {
        let measure = self.nodes[parent].measure;
        let gone = |(path, node): &(&Path, &Node)| {
            !node.active && node.holds == 0 && node.counter <= measure && self.children(path).next().is_none()
        };
        let gone: Vec<Path> = self.children(parent).filter(gone).map(|(path, _)| path.clone()).collect();
        for path in gone {
            self.nodes.remove(&path);
        }
    }

    fn least(&self, parent: &[u128]) -> Option<u64> {
        self.children(parent).filter(|(_, child)| child.active).map(|(_, child)| child.counter).min()
    }

    fn children(&self, parent: &[u128]) -> impl Iterator<Item = (&Path, &Node)> {
        let parent = parent.to_vec();
        self.nodes.iter().filter(move |(path, _)| path.len() == parent.len() + 1 && path.starts_with(&parent))
    }

    fn node(&mut self, path: &[u128]) -> &mut Node {
        self.nodes.get_mut(path).unwrap()
    }
}
