//! Every fact survives the wire, and what is not whole is refused.

use super::*;
use policy::{GrantId, GroupId, KeyId, Role, UserId};

fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn every_change() -> Vec<Change> {
    let (user, group, model) = (UserId(uuid(1)), GroupId(uuid(2)), ModelId(uuid(3)));
    let grant = |grantee, action, effect| {
        let (starts_at, expires_at) = (Some(Time(-1)), Some(Time(1_700_000_000_123_456)));
        Change::PutGrant(Grant {
            id: GrantId(uuid(4)),
            grantee,
            model,
            action,
            effect,
            starts_at,
            expires_at,
        })
    };
    let key = |models| {
        let (id, hash) = (KeyId(uuid(5)), KeyHash::new([7; 32]));
        Change::PutKey(Key { id, hash, owner: user, models, expires_at: Some(Time(9)), disabled: true })
    };
    let mut changes = vec![
        Change::RemoveUser(user),
        Change::PutGroup(Group { id: group, disabled: true }),
        Change::RemoveGroup(group),
        Change::PutMembership(Membership { group, member: Member::User(user), expires_at: Some(Time(5)) }),
        Change::PutMembership(Membership { group, member: Member::Group(group), expires_at: None }),
        Change::RemoveMembership { group, member: Member::User(user) },
        Change::RemoveModel(model),
        grant(Grantee::User(user), Action::Use, Effect::Allow),
        grant(Grantee::Group(group), Action::Manage, Effect::Deny),
        grant(Grantee::Everyone, Action::Use, Effect::Deny),
        Change::RemoveGrant(GrantId(uuid(4))),
        key(None),
        key(Some(vec![model])),
        Change::RemoveKey(KeyId(uuid(5))),
    ];
    changes
        .extend(Role::ALL.iter().map(|role| Change::PutUser(User { id: user, role: *role, disabled: true })));
    changes.extend(ModelState::ALL.iter().map(|state| {
        let owner = Some(Member::Group(group));
        Change::PutModel(Model { id: model, name: "org/model:1".to_owned(), owner, state: *state })
    }));
    changes
}

#[test]
fn every_change_survives_the_wire() {
    for change in every_change() {
        assert_eq!(change_from_proto(&change_to_proto(&change)), Ok(change));
    }
}

#[test]
fn a_key_for_no_model_does_not_become_one_for_every_model() {
    let key = Key {
        id: KeyId(uuid(5)),
        hash: KeyHash::new([7; 32]),
        owner: UserId(uuid(1)),
        models: Some(Vec::new()),
        expires_at: None,
        disabled: false,
    };
    let Ok(Change::PutKey(read)) = change_from_proto(&change_to_proto(&Change::PutKey(key))) else {
        panic!("a key stays a key")
    };
    assert_eq!(read.models, Some(vec![ModelId(Uuid::nil())]));
}

#[test]
fn half_a_fact_is_refused() {
    use pb::policy_change::Change as Wire;
    let id = || uuid(1).to_string();
    let grant =
        pb::PolicyGrant { grant_id: id(), model_id: id(), action: 1, effect: 2, ..Default::default() };
    let key =
        pb::PolicyKey { key_id: id(), user_id: id(), key_hash: vec![1; 31].into(), ..Default::default() };
    let cases = [
        (Wire::RemoveUser("x".to_owned()), "user"),
        (Wire::PutUser(pb::PolicyUser { user_id: id(), role: 99, disabled: false }), "role"),
        (Wire::PutMembership(pb::PolicyMembership { group_id: id(), ..Default::default() }), "member"),
        (Wire::PutModel(pb::PolicyModel { model_id: id(), ..Default::default() }), "state"),
        (Wire::PutGrant(grant), "grantee"),
        (Wire::PutKey(key), "key hash"),
    ];
    for (change, part) in cases {
        let refused = change_from_proto(&pb::PolicyChange { change: Some(change) });
        assert_eq!(refused, Err(Malformed(part)));
    }
    assert_eq!(change_from_proto(&pb::PolicyChange { change: None }), Err(Malformed("change")));
}
