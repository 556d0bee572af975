//! The layer before a service that says who it takes the caller for.

use super::*;
use crate::{peer::Peer, server::grpc_refusal, status};
use axum::body::Body;
use http::{Request, Response};
use std::convert::Infallible;
use tower::{Layer, ServiceExt, service_fn};
use uuid::Uuid;

const KEYS: &str = "/tollgate.permissions.v1.KeyService/ListKeys";
const CREATE: &str = "/tollgate.permissions.v1.KeyService/CreateKey";
const INFER: &str = "/tollgate.inference.v1.InferenceService/Infer";
const WATCH: &str = "/tollgate.permissions.v1.PolicyService/WatchPolicy";
const SIGN_IN: &str = "/tollgate.permissions.v1.SessionService/SignIn";

/// Knows a few credentials by their text.
#[derive(Clone)]
struct Known;

impl Verify for Known {
    async fn verify(&self, credential: Credential<'_>, peer: Option<IpAddr>) -> Result<Person, Refusal> {
        let of = |role, scopes: &[Scope]| Person {
            user: UserId(Uuid::from_u128(1)),
            key: Some(KeyId(Uuid::from_u128(2))),
            session: None,
            role,
            scopes: scopes.iter().copied().collect(),
        };
        let Credential::Key(shown) = credential else { return Err(Refusal::Token) };
        match () {
            () if shown == hash("owner") => Ok(of(Role::Owner, &[])),
            () if shown == hash("at home") && peer == "192.0.2.7".parse().ok() => Ok(of(Role::Owner, &[])),
            () if shown == hash("away") => Err(Refusal::Unavailable),
            () => {
                let scope = Scope::ALL.iter().find(|scope| shown == hash(scope.as_str()));
                scope.map(|scope| of(Role::Owner, &[*scope])).ok_or(Refusal::Unknown)
            }
        }
    }
}

/// What the service behind the layer saw, or the reason for which it did not.
async fn ask(
    access: Access,
    path: &str,
    secret: Option<&str>,
    change: impl FnOnce(&mut Request<()>),
) -> String {
    let service = service_fn(|request: Request<()>| async move {
        let seen = match request.extensions().get::<Caller>() {
            Some(Caller::Person(person)) => format!("person {}", person.role),
            Some(Caller::Service) => "service".to_owned(),
            None => "nobody".to_owned(),
        };
        Ok::<_, Infallible>(Response::builder().header("seen", seen).body(Body::empty()).unwrap())
    });
    let layer = AuthLayer::new(Known, Some(ServiceToken::new(&"tgs_right".into())), access, grpc_refusal);
    let mut request = Request::builder().uri(path).body(()).unwrap();
    if let Some(secret) = secret {
        request.headers_mut().insert("authorization", format!("Bearer {secret}").parse().unwrap());
    }
    change(&mut request);
    let answer = layer.layer(service).oneshot(request).await.unwrap();
    match answer.headers().get("seen") {
        Some(seen) => seen.to_str().unwrap().to_owned(),
        None => status::reason(&Status::from_header_map(answer.headers()).unwrap()),
    }
}

async fn method(path: &str, secret: &str) -> String {
    ask(Access::Methods, path, Some(secret), |_| ()).await
}

#[tokio::test]
async fn a_narrowed_credential_is_held_against_the_scope_of_each_method() {
    for (path, scope) in [(KEYS, Scope::Read), (CREATE, Scope::Write), (INFER, Scope::Inference)] {
        for held in Scope::ALL {
            let expected = if *held == scope { "person owner" } else { "SCOPE_MISSING" };
            assert_eq!(method(path, held.as_str()).await, expected, "{path} with {held}");
        }
        assert_eq!(method(path, "owner").await, "person owner");
    }
}

#[tokio::test]
async fn routes_for_persons_take_those_whose_credential_is_for_inference() {
    let route = async |secret: &'static str| ask(Access::Persons, "/v1/models", Some(secret), |_| ()).await;
    assert_eq!(route("owner").await, "person owner");
    assert_eq!(route("inference").await, "person owner");
    assert_eq!(route("read").await, "SCOPE_MISSING");
    assert_eq!(route("tgs_right").await, "ROLE_NOT_ALLOWED");
    assert_eq!(ask(Access::Persons, "/v1/models", None, |_| ()).await, "CREDENTIAL_MISSING");
    // A path that looks like a public method is none here.
    assert_eq!(ask(Access::Persons, SIGN_IN, None, |_| ()).await, "CREDENTIAL_MISSING");
}

#[tokio::test]
async fn what_is_public_needs_no_credential_ignores_a_bad_one_and_hears_of_a_good_one() {
    assert_eq!(ask(Access::Methods, SIGN_IN, None, |_| ()).await, "nobody");
    for bad in ["nobody", "tgs_wrong", "away", "eyJ.e30.x"] {
        assert_eq!(method(SIGN_IN, bad).await, "nobody", "{bad}");
    }
    assert_eq!(method(SIGN_IN, "owner").await, "person owner");
    assert_eq!(method(SIGN_IN, "inference").await, "person owner");
    assert_eq!(method(SIGN_IN, "tgs_right").await, "service");
}

#[tokio::test]
async fn nobody_brings_a_caller_along() {
    let forged = |request: &mut Request<()>| {
        request.extensions_mut().insert(Caller::Service);
    };
    assert_eq!(ask(Access::Methods, SIGN_IN, None, forged).await, "nobody");
    assert_eq!(ask(Access::Methods, WATCH, None, forged).await, "CREDENTIAL_MISSING");
    assert_eq!(ask(Access::Methods, WATCH, Some("owner"), forged).await, "ROLE_NOT_ALLOWED");
}

#[tokio::test]
async fn whoever_verifies_is_told_from_where_a_credential_was_shown() {
    let from = |address: &'static str| {
        move |request: &mut Request<()>| {
            request.extensions_mut().insert(Peer(address.parse().unwrap()));
        }
    };
    assert_eq!(ask(Access::Methods, KEYS, Some("at home"), from("192.0.2.7")).await, "person owner");
    assert_eq!(ask(Access::Methods, KEYS, Some("at home"), from("192.0.2.8")).await, "KEY_UNKNOWN");
    let said = |request: &mut Request<()>| {
        request.headers_mut().insert("x-forwarded-for", "192.0.2.7".parse().unwrap());
    };
    assert_eq!(ask(Access::Methods, KEYS, Some("at home"), said).await, "KEY_UNKNOWN");
}

#[tokio::test]
async fn each_refusal_says_what_is_wrong() {
    for (secret, reason) in [
        ("nobody", "KEY_UNKNOWN"),
        ("tgs_wrong", "SERVICE_TOKEN_WRONG"),
        ("eyJ.e30.x", "TOKEN_INVALID"),
        ("away", "AUTHENTICATION_UNAVAILABLE"),
    ] {
        assert_eq!(method(KEYS, secret).await, reason);
    }
    assert_eq!(method("/no.Such/Method", "owner").await, "ROLE_NOT_ALLOWED");
    for refusal in Refusal::ALL {
        assert_eq!(Refusal::of(refusal.reason()), Some(*refusal));
    }
    assert_eq!(Refusal::of("SOMETHING_ELSE"), None);
}

#[test]
fn a_credential_is_never_shown() {
    assert_eq!(format!("{:?} {:?}", Credential::of("tgk_x"), Credential::of("eyJ.a.b")), "Key Token");
}
