//! Lists and names agree with the check.

use policy::{Action, ModelState, Page, Time};
use proptest::prelude::*;

use crate::world::{MODELS, USERS, history, model_id, names, times, user_id, worlds};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn lists_hold_exactly_what_the_oracle_allows(history in history(60)) {
        let (policy, book) = worlds(&history);
        for (action, now) in [Action::Use, Action::Manage].into_iter().flat_map(|a| times().map(move |now| (a, now))) {
            let allowed = |user, model| book.refusal(user, model, action, now).is_none();
            for user in (0..=USERS).map(user_id) {
                let expected: Vec<_> = (0..MODELS).map(model_id).filter(|model| allowed(user, *model)).collect();
                prop_assert_eq!(&policy.accessible_models(user, action, now), &expected);
                let paged = in_pages(|after| policy.accessible_models_page(user, action, now, after, 1));
                prop_assert_eq!(paged, expected);
            }
            for model in (0..=MODELS).map(model_id) {
                let expected: Vec<_> = (0..USERS).map(user_id).filter(|user| allowed(*user, model)).collect();
                prop_assert_eq!(&policy.subjects_of(model, action, now), &expected);
                let paged = in_pages(|after| policy.subjects_of_page(model, action, now, after, 2));
                prop_assert_eq!(paged, expected);
            }
        }
    }

    #[test]
    fn a_name_finds_the_model_that_has_it_now(history in history(60)) {
        let (policy, book) = worlds(&history);
        for name in names() {
            prop_assert_eq!(policy.model_by_name(&name), book.named_model(&name));
            prop_assert_eq!(policy.model_by_name(&name.to_uppercase()), None);
        }
    }
}

/// Page after page, as long as there is more.
fn in_pages<T: Copy>(mut next: impl FnMut(Option<T>) -> Page<T>) -> Vec<T> {
    let mut all: Vec<T> = Vec::new();
    loop {
        let page = next(all.last().copied());
        assert!(!page.more || !page.items.is_empty(), "more, and nothing to go on from");
        all.extend(page.items);
        if !page.more {
            return all;
        }
    }
}

#[test]
fn lists_are_in_the_order_of_ids_whatever_came_first() {
    let users = [2, 0, 1].map(|n| policy::Change::PutUser(crate::world::user(n)));
    let owner = Some(policy::Member::User(user_id(1)));
    let models =
        [1, 2, 0].map(|n| policy::Change::PutModel(policy::Model { owner, ..crate::world::model(n) }));
    let everyone = policy::Change::PutGrant(policy::Grant {
        id: crate::world::grant_id(1),
        grantee: policy::Grantee::Everyone,
        target: policy::Target::Model(model_id(2)),
        action: Action::Use,
        effect: policy::Effect::Allow,
        starts_at: None,
        expires_at: None,
    });
    let policy = policy::Policy::from_facts(users.iter().chain(&models).chain([&everyone])).unwrap();
    assert_eq!(policy.accessible_models(user_id(1), Action::Use, Time(0)), [0, 1, 2].map(model_id));
    assert_eq!(policy.subjects_of(model_id(2), Action::Use, Time(0)), [0, 1, 2].map(user_id));
}

#[test]
fn a_deprecated_model_is_still_in_the_list() {
    let (mut policy, _) = worlds(&[]);
    let owner = Some(policy::Member::User(user_id(0)));
    let model = policy::Model { state: ModelState::Deprecated, owner, ..crate::world::model(0) };
    policy.apply(&policy::Change::PutUser(crate::world::user(0))).unwrap();
    policy.apply(&policy::Change::PutModel(model)).unwrap();
    assert_eq!(policy.accessible_models(user_id(0), Action::Use, Time(0)), [model_id(0)]);
}
