//! The state itself: a thousand small steps lead where one rebuild leads.

use policy::{ApplyError, Change, Group, Member, Membership, Policy, Target};
use proptest::prelude::*;

use crate::world::{
    USERS, grant_id, group, group_id, history, key, model, model_id, set, set_id, times, user, user_id,
    worlds,
};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn incremental_equals_rebuild_after_every_change(history in history(60)) {
        let mut policy = Policy::new();
        for change in &history {
            let before = policy.canonical();
            if policy.apply(change).is_err() {
                prop_assert_eq!(&before, &policy.canonical(), "a refused change left a trace: {:?}", change);
            }
            let facts: Vec<Change> = policy.facts().collect();
            let rebuilt = Policy::from_facts(&facts).unwrap();
            prop_assert_eq!(policy.canonical(), rebuilt.canonical(), "after {:?}", change);
            prop_assert_eq!(rebuilt.facts().collect::<Vec<_>>(), facts);
        }
    }

    #[test]
    fn the_facts_are_the_ones_put_and_not_removed(history in history(60)) {
        let (policy, book) = worlds(&history);
        let mut naive: Vec<Change> = book.users.into_iter().map(Change::PutUser).collect();
        naive.extend(book.groups.into_iter().map(Change::PutGroup));
        naive.extend(book.memberships.into_iter().map(Change::PutMembership));
        naive.extend(book.models.into_iter().map(Change::PutModel));
        naive.extend(book.grants.into_iter().map(Change::PutGrant));
        naive.extend(book.keys.into_iter().map(Change::PutKey));
        naive.extend(book.sets.into_iter().map(Change::PutModelSet));
        naive.extend(book.items.into_iter().map(|(set, item)| Change::PutSetItem { set, item }));
        naive.extend(book.aliases.into_iter().map(Change::PutAlias));
        naive.extend(book.signing.into_iter().map(Change::PutSigningKey));
        let written = |change: &Change| serde_json::to_string(change).unwrap();
        let ends = |change: &Change| matches!(change, Change::EndSession { .. });
        let mut facts: Vec<Change> = policy.facts().filter(|change| !ends(change)).collect();
        facts.sort_by_key(written);
        naive.sort_by_key(written);
        prop_assert_eq!(facts, naive);
    }

    #[test]
    fn many_changes_at_once_equal_one_at_a_time(history in history(40)) {
        let (one_by_one, book) = worlds(&history);
        let mut fitting = Policy::new();
        let fits: Vec<Change> = history.into_iter().filter(|change| fitting.apply(change).is_ok()).collect();
        let mut at_once = Policy::new();
        at_once.apply_all(&fits).unwrap();
        prop_assert_eq!(at_once.canonical(), one_by_one.canonical());
        for (n, now) in (0..USERS).flat_map(|n| times().map(move |now| (n, now))) {
            let mut groups: Vec<_> = at_once.groups_of(user_id(n), now).collect();
            groups.sort_unstable();
            let known = at_once.user(user_id(n)).is_some();
            prop_assert_eq!(groups, if known { book.groups_of(user_id(n), now) } else { Vec::new() });
        }
    }
}

#[test]
fn only_what_a_change_can_move_is_worked_out_again() {
    let within = |group, member| {
        Change::PutMembership(Membership { group: group_id(group), member, expires_at: None })
    };
    let item = |set, item| Change::PutSetItem { set: set_id(set), item };
    let mut policy = Policy::new();
    (0..4).for_each(|n| policy.apply(&Change::PutUser(user(n))).unwrap());
    (0..3).for_each(|n| policy.apply(&Change::PutGroup(group(n))).unwrap());
    (0..3).for_each(|n| policy.apply(&Change::PutModel(model(n))).unwrap());
    (0..3).for_each(|n| policy.apply(&Change::PutModelSet(set(n))).unwrap());
    let mut cost = |change: Change| {
        let before = policy.recomputed();
        policy.apply(&change).unwrap();
        policy.recomputed() - before
    };
    assert_eq!(cost(within(1, Member::Group(group_id(0)))), 0, "nobody is in it yet");
    assert_eq!(cost(within(0, Member::User(user_id(0)))), 1);
    assert_eq!(cost(within(0, Member::User(user_id(1)))), 1);
    assert_eq!(cost(within(0, Member::User(user_id(1)))), 0, "it was so already");
    assert_eq!(cost(within(2, Member::User(user_id(2)))), 1);
    assert_eq!(cost(within(2, Member::Group(group_id(1)))), 2, "the two below, and not the one beside");
    assert_eq!(cost(item(0, Target::Model(model_id(0)))), 1);
    assert_eq!(cost(item(1, Target::Set(set_id(0)))), 1);
    assert_eq!(cost(item(1, Target::Set(set_id(0)))), 0, "it was so already");
    assert_eq!(cost(item(2, Target::Model(model_id(1)))), 1);
    let unrelated = [
        Change::PutUser(policy::User { disabled: true, ..user(0) }),
        Change::PutUser(user(9)),
        Change::PutGroup(group(9)),
        Change::PutGroup(group(0)),
        Change::PutModel(policy::Model { owner: Some(Member::Group(group_id(0))), ..model(0) }),
        Change::PutModelSet(set(1)),
        Change::PutGrant(policy::Grant {
            id: grant_id(1),
            grantee: policy::Grantee::Group(group_id(0)),
            target: Target::Set(set_id(1)),
            action: policy::Action::Use,
            effect: policy::Effect::Deny,
            starts_at: None,
            expires_at: None,
        }),
        Change::RemoveGrant(grant_id(1)),
        Change::PutKey(key(1, 0)),
        Change::RemoveKey(key(1, 0).id),
        Change::PutAlias(policy::Alias { name: "other".to_owned(), model: model(0).id }),
    ];
    for change in unrelated {
        assert_eq!(cost(change.clone()), 0, "{change:?}");
    }
    assert_eq!(cost(Change::PutGroup(Group { disabled: true, ..group(1) })), 2);
    assert_eq!(cost(Change::PutModelSet(policy::ModelSet { disabled: true, ..set(1) })), 1);
    assert_eq!(cost(Change::RemoveModelSet(set_id(2))), 1);
}

#[test]
fn a_put_that_refers_to_nothing_is_refused() {
    let mut policy = Policy::new();
    let membership = Membership { group: group_id(1), member: Member::User(user_id(1)), expires_at: None };
    assert_eq!(policy.apply(&Change::PutMembership(membership)), Err(ApplyError::UnknownGroup(group_id(1))));
    assert_eq!(policy.apply(&Change::PutKey(key(1, 1))), Err(ApplyError::UnknownUser(user_id(1))));
    assert_eq!(policy.facts().count(), 0);
}

#[test]
fn what_came_before_a_refused_change_is_applied_in_full() {
    let membership = Membership { group: group_id(1), member: Member::User(user_id(1)), expires_at: None };
    let fitting = [Change::PutUser(user(1)), Change::PutGroup(group(1)), Change::PutMembership(membership)];
    let mut policy = Policy::new();
    let refused = Change::PutKey(key(1, 3));
    assert!(policy.apply_all(fitting.iter().chain([&refused, &Change::PutModel(model(1))])).is_err());
    assert_eq!(policy, Policy::from_facts(&fitting).unwrap());
    assert_eq!(policy.groups_of(user_id(1), policy::Time(0)).count(), 1);
}

#[test]
fn a_name_and_a_secret_belong_to_one() {
    let mut policy = Policy::from_facts(&[
        Change::PutUser(user(0)),
        Change::PutModel(model(1)),
        Change::PutKey(key(1, 0)),
    ])
    .unwrap();
    let twin = policy::Model { name: model(1).name, ..model(2) };
    assert!(
        matches!(policy.apply(&Change::PutModel(twin)), Err(ApplyError::NameTaken { by, .. }) if by == model(1).id)
    );
    let twin = policy::Key { hash: key(1, 0).hash, ..key(2, 0) };
    assert_eq!(policy.apply(&Change::PutKey(twin)), Err(ApplyError::HashTaken { by: key(1, 0).id }));
}

#[test]
fn a_long_chain_of_groups_is_walked_to_its_end() {
    let mut policy = Policy::new();
    policy.apply(&Change::PutUser(user(0))).unwrap();
    for n in 0..200 {
        policy.apply(&Change::PutGroup(group(n))).unwrap();
        let member = if n == 0 { Member::User(user_id(0)) } else { Member::Group(group_id(n - 1)) };
        policy
            .apply(&Change::PutMembership(Membership { group: group_id(n), member, expires_at: None }))
            .unwrap();
    }
    let now = policy::Time(0);
    assert_eq!(policy.groups_of(user_id(0), now).count(), 200);
    policy.apply(&Change::PutGroup(Group { disabled: true, ..group(100) })).unwrap();
    assert_eq!(policy.groups_of(user_id(0), now).count(), 100);
    policy.apply(&Change::PutGroup(group(100))).unwrap();
    policy.apply(&Change::RemoveGroup(group_id(50))).unwrap();
    assert_eq!(policy.groups_of(user_id(0), now).count(), 50);
}
