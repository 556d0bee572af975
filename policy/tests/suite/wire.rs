//! Facts and changes are stored as event payloads: they survive JSON, and their names are frozen here.

use policy::{Action, Alias, Change, Effect, KeyHash, Role, Scope, Scopes, SigningKey, Target, Time, UserId};
use proptest::prelude::*;
use serde_json::json;

use crate::world::{change, grant_id, group_id, key, model_id, session_id, set, set_id, user, user_id};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_change_survives_json(change in change()) {
        let text = serde_json::to_string(&change).unwrap();
        prop_assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), change);
    }

    /// One character of a stored event is another one: it is refused, or it is a change that can be written again.
    #[test]
    fn a_damaged_event_is_refused_or_read_as_what_it_says(change in change(), at in any::<usize>(), put in any::<char>()) {
        let text = serde_json::to_string(&change).unwrap();
        let mut damaged: Vec<char> = text.chars().collect();
        let at = at % damaged.len();
        damaged[at] = put;
        let damaged: String = damaged.into_iter().collect();
        if let Ok(read) = serde_json::from_str::<Change>(&damaged) {
            let again = serde_json::to_string(&read).unwrap();
            prop_assert_eq!(serde_json::from_str::<Change>(&again).unwrap(), read);
        }
    }

    #[test]
    fn no_text_makes_an_id_or_a_key_hash_panic(text in "\\PC*") {
        prop_assert_eq!(text.parse::<UserId>().is_ok(), uuid::Uuid::try_parse(&text).is_ok());
        let hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let quoted = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(serde_json::from_str::<KeyHash>(&quoted).is_ok(), hex);
    }
}

#[test]
fn the_names_in_stored_events_stay_what_they_are() {
    let grant = policy::Grant {
        id: grant_id(1),
        grantee: policy::Grantee::Group(group_id(2)),
        target: policy::Target::Model(model_id(3)),
        action: Action::Use,
        effect: Effect::Deny,
        starts_at: None,
        expires_at: Some(policy::Time(5)),
    };
    let id = |n: u32| format!("00000000-0000-0000-0000-{n:012x}");
    let expected = serde_json::json!({"put_grant": {
        "id": id(0x401), "grantee": {"group": id(0x202)}, "model": id(0x303), "action": "use", "effect": "deny",
        "starts_at": null, "expires_at": 5,
    }});
    assert_eq!(serde_json::to_value(Change::PutGrant(grant)).unwrap(), expected);

    let expected = serde_json::json!({"put_user": {
        "id": id(0x101), "role": "member", "disabled": false,
    }});
    assert_eq!(serde_json::to_value(Change::PutUser(user(1))).unwrap(), expected);

    let expected = serde_json::json!({"put_key": {
        "id": id(0x507), "hash": "07".repeat(32), "owner": id(0x101), "models": null, "expires_at": null,
        "disabled": false, "scopes": ["inference", "read", "write"], "networks": [], "previous": [],
    }});
    assert_eq!(serde_json::to_value(Change::PutKey(key(7, 1))).unwrap(), expected);

    let removal = Change::RemoveMembership { group: group_id(1), member: policy::Member::User(user_id(1)) };
    let expected =
        serde_json::json!({"remove_membership": {"group": id(0x201), "member": {"user": id(0x101)}}});
    assert_eq!(serde_json::to_value(removal).unwrap(), expected);
    let expected = serde_json::json!({"remove_user": id(0x101)});
    assert_eq!(serde_json::to_value(Change::RemoveUser(user_id(1))).unwrap(), expected);
}

#[test]
fn the_names_of_what_came_later_stay_too() {
    let id = |n: u32| format!("00000000-0000-0000-0000-{n:012x}");
    let cases = [
        (Change::PutModelSet(set(1)), json!({"put_model_set": {"id": id(0x601), "disabled": false}})),
        (Change::RemoveModelSet(set_id(1)), json!({"remove_model_set": id(0x601)})),
        (
            Change::PutSetItem { set: set_id(1), item: Target::Set(set_id(2)) },
            json!({"put_set_item": {"set": id(0x601), "item": {"set": id(0x602)}}}),
        ),
        (
            Change::RemoveSetItem { set: set_id(1), item: Target::Model(model_id(2)) },
            json!({"remove_set_item": {"set": id(0x601), "item": id(0x302)}}),
        ),
        (
            Change::PutAlias(Alias { name: "fast".to_owned(), model: model_id(1) }),
            json!({"put_alias": {"name": "fast", "model": id(0x301)}}),
        ),
        (Change::RemoveAlias("fast".to_owned()), json!({"remove_alias": "fast"})),
        (
            Change::PutSigningKey(SigningKey { id: "k".to_owned(), public: [1; 32], until: None }),
            json!({"put_signing_key": {"id": "k", "public": "01".repeat(32), "until": null}}),
        ),
        (Change::RemoveSigningKey("k".to_owned()), json!({"remove_signing_key": "k"})),
        (
            Change::EndSession { session: session_id(1), at: Time(5), until: Time(9) },
            json!({"end_session": {"session": id(0x701), "at": 5, "until": 9}}),
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(serde_json::to_value(&change).unwrap(), expected);
        assert_eq!(serde_json::from_value::<Change>(expected).unwrap(), change);
    }
}

#[test]
fn events_from_before_there_were_sets_and_scopes_are_still_read() {
    let id = |n: u32| format!("00000000-0000-0000-0000-{n:012x}");
    let old = json!({"put_grant": {
        "id": id(0x401), "grantee": "everyone", "model": id(0x303), "action": "use", "effect": "allow",
        "starts_at": null, "expires_at": null,
    }});
    let Change::PutGrant(grant) = serde_json::from_value(old).unwrap() else {
        panic!("a grant stays a grant")
    };
    assert_eq!(grant.target, Target::Model(model_id(3)));
    let written = serde_json::to_value(policy::Grant { target: Target::Set(set_id(1)), ..grant }).unwrap();
    assert_eq!(written["model"], json!({"set": id(0x601)}));

    let old = json!({"put_key": {
        "id": id(0x507), "hash": "07".repeat(32), "owner": id(0x101), "models": null, "expires_at": null,
        "disabled": false,
    }});
    assert_eq!(serde_json::from_value::<Change>(old).unwrap(), Change::PutKey(key(7, 1)));
    assert_eq!(serde_json::from_value::<Scopes>(json!([])).unwrap(), Scopes::ALL);
    let read = serde_json::from_value::<Scopes>(json!(["read"])).unwrap();
    assert!(read.contains(Scope::Read) && !read.contains(Scope::Write) && !read.contains(Scope::Inference));
    assert!(read.within(Scopes::ALL) && !Scopes::ALL.within(read));
    assert!(serde_json::from_value::<Scopes>(json!(["all"])).is_err());
}

#[test]
fn a_key_hash_shows_four_digits_and_no_more() {
    let mut digest = [0xab_u8; 32];
    digest[1] = 0xcd;
    assert_eq!(format!("{:?}", KeyHash::new(digest)), "KeyHash(abcd…)");
    let shown = format!("{:?}", policy::Key { hash: KeyHash::new(digest), ..key(1, 1) });
    assert!(!shown.contains("abab") && !shown.contains("171"));
}

#[test]
fn words_are_read_back_and_others_are_refused_with_the_choice() {
    for role in Role::ALL {
        assert_eq!(role.as_str().parse::<Role>(), Ok(*role));
        assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
    }
    let error = "root".parse::<Effect>().unwrap_err();
    assert_eq!(error.to_string(), "must be one of allow, deny");
}
