//! OpenID Connect with a real provider: what signs somebody in, and everything that must not.

use crate::{
    browser::{Browser, REDIRECT},
    idp::Idp,
    site::{completion, oidc, person, providers, query, sealed, site, tampered, with_idp},
    world::{assert_invalid, assert_missing, assert_refused},
};
use proto::{common::v1::Role, permissions::v1 as pb};
use serde_json::json;
use tonic::Code;

const GROUPS: &str = "groups = { eng = \"Engineering\" }";

async fn ready(extra: &str) -> (Idp, crate::world::World) {
    let idp = Idp::start().await;
    idp.account("ana", person("ana@example.org", &["eng", "sales"])).await;
    let world = with_idp(&idp, extra).await;
    (idp, world)
}

#[tokio::test]
async fn a_person_signs_in_with_groups() {
    let (_idp, world) = ready(GROUPS).await;
    world.group("Engineering").await;
    let entered = world.sign_in("corp", "ana").await;
    assert!(entered.created && !entered.token.is_empty());
    let user = world.user_of(&entered.user_id).await;
    assert_eq!((user.email.as_str(), user.display_name.as_str()), ("ana@example.org", "Ana B."));
    assert_eq!(user.role(), Role::Member);
    assert_eq!(world.groups_of(&entered.user_id).await, ["Engineering"]);
    let identities = world.identities(&entered.user_id).await;
    assert_eq!((identities[0].provider.as_str(), identities[0].subject.as_str()), ("corp", "ana"));
    assert_eq!((identities.len(), identities[0].group_ids.len()), (1, 1));
    let again = world.sign_in("corp", "ana").await;
    assert_eq!((again.user_id, again.created), (entered.user_id.clone(), false));
    // What was signed in for: the token is a credential of the user, and the session says where it is from.
    let ana = world.with_secret(&entered.tokens.unwrap().access_token);
    let own = providers(&ana).list_identities(pb::ListIdentitiesRequest::default()).await.unwrap();
    assert_eq!(own.into_inner().identities[0].user_id, entered.user_id);
    assert_eq!(world.count("SELECT COUNT(*) FROM sessions WHERE method = 'corp'").await, 2);
}

#[tokio::test]
async fn claims_in_the_token_itself_need_no_user_info() {
    let (idp, world) = ready(GROUPS).await;
    idp.order(json!({"order": "settings", "inToken": true, "authMethod": "client_secret_post"})).await;
    world.group("Engineering").await;
    let entered = world.sign_in("corp", "ana").await;
    assert_eq!(world.user_of(&entered.user_id).await.email, "ana@example.org");
    assert_eq!(world.groups_of(&entered.user_id).await, ["Engineering"]);
}

#[tokio::test]
async fn providers_are_listed() {
    let (_idp, world) = ready("").await;
    let request = pb::ListIdentityProvidersRequest {};
    let listed = providers(&world.visitor()).list_identity_providers(request).await.unwrap();
    let expected = pb::IdentityProvider {
        provider: "corp".to_owned(),
        display_name: "The corp".to_owned(),
        kind: pb::ProviderKind::Oidc.into(),
    };
    assert_eq!(listed.into_inner().providers, [expected]);
}

#[tokio::test]
async fn the_browser_carries_neither_the_token_nor_the_verifier() {
    let (_idp, world) = ready("").await;
    let begun = world.begin("corp").await;
    let value = |name: &str| query(&begun.authorization_url, name);
    assert_eq!(
        (value("response_type"), value("code_challenge_method")),
        ("code".to_owned(), "S256".to_owned())
    );
    assert_eq!((value("client_id"), value("redirect_uri")), ("tollgate".to_owned(), REDIRECT.to_owned()));
    assert_eq!(value("scope"), "openid email profile groups");
    for secret in ["state", "nonce", "code_challenge"] {
        assert_eq!(value(secret).len(), 43, "{secret} has 256 bits");
    }
    assert!(!begun.authorization_url.contains(&begun.sign_in_token));
    let other = world.begin("corp").await;
    assert_ne!(other.sign_in_token, begun.sign_in_token);
    assert_ne!(other.authorization_url, begun.authorization_url);
}

#[tokio::test]
async fn an_answer_counts_once_and_only_for_who_began() {
    let (_idp, world) = ready("").await;
    let begun = world.begin("corp").await;
    let back = Browser::default().sign_in(&begun.authorization_url, "ana").await;
    let wrong = pb::CompleteSignInRequest { state: "wrong".to_owned(), ..completion(&begun, &back) };
    let refused = providers(&world.visitor()).complete_sign_in(wrong).await;
    assert_refused(refused, Code::FailedPrecondition, "SIGN_IN_UNKNOWN");
    // A link with somebody else's answer: the victim's page holds another token, or none.
    let victim = world.begin("corp").await;
    assert_refused(world.complete(&victim, &back).await, Code::FailedPrecondition, "SIGN_IN_UNKNOWN");
    world.complete(&begun, &back).await.unwrap();
    assert_refused(world.complete(&begun, &back).await, Code::FailedPrecondition, "SIGN_IN_UNKNOWN");
}

#[tokio::test]
async fn another_process_completes_what_one_began() {
    let (idp, world) = ready("").await;
    let other = world.another_with(&sealed(&oidc("corp", &idp.issuer(), ""))).await;
    let begun = world.begin("corp").await;
    let back = Browser::default().sign_in(&begun.authorization_url, "ana").await;
    let entered = other.complete(&begun, &back).await.unwrap().into_inner();
    assert!(entered.created);
    assert_refused(world.complete(&begun, &back).await, Code::FailedPrecondition, "SIGN_IN_UNKNOWN");
}

#[tokio::test]
async fn two_answers_at_once_count_once() {
    let (_idp, world) = ready("").await;
    let begun = world.begin("corp").await;
    let back = Browser::default().sign_in(&begun.authorization_url, "ana").await;
    let (one, two) = tokio::join!(world.complete(&begun, &back), world.complete(&begun, &back));
    assert_eq!(u8::from(one.is_ok()) + u8::from(two.is_ok()), 1);
}

#[tokio::test]
async fn whoever_takes_too_long_begins_again() {
    let (_idp, world) = ready("").await;
    let begun = world.begin("corp").await;
    let back = Browser::default().sign_in(&begun.authorization_url, "ana").await;
    world.sql("UPDATE sign_ins SET expires_at = expires_at - 600000000").await;
    assert_refused(world.complete(&begun, &back).await, Code::FailedPrecondition, "SIGN_IN_UNKNOWN");
    // What was not completed goes with the next sign-in that begins.
    world.begin("corp").await;
    assert_eq!(world.count("SELECT COUNT(*) FROM sign_ins").await, 1);
}

#[tokio::test]
async fn a_token_with_another_nonce_is_refused() {
    let (_idp, world) = ready("").await;
    let begun = world.begin("corp").await;
    let url = tampered(&begun.authorization_url, "nonce", "another");
    let back = Browser::default().sign_in(&url, "ana").await;
    assert_refused(world.complete(&begun, &back).await, Code::Unauthenticated, "SIGN_IN_NOT_VERIFIED");
}

#[tokio::test]
async fn a_code_for_another_verifier_is_refused() {
    let (_idp, world) = ready("").await;
    let begun = world.begin("corp").await;
    let url = tampered(&begun.authorization_url, "code_challenge", &"x".repeat(43));
    let back = Browser::default().sign_in(&url, "ana").await;
    assert_refused(world.complete(&begun, &back).await, Code::Unauthenticated, "PROVIDER_REFUSED");
}

#[tokio::test]
async fn a_code_is_exchanged_once() {
    let (_idp, world) = ready("").await;
    let first = world.begin("corp").await;
    let back = Browser::default().sign_in(&first.authorization_url, "ana").await;
    world.complete(&first, &back).await.unwrap();
    // The same code in another sign-in: its state is of that one.
    let second = world.begin("corp").await;
    let state = query(&second.authorization_url, "state");
    let request = pb::CompleteSignInRequest { state, ..completion(&second, &back) };
    let refused = providers(&world.visitor()).complete_sign_in(request).await;
    assert_refused(refused, Code::Unauthenticated, "PROVIDER_REFUSED");
}

#[tokio::test]
async fn a_person_may_refuse() {
    let (_idp, world) = ready("").await;
    let begun = world.begin("corp").await;
    let back = Browser::default().sign_in(&begun.authorization_url, "ana").await;
    let request = pb::CompleteSignInRequest {
        code: String::new(),
        error: "access_denied".to_owned(),
        ..completion(&begun, &back)
    };
    let refused = providers(&world.visitor()).complete_sign_in(request).await;
    assert_refused(refused, Code::Unauthenticated, "PROVIDER_REFUSED");
    assert_refused(world.complete(&begun, &back).await, Code::FailedPrecondition, "SIGN_IN_UNKNOWN");
}

#[tokio::test]
async fn keys_are_fetched_again_when_the_provider_has_new_ones() {
    let (idp, world) = ready("").await;
    world.sign_in("corp", "ana").await;
    world.sign_in("corp", "ana").await;
    let before = idp.order(json!({"order": "seen"})).await;
    assert_eq!((before["jwks"].as_u64(), before["discovery"].as_u64()), (Some(1), Some(1)), "kept");
    idp.order(json!({"order": "rotate"})).await;
    world.sign_in("corp", "ana").await;
    assert_eq!(idp.order(json!({"order": "seen"})).await["jwks"], 2);
    world.sign_in("corp", "ana").await;
    assert_eq!(idp.order(json!({"order": "seen"})).await["jwks"], 2);
}

#[tokio::test]
async fn a_token_by_a_key_that_is_not_published_is_refused() {
    let (idp, world) = ready("").await;
    idp.order(json!({"order": "forge"})).await;
    let refused = world.try_sign_in("corp", "ana").await;
    assert_refused(refused, Code::Unauthenticated, "SIGN_IN_NOT_VERIFIED");
}

#[tokio::test]
async fn a_provider_that_is_away_is_said_to_be() {
    let (mut idp, world) = ready("").await;
    let begun = world.begin("corp").await;
    let back = Browser::default().sign_in(&begun.authorization_url, "ana").await;
    idp.stop().await;
    assert_refused(world.complete(&begun, &back).await, Code::Unavailable, "PROVIDER_UNAVAILABLE");
    let fresh = with_idp(&idp, "").await;
    assert_refused(fresh.try_begin("corp").await, Code::Unavailable, "PROVIDER_UNAVAILABLE");
}

#[tokio::test]
async fn another_issuer_is_refused_wherever_it_shows() {
    let (idp, world) = ready("").await;
    // In the discovery document.
    let elsewhere = site(&oidc("corp", &idp.issuer().replace("127.0.0.1", "localhost"), "")).await;
    assert_refused(elsewhere.try_begin("corp").await, Code::Internal, "PROVIDER_ANSWER_INVALID");
    // In the address that the browser comes back to.
    let begun = world.begin("corp").await;
    let back = Browser::default().sign_in(&begun.authorization_url, "ana").await;
    let request = pb::CompleteSignInRequest { issuer: "http://evil".to_owned(), ..completion(&begun, &back) };
    let refused = providers(&world.visitor()).complete_sign_in(request).await;
    assert_refused(refused, Code::Unauthenticated, "SIGN_IN_NOT_VERIFIED");
    // In the token.
    let begun = world.begin("corp").await;
    idp.order(json!({"order": "settings", "host": "localhost"})).await;
    let back = Browser::default().sign_in(&begun.authorization_url, "ana").await;
    let request = pb::CompleteSignInRequest { issuer: String::new(), ..completion(&begun, &back) };
    let refused = providers(&world.visitor()).complete_sign_in(request).await;
    assert_refused(refused, Code::Unauthenticated, "SIGN_IN_NOT_VERIFIED");
}

#[tokio::test]
async fn a_client_secret_that_is_wrong_is_the_administrators_affair() {
    let idp = Idp::start().await;
    idp.account("ana", person("ana@example.org", &[])).await;
    let settings = oidc("corp", &idp.issuer(), "").replace(crate::idp::SECRET, "another-secret");
    let world = site(&settings).await;
    let refused = world.try_sign_in("corp", "ana").await;
    assert_refused(refused, Code::Internal, "PROVIDER_REFUSES_CLIENT");
}

#[tokio::test]
async fn what_cannot_be_a_sign_in_is_named() {
    let (_idp, world) = ready("").await;
    assert_missing(world.try_begin("other").await, "identity_provider", "other");
    for redirect_uri in ["", "http://127.0.0.1:9/callback/", "https://evil.example/callback"] {
        let request =
            pb::StartSignInRequest { provider: "corp".to_owned(), redirect_uri: redirect_uri.to_owned() };
        assert_invalid(providers(&world.visitor()).start_sign_in(request).await, "redirect_uri");
    }
    let whole = pb::CompleteSignInRequest {
        sign_in_token: "t".to_owned(),
        state: "s".to_owned(),
        code: "c".to_owned(),
        ..Default::default()
    };
    let cases = [
        (pb::CompleteSignInRequest { sign_in_token: String::new(), ..whole.clone() }, "sign_in_token"),
        (pb::CompleteSignInRequest { state: String::new(), ..whole.clone() }, "state"),
        (pb::CompleteSignInRequest { code: String::new(), ..whole.clone() }, "code"),
        (pb::CompleteSignInRequest { code: "x".repeat(8_193), ..whole }, "code"),
    ];
    for (request, field) in cases {
        assert_invalid(providers(&world.visitor()).complete_sign_in(request).await, field);
    }
}
