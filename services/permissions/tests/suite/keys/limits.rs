//! What a key is narrowed to: stored, shown, changed, and never beyond the key that the call is made with (A4).

use super::{create, new, of, revoke};
use crate::world::{Caller, World, assert_invalid, assert_missing, assert_refused, on_both_engines, uuid};
use proto::{
    common::v1::{Role, Scope},
    permissions::v1 as pb,
};
use tonic::Code;

fn narrowed(models: &[&str], scopes: &[Scope], networks: &[&str]) -> pb::CreateKeyRequest {
    pb::CreateKeyRequest {
        model_ids: models.iter().map(|id| (*id).to_owned()).collect(),
        scopes: scopes.iter().map(|scope| i32::from(*scope)).collect(),
        networks: networks.iter().map(|network| (*network).to_owned()).collect(),
        ..new()
    }
}

fn change(key: &str) -> pb::UpdateKeyRequest {
    pb::UpdateKeyRequest { key_id: key.to_owned(), ..Default::default() }
}

async fn verify(
    caller: &Caller,
    request: pb::VerifyKeyRequest,
) -> (bool, String, Option<prost_types::Timestamp>) {
    let answer = caller.keys().verify_key(request).await.unwrap().into_inner();
    (answer.good, answer.reason, answer.valid_until)
}

on_both_engines! {
    async fn limits_are_kept_shown_and_changed(world: World) {
        let model = world.model("m").await;
        let request = narrowed(&[&model], &[Scope::Inference, Scope::Read], &["10.1.2.3/8", "2001:db8::/32"]);
        let (key, _) = create(&world.owner, request).await;
        assert_eq!(key.networks, ["10.0.0.0/8", "2001:db8::/32"]);
        assert_eq!(key.scopes, [i32::from(Scope::Inference), i32::from(Scope::Read)]);
        let request = pb::UpdateKeyRequest {
            name: Some("desktop".to_owned()),
            models: Some(pb::KeyModels::default()),
            scopes: Some(pb::KeyScopes::default()),
            networks: Some(pb::KeyNetworks { networks: vec!["192.0.2.7/32".to_owned()] }),
            etag: key.etag.clone(),
            ..change(&key.key_id)
        };
        let changed = world.owner.keys().update_key(request.clone()).await.unwrap().into_inner().key.unwrap();
        assert_eq!((changed.name.as_str(), changed.model_ids.len(), changed.scopes.len()), ("desktop", 0, 0));
        assert_eq!((&changed.networks[..], &changed.hint), (&["192.0.2.7/32".to_owned()][..], &key.hint));
        assert_refused(world.owner.keys().update_key(request).await, Code::Aborted, "ETAG_MISMATCH");
        let read = world.owner.keys().get_key(pb::GetKeyRequest { key_id: key.key_id.clone() }).await;
        assert_eq!(read.unwrap().into_inner().key.unwrap().etag, changed.etag);
        world.owner.keys().revoke_key(revoke(&key.key_id)).await.unwrap();
        let late = world.owner.keys().update_key(change(&key.key_id)).await;
        assert_refused(late, Code::FailedPrecondition, "KEY_ENDED");
    }

    async fn a_key_is_verified_for_a_model_from_an_address(world: World) {
        let member = world.user(Role::Member).await;
        let (one, other) = (world.model("one").await, world.model("other").await);
        world.allow(&member.id, &one).await;
        world.allow(&member.id, &other).await;
        let (key, secret) = create(&member, narrowed(&[&one], &[Scope::Inference], &["10.0.0.0/8"])).await;
        let ask = |model: &str, address: &str| pb::VerifyKeyRequest {
            key_id: key.key_id.clone(), model: model.to_owned(), address: address.to_owned(), ..Default::default()
        };
        let (good, reason, until) = verify(&member, ask("one", "10.1.1.1")).await;
        assert_eq!((good, reason.as_str(), until), (true, "GRANTED", key.expire_time));
        for (request, expected) in [
            (ask("other", "10.1.1.1"), "KEY_NARROWED"),
            (ask("one", "192.0.2.1"), "KEY_NETWORK"),
            (ask("one", ""), "KEY_NETWORK"),
            (ask("none", "10.1.1.1"), "UNKNOWN_MODEL"),
            (pb::VerifyKeyRequest { scope: Scope::Write.into(), ..ask("", "10.1.1.1") }, "KEY_SCOPE"),
        ] {
            let (good, reason, _) = verify(&member, request).await;
            assert_eq!((good, reason.as_str()), (false, expected));
        }
        assert_eq!(verify(&member, ask("", "10.1.1.1")).await.1, "GOOD");
        // Whoever has the secret may ask, and services by either.
        let stranger = world.user(Role::Member).await;
        let by_secret = |secret: &str| pb::VerifyKeyRequest { secret: secret.to_owned(), key_id: String::new(), ..ask("one", "10.1.1.1") };
        assert!(verify(&stranger, by_secret(&secret)).await.0);
        assert!(verify(&world.service(), by_secret(&secret)).await.0 && verify(&world.service(), ask("one", "10.0.0.1")).await.0);
        assert_missing(stranger.keys().verify_key(ask("one", "10.1.1.1")).await, "key", &key.key_id);
        let mut mistyped = secret.clone();
        mistyped.replace_range(10..11, if secret[10..].starts_with('x') { "y" } else { "x" });
        assert_eq!(verify(&stranger, by_secret(&mistyped)).await.1, "KEY_MALFORMED");
        assert_eq!(verify(&stranger, by_secret(&secret[..47])).await.1, "KEY_UNKNOWN");
        // The key of the call itself, when none is named.
        assert_eq!(verify(&member, pb::VerifyKeyRequest::default()).await.1, "GOOD");
        member.keys().revoke_key(revoke(&key.key_id)).await.unwrap();
        assert_eq!(verify(&member, ask("one", "10.1.1.1")).await.1, "KEY_REVOKED");
    }

    async fn all_keys_of_a_user_are_revoked_together(world: World) {
        let (member, other) = (world.user(Role::Member).await, world.user(Role::Member).await);
        for _ in 0..2 {
            create(&member, new()).await;
        }
        let all = |user: &str, except_this| pb::RevokeKeysRequest {
            user_id: user.to_owned(), except_this, ..Default::default()
        };
        assert_refused(other.keys().revoke_keys(all(&member.id, false)).await, Code::PermissionDenied, "NOT_YOURSELF");
        let answer = member.keys().revoke_keys(all(&member.id, true)).await.unwrap().into_inner();
        assert_eq!(answer.revoked, 2);
        let active = pb::ListKeysRequest { state: pb::KeyState::Active.into(), ..of("") };
        assert_eq!(member.keys().list_keys(active).await.unwrap().into_inner().keys.len(), 1);
        let admin = world.user(Role::Admin).await;
        assert_eq!(admin.keys().revoke_keys(all(&member.id, false)).await.unwrap().into_inner().revoked, 1);
        assert_refused(member.keys().list_keys(of("")).await, Code::Unauthenticated, "KEY_REVOKED");
        assert_eq!(admin.keys().revoke_keys(all(&member.id, false)).await.unwrap().into_inner().revoked, 0);
        let nobody = uuid();
        assert_missing(admin.keys().revoke_keys(all(&nobody, false)).await, "user", &nobody);
    }

    async fn everybodys_keys_are_listed_for_those_who_run_the_house(world: World) {
        let (member, auditor) = (world.user(Role::Member).await, world.user(Role::Auditor).await);
        let all = auditor.keys().list_keys(of("-")).await.unwrap().into_inner().keys;
        assert_eq!(all.len(), 3, "of owner, member and auditor");
        assert_refused(member.keys().list_keys(of("-")).await, Code::PermissionDenied, "NOT_YOURSELF");
        let soon = crate::world::in_seconds(3_600);
        let (short, _) = create(&member, pb::CreateKeyRequest { expire_time: Some(soon), ..new() }).await;
        let before = pb::ListKeysRequest { stop_before: Some(crate::world::in_seconds(7_200)), ..of("-") };
        let found = auditor.keys().list_keys(before).await.unwrap().into_inner().keys;
        assert_eq!(found.iter().map(|key| &key.key_id).collect::<Vec<_>>(), [&short.key_id]);
    }
}

#[tokio::test]
async fn a_narrowed_key_neither_widens_nor_renews_what_is_wider() {
    let world = World::sqlite().await;
    let member = world.user(Role::Member).await;
    let (one, other) = (world.model("one").await, world.model("other").await);
    let (wide, _) = create(&member, new()).await;
    let (own, secret) = create(&member, narrowed(&[&one], &[], &[])).await;
    let holder = world.with_secret(&secret);
    let widen = pb::UpdateKeyRequest { models: Some(pb::KeyModels::default()), ..change(&own.key_id) };
    let add = pb::KeyModels { model_ids: vec![one.clone(), other.clone()] };
    let add = pb::UpdateKeyRequest { models: Some(add), ..change(&own.key_id) };
    for request in [widen, add, change(&wide.key_id)] {
        let refused = holder.keys().update_key(request).await;
        assert_refused(refused, Code::PermissionDenied, "KEY_NARROWED");
    }
    let steal = pb::RotateKeyRequest { key_id: wide.key_id.clone(), ..Default::default() };
    assert_refused(holder.keys().rotate_key(steal).await, Code::PermissionDenied, "KEY_NARROWED");
    // Within its own limits it may do all of that.
    let narrow = pb::KeyModels { model_ids: vec![one.clone()] };
    let narrow = pb::UpdateKeyRequest { models: Some(narrow), ..change(&wide.key_id) };
    holder.keys().update_key(narrow).await.unwrap();
    let turn = pb::RotateKeyRequest { key_id: own.key_id, ..Default::default() };
    holder.keys().rotate_key(turn).await.unwrap();
    let beyond = narrowed(&[&one, &other], &[], &[]);
    assert_refused(holder.keys().create_key(beyond).await, Code::PermissionDenied, "KEY_NARROWED");
}

#[tokio::test]
async fn limits_that_cannot_be_are_refused_by_their_field() {
    let world = World::sqlite().await;
    let (key, _) = create(&world.owner, new()).await;
    let cases = [
        (narrowed(&[], &[], &["10.0.0.0"]), "networks"),
        (narrowed(&[], &[], &["10.0.0.0/33"]), "networks"),
        (narrowed(&[], &[], &["everywhere"]), "networks"),
        (pb::CreateKeyRequest { networks: vec!["10.0.0.0/8".to_owned(); 101], ..new() }, "networks"),
        (pb::CreateKeyRequest { scopes: vec![0], ..new() }, "scopes"),
        (pb::CreateKeyRequest { scopes: vec![4], ..new() }, "scopes"),
    ];
    for (request, field) in cases {
        assert_invalid(world.owner.keys().create_key(request).await, field);
    }
    let models = Some(pb::KeyModels { model_ids: vec!["x".to_owned()] });
    let request = pb::UpdateKeyRequest { models, ..change(&key.key_id) };
    assert_invalid(world.owner.keys().update_key(request).await, "models.model_ids");
    let request = pb::UpdateKeyRequest { name: Some(" ".to_owned()), ..change(&key.key_id) };
    assert_invalid(world.owner.keys().update_key(request).await, "name");
    let request = pb::ListKeysRequest { state: 4, ..of("") };
    assert_invalid(world.owner.keys().list_keys(request).await, "state");
    let both = pb::VerifyKeyRequest { secret: "x".to_owned(), key_id: uuid(), ..Default::default() };
    assert_invalid(world.owner.keys().verify_key(both).await, "key_id");
    let address = pb::VerifyKeyRequest { address: "here".to_owned(), ..Default::default() };
    assert_invalid(world.owner.keys().verify_key(address).await, "address");
    assert_invalid(world.service().keys().verify_key(pb::VerifyKeyRequest::default()).await, "secret");
}
