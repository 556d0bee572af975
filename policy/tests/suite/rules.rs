//! Each rule once, by example, with the exact instant until which the answer holds.

use policy::{
    Action, Change, Effect, Grant, GrantId, Grantee, Group, Member, Membership, Model, ModelSet, ModelState,
    Policy, Reason, Role, Target, Time, User,
};

use crate::world::{grant_id, group, group_id, model, model_id, set, set_id, user, user_id};

type Span = (Option<i64>, Option<i64>);

const ALWAYS: Span = (None, None);

fn grant(n: u8, grantee: Grantee, action: Action, effect: Effect, (from, to): Span) -> Change {
    let (starts_at, expires_at) = (from.map(Time), to.map(Time));
    Change::PutGrant(Grant {
        id: grant_id(n),
        grantee,
        target: policy::Target::Model(model_id(0)),
        action,
        effect,
        starts_at,
        expires_at,
    })
}

fn allow(n: u8, action: Action, span: Span) -> Change {
    grant(n, Grantee::User(user_id(0)), action, Effect::Allow, span)
}

fn deny(n: u8, action: Action, span: Span) -> Change {
    grant(n, Grantee::Everyone, action, Effect::Deny, span)
}

fn within(group: u8, member: Member, end: Option<i64>) -> Change {
    Change::PutMembership(Membership { group: group_id(group), member, expires_at: end.map(Time) })
}

/// User 0, groups 0 to 2 and model 0, and then these.
fn world(changes: &[Change]) -> Policy {
    let mut policy = Policy::new();
    policy.apply(&Change::PutUser(user(0))).unwrap();
    (0..3).for_each(|n| policy.apply(&Change::PutGroup(group(n))).unwrap());
    policy.apply(&Change::PutModel(model(0))).unwrap();
    policy.apply_all(changes).unwrap();
    policy
}

fn owned_by(owner: Member) -> Change {
    Change::PutModel(Model { owner: Some(owner), ..model(0) })
}

type Answer = (bool, Reason, Option<GrantId>, Option<i64>);

fn ask(policy: &Policy, action: Action, now: i64) -> Answer {
    let decision = policy.check(user_id(0), model_id(0), action, Time(now));
    (decision.allowed, decision.reason, decision.grant, decision.valid_until.map(Time::micros))
}

#[test]
fn nothing_is_allowed_by_default_and_no_role_opens_anything() {
    for role in Role::ALL {
        let policy = world(&[Change::PutUser(User { role: *role, ..user(0) })]);
        assert_eq!(ask(&policy, Action::Use, 0), (false, Reason::NoGrant, None, None));
        assert_eq!(ask(&policy, Action::Manage, 0), (false, Reason::NoGrant, None, None));
    }
}

#[test]
fn a_deny_wins_over_any_allow_at_any_depth() {
    let policy = world(&[
        allow(1, Action::Use, ALWAYS),
        within(0, Member::User(user_id(0)), None),
        within(1, Member::Group(group_id(0)), None),
        within(2, Member::Group(group_id(1)), None),
        grant(2, Grantee::Group(group_id(2)), Action::Use, Effect::Deny, ALWAYS),
    ]);
    assert_eq!(ask(&policy, Action::Use, 0), (false, Reason::Denied, Some(grant_id(2)), None));
}

#[test]
fn managing_implies_using() {
    let policy = world(&[allow(1, Action::Manage, (None, Some(50)))]);
    assert_eq!(ask(&policy, Action::Use, 0), (true, Reason::Granted, Some(grant_id(1)), Some(50)));
    assert_eq!(ask(&policy, Action::Use, 50), (false, Reason::NoGrant, None, None));
}

#[test]
fn using_does_not_imply_managing() {
    let policy = world(&[allow(1, Action::Use, ALWAYS)]);
    assert_eq!(ask(&policy, Action::Manage, 0), (false, Reason::NoGrant, None, None));
}

#[test]
fn a_deny_of_use_stops_the_implied_use_and_leaves_managing() {
    let policy = world(&[owned_by(Member::User(user_id(0))), deny(1, Action::Use, (None, Some(50)))]);
    assert_eq!(ask(&policy, Action::Use, 0), (false, Reason::Denied, Some(grant_id(1)), Some(50)));
    assert_eq!(ask(&policy, Action::Manage, 0), (true, Reason::Owner, None, None));
}

#[test]
fn a_deny_of_manage_stops_the_owner_and_the_use_that_came_with_it() {
    let owner = owned_by(Member::User(user_id(0)));
    let policy = world(&[owner, deny(1, Action::Manage, (None, Some(50)))]);
    let denied = (false, Reason::Denied, Some(grant_id(1)), Some(50));
    assert_eq!(ask(&policy, Action::Manage, 0), denied);
    assert_eq!(ask(&policy, Action::Use, 0), denied);
    assert_eq!(ask(&policy, Action::Use, 50), (true, Reason::Owner, None, None));
}

#[test]
fn a_deny_of_manage_leaves_a_use_that_was_granted() {
    let policy = world(&[allow(1, Action::Use, ALWAYS), deny(2, Action::Manage, ALWAYS)]);
    assert_eq!(ask(&policy, Action::Use, 0), (true, Reason::Granted, Some(grant_id(1)), None));
}

#[test]
fn a_grant_begins_at_its_start_and_ends_before_its_expiry() {
    let policy = world(&[allow(1, Action::Use, (Some(10), Some(20)))]);
    assert_eq!(ask(&policy, Action::Use, 9), (false, Reason::NoGrant, None, Some(10)));
    assert_eq!(ask(&policy, Action::Use, 10), (true, Reason::Granted, Some(grant_id(1)), Some(20)));
    assert_eq!(ask(&policy, Action::Use, 19), (true, Reason::Granted, Some(grant_id(1)), Some(20)));
    assert_eq!(ask(&policy, Action::Use, 20), (false, Reason::NoGrant, None, None));
}

#[test]
fn an_answer_ends_where_a_deny_begins() {
    let policy = world(&[allow(1, Action::Use, (None, Some(90))), deny(2, Action::Use, (Some(30), None))]);
    assert_eq!(ask(&policy, Action::Use, 0), (true, Reason::Granted, Some(grant_id(1)), Some(30)));
}

#[test]
fn ownership_ends_where_a_deny_of_manage_begins() {
    let policy = world(&[owned_by(Member::User(user_id(0))), deny(1, Action::Manage, (Some(30), None))]);
    assert_eq!(ask(&policy, Action::Manage, 29), (true, Reason::Owner, None, Some(30)));
    assert_eq!(ask(&policy, Action::Use, 29), (true, Reason::Owner, None, Some(30)));
    assert_eq!(ask(&policy, Action::Use, 30), (false, Reason::Denied, Some(grant_id(1)), None));
}

#[test]
fn a_grant_that_starts_after_the_membership_has_ended_is_not_waited_for() {
    let policy = world(&[
        within(0, Member::User(user_id(0)), Some(20)),
        grant(1, Grantee::Group(group_id(0)), Action::Use, Effect::Allow, (Some(20), None)),
    ]);
    assert_eq!(ask(&policy, Action::Use, 0), (false, Reason::NoGrant, None, None));
}

#[test]
fn an_allow_of_manage_to_come_waits_for_the_deny_to_end() {
    let policy =
        world(&[allow(1, Action::Manage, (Some(20), None)), deny(2, Action::Manage, (None, Some(40)))]);
    assert_eq!(ask(&policy, Action::Use, 0), (false, Reason::NoGrant, None, Some(40)));
    assert_eq!(ask(&policy, Action::Use, 20), (false, Reason::Denied, Some(grant_id(2)), Some(40)));
    assert_eq!(ask(&policy, Action::Use, 40), (true, Reason::Granted, Some(grant_id(1)), None));
}

#[test]
fn of_several_grants_the_longest_lasting_is_named_and_then_the_smallest() {
    let policy = world(&[
        allow(4, Action::Use, (None, Some(20))),
        allow(3, Action::Use, (None, Some(60))),
        allow(2, Action::Use, (None, Some(60))),
        allow(1, Action::Use, (Some(5), None)),
    ]);
    assert_eq!(ask(&policy, Action::Use, 0), (true, Reason::Granted, Some(grant_id(2)), Some(60)));
}

#[test]
fn a_way_into_a_group_lasts_as_long_as_its_weakest_step_and_the_best_way_counts() {
    let to_group_2 = grant(1, Grantee::Group(group_id(2)), Action::Use, Effect::Allow, ALWAYS);
    let policy = world(&[
        to_group_2,
        within(2, Member::User(user_id(0)), Some(10)),
        within(0, Member::User(user_id(0)), Some(40)),
        within(2, Member::Group(group_id(0)), Some(30)),
    ]);
    assert_eq!(ask(&policy, Action::Use, 0), (true, Reason::Granted, Some(grant_id(1)), Some(30)));
    assert_eq!(ask(&policy, Action::Use, 29), (true, Reason::Granted, Some(grant_id(1)), Some(30)));
    assert_eq!(ask(&policy, Action::Use, 30), (false, Reason::NoGrant, None, None));
}

#[test]
fn a_deny_through_a_membership_ends_with_the_membership() {
    let policy = world(&[
        allow(1, Action::Use, ALWAYS),
        within(0, Member::User(user_id(0)), Some(10)),
        grant(2, Grantee::Group(group_id(0)), Action::Use, Effect::Deny, ALWAYS),
    ]);
    assert_eq!(ask(&policy, Action::Use, 9), (false, Reason::Denied, Some(grant_id(2)), Some(10)));
    assert_eq!(ask(&policy, Action::Use, 10), (true, Reason::Granted, Some(grant_id(1)), None));
}

#[test]
fn groups_in_a_circle_are_all_reached_and_nothing_hangs() {
    let policy = world(&[
        within(0, Member::User(user_id(0)), None),
        within(1, Member::Group(group_id(0)), None),
        within(2, Member::Group(group_id(1)), None),
        within(0, Member::Group(group_id(2)), None),
        within(0, Member::Group(group_id(0)), None),
        grant(1, Grantee::Group(group_id(2)), Action::Use, Effect::Allow, ALWAYS),
    ]);
    assert_eq!(ask(&policy, Action::Use, 0), (true, Reason::Granted, Some(grant_id(1)), None));
}

#[test]
fn a_disabled_group_counts_for_nothing_and_leads_nowhere() {
    let steps = [
        within(0, Member::User(user_id(0)), None),
        within(1, Member::Group(group_id(0)), None),
        grant(1, Grantee::Group(group_id(1)), Action::Use, Effect::Allow, ALWAYS),
    ];
    for disabled in [0, 1] {
        let mut policy = world(&steps);
        assert!(ask(&policy, Action::Use, 0).0);
        policy.apply(&Change::PutGroup(Group { disabled: true, ..group(disabled) })).unwrap();
        assert_eq!(ask(&policy, Action::Use, 0), (false, Reason::NoGrant, None, None));
        policy.apply(&Change::PutGroup(group(disabled))).unwrap();
        assert!(ask(&policy, Action::Use, 0).0);
    }
}

fn in_set(set: u8, item: Target) -> Change {
    Change::PutSetItem { set: set_id(set), item }
}

fn on_set(n: u8, set: u8, action: Action, effect: Effect, (from, to): Span) -> Change {
    let (starts_at, expires_at) = (from.map(Time), to.map(Time));
    let (grantee, target) = (Grantee::Group(group_id(1)), Target::Set(set_id(set)));
    Change::PutGrant(Grant { id: grant_id(n), grantee, target, action, effect, starts_at, expires_at })
}

/// User 0 in group 0 until 50, that in group 1; model 0 in set 0, that in set 1, and around again.
fn nested(changes: &[Change]) -> Policy {
    let steps = [
        within(0, Member::User(user_id(0)), Some(50)),
        within(1, Member::Group(group_id(0)), None),
        Change::PutModelSet(set(0)),
        Change::PutModelSet(set(1)),
        in_set(0, Target::Model(model_id(0))),
        in_set(1, Target::Set(set_id(0))),
        in_set(0, Target::Set(set_id(1))),
        in_set(0, Target::Set(set_id(0))),
    ];
    world(&[&steps[..], changes].concat())
}

#[test]
fn a_grant_on_a_set_counts_for_the_models_in_it_at_any_depth() {
    for on in [0, 1] {
        let policy = nested(&[on_set(1, on, Action::Manage, Effect::Allow, ALWAYS)]);
        assert_eq!(ask(&policy, Action::Use, 0), (true, Reason::Granted, Some(grant_id(1)), Some(50)));
        assert_eq!(ask(&policy, Action::Manage, 0), (true, Reason::Granted, Some(grant_id(1)), Some(50)));
    }
}

#[test]
fn a_deny_on_a_set_wins_over_an_allow_on_the_model() {
    let deny = on_set(2, 1, Action::Use, Effect::Deny, ALWAYS);
    let policy = nested(&[allow(1, Action::Use, ALWAYS), deny]);
    assert_eq!(ask(&policy, Action::Use, 49), (false, Reason::Denied, Some(grant_id(2)), Some(50)));
    assert_eq!(ask(&policy, Action::Use, 50), (true, Reason::Granted, Some(grant_id(1)), None));
}

#[test]
fn what_is_nested_in_groups_and_sets_begins_and_ends_to_the_instant() {
    let policy = nested(&[on_set(1, 1, Action::Use, Effect::Allow, (Some(20), Some(40)))]);
    let (no, yes) = (Reason::NoGrant, Reason::Granted);
    assert_eq!(ask(&policy, Action::Use, 19), (false, no, None, Some(20)));
    assert_eq!(ask(&policy, Action::Use, 20), (true, yes, Some(grant_id(1)), Some(40)));
    assert_eq!(ask(&policy, Action::Use, 21), (true, yes, Some(grant_id(1)), Some(40)));
    assert_eq!(ask(&policy, Action::Use, 39), (true, yes, Some(grant_id(1)), Some(40)));
    assert_eq!(ask(&policy, Action::Use, 40), (false, no, None, None));
    assert_eq!(ask(&policy, Action::Use, 41), (false, no, None, None));
    let policy = nested(&[on_set(1, 1, Action::Use, Effect::Allow, ALWAYS)]);
    let allowed = |now| ask(&policy, Action::Use, now).0;
    assert!(allowed(49) && !allowed(50) && !allowed(51));
}

#[test]
fn a_disabled_set_counts_for_nothing_and_leads_nowhere() {
    let mut policy = nested(&[on_set(1, 1, Action::Use, Effect::Allow, ALWAYS)]);
    for disabled in [0, 1] {
        assert!(ask(&policy, Action::Use, 0).0);
        policy.apply(&Change::PutModelSet(ModelSet { disabled: true, ..set(disabled) })).unwrap();
        assert_eq!(ask(&policy, Action::Use, 0), (false, Reason::NoGrant, None, None));
        policy.apply(&Change::PutModelSet(set(disabled))).unwrap();
    }
    policy.apply(&Change::RemoveSetItem { set: set_id(1), item: Target::Set(set_id(0)) }).unwrap();
    assert_eq!(ask(&policy, Action::Use, 0), (false, Reason::NoGrant, None, None));
}

#[test]
fn the_members_of_an_owning_group_own_while_they_are_members() {
    let policy = world(&[
        owned_by(Member::Group(group_id(1))),
        within(0, Member::User(user_id(0)), Some(70)),
        within(1, Member::Group(group_id(0)), None),
    ]);
    assert_eq!(ask(&policy, Action::Manage, 69), (true, Reason::Owner, None, Some(70)));
    assert_eq!(ask(&policy, Action::Use, 69), (true, Reason::Owner, None, Some(70)));
    assert_eq!(ask(&policy, Action::Manage, 70), (false, Reason::NoGrant, None, None));
}

#[test]
fn the_unknown_and_the_disabled_are_denied_with_the_reason() {
    let mut policy = world(&[allow(1, Action::Use, ALWAYS)]);
    let reason = |policy: &Policy, user, model| policy.check(user, model, Action::Use, Time(0)).reason;
    assert_eq!(reason(&policy, user_id(9), model_id(9)), Reason::UnknownUser);
    assert_eq!(reason(&policy, user_id(0), model_id(9)), Reason::UnknownModel);
    policy.apply(&Change::PutModel(Model { state: ModelState::Deprecated, ..model(0) })).unwrap();
    assert_eq!(reason(&policy, user_id(0), model_id(0)), Reason::Granted);
    policy.apply(&Change::PutModel(Model { state: ModelState::Disabled, ..model(0) })).unwrap();
    assert_eq!(reason(&policy, user_id(0), model_id(0)), Reason::ModelDisabled);
    policy.apply(&Change::PutUser(User { disabled: true, ..user(0) })).unwrap();
    assert_eq!(reason(&policy, user_id(0), model_id(0)), Reason::UserDisabled);
}
