//! The keys that sign access tokens: published, rotated, replaced at once when compromised (A1).

use crate::{
    sessions::{sign_in, signed_in},
    world::{Caller, World, assert_refused, now, on_both_engines, uuid},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proto::{common::v1::Role, permissions::v1 as pb};
use secrecy::ExposeSecret;
use shared::{
    auth::token::{self, TokenSigner},
    on,
};
use tonic::Code;

async fn jwks(world: &World) -> Vec<pb::Jwk> {
    world.nobody().signing().get_jwks(pb::GetJwksRequest {}).await.unwrap().into_inner().keys
}

async fn rotate(caller: &Caller, request: pb::RotateSigningKeyRequest) -> pb::RotateSigningKeyResponse {
    caller.signing().rotate_signing_key(request).await.unwrap().into_inner()
}

fn kid(access_token: &str) -> String {
    let header = access_token.split('.').next().unwrap();
    let header: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    assert_eq!((header["alg"].as_str(), header["typ"].as_str()), (Some("EdDSA"), Some("JWT")));
    header["kid"].as_str().unwrap().to_owned()
}

async fn me(caller: &Caller) -> Result<tonic::Response<pb::GetMeResponse>, tonic::Status> {
    caller.me().get_me(pb::GetMeRequest {}).await
}

on_both_engines! {
    async fn a_token_is_verified_by_whoever_reads_the_published_keys(world: World) {
        let keys = jwks(world).await;
        assert_eq!(keys.len(), 1);
        let key = &keys[0];
        let words = (key.kty.as_str(), key.crv.as_str(), key.alg.as_str(), key.r#use.as_str());
        assert_eq!(words, ("OKP", "Ed25519", "EdDSA", "sig"));
        let public: [u8; 32] = URL_SAFE_NO_PAD.decode(&key.x).unwrap().try_into().unwrap();
        let tokens = sign_in(world, "owner@localhost", world.password.expose_secret()).await;
        let (claims, by) = token::verify(&tokens.access_token, |_| Some(public)).unwrap();
        assert_eq!((by, claims.sub.to_string()), (key.kid.clone(), tokens.user_id));
        assert_eq!((claims.sid.to_string(), claims.exp - claims.iat), (tokens.session_id, 900));
        let text = URL_SAFE_NO_PAD.decode(tokens.access_token.split('.').nth(1).unwrap()).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains("owner") && !text.contains("role"), "neither office nor address: {text}");
    }

    async fn the_next_key_is_published_before_it_signs_and_the_last_one_stays(world: World) {
        let before = sign_in(world, "owner@localhost", world.password.expose_secret()).await;
        let check = pb::RotateSigningKeyRequest { validate_only: true, ..Default::default() };
        rotate(&world.owner, check).await;
        assert_eq!(jwks(world).await.len(), 1, "only asked whether it could be done");
        let request = pb::RotateSigningKeyRequest { request_id: uuid(), ..Default::default() };
        let next = rotate(&world.owner, request.clone()).await;
        assert_eq!(rotate(&world.owner, request).await, next, "a repetition makes no further key");
        let wait = shared::time::from_proto(&next.active_time.unwrap()).unwrap().since(now());
        assert!(wait > std::time::Duration::from_secs(250), "{wait:?}");
        let published: Vec<_> = jwks(world).await.into_iter().map(|key| key.kid).collect();
        assert_eq!(published, [kid(&before.access_token), next.kid.clone()]);
        let after = sign_in(world, "owner@localhost", world.password.expose_secret()).await;
        assert_eq!(kid(&after.access_token), kid(&before.access_token), "not yet");
        for tokens in [&before, &after] {
            assert!(me(&world.with_secret(&tokens.access_token)).await.is_ok());
        }
    }

    async fn when_a_key_is_compromised_nothing_it_signed_counts_and_sessions_go_on(world: World) {
        let (caller, tokens) = signed_in(world, Role::Developer).await;
        assert!(me(&caller).await.is_ok());
        let other = world.another().await;
        let request = pb::RotateSigningKeyRequest { compromised: true, ..Default::default() };
        let next = rotate(&world.owner, request).await;
        assert_refused(me(&caller).await, Code::Unauthenticated, "TOKEN_INVALID");
        assert_eq!(jwks(world).await.into_iter().map(|key| key.kid).collect::<Vec<_>>(), std::slice::from_ref(&next.kid));
        let refresh = pb::RefreshSessionRequest { refresh_token: tokens.refresh_token };
        let renewed = other.nobody().sessions().refresh_session(refresh).await.unwrap().into_inner().tokens.unwrap();
        assert_eq!(kid(&renewed.access_token), next.kid);
        assert!(me(&world.with_secret(&renewed.access_token)).await.is_ok());
        assert!(other.tasks.end(std::time::Duration::from_secs(5)).await);
    }

    async fn only_owners_rotate(world: World) {
        let admin = world.user(Role::Admin).await;
        let refused = admin.signing().rotate_signing_key(pb::RotateSigningKeyRequest::default()).await;
        assert_refused(refused, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
    }

    async fn the_private_half_is_kept_unreadable(world: World) {
        let kept: Vec<(Vec<u8>, Vec<u8>)> =
            on!(&world.db, |pool| sqlx::query_as("SELECT public, seed FROM signing_keys").fetch_all(pool).await).unwrap();
        assert_eq!(kept.len(), 1);
        for (public, seed) in &kept {
            assert!(seed.len() > 32);
            for part in seed.windows(32) {
                assert_ne!(&TokenSigner::new(String::new(), part).unwrap().public()[..], &public[..]);
            }
        }
        let events: Vec<String> = on!(&world.db, |pool| sqlx::query_scalar(
            "SELECT CAST(after AS text) FROM events WHERE kind = 'signing_key'"
        )
        .fetch_all(pool)
        .await)
        .unwrap();
        assert_eq!(events.len(), 1);
        assert!(!events[0].contains("seed"), "{}", events[0]);
    }

    async fn processes_that_start_together_make_one_key(world: World) {
        world.sql("DELETE FROM signing_keys").await;
        let (one, other) = tokio::join!(world.another(), world.another());
        let (left, right) = (jwks(&one).await, jwks(&other).await);
        let in_store: Vec<String> =
            on!(&world.db, |pool| sqlx::query_scalar("SELECT kid FROM signing_keys").fetch_all(pool).await).unwrap();
        assert_eq!(in_store.len(), 1);
        assert!([left, right].iter().all(|keys| keys.iter().any(|key| key.kid == in_store[0])));
        for process in [one, other] {
            assert!(process.tasks.end(std::time::Duration::from_secs(5)).await);
        }
    }
}
