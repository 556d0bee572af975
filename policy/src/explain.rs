//! Why a decision is what it is, or what is missing: every grant that speaks to the question, how the user and the
//! model come to be meant by it, and whom to ask. For people, off the hot path; the decision is the check's own.

use crate::{
    check::{Decision, Question},
    fact::{Action, Effect},
    id::{GrantId, GroupId, ModelSetId, UserId},
    list::Page,
    policy::{ModelEntry, Node, Place, Policy, Rule, Ruleset, UserEntry},
    time::Time,
    ways::Steps,
};

/// How many to ask are named at most.
const TO_ASK: usize = 10;

/// A decision with everything that was weighed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The check's answer.
    pub decision: Decision,
    /// The groups by which the user owns the model, innermost first; empty when it is the user's own.
    pub owned_by: Option<Vec<GroupId>>,
    /// Every grant on the model or a set it is in that speaks to the question, in the order of ids.
    pub causes: Vec<Cause>,
    /// Some of those who may manage the model, when the answer is no; whether there are more.
    pub ask: Page<UserId>,
}

impl Explanation {
    /// What would allow it and does not count now, with what it lacks.
    pub fn missing(&self) -> impl Iterator<Item = &Cause> {
        let lacks = |cause: &&Cause| cause.effect == Effect::Allow && cause.standing != Standing::InForce;
        self.causes.iter().filter(lacks)
    }
}

/// One grant that speaks to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The grant.
    pub grant: GrantId,
    /// The groups by which the user is meant, innermost first; empty when meant by name or as everyone.
    pub by: Vec<GroupId>,
    /// The sets by which the model is meant, outermost first; empty when the grant is on the model itself.
    pub through: Vec<ModelSetId>,
    /// What it is about.
    pub action: Action,
    /// Which way it speaks.
    pub effect: Effect,
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
    /// A group or a set on the way is disabled, or a membership has expired.
    CutOff,
}

/// The ways that hold now, and the ways that would if nothing had expired and nothing were disabled.
struct Ways {
    groups: Steps,
    all_groups: Steps,
    sets: Steps,
    all_sets: Steps,
}

impl Policy {
    /// The decision on a question and everything that was weighed for it.
    #[must_use]
    pub fn explain(&self, question: &Question, now: Time) -> Explanation {
        let decision = self.answer(question, now);
        let index = self.users.find(&question.user);
        let user = index.and_then(|index| Some((index, self.users.at(index)?)));
        let ask = self.whom_to_ask(question, &decision, now);
        let (Some((index, user)), Some(model)) = (user, self.models.get(&question.model)) else {
            return Explanation { decision, owned_by: None, causes: Vec::new(), ask };
        };
        let ways = self.ways(user, model, now);
        let owned_by = match model.owner {
            Some(Node::User(owner)) => (owner == index).then(Vec::new),
            Some(Node::Group(owner)) => self.groups_to(&ways.groups, owner),
            None => None,
        };
        let sets = ways.all_sets.places().filter_map(|set| self.sets.at(set)).map(|set| &set.rules);
        let mut causes: Vec<Cause> = std::iter::once(&model.rules)
            .chain(sets)
            .flat_map(|rules| self.about(rules, index, question.action))
            .filter_map(|rule| self.cause(rule, &ways, now))
            .collect();
        causes.sort_unstable_by_key(|cause| cause.grant);
        Explanation { decision, owned_by, causes, ask }
    }

    fn ways(&self, user: &UserEntry, model: &ModelEntry, now: Time) -> Ways {
        Ways {
            groups: self.ways_from_user(user, Some(now)),
            all_groups: self.ways_from_user(user, None),
            sets: self.ways_from_model(model, true),
            all_sets: self.ways_from_model(model, false),
        }
    }

    fn whom_to_ask(&self, question: &Question, decision: &Decision, now: Time) -> Page<UserId> {
        if decision.allowed {
            return Page { items: Vec::new(), more: false };
        }
        self.subjects_of_page(question.model, Action::Manage, now, None, TO_ASK)
    }

    /// The rules that can matter to the question; those of groups the user has nothing to do with fall out later.
    fn about<'a>(&'a self, rules: &'a Ruleset, user: u32, action: Action) -> impl Iterator<Item = &'a Rule> {
        let groups = rules.for_group.values().copied();
        let others = rules.for_user.get(&user).copied().into_iter().chain([rules.for_everyone]);
        let all = groups.chain(others).flat_map(|first| self.grants.chain(first));
        all.filter(move |rule| rule.action == action || rule.action == Action::Manage)
    }

    fn cause(&self, rule: &Rule, ways: &Ways, now: Time) -> Option<Cause> {
        let by = |ways| match rule.grantee {
            Some(Node::Group(group)) => self.groups_to(ways, group),
            Some(Node::User(_)) | None => Some(Vec::new()),
        };
        let through = |ways| match rule.place {
            Place::Set(set) => self.sets_from(ways, set),
            Place::Model(_) => Some(Vec::new()),
        };
        let (open_groups, open_sets) = (by(&ways.groups), through(&ways.sets));
        let standing = match (&open_groups, &open_sets) {
            (None, _) | (_, None) => Standing::CutOff,
            _ => Standing::of(rule, now),
        };
        Some(Cause {
            grant: rule.id,
            by: open_groups.or_else(|| by(&ways.all_groups))?,
            through: open_sets.or_else(|| through(&ways.all_sets))?,
            action: rule.action,
            effect: rule.effect,
            standing,
        })
    }
}

impl Standing {
    /// Whether a grant is in force by its own instants.
    pub(crate) const fn of(rule: &Rule, now: Time) -> Self {
        if now.0 >= rule.end {
            Self::Over
        } else if now.0 < rule.start {
            Self::NotYet
        } else {
            Self::InForce
        }
    }
}
