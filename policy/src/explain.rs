//! Why a decision is what it is, or what is missing: every grant that speaks to the question, and how the user comes
//! to be meant by it. Written for people and off the hot path; the decision itself is the check's own.

use std::collections::VecDeque;

use ahash::AHashMap;

use crate::{
    check::{Decision, Question},
    fact::{Action, Grant, Grantee},
    id::{GrantId, GroupId},
    policy::{Edge, Node, Policy, Rule, Rules, Ruleset, UserEntry},
    time::Time,
};

/// A decision with everything that was weighed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The check's answer.
    pub decision: Decision,
    /// The groups by which the user owns the model, innermost first; empty when it is the user's own.
    pub owned_by: Option<Vec<GroupId>>,
    /// Every grant on the model or a set it is in that speaks to the question, in the order of ids.
    pub causes: Vec<Cause>,
}

/// One grant that speaks to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The grant.
    pub grant: GrantId,
    /// The groups by which the user is meant, innermost first; empty when meant by name or as everyone.
    pub by: Vec<GroupId>,
    /// Whether it counts now.
    pub standing: Standing,
}

/// Whether a grant counts for a user at one instant, and if not, what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It counts.
    InForce,
    /// It has not started.
    NotYet,
    /// It has expired.
    Over,
    /// A group on the way is disabled, or a membership has expired.
    CutOff,
}

/// How the user gets to each group: the edge taken from the group before, none from the user itself.
type Steps = AHashMap<u32, Option<u32>>;

/// The ways that hold now, and the ways that would if nothing had expired and nothing were disabled.
struct Ways {
    open: Steps,
    all: Steps,
}

impl Policy {
    /// The decision on a question and everything that was weighed for it.
    #[must_use]
    pub fn explain(&self, question: &Question, now: Time) -> Explanation {
        let decision = self.answer(question, now);
        let index = self.users.find(&question.user);
        let user = index.and_then(|index| Some((index, self.users.at(index)?)));
        let (Some((index, user)), Some(model)) = (user, self.models.get(&question.model)) else {
            return Explanation { decision, owned_by: None, causes: Vec::new() };
        };
        let ways = Ways { open: self.walk(user, Some(now)), all: self.walk(user, None) };
        let owned_by = match model.owner {
            Some(Node::User(owner)) => (owner == index).then(Vec::new),
            Some(Node::Group(owner)) => self.path(&ways.open, owner),
            None => None,
        };
        let sets = model.within.iter().filter_map(|set| self.sets.at(*set)).map(|set| &set.rules);
        let rulesets = std::iter::once(&model.rules).chain(sets);
        let mut causes: Vec<Cause> = rulesets
            .flat_map(|rules| about(rules, index, question.action))
            .filter_map(|rule| self.cause(self.grants.get(&rule.grant)?, rule, &ways, now))
            .collect();
        causes.sort_unstable_by_key(|cause| cause.grant);
        Explanation { decision, owned_by, causes }
    }

    fn cause(&self, grant: &Grant, rule: &Rule, ways: &Ways, now: Time) -> Option<Cause> {
        let group = match grant.grantee {
            Grantee::Group(id) => Some(self.groups.find(&id)?),
            Grantee::User(_) | Grantee::Everyone => None,
        };
        let open = group.map_or_else(|| Some(Vec::new()), |group| self.path(&ways.open, group));
        let standing = match open {
            None => Standing::CutOff,
            Some(_) if now.0 >= rule.end => Standing::Over,
            Some(_) if now.0 < rule.start => Standing::NotYet,
            Some(_) => Standing::InForce,
        };
        let by = open.or_else(|| self.path(&ways.all, group?))?;
        Some(Cause { grant: grant.id, by, standing })
    }

    /// Shortest ways first, over what holds at `now`, or over everything.
    fn walk(&self, user: &UserEntry, now: Option<Time>) -> Steps {
        let holds = |edge: &&Edge| now.is_none_or(|now| now.0 < edge.until);
        let mut steps = Steps::new();
        let mut open: VecDeque<(u32, Option<u32>)> =
            user.links.up.iter().filter(holds).map(|edge| (edge.group, None)).collect();
        while let Some((index, from)) = open.pop_front() {
            let passable = |disabled: bool| now.is_none() || !disabled;
            let Some(group) = self.groups.at(index).filter(|group| passable(group.fact.disabled)) else {
                continue;
            };
            if !steps.contains_key(&index) {
                steps.insert(index, from);
                open.extend(group.links.up.iter().filter(holds).map(|edge| (edge.group, Some(index))));
            }
        }
        steps
    }

    fn path(&self, steps: &Steps, to: u32) -> Option<Vec<GroupId>> {
        let mut next = steps.contains_key(&to).then_some(to);
        next?;
        let mut path = Vec::new();
        while let Some(index) = next {
            path.push(self.groups.at(index)?.fact.id);
            next = steps.get(&index).copied().flatten();
        }
        path.reverse();
        Some(path)
    }
}

/// The rules that can matter to the question; those of groups the user has nothing to do with fall out later.
fn about(rules: &Ruleset, user: u32, action: Action) -> impl Iterator<Item = &Rule> {
    let groups = rules.for_group.values().flat_map(Rules::as_slice);
    let direct = rules.for_user.get(&user).map_or(&[][..], Rules::as_slice);
    let all = groups.chain(direct).chain(&rules.for_everyone);
    all.filter(move |rule| rule.action == action || rule.action == Action::Manage)
}
