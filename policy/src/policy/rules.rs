//! A grant as the check reads it: no grantee and no model (both are the way it was found), bounds without options.

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
