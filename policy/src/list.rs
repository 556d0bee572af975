//! The lists that answer "which" instead of "whether". The indexes give whom or what a question could be about at all,
//! the check itself is asked about each, so a list cannot disagree with it.

use std::{cmp::Reverse, collections::BinaryHeap};

use ahash::AHashSet;

use crate::{
    fact::{Action, Effect},
    id::{ModelId, UserId},
    policy::{Links, Node, Place, Policy, Ruleset},
    time::Time,
};

/// A part of a list that is in the order of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Whether there are more after the last of these.
    pub more: bool,
}

impl Policy {
    /// The models on which `user` may do `action` at `now`, in the order of ids.
    #[must_use]
    pub fn accessible_models(&self, user: UserId, action: Action, now: Time) -> Vec<ModelId> {
        self.accessible_models_page(user, action, now, None, usize::MAX).items
    }

    /// The same, at most `limit` of those after `after`.
    #[must_use]
    pub fn accessible_models_page(
        &self,
        user: UserId,
        action: Action,
        now: Time,
        after: Option<ModelId>,
        limit: usize,
    ) -> Page<ModelId> {
        let index = self.users.find(&user);
        let models = index.map(|user| self.models_for(user, Some(Effect::Allow))).unwrap_or_default();
        let ids = models.iter().filter_map(|model| self.models.at(*model)).map(|model| model.fact.id);
        page(ids, after, limit, |model| self.check(user, *model, action, now).allowed)
    }

    /// The users who may do `action` to `model` at `now`, in the order of ids.
    #[must_use]
    pub fn subjects_of(&self, model: ModelId, action: Action, now: Time) -> Vec<UserId> {
        self.subjects_of_page(model, action, now, None, usize::MAX).items
    }

    /// The same, at most `limit` of those after `after`.
    #[must_use]
    pub fn subjects_of_page(
        &self,
        model: ModelId,
        action: Action,
        now: Time,
        after: Option<UserId>,
        limit: usize,
    ) -> Page<UserId> {
        let allowed = |user: &UserId| self.check(*user, model, action, now).allowed;
        match self.models.find(&model).and_then(|model| self.users_for(model)) {
            Some(users) => {
                let ids = users.iter().filter_map(|user| self.users.at(*user)).map(|user| user.fact.id);
                page(ids, after, limit, allowed)
            }
            None => page(self.users().map(|user| user.id), after, limit, allowed),
        }
    }

    /// Every model that a rule of this effect, or of any, or ownership could connect with the user.
    pub(crate) fn models_for(&self, user: u32, effect: Option<Effect>) -> AHashSet<u32> {
        let (mut models, mut seen) = (AHashSet::new(), AHashSet::new());
        let Some(user) = self.users.at(user) else { return models };
        let groups = user.reach.iter().filter_map(|edge| self.groups.at(edge.group));
        let links: Vec<&Links> = groups.map(|group| &group.links).chain([&*user.links]).collect();
        let granted = links.iter().flat_map(|links| &links.granted).chain(&self.common);
        let rules = granted.filter_map(|grant| self.grants.at(*grant));
        for rule in rules.filter(|rule| effect.is_none_or(|effect| rule.effect == effect)) {
            self.models_below(rule.place, &mut models, &mut seen);
        }
        models.extend(links.iter().flat_map(|links| &links.owned).filter_map(|id| self.models.find(id)));
        models
    }

    /// Every user that an allow or ownership could connect with the model; nothing when that is everyone.
    fn users_for(&self, model: u32) -> Option<AHashSet<u32>> {
        let (mut users, mut seen) = (AHashSet::new(), AHashSet::new());
        let Some(model) = self.models.at(model) else { return Some(users) };
        let sets = model.within.iter().filter_map(|set| self.sets.at(*set)).map(|set| &set.rules);
        for rules in sets.chain([&model.rules]) {
            if self.allows(rules.for_everyone) {
                return None;
            }
            self.users_of(rules, &mut users, &mut seen);
        }
        if let Some(owner) = model.owner {
            self.users_below(owner, &mut users, &mut seen);
        }
        Some(users)
    }

    fn users_of(&self, rules: &Ruleset, users: &mut AHashSet<u32>, seen: &mut AHashSet<u32>) {
        users.extend(rules.for_user.iter().filter(|(_, first)| self.allows(**first)).map(|(user, _)| user));
        for (group, _) in rules.for_group.iter().filter(|(_, first)| self.allows(**first)) {
            self.users_below(Node::Group(*group), users, seen);
        }
    }

    fn allows(&self, first: u32) -> bool {
        self.grants.chain(first).any(|rule| rule.effect == Effect::Allow)
    }

    /// Adds the users at or below a node; `seen` are the groups that need no second visit.
    pub(crate) fn users_below(&self, node: Node, users: &mut AHashSet<u32>, seen: &mut AHashSet<u32>) {
        let mut open = match node {
            Node::User(user) => {
                users.insert(user);
                return;
            }
            Node::Group(group) => vec![group],
        };
        while let Some(index) = open.pop() {
            let Some(group) = self.groups.at(index).filter(|_| seen.insert(index)) else { continue };
            users.extend(&group.users);
            open.extend(&group.groups);
        }
    }

    /// Adds the models at or below a place; `seen` are the sets that need no second visit.
    pub(crate) fn models_below(&self, place: Place, models: &mut AHashSet<u32>, seen: &mut AHashSet<u32>) {
        let mut open = match place {
            Place::Model(model) => {
                models.insert(model);
                return;
            }
            Place::Set(set) => vec![set],
        };
        while let Some(index) = open.pop() {
            let Some(set) = self.sets.at(index).filter(|_| seen.insert(index)) else { continue };
            models.extend(&set.models);
            open.extend(&set.sets);
        }
    }
}

/// The first `limit` of what is kept after `after`, without sorting or asking about what lies behind.
pub(crate) fn page<T: Ord + Copy>(
    candidates: impl Iterator<Item = T>,
    after: Option<T>,
    limit: usize,
    keep: impl Fn(&T) -> bool,
) -> Page<T> {
    let ahead = candidates.filter(|item| after.is_none_or(|after| *item > after)).map(Reverse);
    let mut heap: BinaryHeap<Reverse<T>> = ahead.collect();
    let mut items = Vec::new();
    while let Some(Reverse(item)) = heap.pop() {
        if !keep(&item) {
            continue;
        }
        if items.len() == limit {
            return Page { items, more: true };
        }
        items.push(item);
    }
    Page { items, more: false }
}
