//! Ways through groups and sets, for people to read: which steps lead from a user up to a group, or from a model up to
//! a set. The check needs no ways, only what lies at their ends.

use std::collections::VecDeque;

use ahash::AHashMap;

use crate::{
    id::{GroupId, ModelSetId},
    policy::{Edge, ModelEntry, Policy, UserEntry},
    time::Time,
};

/// How each place is reached: by the step from the one before, by none from the start itself.
#[derive(Debug, Default)]
pub(crate) struct Steps(AHashMap<u32, Option<u32>>);

impl Steps {
    /// Shortest ways first. `up` gives what is directly above a place, or nothing when it may not be passed.
    fn walk(start: Vec<u32>, mut up: impl FnMut(u32) -> Option<Vec<u32>>) -> Self {
        let mut steps = AHashMap::new();
        let mut open: VecDeque<(u32, Option<u32>)> = start.into_iter().map(|index| (index, None)).collect();
        while let Some((index, from)) = open.pop_front() {
            if steps.contains_key(&index) {
                continue;
            }
            let Some(above) = up(index) else { continue };
            steps.insert(index, from);
            open.extend(above.into_iter().map(|next| (next, Some(index))));
        }
        Self(steps)
    }

    /// The places on the way to `to`, itself included and last.
    fn path(&self, to: u32) -> Option<Vec<u32>> {
        let mut next = self.0.contains_key(&to).then_some(to);
        next?;
        let mut path = Vec::new();
        while let Some(index) = next {
            path.push(index);
            next = self.0.get(&index).copied().flatten();
        }
        path.reverse();
        Some(path)
    }

    /// Every place there is a way to.
    pub(crate) fn places(&self) -> impl Iterator<Item = u32> {
        self.0.keys().copied()
    }
}

impl Policy {
    /// The ways from a user through groups: those that hold at `now`, or all that would if nothing had expired and
    /// nothing were disabled.
    pub(crate) fn ways_from_user(&self, user: &UserEntry, now: Option<Time>) -> Steps {
        let holds = |edge: &&Edge| now.is_none_or(|now| now.0 < edge.until);
        let over = |up: &[Edge]| up.iter().filter(holds).map(|edge| edge.group).collect::<Vec<u32>>();
        Steps::walk(over(&user.links.up), |index| {
            let group = self.groups.at(index).filter(|group| now.is_none() || !group.fact.disabled)?;
            Some(over(&group.links.up))
        })
    }

    /// The ways from a model through sets: those that are `open`, or all that would be if no set were disabled.
    pub(crate) fn ways_from_model(&self, model: &ModelEntry, open: bool) -> Steps {
        Steps::walk(model.up.clone(), |index| {
            let set = self.sets.at(index).filter(|set| !open || !set.fact.disabled)?;
            Some(set.up.clone())
        })
    }

    /// The groups from the user to this one, innermost first.
    pub(crate) fn groups_to(&self, ways: &Steps, group: u32) -> Option<Vec<GroupId>> {
        let path = ways.path(group)?;
        path.into_iter().map(|index| self.groups.at(index).map(|group| group.fact.id)).collect()
    }

    /// The sets from this one to the model, outermost first.
    pub(crate) fn sets_from(&self, ways: &Steps, set: u32) -> Option<Vec<ModelSetId>> {
        let path = ways.path(set)?;
        path.into_iter().rev().map(|index| self.sets.at(index).map(|set| set.fact.id)).collect()
    }
}
