//! Keys: what makes one a credential, and the one-shot question of the hot path.

use policy::{
    Action, Change, Key, KeyHash, KeyRefusal, Member, Model, OldSecret, Policy, Reason, Scope, Time,
};
use proptest::prelude::*;

use crate::world::{
    SESSIONS, history, key, model, model_id, names, peers, session_id, times, user, user_id, worlds,
};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_one_shot_answer_is_key_then_narrowing_then_check(history in history(80)) {
        let (policy, book) = worlds(&history);
        let names: Vec<String> = names().collect();
        let asked = (0_u8..6).flat_map(|n| times().map(move |now| (KeyHash::new([n; 32]), now)));
        for ((hash, now), peer) in asked.flat_map(|one| peers().map(|peer| (one, peer))) {
            let key = book.key(&hash, peer, now);
            prop_assert_eq!(policy.key_by_hash(&hash, peer, now), key);
            for name in &names {
                let access = policy.authorize(&hash, name, peer, now);
                let Ok(key) = key else {
                    prop_assert_eq!(access.err(), key.err());
                    continue;
                };
                let access = access.unwrap();
                let model = book.named_model(name).map(|model| model.id);
                prop_assert_eq!((access.key, access.user, access.model), (key.id, key.owner, model));
                let outside = key.models.as_ref().zip(model).is_some_and(|(only, model)| !only.contains(&model));
                let expected = match model {
                    _ if !key.scopes.contains(Scope::Inference) => Some(Reason::KeyScope),
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
        let peer = peers()[1];
        for (name, hash) in names().flat_map(|name| (0_u8..5).map(move |n| (name.clone(), KeyHash::new([n; 32])))) {
            for now in times() {
                let Ok(access) = policy.authorize(&hash, &name, peer, now) else { continue };
                let until = access.decision.valid_until;
                for later in times().filter(|later| *later >= now && until.is_none_or(|until| *later < until)) {
                    let then = policy.authorize(&hash, &name, peer, later);
                    let allowed = then.is_ok_and(|then| then.decision.allowed);
                    prop_assert_eq!(allowed, access.decision.allowed);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Time goes on while sessions end, so an end is asked for only from then on; what was forgotten by then is
    /// what the one who forgets nothing does not hold against a token either.
    #[test]
    fn the_end_of_a_session_holds_until_its_tokens_have_run_out(
        ends in proptest::collection::vec((0..SESSIONS, 0..3_i64, 0..8_i64), 0..30),
    ) {
        let (mut policy, mut all, mut now) = (Policy::new(), Vec::new(), Time(0));
        for (n, step, wait) in ends {
            now = Time(now.0 + step);
            let (session, until) = (session_id(n), Time(now.0 + wait));
            policy.apply(&Change::EndSession { session, at: now, until }).unwrap();
            all.push((session, until));
            for later in (0..12).map(|more| Time(now.0 + more)) {
                for session in (0..SESSIONS).map(session_id) {
                    let ended = all.iter().any(|(one, until)| *one == session && later < *until);
                    prop_assert_eq!(policy.session_ended(session, later), ended);
                }
            }
            let kept = policy.facts().count();
            prop_assert!(kept <= usize::from(SESSIONS));
        }
    }

    #[test]
    fn signing_keys_hold_until_their_instant(history in history(60)) {
        let (policy, book) = worlds(&history);
        for (kid, now) in (0..4).flat_map(|n| times().map(move |now| (format!("kid-{n}"), now))) {
            let known = book.signing.iter().find(|one| one.id == kid);
            let expected = known.filter(|one| one.until.is_none_or(|until| now < until));
            prop_assert_eq!(policy.signing_key(&kid, now), expected);
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
    let ask = |now| policy.authorize(&key(1, 0).hash, "model-0", None, Time(now));
    assert_eq!(ask(49).unwrap().decision.valid_until, Some(Time(50)));
    assert_eq!(ask(50), Err(KeyRefusal::Expired));
}

#[test]
fn an_empty_list_of_models_allows_none() {
    let policy = one_key(Key { models: Some(Vec::new()), ..key(1, 0) });
    let access = policy.authorize(&key(1, 0).hash, "model-0", None, Time(0)).unwrap();
    assert_eq!((access.decision.allowed, access.decision.reason), (false, Reason::KeyNarrowed));
}

#[test]
fn a_removed_model_does_not_widen_the_keys_that_named_it() {
    let mut policy = one_key(Key { models: Some(vec![model_id(1)]), ..key(1, 0) });
    policy.apply(&Change::RemoveModel(model_id(1))).unwrap();
    let access = policy.authorize(&key(1, 0).hash, "model-0", None, Time(0)).unwrap();
    assert_eq!(access.decision.reason, Reason::KeyNarrowed);
}

#[test]
fn a_key_goes_with_its_owner() {
    let mut policy = one_key(key(1, 0));
    policy.apply(&Change::RemoveUser(user_id(0))).unwrap();
    assert_eq!(policy.authorize(&key(1, 0).hash, "model-0", None, Time(0)), Err(KeyRefusal::Unknown));
}

#[test]
fn a_replaced_secret_is_no_longer_a_credential() {
    let mut policy = one_key(key(1, 0));
    let fresh = KeyHash::new([99; 32]);
    policy.apply(&Change::PutKey(Key { hash: fresh, ..key(1, 0) })).unwrap();
    assert_eq!(policy.key_by_hash(&key(1, 0).hash, None, Time(0)), Err(KeyRefusal::Unknown));
    assert!(policy.key_by_hash(&fresh, None, Time(0)).is_ok());
}

#[test]
fn a_rotated_secret_works_until_its_instant_and_belongs_to_the_key() {
    let old = OldSecret { hash: KeyHash::new([98; 32]), until: Time(50) };
    let mut policy = one_key(Key { previous: vec![old], ..key(1, 0) });
    let ask = |policy: &Policy, now| policy.authorize(&old.hash, "model-0", None, Time(now));
    assert_eq!(ask(&policy, 49).unwrap().decision.valid_until, Some(Time(50)));
    assert_eq!(ask(&policy, 50), Err(KeyRefusal::Expired));
    let thief = Change::PutKey(Key { hash: old.hash, ..key(2, 0) });
    assert!(policy.apply(&thief).is_err());
    policy.apply(&Change::PutKey(key(1, 0))).unwrap();
    assert_eq!(ask(&policy, 49), Err(KeyRefusal::Unknown));
    assert!(policy.apply(&thief).is_ok());
}

#[test]
fn a_key_is_good_only_from_its_networks_however_the_address_is_written() {
    let from = |networks: &[&str], peer: &str| {
        let networks = networks.iter().map(|net| net.parse().unwrap()).collect();
        let policy = one_key(Key { networks, ..key(1, 0) });
        policy.key_by_hash(&key(1, 0).hash, peer.parse().ok(), Time(0)).map(|key| key.id)
    };
    let (inside, outside) = (Ok(key(1, 0).id), Err(KeyRefusal::Network));
    assert_eq!(from(&[], "unknown"), inside);
    assert_eq!(from(&["10.0.0.0/8"], "unknown"), outside);
    assert_eq!(from(&["10.0.0.0/8"], "10.1.2.3"), inside);
    assert_eq!(from(&["10.0.0.0/8"], "::ffff:10.1.2.3"), inside);
    assert_eq!(from(&["::ffff:10.0.0.0/104"], "10.1.2.3"), inside);
    assert_eq!(from(&["10.0.0.0/8"], "11.0.0.1"), outside);
    assert_eq!(from(&["::/0"], "10.1.2.3"), outside);
    assert_eq!(from(&["10.0.0.0/8", "2001:db8::/32"], "2001:db8::1"), inside);
    assert_eq!(from(&["2001:db8::/32"], "2001:db9::1"), outside);
}

#[test]
fn a_key_without_the_scope_opens_no_model() {
    let policy = one_key(Key { scopes: [Scope::Read, Scope::Write].into_iter().collect(), ..key(1, 0) });
    let access = policy.authorize(&key(1, 0).hash, "model-0", None, Time(0)).unwrap();
    assert_eq!((access.decision.allowed, access.decision.reason), (false, Reason::KeyScope));
    assert!(policy.key_by_hash(&key(1, 0).hash, None, Time(0)).is_ok());
}
