//! Which groups a user is in, at any depth, and until when, and which sets a model is in: worked out again only for
//! the users and models that a change can affect.
//!
//! A membership only ever ends, so "until when" is one instant per group: along a path the earliest expiry, over all
//! paths the latest of those. Groups are settled latest first, hence each once, and a cycle ends by itself.

use std::collections::BinaryHeap;

use ahash::AHashSet;

use super::{Edge, Node, Place, Policy};

/// Users and models of which it may be out of date where they belong.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) users: AHashSet<u32>,
    pub(super) models: AHashSet<u32>,
}

impl Policy {
    /// Notes every user that reaches something through `node`.
    pub(super) fn touch(&self, node: Node, touched: &mut Touched) {
        let mut seen = AHashSet::new();
        let mut open = match node {
            Node::User(user) => {
                touched.users.insert(user);
                return;
            }
            Node::Group(group) => vec![group],
        };
        while let Some(index) = open.pop() {
            let Some(group) = self.groups.at(index).filter(|_| seen.insert(index)) else { continue };
            touched.users.extend(&group.users);
            let passable = |child: &&u32| self.groups.at(**child).is_some_and(|child| !child.fact.disabled);
            open.extend(group.groups.iter().filter(passable));
        }
    }

    /// Notes every model that is in something through `place`.
    pub(super) fn touch_models(&self, place: Place, touched: &mut Touched) {
        let mut seen = AHashSet::new();
        let mut open = match place {
            Place::Model(model) => {
                touched.models.insert(model);
                return;
            }
            Place::Set(set) => vec![set],
        };
        while let Some(index) = open.pop() {
            let Some(set) = self.sets.at(index).filter(|_| seen.insert(index)) else { continue };
            touched.models.extend(&set.models);
            let passable = |child: &&u32| self.sets.at(**child).is_some_and(|child| !child.fact.disabled);
            open.extend(set.sets.iter().filter(passable));
        }
    }

    /// Works out again where the touched belong.
    pub(super) fn refresh(&mut self, touched: Touched) {
        self.recomputed += (touched.users.len() + touched.models.len()) as u64;
        for index in touched.models {
            let Some(model) = self.models.at(index) else { continue };
            let within = self.within(&model.up);
            if let Some(model) = self.models.at_mut(index) {
                model.within = within;
            }
        }
        for index in touched.users {
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

    fn within(&self, from: &[u32]) -> Box<[u32]> {
        let mut found = Vec::with_capacity(from.len());
        let mut seen = AHashSet::new();
        let mut open = from.to_vec();
        while let Some(index) = open.pop() {
            let Some(set) = self.sets.at(index).filter(|set| !set.fact.disabled) else { continue };
            if seen.insert(index) {
                found.push(index);
                open.extend(&set.up);
            }
        }
        found.sort_unstable();
        found.into_boxed_slice()
    }
}
