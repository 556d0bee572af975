//! The decision: may this user do this to this model now, why, and until when does that answer hold.
//!
//! Default deny. A deny wins at any depth. To manage: own the model or hold an allow of manage, and no deny of it. To
//! use: no deny of use, and hold an allow of use or be able to manage. Roles open nothing. Expiry is compared here,
//! at reading time, so no event is needed for something to expire and nothing expired can linger.

mod tally;

use crate::{
    fact::{Action, ModelState},
    id::{GrantId, ModelId, UserId},
    policy::{ModelEntry, Node, Policy, Ruleset, UserEntry},
    time::Time,
};
use tally::Tally;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Question {
    /// Who wants to.
    pub user: UserId,
    /// On which model.
    pub model: ModelId,
    /// Do what.
    pub action: Action,
}

/// Why an answer is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// An allow is in force, and no deny.
    Granted,
    /// The user owns the model, or is in the group that does.
    Owner,
    /// There is no such user.
    UnknownUser,
    /// The user is disabled.
    UserDisabled,
    /// There is no such model.
    UnknownModel,
    /// The model is disabled.
    ModelDisabled,
    /// A deny is in force.
    Denied,
    /// Nothing allows it.
    NoGrant,
    /// The key names the models it is for, and this one is not among them.
    KeyNarrowed,
    /// The key is not for sending requests to models.
    KeyScope,
}

impl Reason {
    /// The stable word for this reason on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "GRANTED",
            Self::Owner => "OWNER",
            Self::UnknownUser => "UNKNOWN_USER",
            Self::UserDisabled => "USER_DISABLED",
            Self::UnknownModel => "UNKNOWN_MODEL",
            Self::ModelDisabled => "MODEL_DISABLED",
            Self::Denied => "DENIED",
            Self::NoGrant => "NO_GRANT",
            Self::KeyNarrowed => "KEY_NARROWED",
            Self::KeyScope => "KEY_SCOPE",
        }
    }
}

/// The answer to a [`Question`] at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether the user may.
    pub allowed: bool,
    /// Why, or why not.
    pub reason: Reason,
    /// As long as no fact changes, `allowed` stays what it is before this instant; none means for good.
    pub valid_until: Option<Time>,
    /// The grant that decided: of several, the one in force longest, and of those the one with the smallest id.
    pub grant: Option<GrantId>,
}

impl Decision {
    pub(crate) const fn refused(reason: Reason) -> Self {
        Self { allowed: false, reason, valid_until: None, grant: None }
    }
}

impl Policy {
    /// Whether `user` may do `action` to `model` at `now`.
    #[must_use]
    pub fn check(&self, user: UserId, model: ModelId, action: Action, now: Time) -> Decision {
        self.decide(self.users.find(&user), self.models.find(&model), action, now)
    }

    /// The same, asked in one piece.
    #[must_use]
    pub fn answer(&self, question: &Question, now: Time) -> Decision {
        self.check(question.user, question.model, question.action, now)
    }

    pub(crate) fn decide(
        &self,
        user: Option<u32>,
        model: Option<u32>,
        action: Action,
        now: Time,
    ) -> Decision {
        let Some((index, user)) = user.and_then(|index| Some((index, self.users.at(index)?))) else {
            return Decision::refused(Reason::UnknownUser);
        };
        if user.fact.disabled {
            return Decision::refused(Reason::UserDisabled);
        }
        let Some(model) = model.and_then(|index| self.models.at(index)) else {
            return Decision::refused(Reason::UnknownModel);
        };
        if model.fact.state == ModelState::Disabled {
            return Decision::refused(Reason::ModelDisabled);
        }
        self.tally(index, user, model, now.0).decide(action)
    }

    /// Counts every rule that reaches the user, on the model itself and on each set it is in.
    fn tally(&self, index: u32, user: &UserEntry, model: &ModelEntry, now: i64) -> Tally {
        let mut tally = Tally::at(now);
        tally.own(owned_until(index, user, model));
        self.count(&mut tally, &model.rules, index, user);
        for set in model.within.iter().filter_map(|set| self.sets.at(*set)) {
            self.count(&mut tally, &set.rules, index, user);
        }
        tally
    }

    /// Of "the user's groups" and "the groups with a rule" it walks the fewer, so neither a user in many groups nor a
    /// model with many grants makes the check slow.
    fn count(&self, tally: &mut Tally, rules: &Ruleset, index: u32, user: &UserEntry) {
        let mut count = |first: u32, until: i64| {
            self.grants.chain(first).for_each(|rule| tally.count(rule, until));
        };
        count(rules.for_everyone, Time::NEVER);
        if let Some(first) = rules.for_user.get(&index) {
            count(*first, Time::NEVER);
        }
        if user.reach.len() <= rules.for_group.len() {
            for edge in &user.reach {
                if let Some(first) = rules.of_group(edge.group) {
                    count(first, edge.until);
                }
            }
        } else {
            for (group, first) in &rules.for_group {
                count(*first, reached_until(user, *group));
            }
        }
    }
}

/// The instant from which the user does not own the model.
fn owned_until(index: u32, user: &UserEntry, model: &ModelEntry) -> i64 {
    match model.owner {
        Some(Node::User(owner)) if owner == index => Time::NEVER,
        Some(Node::Group(owner)) => reached_until(user, owner),
        _ => Time::ALWAYS,
    }
}

/// The instant from which the user is not in the group.
fn reached_until(user: &UserEntry, group: u32) -> i64 {
    let found = user.reach.binary_search_by_key(&group, |edge| edge.group);
    found.ok().and_then(|at| user.reach.get(at)).map_or(Time::ALWAYS, |edge| edge.until)
}
