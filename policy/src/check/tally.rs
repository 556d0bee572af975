//! What speaks for and against one user on one model at one instant, and the verdict on it.
//!
//! Per kind of rule three things are enough: how long the longest-lasting one in force holds, which one that is, and
//! when the next one that is not yet in force begins.

use super::{Decision, Reason};
use crate::{
    fact::{Action, Effect},
    id::GrantId,
    policy::Rule,
    time::Time,
};

/// The rules of one kind.
#[derive(Debug, Clone, Copy)]
struct Side {
    /// Up to when one of them is in force without a gap, by the longest-lasting alone; `ALWAYS` when none is.
    until: i64,
    /// The longest-lasting one.
    grant: Option<GrantId>,
    /// When the first of those to come begins.
    next: i64,
}

impl Side {
    const EMPTY: Self = Self { until: Time::ALWAYS, grant: None, next: Time::NEVER };

    const fn holds(&self) -> bool {
        self.grant.is_some()
    }

    fn count(&mut self, rule: &Rule, end: i64, now: i64) {
        if now < rule.start {
            if rule.start < end {
                self.next = self.next.min(rule.start);
            }
        } else if end > self.until || end == self.until && Some(rule.id) < self.grant {
            self.until = end;
            self.grant = Some(rule.id);
        }
    }
}

/// All sides of one question's user and model.
#[derive(Debug)]
pub(super) struct Tally {
    now: i64,
    owned_until: i64,
    allow_use: Side,
    deny_use: Side,
    allow_manage: Side,
    deny_manage: Side,
}

/// A [`Decision`] before its instant is turned into an option.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    allowed: bool,
    reason: Reason,
    until: i64,
    grant: Option<GrantId>,
}

impl Tally {
    pub(super) const fn at(now: i64) -> Self {
        let none = Side::EMPTY;
        let owned_until = Time::ALWAYS;
        Self { now, owned_until, allow_use: none, deny_use: none, allow_manage: none, deny_manage: none }
    }

    /// The user owns the model before `until`.
    pub(super) const fn own(&mut self, until: i64) {
        self.owned_until = until;
    }

    /// This rule reaches the user before `until`.
    #[inline]
    pub(super) fn count(&mut self, rule: &Rule, until: i64) {
        let end = rule.end.min(until);
        if end <= self.now {
            return;
        }
        let side = match (rule.action, rule.effect) {
            (Action::Use, Effect::Allow) => &mut self.allow_use,
            (Action::Use, Effect::Deny) => &mut self.deny_use,
            (Action::Manage, Effect::Allow) => &mut self.allow_manage,
            (Action::Manage, Effect::Deny) => &mut self.deny_manage,
        };
        side.count(rule, end, self.now);
    }

    pub(super) fn decide(&self, action: Action) -> Decision {
        let Verdict { allowed, reason, until, grant } = match action {
            Action::Use => self.use_it(),
            Action::Manage => self.manage(),
        };
        Decision { allowed, reason, valid_until: Time::known(until), grant }
    }

    fn manage(&self) -> Verdict {
        if self.deny_manage.holds() {
            return denied(&self.deny_manage);
        }
        let deny = self.deny_manage.next;
        let owns = self.now < self.owned_until;
        if owns && self.owned_until >= self.allow_manage.until {
            return Verdict {
                allowed: true,
                reason: Reason::Owner,
                until: self.owned_until.min(deny),
                grant: None,
            };
        }
        if self.allow_manage.holds() {
            return granted(&self.allow_manage, deny);
        }
        no_grant(self.allow_manage.next)
    }

    fn use_it(&self) -> Verdict {
        if self.deny_use.holds() {
            return denied(&self.deny_use);
        }
        let deny = self.deny_use.next;
        let manage = self.manage();
        if self.allow_use.holds() && (!manage.allowed || self.allow_use.until >= manage.until) {
            return granted(&self.allow_use, deny);
        }
        if manage.allowed {
            return Verdict { until: manage.until.min(deny), ..manage };
        }
        let could_manage = self.now < self.owned_until || self.allow_manage.holds();
        if could_manage {
            // Only the deny of manage stands between this user and the implied use: that is the answer to "why not".
            return Verdict { until: manage.until.min(self.allow_use.next), ..manage };
        }
        let manage_next = self.allow_manage.next.max(self.deny_manage.until);
        no_grant(self.allow_use.next.min(manage_next))
    }
}

fn granted(side: &Side, deny: i64) -> Verdict {
    Verdict { allowed: true, reason: Reason::Granted, until: side.until.min(deny), grant: side.grant }
}

/// Nothing can open before the longest-lasting deny has ended.
fn denied(side: &Side) -> Verdict {
    Verdict { allowed: false, reason: Reason::Denied, until: side.until, grant: side.grant }
}

fn no_grant(next: i64) -> Verdict {
    Verdict { allowed: false, reason: Reason::NoGrant, until: next, grant: None }
}
