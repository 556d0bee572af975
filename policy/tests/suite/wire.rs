//! Facts and changes are stored as event payloads: they survive JSON, and their names are frozen here.

use policy::{Action, Change, Effect, KeyHash, Role, UserId};
use proptest::prelude::*;

use crate::world::{change, grant_id, group_id, key, model_id, user, user_id};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_change_survives_json(change in change()) {
        let text = serde_json::to_string(&change).unwrap();
        prop_assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), change);
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
        model: model_id(3),
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
        "disabled": false,
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
