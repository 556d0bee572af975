//! Which groups a user is in, at any depth, and until when: worked out again only for users a change can affect.
//!
//! A membership only ever ends, so "until when" is one instant per group: along a path the earliest expiry, over all
//! paths the latest of those. Groups are settled latest first, hence each once, and a cycle ends by itself.

use std::collections::BinaryHeap;

use ahash::AHashSet;

use super::{Edge, Node, Policy};

/// Users whose reach may be out of date.
pub(super) type Touched = AHashSet<u32>;

impl Policy {
    /// Notes every user that reaches something through `node`.
    pub(super) fn touch(&self, node: Node, touched: &mut Touched) {
        let mut seen = AHashSet::new();
        let mut open = match node {
            Node::User(user) => {
                touched.insert(user);
                return;
            }
            Node::Group(group) => vec![group],
        };
        while let Some(index) = open.pop() {
            let Some(group) = self.groups.at(index).filter(|_| seen.insert(index)) else { continue };
            touched.extend(&group.users);
            let passable = |child: &&u32| self.groups.at(**child).is_some_and(|child| !child.fact.disabled);
            open.extend(group.groups.iter().filter(passable));
        }
    }

    /// Works out again what the touched users reach.
    pub(super) fn refresh(&mut self, touched: Touched) {
        for index in touched {
            let Some(user) = self.users.at(index) else { continue };
            let reach = self.reach(&user.links.up);
            if let Some(user) = self.users.at_mut(index) {
                user.reach = reach;
            }
        }
    }

    fn reach(&self, from: &[Edge]) -> Box<[Edge]> {
        let mut reached: Vec<Edge> = Vec::with_capacity(from.len());
        let mut seen = AHashSet::new();
        let mut open: BinaryHeap<(i64, u32)> = from.iter().map(|edge| (edge.until, edge.group)).collect();
        while let Some((until, index)) = open.pop() {
            let Some(group) = self.groups.at(index).filter(|group| !group.fact.disabled) else { continue };
            if !seen.insert(index) {
                continue;
            }
            reached.push(Edge { group: index, until });
            open.extend(group.links.up.iter().map(|edge| (edge.until.min(until), edge.group)));
        }
        reached.sort_unstable_by_key(|edge| edge.group);
        reached.into_boxed_slice()
    }
}
