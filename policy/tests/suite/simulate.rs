//! A simulation tells exactly what making the changes would have done.

use policy::{Action, Change, Difference, Effect, Grant, Grantee, Member, Model, Policy, Target, Time};
use proptest::{collection::vec, prelude::*};

use crate::world::{MODELS, USERS, change, grant_id, history, model, model_id, times, user, user_id, worlds};

/// Asks both states about everyone and everything.
fn by_asking(before: &Policy, after: &Policy, now: Time) -> Vec<Difference> {
    let pairs = (0..=USERS).flat_map(|user| (0..=MODELS).map(move |model| (user_id(user), model_id(model))));
    let asked =
        pairs.flat_map(|(user, model)| [Action::Use, Action::Manage].map(|action| (user, model, action)));
    let answered = asked.map(|(user, model, action)| {
        let (before, after) = (before.check(user, model, action, now), after.check(user, model, action, now));
        Difference { user, model, action, before, after }
    });
    answered.filter(|one| one.before.allowed != one.after.allowed).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_simulation_is_what_would_have_happened(history in history(50), changes in vec(change(), 1..6)) {
        let (policy, _) = worlds(&history);
        let mut really = policy.clone();
        let applied = really.apply_all(&changes);
        for now in times().step_by(4) {
            match policy.simulate(&changes, now, 1_000) {
                Ok(told) => {
                    prop_assert_eq!(&applied, &Ok(()));
                    prop_assert!(!told.more);
                    prop_assert_eq!(told.differences, by_asking(&policy, &really, now));
                }
                Err(error) => prop_assert_eq!(&applied, &Err(error)),
            }
        }
    }
}

fn everyone(n: u8, model: u8) -> Change {
    Change::PutGrant(Grant {
        id: grant_id(n),
        grantee: Grantee::Everyone,
        target: Target::Model(model_id(model)),
        action: Action::Use,
        effect: Effect::Allow,
        starts_at: None,
        expires_at: None,
    })
}

#[test]
fn who_owned_a_model_loses_it_to_who_owns_it_then() {
    let owned_by = |n| Change::PutModel(Model { owner: Some(Member::User(user_id(n))), ..model(0) });
    let facts = [Change::PutUser(user(0)), Change::PutUser(user(1)), owned_by(0)];
    let policy = Policy::from_facts(&facts).unwrap();
    let told = policy.simulate(&[owned_by(1)], Time(0), 10).unwrap();
    let gained: Vec<_> =
        told.differences.iter().map(|one| (one.user, one.action, one.after.allowed)).collect();
    let of = |n, gained| [Action::Use, Action::Manage].map(|action| (user_id(n), action, gained));
    assert_eq!(gained, [of(0, false), of(1, true)].concat());
    let told = policy.simulate(&[Change::RemoveModel(model_id(0))], Time(0), 10).unwrap();
    assert_eq!(told.differences.len(), 2);
}

#[test]
fn a_simulation_that_is_cut_says_so() {
    let mut facts: Vec<Change> = (0..5).map(|n| Change::PutUser(user(n))).collect();
    facts.push(Change::PutModel(model(0)));
    let policy = Policy::from_facts(&facts).unwrap();
    let told = policy.simulate(&[everyone(1, 0)], Time(0), 3).unwrap();
    let users: Vec<_> = told.differences.iter().map(|one| one.user).collect();
    assert_eq!((users, told.more), ((0..3).map(user_id).collect(), true));
    let told = policy.simulate(&[everyone(1, 0)], Time(0), 5).unwrap();
    assert_eq!((told.differences.len(), told.more), (5, false));
    assert_eq!(policy.facts().collect::<Vec<_>>(), facts, "nothing has happened");
}
