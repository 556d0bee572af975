//! The grants as the check reads them: packed, bounds without options, chained where several share grantee and target.
//!
//! A model or set finds the first grant of a grantee by the grantee's number; that is all it keeps, so a million grants
//! cost their own sixty bytes and little more.

use ahash::AHashMap;

use super::{Entry, Node, Place, Table, bits::Bits};
use crate::{
    fact::{Action, Effect},
    id::GrantId,
};

/// The end of a chain.
const NONE: u32 = u32::MAX;

/// One grant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) id: GrantId,
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// Nobody in particular is everyone.
    pub(crate) grantee: Option<Node>,
    pub(crate) place: Place,
    /// The next rule of the same grantee on the same place.
    next: u32,
    pub(crate) action: Action,
    pub(crate) effect: Effect,
}

impl Entry for Rule {
    type Id = GrantId;

    #[inline]
    fn id(&self) -> GrantId {
        self.id
    }
}

impl Rule {
    pub(crate) const fn new(
        id: GrantId,
        (start, end): (i64, i64),
        grantee: Option<Node>,
        place: Place,
        (action, effect): (Action, Effect),
    ) -> Self {
        Self { id, start, end, grantee, place, next: NONE, action, effect }
    }
}

/// The first rule of each grantee on one model or set.
#[derive(Debug, Clone)]
pub(crate) struct Ruleset {
    pub(crate) for_user: AHashMap<u32, u32>,
    pub(crate) for_group: AHashMap<u32, u32>,
    pub(crate) for_everyone: u32,
    /// The groups of `for_group`: most groups of a user have no rule on most places, and this says so at once.
    groups: Bits,
}

impl Default for Ruleset {
    fn default() -> Self {
        Self {
            for_user: AHashMap::new(),
            for_group: AHashMap::new(),
            for_everyone: NONE,
            groups: Bits::default(),
        }
    }
}

impl Ruleset {
    /// The first rule of every chain.
    pub(crate) fn chains(&self) -> impl Iterator<Item = u32> {
        let named = self.for_user.values().chain(self.for_group.values()).copied();
        named.chain((self.for_everyone != NONE).then_some(self.for_everyone))
    }

    /// The first rule for this group.
    #[inline]
    pub(crate) fn of_group(&self, group: u32) -> Option<u32> {
        if self.groups.has(group) { self.for_group.get(&group).copied() } else { None }
    }

    /// Puts a rule at the head of its chain; gives what was the head before.
    fn lead(&mut self, grantee: Option<Node>, index: u32) -> u32 {
        let before = match grantee {
            Some(Node::User(user)) => self.for_user.insert(user, index),
            Some(Node::Group(group)) => {
                self.groups.insert(group);
                self.for_group.insert(group, index)
            }
            None => Some(std::mem::replace(&mut self.for_everyone, index)),
        };
        before.unwrap_or(NONE)
    }

    fn head(&self, grantee: Option<Node>) -> u32 {
        let head = match grantee {
            Some(Node::User(user)) => self.for_user.get(&user),
            Some(Node::Group(group)) => self.for_group.get(&group),
            None => Some(&self.for_everyone),
        };
        head.copied().unwrap_or(NONE)
    }

    fn end(&mut self, grantee: Option<Node>) {
        match grantee {
            Some(Node::User(user)) => self.for_user.remove(&user),
            Some(Node::Group(group)) => {
                self.groups.remove(group);
                self.for_group.remove(&group)
            }
            None => Some(std::mem::replace(&mut self.for_everyone, NONE)),
        };
    }
}

impl Table<Rule> {
    /// The rules from this one to the end of its chain.
    #[inline]
    pub(crate) fn chain(&self, first: u32) -> impl Iterator<Item = &Rule> {
        std::iter::successors(self.at(first), |rule| self.at(rule.next))
    }

    /// Makes a rule that is in the table the first of its chain.
    pub(super) fn link(&mut self, index: u32, rules: &mut Ruleset) {
        if let Some(rule) = self.at_mut(index) {
            rule.next = rules.lead(rule.grantee, index);
        }
    }

    /// Takes a rule that was in the table as `index` out of its chain.
    pub(super) fn unlink(&mut self, index: u32, rule: &Rule, rules: &mut Ruleset) {
        let mut at = rules.head(rule.grantee);
        if at == index {
            match rule.next {
                NONE => rules.end(rule.grantee),
                next => {
                    rules.lead(rule.grantee, next);
                }
            }
            return;
        }
        while let Some(before) = self.at_mut(at) {
            if before.next == index {
                before.next = rule.next;
                return;
            }
            at = before.next;
        }
    }
}
