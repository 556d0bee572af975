//! What one user has is what the checks say, with ways that exist.

use policy::{Action, GroupId, Holding, Member, Policy, Question, Reason, Time};
use proptest::prelude::*;

use crate::{
    explain::{is_a_descent, is_a_way},
    oracle::{Book, named},
    world::{MODELS, USERS, history, model_id, times, user_id, worlds},
};

/// The grant that decided is for the last group of the way and on the first set; the owner is at its end.
fn ways_exist(book: &Book, question: &Question, holding: &Holding, now: Time) -> bool {
    let grant = holding.decision.grant.and_then(|id| book.grants.iter().find(|one| one.id == id));
    let owner = book.models.iter().find(|one| one.id == question.model).and_then(|one| one.owner);
    let meant = if holding.decision.reason == Reason::Owner {
        owner
    } else {
        grant.and_then(|one| named(one.grantee))
    };
    let at_the_end: Option<GroupId> = match meant {
        Some(Member::Group(group)) => Some(group),
        Some(Member::User(_)) | None => None,
    };
    let descends =
        grant.is_none_or(|grant| is_a_descent(book, grant.target, &holding.through, question.model));
    is_a_way(book, question, &holding.by, Some(now)) && holding.by.last().copied() == at_the_end && descends
}

fn all_of(policy: &Policy, user: u8, now: Time, limit: usize) -> Vec<Holding> {
    let mut all: Vec<Holding> = Vec::new();
    loop {
        let page = policy.effective(user_id(user), now, all.last().map(|last| last.model), limit);
        all.extend(page.items);
        if !page.more {
            return all;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_a_user_has_is_what_the_oracle_allows_and_denies(history in history(60)) {
        let (policy, book) = worlds(&history);
        for (user, now) in (0..=USERS).flat_map(|user| times().map(move |now| (user, now))) {
            let asked = (0..MODELS).flat_map(|model| [Action::Use, Action::Manage].map(|action| (model_id(model), action)));
            let expected: Vec<_> = asked
                .map(|(model, action)| (model, action, book.refusal(user_id(user), model, action, now)))
                .filter(|(.., refusal)| matches!(refusal, None | Some(Reason::Denied)))
                .map(|(model, action, refusal)| (model, action, refusal.is_none()))
                .collect();
            let held = all_of(&policy, user, now, 1);
            prop_assert_eq!(&held, &policy.effective(user_id(user), now, None, 100).items);
            for holding in &held {
                let question = Question { user: user_id(user), model: holding.model, action: holding.action };
                prop_assert_eq!(holding.decision, policy.answer(&question, now));
                prop_assert!(ways_exist(&book, &question, holding, now), "{:?} at {}", holding, now);
            }
            let told: Vec<_> = held.iter().map(|one| (one.model, one.action, one.decision.allowed)).collect();
            prop_assert_eq!(told, expected);
        }
    }
}
