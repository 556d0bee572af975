//! A grant as the check reads it: no grantee and no target (both are the way it was found), bounds without options.

use ahash::AHashMap;

use super::Node;
use crate::{
    fact::{Action, Effect, Grant},
    id::GrantId,
    time::Time,
};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) grant: GrantId,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) action: Action,
    pub(crate) effect: Effect,
}

impl From<&Grant> for Rule {
    fn from(grant: &Grant) -> Self {
        Self {
            grant: grant.id,
            start: grant.starts_at.map_or(Time::ALWAYS, |at| at.0),
            end: grant.expires_at.map_or(Time::NEVER, |at| at.0),
            action: grant.action,
            effect: grant.effect,
        }
    }
}

/// The rules of one grantee on one model: nearly always one, so that one needs no allocation and no second look.
#[derive(Debug, Clone)]
pub(crate) enum Rules {
    One(Rule),
    Many(Vec<Rule>),
}

impl Rules {
    #[inline]
    pub(crate) fn as_slice(&self) -> &[Rule] {
        match self {
            Self::One(rule) => std::slice::from_ref(rule),
            Self::Many(rules) => rules,
        }
    }

    pub(crate) fn push(&mut self, rule: Rule) {
        match self {
            Self::One(first) => *self = Self::Many(vec![*first, rule]),
            Self::Many(rules) => rules.push(rule),
        }
    }

    /// What is left without this grant; nothing when it was the only one.
    pub(crate) fn without(self, grant: GrantId) -> Option<Self> {
        let mut rules = match self {
            Self::One(rule) => vec![rule],
            Self::Many(rules) => rules,
        };
        rules.retain(|rule| rule.grant != grant);
        match rules.len() {
            0 => None,
            1 => Some(Self::One(rules[0])),
            _ => Some(Self::Many(rules)),
        }
    }
}

/// The rules on one model or set, by grantee.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ruleset {
    pub(crate) for_user: AHashMap<u32, Rules>,
    pub(crate) for_group: AHashMap<u32, Rules>,
    pub(crate) for_everyone: Vec<Rule>,
}

impl Ruleset {
    pub(crate) fn insert(&mut self, grantee: Option<Node>, rule: Rule) {
        let (rules, index) = match grantee {
            Some(Node::User(user)) => (&mut self.for_user, user),
            Some(Node::Group(group)) => (&mut self.for_group, group),
            None => return self.for_everyone.push(rule),
        };
        rules.entry(index).and_modify(|rules| rules.push(rule)).or_insert(Rules::One(rule));
    }

    pub(crate) fn remove(&mut self, grantee: Option<Node>, grant: GrantId) {
        let (rules, index) = match grantee {
            Some(Node::User(user)) => (&mut self.for_user, user),
            Some(Node::Group(group)) => (&mut self.for_group, group),
            None => return self.for_everyone.retain(|rule| rule.grant != grant),
        };
        if let Some(left) = rules.remove(&index).and_then(|rules| rules.without(grant)) {
            rules.insert(index, left);
        }
    }

    /// Every grant on it.
    pub(crate) fn grants(&self) -> Vec<GrantId> {
        let rules = self.for_user.values().chain(self.for_group.values()).flat_map(Rules::as_slice);
        rules.chain(&self.for_everyone).map(|rule| rule.grant).collect()
    }
}
