//! Every decision in a random world, at every instant that could matter, against the oracle.

use policy::{Action, Change, Decision, Effect, Policy, Question, Reason, Time};
use proptest::prelude::*;

use crate::{
    oracle::Book,
    world::{MODELS, USERS, history, model_id, times, user_id, worlds},
};

/// One id more than there are, so that the unknown are asked about too.
fn questions() -> impl Iterator<Item = Question> {
    (0..=USERS).flat_map(|user| {
        (0..=MODELS).flat_map(move |model| {
            let ask = move |action| Question { user: user_id(user), model: model_id(model), action };
            [Action::Use, Action::Manage].map(ask)
        })
    })
}

/// The grant or ownership a decision names must itself be in force, and point the same way.
fn named_cause_holds(book: &Book, question: &Question, decision: &Decision, now: Time) -> bool {
    let Question { user, model, action } = *question;
    let grant = decision.grant.and_then(|id| book.grants.iter().find(|one| one.id == id));
    let in_force = |effect| {
        grant.is_some_and(|one| {
            let about = one.action == action || one.action == Action::Manage;
            book.covers(one.target, model) && one.effect == effect && about && book.in_force(one, user, now)
        })
    };
    match decision.reason {
        Reason::Granted => in_force(Effect::Allow),
        Reason::Denied => in_force(Effect::Deny),
        Reason::Owner => book.owns(user, model, now) && decision.grant.is_none(),
        _ => decision.grant.is_none(),
    }
}

fn agrees(policy: &Policy, book: &Book) -> Result<(), TestCaseError> {
    for (question, now) in questions().flat_map(|question| times().map(move |now| (question, now))) {
        let Question { user, model, action } = question;
        let decision = policy.answer(&question, now);
        let refusal = book.refusal(user, model, action, now);
        prop_assert_eq!(decision.allowed, refusal.is_none(), "{:?} at {}: {:?}", question, now, decision);
        let allowing = matches!(decision.reason, Reason::Granted | Reason::Owner);
        prop_assert_eq!(refusal, (!allowing).then_some(decision.reason), "{:?} at {}", question, now);
        prop_assert!(
            named_cause_holds(book, &question, &decision, now),
            "{question:?} at {now}: {decision:?}"
        );
    }
    Ok(())
}

/// Nothing changes before `valid_until`, which lies ahead and is an instant some fact names.
fn holds_until_it_says(policy: &Policy) -> Result<(), TestCaseError> {
    for (question, now) in questions().flat_map(|question| times().map(move |now| (question, now))) {
        let decision = policy.answer(&question, now);
        if let Some(until) = decision.valid_until {
            prop_assert!(now < until && times().any(|at| at == until && until.0 % 10 == 0));
        }
        let before_it_ends =
            |later: &Time| *later >= now && decision.valid_until.is_none_or(|until| *later < until);
        for later in times().filter(before_it_ends) {
            let then = policy.answer(&question, later);
            prop_assert_eq!(decision.allowed, then.allowed, "{:?}: {:?} at {}", question, decision, later);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_decision_is_the_oracles(history in history(60)) {
        let (policy, book) = worlds(&history);
        agrees(&policy, &book)?;
    }

    #[test]
    fn a_decision_holds_until_it_says(history in history(40)) {
        let (policy, _) = worlds(&history);
        holds_until_it_says(&policy)?;
    }

    #[test]
    fn the_order_in_which_facts_arrive_leaves_no_trace_in_decisions(history in history(40)) {
        let (policy, _) = worlds(&history);
        let facts: Vec<Change> = policy.facts().collect();
        let rebuilt = Policy::from_facts(&facts).unwrap();
        for (question, now) in questions().flat_map(|question| times().map(move |now| (question, now))) {
            prop_assert_eq!(policy.answer(&question, now), rebuilt.answer(&question, now));
        }
    }
}
