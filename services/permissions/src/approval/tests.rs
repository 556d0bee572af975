//! Every order of steps up to a length, by every kind of person, against what must always hold.

use super::*;
use uuid::Uuid;

const REQUESTER: UserId = UserId(Uuid::from_u128(1));
const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);

fn user(number: u128) -> UserId {
    UserId(Uuid::from_u128(number))
}

fn wish(action: Action, duration: Option<Duration>) -> Wish {
    Wish { action, duration }
}

fn say(by: UserId, approved: bool, duration: Option<Duration>, use_only: bool) -> Decision {
    Decision { approver: Some(by), approved, comment: String::new(), duration, use_only, at: Time(0) }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Approve(u128),
    Narrow(u128),
    Deny(u128),
    Cancel(u128),
    Review(u128, bool),
    Pass,
    Expire,
}

const STEPS: [Step; 12] = [
    Step::Approve(1),
    Step::Approve(2),
    Step::Approve(3),
    Step::Narrow(2),
    Step::Deny(1),
    Step::Deny(3),
    Step::Cancel(1),
    Step::Cancel(2),
    Step::Review(1, true),
    Step::Review(2, false),
    Step::Pass,
    Step::Expire,
];

/// What one order of steps has led to so far.
#[derive(Clone)]
struct Run {
    case: Case,
    now: Time,
    grants: Vec<Wish>,
    revoked: usize,
}

fn take(run: &mut Run, step: Step) {
    let before = run.case.clone();
    let outcome = match step {
        Step::Approve(by) => run.case.decide(say(user(by), true, None, false), run.now),
        Step::Narrow(by) => run.case.decide(say(user(by), true, Some(HOUR), true), run.now),
        Step::Deny(by) => run.case.decide(say(user(by), false, None, false), run.now),
        Step::Cancel(by) => run.case.cancel(user(by), run.now).map(|()| Outcome::Nothing),
        Step::Review(by, accept) => run.case.review(user(by), accept),
        Step::Pass => {
            run.now = run.now.plus(4 * DAY);
            return;
        }
        Step::Expire => {
            run.case.expire(run.now);
            return;
        }
    };
    match outcome {
        Err(_) => assert_eq!(run.case, before, "what is refused changes nothing"),
        Ok(Outcome::Grant(wish)) => run.grants.push(wish),
        Ok(Outcome::Revoke) => run.revoked += 1,
        Ok(Outcome::Waiting | Outcome::Nothing) => {}
    }
    if before.state != State::Pending {
        assert_eq!(run.case.state, before.state, "what has ended stays ended");
    }
}

fn must_hold(run: &Run) {
    let Run { case, grants, revoked, .. } = run;
    let approvers: Vec<_> = case.decisions.iter().filter(|decision| decision.approved).collect();
    assert!(case.decisions.iter().all(|decision| decision.approver != Some(REQUESTER)));
    assert_eq!(grants.len(), usize::from(case.state == State::Approved), "one grant exactly when approved");
    if case.state == State::Approved && !case.break_glass {
        assert_eq!(approvers.len(), case.quorum as usize);
        let mut names: Vec<_> = approvers.iter().map(|decision| decision.approver).collect();
        names.dedup();
        assert_eq!(names.len(), approvers.len(), "each approval is somebody else's");
    }
    for grant in grants {
        assert!(grant.duration <= case.wish.duration && grant.duration.is_some());
        assert!(grant.action == case.wish.action || grant.action == Action::Use);
    }
    assert_eq!(*revoked, usize::from(case.review == Some(Review::Rejected)));
}

fn explore(run: &Run, depth: usize, seen: &mut usize) {
    *seen += 1;
    must_hold(run);
    if depth > 0 {
        for step in STEPS {
            let mut next = run.clone();
            take(&mut next, step);
            explore(&next, depth - 1, seen);
        }
    }
}

#[test]
fn no_order_of_steps_grants_what_it_must_not() {
    for (quorum, break_glass) in [(1, false), (2, false), (1, true)] {
        let rules = Rules { quorum, break_glass: Some(DAY), ..Rules::default() };
        let asked = wish(Action::Manage, Some(2 * DAY));
        let (case, outcome) = Case::open(&rules, REQUESTER, asked, break_glass, false, Time(0)).unwrap();
        let grants = if let Outcome::Grant(wish) = outcome { vec![wish] } else { Vec::new() };
        let mut seen = 0;
        explore(&Run { case, now: Time(0), grants, revoked: 0 }, 4, &mut seen);
        assert_eq!(seen, 1 + 12 + 144 + 1_728 + 20_736);
    }
}

#[test]
fn several_approvals_leave_the_least_of_them() {
    let rules = Rules { quorum: 3, max_duration: Some(10 * DAY), ..Rules::default() };
    let (mut case, outcome) =
        Case::open(&rules, REQUESTER, wish(Action::Manage, None), false, false, Time(0)).unwrap();
    assert_eq!((outcome, case.wish.duration), (Outcome::Waiting, Some(10 * DAY)));
    assert_eq!(case.decide(say(user(2), true, Some(5 * DAY), false), Time(0)), Ok(Outcome::Waiting));
    assert_eq!(case.decide(say(user(2), true, None, false), Time(0)), Err(Refusal::AlreadyApproved));
    assert_eq!(case.decide(say(user(3), true, Some(20 * DAY), true), Time(0)), Ok(Outcome::Waiting));
    let granted = case.decide(say(user(4), true, None, false), Time(0));
    assert_eq!(granted, Ok(Outcome::Grant(wish(Action::Use, Some(5 * DAY)))));
}

#[test]
fn the_deadline_is_the_first_instant_too_late() {
    let open = || {
        let rules = Rules { timeout: HOUR, ..Rules::default() };
        Case::open(&rules, REQUESTER, wish(Action::Use, None), false, false, Time(0)).unwrap().0
    };
    let end = Time(0).plus(HOUR);
    let before = Time(end.micros() - 1);
    assert!(open().decide(say(user(2), true, None, false), before).is_ok());
    assert_eq!(open().decide(say(user(2), true, None, false), end), Err(Refusal::NotPending));
    let mut case = open();
    assert!(!case.expire(before) && case.expire(end) && !case.expire(end));
    assert_eq!(case.state, State::Expired);
}

#[test]
fn the_policy_approves_by_itself_only_what_it_covers() {
    let auto = |group, max_duration| Rules { auto: Some(Auto { group, max_duration }), ..Rules::default() };
    let state = |rules: &Rules, asked, member| {
        Case::open(rules, REQUESTER, asked, false, member, Time(0)).unwrap().0.state
    };
    let group = Some(GroupId(Uuid::from_u128(9)));
    assert_eq!(state(&auto(None, None), wish(Action::Use, None), false), State::Approved);
    assert_eq!(state(&auto(None, None), wish(Action::Manage, None), false), State::Pending);
    assert_eq!(state(&auto(None, Some(DAY)), wish(Action::Use, Some(DAY)), false), State::Approved);
    assert_eq!(state(&auto(None, Some(DAY)), wish(Action::Use, Some(2 * DAY)), false), State::Pending);
    assert_eq!(state(&auto(None, Some(DAY)), wish(Action::Use, None), false), State::Pending);
    assert_eq!(state(&auto(group, None), wish(Action::Use, None), true), State::Approved);
    assert_eq!(state(&auto(group, None), wish(Action::Use, None), false), State::Pending);
}

#[test]
fn glass_breaks_only_where_the_rules_allow_and_not_for_long() {
    let asked = wish(Action::Use, None);
    let refused = Case::open(&Rules::default(), REQUESTER, asked, true, false, Time(0));
    assert_eq!(refused.unwrap_err(), Refusal::GlassNotBreakable);
    let rules = Rules { break_glass: Some(HOUR), ..Rules::default() };
    let (case, outcome) = Case::open(&rules, REQUESTER, asked, true, false, Time(0)).unwrap();
    assert_eq!(outcome, Outcome::Grant(wish(Action::Use, Some(HOUR))));
    assert_eq!((case.state, case.review), (State::Approved, Some(Review::Pending)));
}
