//! An explanation tells the same story as the decision, and leaves nothing out.

use policy::{
    Action, Change, Grant, ModelId, ModelSet, ModelSetId, Policy, Question, Standing, Target, Time, UserId,
};
use proptest::prelude::*;

use crate::{
    oracle::{Book, named},
    world::{
        MODELS, USERS, grant_id, group, group_id, history, model, model_id, set, set_id, times, user,
        user_id, worlds,
    },
};

/// What an explanation must hold: every grant that is in force for the user and speaks to the question.
fn in_force(book: &Book, question: &Question, now: Time) -> Vec<Grant> {
    let known = book.users.iter().any(|user| user.id == question.user);
    let speaks = |one: &&Grant| {
        let about = one.action == question.action || one.action == Action::Manage;
        known && book.covers(one.target, question.model) && about && book.in_force(one, question.user, now)
    };
    let mut grants: Vec<Grant> = book.grants.iter().filter(speaks).copied().collect();
    grants.sort_by_key(|grant| grant.id);
    grants
}

/// Each step down is an item of the set before, from the target of the grant to the model.
pub(crate) fn is_a_descent(book: &Book, target: Target, through: &[ModelSetId], model: ModelId) -> bool {
    let top = through.first().map_or(Target::Model(model), |set| Target::Set(*set));
    let items = through.iter().skip(1).copied().map(Target::Set).chain([Target::Model(model)]);
    target == top && through.iter().zip(items).all(|(set, item)| book.items.contains(&(*set, item)))
}

/// Each step of the way is a membership, from the user to the one who is meant.
pub(crate) fn is_a_way(book: &Book, question: &Question, by: &[policy::GroupId], now: Option<Time>) -> bool {
    let members = std::iter::once(policy::Member::User(question.user));
    let members = members.chain(by.iter().copied().map(policy::Member::Group));
    members.zip(by).all(|(member, group)| {
        let step = book.memberships.iter().find(|one| one.group == *group && one.member == member);
        step.is_some_and(|one| now.is_none_or(|now| one.expires_at.is_none_or(|end| now < end)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn an_explanation_has_the_checks_answer_and_the_oracles_causes(history in history(60)) {
        let (policy, book) = worlds(&history);
        let pairs = (0..=USERS).flat_map(|user| (0..=MODELS).map(move |model| (user_id(user), model_id(model))));
        let asked = pairs.flat_map(|(user, model)| {
            [Action::Use, Action::Manage].map(|action| Question { user, model, action })
        });
        for (question, now) in asked.flat_map(|question| times().map(move |now| (question, now))) {
            let explanation = policy.explain(&question, now);
            prop_assert_eq!(explanation.decision, policy.answer(&question, now));
            prop_assert_eq!(explanation.owned_by.is_some(), {
                book.users.iter().any(|user| user.id == question.user) && book.owns(question.user, question.model, now)
            });
            let causes = explanation.causes.iter();
            let counting: Vec<_> =
                causes.clone().filter(|one| one.standing == Standing::InForce).map(|one| one.grant).collect();
            let expected: Vec<_> = in_force(&book, &question, now).iter().map(|one| one.id).collect();
            prop_assert_eq!(counting, expected);
            prop_assert_eq!(&explanation.ask.items, &match explanation.decision.allowed {
                true => Vec::new(),
                false => (0..USERS).map(user_id).filter(|user| {
                    book.refusal(*user, question.model, Action::Manage, now).is_none()
                }).collect::<Vec<_>>(),
            });
            for cause in causes {
                let grant = book.grants.iter().find(|one| one.id == cause.grant).unwrap();
                let open = (cause.standing != Standing::CutOff).then_some(now);
                prop_assert!(is_a_way(&book, &question, &cause.by, open), "{cause:?} at {now}");
                prop_assert!(is_a_descent(&book, grant.target, &cause.through, question.model), "{cause:?}");
                prop_assert_eq!((cause.action, cause.effect), (grant.action, grant.effect));
                let last = cause.by.last().map(|id| policy::Member::Group(*id));
                let meant = named(grant.grantee).filter(|one| *one != policy::Member::User(question.user));
                prop_assert_eq!(last, meant);
            }
        }
    }
}

#[test]
fn what_is_missing_is_named() {
    let membership =
        |group, member| policy::Membership { group: group_id(group), member, expires_at: Some(Time(30)) };
    let grant = |n, group, starts_at: Option<i64>, expires_at: Option<i64>| Grant {
        id: grant_id(n),
        grantee: policy::Grantee::Group(group_id(group)),
        target: policy::Target::Model(model_id(0)),
        action: Action::Use,
        effect: policy::Effect::Allow,
        starts_at: starts_at.map(Time),
        expires_at: expires_at.map(Time),
    };
    let policy = Policy::from_facts(&[
        Change::PutUser(user(0)),
        Change::PutGroup(group(0)),
        Change::PutGroup(group(1)),
        Change::PutGroup(group(2)),
        Change::PutMembership(membership(0, policy::Member::User(user_id(0)))),
        Change::PutMembership(membership(1, policy::Member::Group(group_id(0)))),
        Change::PutModel(model(0)),
        Change::PutGrant(grant(1, 1, Some(20), None)),
        Change::PutGrant(grant(2, 0, None, Some(10))),
        Change::PutGrant(grant(3, 2, None, None)),
    ])
    .unwrap();
    let question = Question { user: user_id(0), model: model_id(0), action: Action::Use };
    let told = |now| -> Vec<_> {
        let causes = policy.explain(&question, Time(now)).causes;
        causes.into_iter().map(|cause| (cause.grant, cause.by, cause.standing)).collect()
    };
    let (near, far) = (vec![group_id(0)], vec![group_id(0), group_id(1)]);
    let story = |first, second| vec![(grant_id(1), far.clone(), first), (grant_id(2), near.clone(), second)];
    assert_eq!(told(9), story(Standing::NotYet, Standing::InForce));
    assert_eq!(told(10), story(Standing::NotYet, Standing::Over));
    assert_eq!(told(20), story(Standing::InForce, Standing::Over));
    assert_eq!(told(30), story(Standing::CutOff, Standing::CutOff));
}

#[test]
fn a_disabled_set_cuts_off_what_is_granted_on_it_and_the_managers_are_named() {
    let grant = Grant {
        id: grant_id(1),
        grantee: policy::Grantee::Everyone,
        target: Target::Set(set_id(0)),
        action: Action::Use,
        effect: policy::Effect::Allow,
        starts_at: None,
        expires_at: None,
    };
    let manage =
        Grant { id: grant_id(2), target: Target::Model(model_id(0)), action: Action::Manage, ..grant };
    let manage = Grant { grantee: policy::Grantee::User(user_id(1)), ..manage };
    let mut policy = Policy::from_facts([
        Change::PutUser(user(0)),
        Change::PutUser(user(1)),
        Change::PutModel(model(0)),
        Change::PutModelSet(set(0)),
        Change::PutModelSet(set(1)),
        Change::PutSetItem { set: set_id(0), item: Target::Set(set_id(1)) },
        Change::PutSetItem { set: set_id(1), item: Target::Model(model_id(0)) },
        Change::PutGrant(grant),
        Change::PutGrant(manage),
    ])
    .unwrap();
    let question = Question { user: user_id(0), model: model_id(0), action: Action::Use };
    let told = policy.explain(&question, Time(0));
    assert!(told.decision.allowed && told.ask.items.is_empty());
    assert_eq!(told.causes[0].through, [set_id(0), set_id(1)]);
    policy.apply(&Change::PutModelSet(ModelSet { disabled: true, ..set(1) })).unwrap();
    let told = policy.explain(&question, Time(0));
    assert!(!told.decision.allowed);
    let missing: Vec<_> = told.missing().map(|cause| (cause.grant, cause.standing)).collect();
    assert_eq!(missing, [(grant_id(1), Standing::CutOff)]);
    assert_eq!((told.ask.items, told.ask.more), (vec![user_id(1)], false));
}

#[test]
fn no_more_are_named_to_ask_than_one_wants_to_read() {
    let mut facts: Vec<Change> = (0..40).map(|n| Change::PutUser(user(n))).collect();
    facts.push(Change::PutModel(model(0)));
    facts.extend((1..40).map(|n| {
        Change::PutGrant(Grant {
            id: grant_id(n),
            grantee: policy::Grantee::User(user_id(n)),
            target: Target::Model(model_id(0)),
            action: Action::Manage,
            effect: policy::Effect::Allow,
            starts_at: None,
            expires_at: None,
        })
    }));
    let policy = Policy::from_facts(&facts).unwrap();
    let question = Question { user: user_id(0), model: model_id(0), action: Action::Use };
    let ask = policy.explain(&question, Time(0)).ask;
    assert_eq!((ask.items, ask.more), ((1..=10).map(user_id).collect::<Vec<UserId>>(), true));
}
