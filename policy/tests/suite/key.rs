//! Keys: what makes one a credential, and the one-shot question of the hot path.

use policy::{Action, Change, Key, KeyHash, KeyRefusal, Member, Model, Policy, Reason, Time};
use proptest::prelude::*;

use crate::world::{MODELS, history, key, model, model_id, times, user, user_id, worlds};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_one_shot_answer_is_key_then_narrowing_then_check(history in history(80)) {
        let (policy, book) = worlds(&history);
        let names: Vec<String> = (0..=MODELS).map(|n| format!("model-{n}")).collect();
        for (hash, now) in (0_u8..6).flat_map(|n| times().map(move |now| (KeyHash::new([n; 32]), now))) {
            let key = book.key(&hash, now);
            prop_assert_eq!(policy.key_by_hash(&hash, now), key);
            for name in &names {
                let access = policy.authorize(&hash, name, now);
                let Ok(key) = key else {
                    prop_assert_eq!(access.err(), key.err());
                    continue;
                };
                let access = access.unwrap();
                let model = book.models.iter().find(|model| model.name == *name).map(|model| model.id);
                prop_assert_eq!((access.key, access.user, access.model), (key.id, key.owner, model));
                let outside = key.models.as_ref().zip(model).is_some_and(|(only, model)| !only.contains(&model));
                let expected = match model {
                    None => Some(Reason::UnknownModel),
                    Some(_) if outside => Some(Reason::KeyNarrowed),
                    Some(model) => book.refusal(key.owner, model, Action::Use, now),
                };
                let refused = (!access.decision.allowed).then_some(access.decision.reason);
                prop_assert_eq!(refused, expected);
            }
        }
    }

    #[test]
    fn an_allowed_answer_holds_until_it_says(history in history(60)) {
        let (policy, _) = worlds(&history);
        let names = (0..=MODELS).map(|n| format!("model-{n}"));
        for (name, hash) in names.flat_map(|name| (0_u8..5).map(move |n| (name.clone(), KeyHash::new([n; 32])))) {
            for now in times() {
                let Ok(access) = policy.authorize(&hash, &name, now) else { continue };
                let until = access.decision.valid_until;
                for later in times().filter(|later| *later >= now && until.is_none_or(|until| *later < until)) {
                    let then = policy.authorize(&hash, &name, later);
                    let allowed = then.is_ok_and(|then| then.decision.allowed);
                    prop_assert_eq!(allowed, access.decision.allowed);
                }
            }
        }
    }
}

fn one_key(key: Key) -> Policy {
    let owned = Model { owner: Some(Member::User(user_id(0))), ..model(0) };
    let facts =
        [Change::PutUser(user(0)), Change::PutModel(owned), Change::PutModel(model(1)), Change::PutKey(key)];
    Policy::from_facts(&facts).unwrap()
}

#[test]
fn a_key_ends_at_its_instant_and_bounds_the_answer() {
    let policy = one_key(Key { expires_at: Some(Time(50)), ..key(1, 0) });
    let ask = |now| policy.authorize(&key(1, 0).hash, "model-0", Time(now));
    assert_eq!(ask(49).unwrap().decision.valid_until, Some(Time(50)));
    assert_eq!(ask(50), Err(KeyRefusal::Expired));
}

#[test]
fn an_empty_list_of_models_allows_none() {
    let policy = one_key(Key { models: Some(Vec::new()), ..key(1, 0) });
    let access = policy.authorize(&key(1, 0).hash, "model-0", Time(0)).unwrap();
    assert_eq!((access.decision.allowed, access.decision.reason), (false, Reason::KeyNarrowed));
}

#[test]
fn a_removed_model_does_not_widen_the_keys_that_named_it() {
    let mut policy = one_key(Key { models: Some(vec![model_id(1)]), ..key(1, 0) });
    policy.apply(&Change::RemoveModel(model_id(1))).unwrap();
    let access = policy.authorize(&key(1, 0).hash, "model-0", Time(0)).unwrap();
    assert_eq!(access.decision.reason, Reason::KeyNarrowed);
}

#[test]
fn a_key_goes_with_its_owner() {
    let mut policy = one_key(key(1, 0));
    policy.apply(&Change::RemoveUser(user_id(0))).unwrap();
    assert_eq!(policy.authorize(&key(1, 0).hash, "model-0", Time(0)), Err(KeyRefusal::Unknown));
}

#[test]
fn a_replaced_secret_is_no_longer_a_credential() {
    let mut policy = one_key(key(1, 0));
    let fresh = KeyHash::new([99; 32]);
    policy.apply(&Change::PutKey(Key { hash: fresh, ..key(1, 0) })).unwrap();
    assert_eq!(policy.key_by_hash(&key(1, 0).hash, Time(0)), Err(KeyRefusal::Unknown));
    assert!(policy.key_by_hash(&fresh, Time(0)).is_ok());
}
