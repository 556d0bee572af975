//! How a request for access is decided: a state machine of its own, told who says what and when.
//!
//! `Pending` ends once, as approved (with as many different approvals as the policy wants), denied (by one), cancelled
//! by the requester or expired. Approvals may narrow what was asked, never widen it. Breaking the glass approves at
//! once and leaves a review that accepts or rejects.

use policy::{Action, GroupId, Time, UserId};
use std::time::Duration;

/// How requests are decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Whose members decide; `None`: whoever may manage the model.
    pub(crate) approvers: Option<GroupId>,
    /// Approvals that are needed.
    pub(crate) quorum: u32,
    /// How long approvers have.
    pub(crate) timeout: Duration,
    /// Longest grant.
    pub(crate) max_duration: Option<Duration>,
    pub(crate) auto: Option<Auto>,
    /// Longest grant that a requester may take at once.
    pub(crate) break_glass: Option<Duration>,
}

/// What is approved without asking anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Auto {
    /// Only for members of this group.
    pub(crate) group: Option<GroupId>,
    /// Only for at most this long.
    pub(crate) max_duration: Option<Duration>,
}

impl Default for Rules {
    fn default() -> Self {
        let timeout = Duration::from_secs(7 * 24 * 60 * 60);
        Self { approvers: None, quorum: 1, timeout, max_duration: None, auto: None, break_glass: None }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) action: Action,
    /// `None`: without an end.
    pub(crate) duration: Option<Duration>,
}

impl Wish {
    /// As long as this, and no longer than `most`.
    fn within(self, most: Option<Duration>) -> Self {
        let duration = self.duration.into_iter().chain(most).min();
        Self { duration, ..self }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Pending,
    Approved,
    Denied,
    Cancelled,
    Expired,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Review {
    Pending,
    Accepted,
    Rejected,
}

/// What one approver said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    /// `None`: the policy decided by itself.
    pub(crate) approver: Option<UserId>,
    pub(crate) approved: bool,
    pub(crate) comment: String,
    /// Grants for at most this long.
    pub(crate) duration: Option<Duration>,
    /// Grants use although manage was asked for.
    pub(crate) use_only: bool,
    pub(crate) at: Time,
}

/// One request and what was said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) requester: UserId,
    pub(crate) wish: Wish,
    pub(crate) break_glass: bool,
    pub(crate) quorum: u32,
    pub(crate) deadline: Time,
    pub(crate) state: State,
    pub(crate) review: Option<Review>,
    pub(crate) decided_at: Option<Time>,
    pub(crate) decisions: Vec<Decision>,
}

/// Why something cannot be done to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the request is no longer pending")]
    NotPending,
    #[error("nobody decides about their own request; ask another approver")]
    OwnRequest,
    #[error("you have approved this request already; it waits for others")]
    AlreadyApproved,
    #[error("there is nothing to review about this request")]
    NothingToReview,
    #[error("the policy of this model does not allow to break the glass; ask without it")]
    GlassNotBreakable,
    #[error("only the requester may cancel a request")]
    NotRequester,
}

/// What follows from a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Others must decide still.
    Waiting,
    /// This is to be granted.
    Grant(Wish),
    /// What was granted is to be revoked.
    Revoke,
    /// It has ended without a grant, or stays as it is.
    Nothing,
}

impl Case {
    /// A new request under these rules. `in_auto_group`: the requester is in the group that they approve by themselves.
    pub(crate) fn open(
        rules: &Rules,
        requester: UserId,
        wish: Wish,
        break_glass: bool,
        in_auto_group: bool,
        now: Time,
    ) -> Result<(Self, Outcome), Refusal> {
        let wish = wish.within(rules.max_duration);
        let mut case = Self {
            requester,
            wish,
            break_glass,
            quorum: rules.quorum,
            deadline: now.plus(rules.timeout),
            state: State::Pending,
            review: None,
            decided_at: None,
            decisions: Vec::new(),
        };
        if break_glass {
            let most = rules.break_glass.ok_or(Refusal::GlassNotBreakable)?;
            case.wish = wish.within(Some(most));
            case.review = Some(Review::Pending);
            case.end(State::Approved, now);
            return Ok((case.clone(), Outcome::Grant(case.wish)));
        }
        if rules.auto.is_some_and(|auto| auto.covers(wish, in_auto_group)) {
            let (approver, comment) = (None, String::new());
            let decision =
                Decision { approver, approved: true, comment, duration: None, use_only: false, at: now };
            case.decisions.push(decision);
            case.end(State::Approved, now);
            return Ok((case.clone(), Outcome::Grant(case.wish)));
        }
        Ok((case, Outcome::Waiting))
    }

    /// Where it stands at `now`, whether or not somebody has noticed that its time is over.
    pub(crate) fn state_at(&self, now: Time) -> State {
        if self.state == State::Pending && now >= self.deadline { State::Expired } else { self.state }
    }

    /// Somebody who may decide approves or denies.
    pub(crate) fn decide(&mut self, decision: Decision, now: Time) -> Result<Outcome, Refusal> {
        self.pending(now)?;
        if decision.approver == Some(self.requester) {
            return Err(Refusal::OwnRequest);
        }
        if self.decisions.iter().any(|earlier| earlier.approver == decision.approver) {
            return Err(Refusal::AlreadyApproved);
        }
        let approved = decision.approved;
        self.decisions.push(decision);
        if !approved {
            self.end(State::Denied, now);
            return Ok(Outcome::Nothing);
        }
        if self.decisions.len() < usize::try_from(self.quorum).unwrap_or(usize::MAX) {
            return Ok(Outcome::Waiting);
        }
        self.end(State::Approved, now);
        Ok(Outcome::Grant(self.approved()))
    }

    /// What all approvals together leave of the wish.
    fn approved(&self) -> Wish {
        let most = self.decisions.iter().filter_map(|decision| decision.duration).min();
        let use_only = self.decisions.iter().any(|decision| decision.use_only);
        let action = if use_only { Action::Use } else { self.wish.action };
        Wish { action, ..self.wish }.within(most)
    }

    /// The requester takes it back.
    pub(crate) fn cancel(&mut self, by: UserId, now: Time) -> Result<(), Refusal> {
        if by != self.requester {
            return Err(Refusal::NotRequester);
        }
        self.pending(now)?;
        self.end(State::Cancelled, now);
        Ok(())
    }

    /// Nobody is left who asks.
    pub(crate) fn withdraw(&mut self, now: Time) {
        if self.state == State::Pending {
            self.end(State::Cancelled, now);
        }
    }

    /// Its time is over. Does nothing before, and nothing to what has ended.
    pub(crate) fn expire(&mut self, now: Time) -> bool {
        let over = self.state == State::Pending && now >= self.deadline;
        if over {
            self.end(State::Expired, now);
        }
        over
    }

    /// Somebody who may decide says whether breaking the glass was right.
    pub(crate) fn review(&mut self, by: UserId, accept: bool) -> Result<Outcome, Refusal> {
        if self.review != Some(Review::Pending) {
            return Err(Refusal::NothingToReview);
        }
        if by == self.requester {
            return Err(Refusal::OwnRequest);
        }
        self.review = Some(if accept { Review::Accepted } else { Review::Rejected });
        Ok(if accept { Outcome::Nothing } else { Outcome::Revoke })
    }

    fn pending(&self, now: Time) -> Result<(), Refusal> {
        if self.state_at(now) == State::Pending { Ok(()) } else { Err(Refusal::NotPending) }
    }

    const fn end(&mut self, state: State, now: Time) {
        self.state = state;
        self.decided_at = Some(now);
    }
}

impl Auto {
    fn covers(self, wish: Wish, in_group: bool) -> bool {
        let short = self.max_duration.is_none_or(|most| wish.duration.is_some_and(|asked| asked <= most));
        wish.action == Action::Use && short && (self.group.is_none() || in_group)
    }
}

#[cfg(test)]
mod tests;
