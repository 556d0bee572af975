//! Every fact survives the wire, and what is not whole is refused.

use super::*;
use policy::{
    Alias, Grant, GrantId, Grantee, GroupId, Key, KeyHash, KeyId, Model, ModelId, ModelSetId, OldSecret,
    Role, Scope, SessionId, SigningKey, Target, User, UserId,
};
use uuid::Uuid;

fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn plain_key() -> Key {
    Key {
        id: KeyId(uuid(5)),
        hash: KeyHash::new([7; 32]),
        owner: UserId(uuid(1)),
        models: None,
        expires_at: None,
        disabled: false,
        scopes: policy::Scopes::ALL,
        networks: Vec::new(),
        previous: Vec::new(),
    }
}

fn every_change() -> Vec<Change> {
    let (user, group, model) = (UserId(uuid(1)), GroupId(uuid(2)), ModelId(uuid(3)));
    let (set, session) = (ModelSetId(uuid(6)), SessionId(uuid(7)));
    let on = |target, grantee, action, effect| {
        let (starts_at, expires_at) = (Some(Time(-1)), Some(Time(1_700_000_000_123_456)));
        Change::PutGrant(Grant {
            id: GrantId(uuid(4)),
            grantee,
            target,
            action,
            effect,
            starts_at,
            expires_at,
        })
    };
    let grant = |grantee, action, effect| on(Target::Model(model), grantee, action, effect);
    let key = |models| Key {
        models,
        expires_at: Some(Time(9)),
        disabled: true,
        scopes: [Scope::Read, Scope::Inference].into_iter().collect(),
        networks: ["10.0.0.0/8", "2001:db8::/32"].map(|net| net.parse().unwrap()).to_vec(),
        previous: vec![OldSecret { hash: KeyHash::new([8; 32]), until: Time(11) }],
        ..plain_key()
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
        on(Target::Set(set), Grantee::Everyone, Action::Use, Effect::Deny),
        Change::PutKey(plain_key()),
        Change::PutKey(key(None)),
        Change::PutKey(key(Some(vec![model]))),
        Change::PutModelSet(ModelSet { id: set, disabled: true }),
        Change::RemoveModelSet(set),
        Change::PutSetItem { set, item: Target::Model(model) },
        Change::PutSetItem { set, item: Target::Set(set) },
        Change::RemoveSetItem { set, item: Target::Model(model) },
        Change::PutAlias(Alias { name: "fast".to_owned(), model }),
        Change::RemoveAlias("fast".to_owned()),
        Change::PutSigningKey(SigningKey { id: "k1".to_owned(), public: [3; 32], until: None }),
        Change::PutSigningKey(SigningKey { id: "k2".to_owned(), public: [4; 32], until: Some(Time(7)) }),
        Change::RemoveSigningKey("k1".to_owned()),
        Change::EndSession { session, at: Time(1), until: Time(2) },
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
    let key = Key { models: Some(Vec::new()), ..plain_key() };
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
    let hashed = || pb::PolicyKey { key_hash: vec![1; 32].into(), ..key.clone() };
    let old = pb::PolicyOldSecret { key_hash: vec![1; 32].into(), until_time: None };
    let twofold = pb::PolicyGrant {
        model_set_id: id(),
        grantee: Some(pb::policy_grant::Grantee::Everyone(true)),
        ..grant.clone()
    };
    let short =
        pb::PolicySigningKey { kid: "k".to_owned(), public_key: vec![1; 31].into(), until_time: None };
    let ended = pb::PolicyEndedSession { session_id: id(), ..Default::default() };
    let cases = [
        (Wire::PutKey(pb::PolicyKey { scopes: vec!["all".to_owned()], ..hashed() }), "scope"),
        (Wire::PutKey(pb::PolicyKey { networks: vec!["10.0.0.0/99".to_owned()], ..hashed() }), "network"),
        (Wire::PutKey(pb::PolicyKey { previous: vec![old], ..hashed() }), "time"),
        (Wire::PutGrant(twofold), "target"),
        (Wire::PutSetItem(pb::PolicySetItem { model_set_id: id(), item: None }), "item"),
        (Wire::PutAlias(pb::PolicyAlias { name: String::new(), model_id: id() }), "name"),
        (Wire::PutSigningKey(short), "public key"),
        (Wire::EndSession(ended), "time"),
        (Wire::RemoveUser("x".to_owned()), "user"),
        (Wire::PutUser(pb::PolicyUser { user_id: id(), role: 99, disabled: false }), "role"),
        (Wire::PutMembership(pb::PolicyMembership { group_id: id(), ..Default::default() }), "member"),
        (Wire::PutModel(pb::PolicyModel { model_id: id(), ..Default::default() }), "state"),
        (Wire::PutGrant(grant), "grantee"),
        (Wire::PutKey(key.clone()), "key hash"),
    ];
    for (change, part) in cases {
        let refused = change_from_proto(&pb::PolicyChange { change: Some(change) });
        assert_eq!(refused, Err(Malformed(part)));
    }
    assert_eq!(change_from_proto(&pb::PolicyChange { change: None }), Err(Malformed("change")));
}
