//! Calls under way and tokens: what is held comes back, and tokens count as many as there were.

use crate::world::{DO, at, settings};
use limits::{Action, Call, Limit, Limiter, Measure, Settings, Stage, Subjects, Tier};
use proptest::prelude::*;
use std::time::Duration;

fn prompts(limits: Vec<Limit>) -> (Limiter, Call) {
    let action = Action { limits, scaled: false, ..Action::default() };
    let limiter =
        Limiter::new(Settings { actions: [("inference".to_owned(), action)].into(), ..Settings::default() });
    let subjects = Subjects { user: Some(1), model: Some(2), group: Some(3), ..Subjects::default() };
    let action = limiter.action_of("/v1/chat/completions").unwrap();
    (limiter, Call { action, tier: Tier::Free, subjects, stage: Stage::Prompt, tokens: 0 })
}

fn tokens(most: u64) -> Limit {
    Limit { tokens: Some(most), window: Some(Duration::from_secs(60)), ..Limit::default() }
}

proptest! {
    #[test]
    fn as_many_as_may_be_at_once_and_never_more(ends in prop::collection::vec(any::<bool>(), 1..200), most in 1..8_u64) {
        let mut limiter = Limiter::new(settings(vec![Limit { concurrent: Some(most), ..Limit::default() }]));
        let call = crate::world::call(&limiter, 1);
        let mut under_way = Vec::new();
        for end in ends {
            if end {
                if let Some(admission) = under_way.pop() {
                    limiter.end(&admission, None, at(0));
                }
                continue;
            }
            match limiter.enter(&call, at(0)) {
                Ok(admission) => under_way.push(admission),
                Err(refusal) => {
                    prop_assert_eq!(under_way.len() as u64, most);
                    prop_assert_eq!(refusal.measure, Measure::Concurrent);
                }
            }
            prop_assert!(under_way.len() as u64 <= most);
        }
    }

    #[test]
    fn tokens_are_counted_as_they_were_whatever_was_expected(
        calls in prop::collection::vec((0..500_u64, 0..1_500_u64), 1..60),
    ) {
        let (mut limiter, call) = prompts(vec![tokens(1_000)]);
        let mut used = 0;
        for (expected, real) in calls {
            let expected = Call { tokens: expected, ..call };
            match limiter.enter(&expected, at(0)) {
                Ok(admission) => {
                    prop_assert!(used + expected.tokens.max(1) <= 1_000);
                    limiter.end(&admission, Some(real), at(0));
                    // More than was expected is a debt, and less is given back.
                    used += real;
                }
                Err(refusal) => {
                    prop_assert!(used + expected.tokens.max(1) > 1_000);
                    prop_assert_eq!(refusal.gauge.remaining, 1_000_u64.saturating_sub(used));
                }
            }
        }
    }
}

#[test]
fn a_prompt_larger_than_the_limit_runs_when_nothing_else_was_used() {
    let (mut limiter, call) = prompts(vec![tokens(1_000)]);
    let large = Call { tokens: 5_000, ..call };
    let admission = limiter.enter(&large, at(0)).unwrap();
    assert!(limiter.enter(&call, at(0)).is_err(), "all of it is taken while it runs");
    limiter.end(&admission, Some(4_000), at(0));
    let refused = limiter.enter(&call, at(0)).unwrap_err();
    assert_eq!(refused.retry_after, Duration::from_secs(63));
}

#[test]
fn what_one_limit_refuses_is_counted_by_none() {
    let (mut limiter, call) = prompts(vec![
        tokens(1_000),
        Limit { concurrent: Some(1), per: limits::Layer::Model, ..Limit::default() },
        Limit { tokens: Some(10_000), per: limits::Layer::Group, ..Limit::default() },
    ]);
    let call = Call { tokens: 100, ..call };
    let admission = limiter.enter(&call, at(0)).unwrap();
    for _ in 0..50 {
        assert_eq!(limiter.enter(&call, at(0)).unwrap_err().measure, Measure::Concurrent);
    }
    limiter.end(&admission, None, at(0));
    let standing = limiter.enter(&call, at(0)).unwrap().standing;
    assert_eq!(
        standing.tokens.unwrap().remaining,
        900,
        "nothing of those that were refused, nor of the one that had none"
    );
}

#[test]
fn limits_for_some_subjects_leave_others_alone() {
    let only = vec![uuid::Uuid::from_u128(2)];
    let (mut limiter, call) =
        prompts(vec![Limit { requests: Some(1), per: limits::Layer::Model, only, ..Limit::default() }]);
    assert!(limiter.enter(&call, at(0)).is_ok());
    assert!(limiter.enter(&call, at(0)).is_err());
    let other = Call { subjects: Subjects { model: Some(9), ..call.subjects }, ..call };
    assert!((0..10).all(|_| limiter.enter(&other, at(0)).is_ok_and(|admission| admission.is_free())));
    assert!(limiter.action(DO).is_none());
}
