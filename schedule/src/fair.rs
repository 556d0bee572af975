//! Fair shares: who is next among all that wait for one model.
//!
//! A tree of shares, such as group, user, key, with the waiting requests at its leaves. Each node counts the tokens
//! that were spent below it, divided by its weight. Among the children of a node whoever had the least is the measure:
//! those within a band of it may be next, ordered by the most urgent request below them, the others wait until the
//! measure has come up. Whoever was away comes back at the measure: absence is not saved up.
//!
//! (The counters are those of "Fairness in Serving Large Language Models", Sheng et al., OSDI 2024.)

mod node;

use crate::{class::Class, request::Ticket};
pub(crate) use node::Rank;
use node::{Listed, Next, Node};

/// One step of a request's path: who, and how much of the whole is theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Who; equal numbers below the same parent are the same one.
    pub id: u128,
    /// How much of what their parent has is theirs, against their siblings. At least 1.
    pub weight: u32,
}

/// A leaf of the tree, for as long as somebody holds on to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Leaf(usize);

impl Leaf {
    /// A small number that no other leaf has at the time.
    pub(crate) const fn index(self) -> usize {
        self.0
    }
}

const ROOT: usize = 0;
/// Counters are in parts of a token, so that weights divide them.
const PARTS: u64 = 1_024;

/// The waiting requests of one model.
#[derive(Debug)]
pub(crate) struct Shares {
    nodes: Vec<Node>,
    free: Vec<usize>,
    band: u64,
    waiting: usize,
}

impl Shares {
    /// `band` in weighted tokens.
    pub(crate) fn new(band: u64) -> Self {
        Self { nodes: vec![Node::default()], free: Vec::new(), band: band.saturating_mul(PARTS), waiting: 0 }
    }

    /// Requests that wait.
    pub(crate) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Finds the leaf of a path and holds on to it until it is [let go](Self::release).
    pub(crate) fn hold(&mut self, path: &[Share]) -> Leaf {
        let mut at = ROOT;
        for &share in path {
            let child = match self.nodes[at].children.get(&share.id) {
                Some(&child) => child,
                None => self.grow(at, share),
            };
            self.nodes[child].weight = u64::from(share.weight.max(1));
            if self.nodes[child].listed == Listed::Idle {
                let entry = (self.nodes[child].counter, child);
                self.nodes[child].listed = Listed::Nowhere;
                self.nodes[at].idle.remove(&entry);
            }
            at = child;
        }
        self.nodes[at].holds += 1;
        Leaf(at)
    }

    /// Lets go of a leaf; nodes that nobody holds and whose spending is made up for are forgotten.
    pub(crate) fn release(&mut self, leaf: Leaf) {
        let node = &mut self.nodes[leaf.0];
        node.holds = node.holds.saturating_sub(1);
        self.settle(leaf.0);
    }

    /// A request waits at its leaf. `rank` orders within the class; less is sooner.
    pub(crate) fn insert(&mut self, leaf: Leaf, class: Class, rank: Rank, ticket: Ticket) {
        self.waiting +=
            usize::from(self.nodes[leaf.0].ready[class.index()].insert((rank, Next::Request(ticket))));
        self.settle(leaf.0);
    }

    /// A request no longer waits, and its prompt is spent.
    pub(crate) fn serve(&mut self, leaf: Leaf, class: Class, rank: Rank, ticket: Ticket, tokens: u64) {
        self.waiting -=
            usize::from(self.nodes[leaf.0].ready[class.index()].remove(&(rank, Next::Request(ticket))));
        self.charge(leaf, tokens);
    }

    /// A request no longer waits.
    pub(crate) fn remove(&mut self, leaf: Leaf, class: Class, rank: Rank, ticket: Ticket) {
        self.waiting -=
            usize::from(self.nodes[leaf.0].ready[class.index()].remove(&(rank, Next::Request(ticket))));
        self.settle(leaf.0);
    }

    /// Who is next, the first class of the order that has somebody.
    pub(crate) fn first(&self, order: &[Class]) -> Option<(Class, Ticket)> {
        order.iter().find_map(|&class| {
            let mut at = ROOT;
            loop {
                match self.nodes[at].ready[class.index()].first()?.1 {
                    Next::Request(ticket) => return Some((class, ticket)),
                    Next::Child(child) => at = child,
                }
            }
        })
    }

    /// Whether all above a leaf are within the band, so that one of its requests may be next.
    pub(crate) fn is_near(&self, leaf: Leaf) -> bool {
        let mut at = leaf.0;
        while let Some(parent) = self.nodes[at].parent {
            if self.nodes[at].listed != Listed::Near {
                return false;
            }
            at = parent;
        }
        true
    }

    /// Whether all above a leaf would be within the band if something waited there.
    pub(crate) fn is_within(&self, leaf: Leaf) -> bool {
        let mut at = leaf.0;
        while let Some(parent) = self.nodes[at].parent {
            if self.nodes[at].counter > self.nodes[parent].measure.saturating_add(self.band) {
                return false;
            }
            at = parent;
        }
        true
    }

    /// Seconds until a leaf is within the band again, when so many tokens are spent in a second below the root and all
    /// who wait have the same part of them.
    pub(crate) fn behind(&self, leaf: Leaf, per_second: f64) -> f64 {
        let Some(parent) = self.nodes[leaf.0].parent else { return 0.0 };
        self.behind_at(parent, leaf.0, per_second).0
    }

    /// The same for a child and all above it, and the tokens that each of its siblings has in a second.
    fn behind_at(&self, parent: usize, child: usize, per_second: f64) -> (f64, f64) {
        let (above, all) = match self.nodes[parent].parent {
            Some(above) => self.behind_at(above, parent, per_second),
            None => (0.0, per_second),
        };
        let node = &self.nodes[parent];
        let each = all / (node.near.len() + node.beyond.len()).max(1) as f64;
        let most = node.measure.saturating_add(self.band);
        let excess = self.nodes[child].counter.saturating_sub(most) as f64 / PARTS as f64;
        (above.max(excess / each.max(1.0)), each)
    }

    /// Tokens were spent for a request of this leaf; all above it spent them too.
    pub(crate) fn charge(&mut self, leaf: Leaf, tokens: u64) {
        self.climb(leaf.0, |node| node.counter = node.counter.saturating_add(tokens * PARTS / node.weight));
    }

    /// Tokens that were charged were not spent after all.
    pub(crate) fn refund(&mut self, leaf: Leaf, tokens: u64) {
        self.climb(leaf.0, |node| node.counter = node.counter.saturating_sub(tokens * PARTS / node.weight));
    }

    /// Gives up what a leaf, or somebody above it, has had less than those beyond the band, so that one of them may be
    /// next. Whether there was anybody.
    pub(crate) fn pass(&mut self, leaf: Leaf) -> bool {
        let mut at = leaf.0;
        while let Some(parent) = self.nodes[at].parent {
            if let Some(&(counter, _)) = self.nodes[parent].beyond.first() {
                self.relist(parent, at, |node| node.counter = counter);
                self.settle(parent);
                return true;
            }
            at = parent;
        }
        false
    }

    /// Nodes in use, the root among them.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// What was spent below a node, divided by its weight.
    #[cfg(test)]
    pub(crate) fn spent(&self, path: &[u128]) -> Option<u64> {
        let below = |at: usize, id: &u128| self.nodes[at].children.get(id).copied();
        let node = path.iter().try_fold(ROOT, below)?;
        Some(self.nodes[node].counter / PARTS)
    }

    fn grow(&mut self, parent: usize, share: Share) -> usize {
        let node = Node::of(parent, share, self.nodes[parent].measure);
        let at = self.free.pop().unwrap_or(self.nodes.len());
        if at == self.nodes.len() {
            self.nodes.push(node)
        } else {
            self.nodes[at] = node
        }
        self.nodes[parent].children.insert(share.id, at);
        at
    }

    /// Tells the parents of a node what may be next below it, as far up as that is new.
    fn settle(&mut self, from: usize) {
        let mut at = from;
        while let Some(parent) = self.nodes[at].parent.filter(|_| !self.nodes[at].is_settled()) {
            self.relist(parent, at, |_| ());
            at = parent;
        }
    }

    /// Changes a node and all above it, and the order of each among its siblings.
    fn climb(&mut self, from: usize, change: impl Fn(&mut Node)) {
        let mut at = from;
        while let Some(parent) = self.nodes[at].parent {
            self.relist(parent, at, &change);
            at = parent;
        }
    }

    /// Changes a child, and its place in its parent's order.
    fn relist(&mut self, parent: usize, child: usize, change: impl FnOnce(&mut Node)) {
        self.withdraw(parent, child);
        change(&mut self.nodes[child]);
        self.offer(parent, child);
        self.prune(parent);
    }

    /// Takes a child out of its parent's order, as if nobody waited below it.
    fn withdraw(&mut self, parent: usize, child: usize) {
        let entry = (self.nodes[child].counter, child);
        let heads = std::mem::take(&mut self.nodes[child].shown);
        let listed = std::mem::take(&mut self.nodes[child].listed);
        let parent = &mut self.nodes[parent];
        parent.unlist(listed, &entry);
        for (ready, head) in parent.ready.iter_mut().zip(heads) {
            if let Some(rank) = head {
                ready.remove(&(rank, Next::Child(child)));
            }
        }
    }

    /// Puts a child where its counter and the requests below it belong.
    fn offer(&mut self, parent: usize, child: usize) {
        let node = &mut self.nodes[child];
        if node.heads().iter().all(Option::is_none) {
            node.active = false;
            let entry = (node.counter, child);
            if node.is_forgettable() {
                node.listed = Listed::Idle;
                self.nodes[parent].idle.insert(entry);
            }
        } else {
            let came_back = !std::mem::replace(&mut node.active, true);
            let measure = self.nodes[parent].measure;
            let node = &mut self.nodes[child];
            if came_back {
                node.counter = node.counter.max(measure);
            }
            if node.counter <= measure.saturating_add(self.band) {
                self.bring_near(parent, child);
            } else {
                let entry = (node.counter, child);
                node.listed = Listed::Beyond;
                self.nodes[parent].beyond.insert(entry);
            }
        }
        self.measure(parent);
    }

    /// Finds anew who among the children had the least, and who is within the band of it.
    fn measure(&mut self, at: usize) {
        let node = &self.nodes[at];
        let least = [node.near.first(), node.beyond.first()].into_iter().flatten().min();
        let Some(&(least, _)) = least else { return };
        self.nodes[at].measure = least;
        let most = least.saturating_add(self.band);
        while let Some(&(counter, child)) = self.nodes[at].near.last().filter(|last| last.0 > most) {
            self.withdraw(at, child);
            self.nodes[child].listed = Listed::Beyond;
            self.nodes[at].beyond.insert((counter, child));
        }
        while let Some(&(counter, child)) = self.nodes[at].beyond.first().filter(|first| first.0 <= most) {
            self.nodes[at].beyond.remove(&(counter, child));
            self.bring_near(at, child);
        }
    }

    /// Puts a child that is in no order among those that may be next, with what waits below it.
    fn bring_near(&mut self, at: usize, child: usize) {
        let node = &mut self.nodes[child];
        let (entry, heads) = ((node.counter, child), node.heads());
        (node.shown, node.listed) = (heads, Listed::Near);
        let parent = &mut self.nodes[at];
        parent.near.insert(entry);
        for (ready, head) in parent.ready.iter_mut().zip(heads) {
            if let Some(rank) = head {
                ready.insert((rank, Next::Child(child)));
            }
        }
    }

    /// Forgets children that nobody holds and who would come back at the measure anyway.
    fn prune(&mut self, at: usize) {
        while let Some(&(counter, child)) = self.nodes[at].idle.first() {
            if counter > self.nodes[at].measure {
                return;
            }
            let gone = std::mem::take(&mut self.nodes[child]);
            self.nodes[at].idle.remove(&(counter, child));
            self.nodes[at].children.remove(&gone.id);
            self.free.push(child);
        }
    }
}

#[cfg(test)]
mod tests;
