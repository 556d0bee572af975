//! Sign-ins that fail are incidents (A8): which reason, from where, whose account if that is known, and no address of
//! anybody. Whoever begins too many has to wait.

use crate::{
    browser::{Back, Browser, REDIRECT},
    idp::Idp,
    octocat::Octocat,
    site::{completion, person, providers, site, tampered, with_idp},
    world::{World, assert_refused},
};
use proto::permissions::v1 as pb;
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;

const ELSEWHERE: &str = "203.0.113.50";

/// A request that comes from this address.
fn from<T>(address: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-forwarded-for", address.parse().unwrap());
    request
}

async fn start(world: &World, address: &str) -> Result<Response<pb::StartSignInResponse>, Status> {
    let request = pb::StartSignInRequest { provider: "corp".to_owned(), redirect_uri: REDIRECT.to_owned() };
    providers(&world.visitor()).start_sign_in(from(address, request)).await
}

async fn complete(
    world: &World,
    request: pb::CompleteSignInRequest,
) -> Result<Response<pb::CompleteSignInResponse>, Status> {
    providers(&world.visitor()).complete_sign_in(from(ELSEWHERE, request)).await
}

/// Who comes back from `corp` with this browser's answer.
async fn back(world: &World, login: &str) -> (pb::StartSignInResponse, Back) {
    let begun = start(world, ELSEWHERE).await.unwrap().into_inner();
    let back = Browser::default().sign_in(&begun.authorization_url, login).await;
    (begun, back)
}

async fn incidents(world: &World) -> Vec<pb::Incident> {
    let request =
        pb::ListIncidentsRequest { kind: pb::IncidentKind::SignInFailed.into(), ..Default::default() };
    let listed = world.owner.incidents().list_incidents(request).await.unwrap().into_inner().incidents;
    for incident in &listed {
        let text = format!("{incident:?}");
        assert!(!text.contains("ana") && !text.contains("mona") && !text.contains("example.org"), "{text}");
        let first = incident.first_time.unwrap().seconds;
        assert!(first > 1_700_000_000 && incident.last_time.unwrap().seconds >= first, "{text}");
    }
    listed
}

/// The reasons that were reported, each once for each account that it is about.
async fn reasons(world: &World) -> Vec<(String, String)> {
    let found = incidents(world).await;
    let mut found: Vec<_> = found.into_iter().map(|incident| (incident.detail, incident.actor)).collect();
    found.sort();
    found
}

fn nobody(details: &[&str]) -> Vec<(String, String)> {
    details.iter().map(|detail| ((*detail).to_owned(), String::new())).collect()
}

#[tokio::test]
async fn what_the_provider_does_not_prove_is_an_incident_with_its_reason() {
    let mut idp = Idp::start().await;
    idp.account("ana", person("ana@example.org", &[])).await;
    let world = with_idp(&idp, "").await;
    let (begun, came) = back(&world, "ana").await;
    complete(&world, completion(&begun, &came)).await.unwrap();
    assert!(incidents(&world).await.is_empty(), "who signs in is none");
    // A state that nobody has, and one that was used.
    let wrong = pb::CompleteSignInRequest { state: "wrong".to_owned(), ..completion(&begun, &came) };
    complete(&world, wrong).await.unwrap_err();
    complete(&world, completion(&begun, &came)).await.unwrap_err();
    // Another code, another nonce, and a person who says no.
    let (begun, came) = back(&world, "ana").await;
    let wrong = pb::CompleteSignInRequest { code: "wrong".to_owned(), ..completion(&begun, &came) };
    complete(&world, wrong).await.unwrap_err();
    let begun = start(&world, ELSEWHERE).await.unwrap().into_inner();
    let url = tampered(&begun.authorization_url, "nonce", "another");
    let came = Browser::default().sign_in(&url, "ana").await;
    complete(&world, completion(&begun, &came)).await.unwrap_err();
    let (begun, came) = back(&world, "ana").await;
    let denied = pb::CompleteSignInRequest {
        code: String::new(),
        error: "ana@example.org denied".to_owned(),
        ..completion(&begun, &came)
    };
    complete(&world, denied).await.unwrap_err();
    let (begun, came) = back(&world, "ana").await;
    idp.stop().await;
    complete(&world, completion(&begun, &came)).await.unwrap_err();
    let expected = [
        "PROVIDER_REFUSED at corp",
        "PROVIDER_UNAVAILABLE at corp",
        "SIGN_IN_NOT_VERIFIED at corp",
        "SIGN_IN_UNKNOWN",
    ];
    assert_eq!(reasons(&world).await, nobody(&expected));
    let found = incidents(&world).await;
    let count =
        |detail: &str| found.iter().filter(|one| one.detail == detail).map(|one| one.count).sum::<i64>();
    assert_eq!((count("SIGN_IN_UNKNOWN"), count("PROVIDER_REFUSED at corp")), (2, 2));
    let method = "/tollgate.permissions.v1.ProviderService/CompleteSignIn";
    assert!(found.iter().all(|one| one.address == ELSEWHERE && one.method == method), "{found:?}");
}

#[tokio::test]
async fn whom_the_rules_keep_out_is_an_incident_and_of_a_known_account_it_says_so() {
    let idp = Idp::start().await;
    idp.account("ana", person("ana@example.org", &["eng"])).await;
    for (rule, reason) in [
        ("allowed_email_domains = [\"other.org\"]", "EMAIL_DOMAIN_NOT_ALLOWED at corp"),
        ("required_groups = [\"board\"]", "GROUP_REQUIRED at corp"),
        ("create_users = false", "NO_ACCOUNT at corp"),
    ] {
        let world = with_idp(&idp, rule).await;
        let (begun, came) = back(&world, "ana").await;
        complete(&world, completion(&begun, &came)).await.unwrap_err();
        assert_eq!(reasons(&world).await, nobody(&[reason]));
    }
    let world = with_idp(&idp, "").await;
    let ana = world.sign_in("corp", "ana").await.user_id;
    idp.account("anabel", person("ana@example.org", &[])).await;
    let refused = world.try_sign_in("corp", "anabel").await;
    assert_refused(refused, Code::PermissionDenied, "IDENTITY_CONFLICT");
    let disable = pb::UpdateUserRequest { user_id: ana.clone(), disabled: Some(true), ..Default::default() };
    world.owner.users().update_user(disable).await.unwrap();
    assert_refused(world.try_sign_in("corp", "ana").await, Code::Unauthenticated, "ACCOUNT_DISABLED");
    let about = |detail: &str| (detail.to_owned(), ana.clone());
    let expected = [about("ACCOUNT_DISABLED at corp"), about("IDENTITY_CONFLICT at corp")];
    assert_eq!(reasons(&world).await, expected);
}

#[tokio::test]
async fn a_provider_that_is_away_and_one_of_the_other_kind_are_noted_too() {
    let mut idp = Idp::start().await;
    idp.stop().await;
    let world = with_idp(&idp, "").await;
    start(&world, ELSEWHERE).await.unwrap_err();
    assert_eq!(reasons(&world).await, nobody(&["PROVIDER_UNAVAILABLE at corp"]));
    let octocat = Octocat::start().await;
    octocat.account.lock().unwrap().emails = vec![("mona@example.org", true, false)];
    let world = site(&octocat.settings("")).await;
    let refused = world.try_sign_in("github", "").await;
    assert_refused(refused, Code::PermissionDenied, "EMAIL_NOT_VERIFIED");
    assert_eq!(reasons(&world).await, nobody(&["EMAIL_NOT_VERIFIED at github"]));
}

#[tokio::test]
async fn one_address_cannot_begin_without_end_and_keeps_nobody_else_out() {
    let idp = Idp::start().await;
    idp.account("ana", person("ana@example.org", &[])).await;
    let world = with_idp(&idp, "").await;
    let mut begun = 0;
    let limited = loop {
        match start(&world, ELSEWHERE).await {
            Ok(_) => begun += 1,
            Err(status) => break status,
        }
        assert!(begun <= 100, "there is no limit");
    };
    assert!(begun >= 50, "{begun}");
    let wait = limited.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(!wait.is_zero());
    assert_refused(Err::<Response<()>, _>(limited), Code::ResourceExhausted, "SIGN_IN_LIMITED");
    assert_eq!(reasons(&world).await, nobody(&["SIGN_IN_LIMITED at corp"]));
    start(&world, "198.51.100.1").await.unwrap();
    world.sign_in("corp", "ana").await;
}

#[tokio::test]
async fn a_house_full_of_people_who_sign_in_is_no_attack() {
    let idp = Idp::start().await;
    idp.account("ana", person("ana@example.org", &[])).await;
    let world = with_idp(&idp, "").await;
    for _ in 0..60 {
        let (begun, came) = back(&world, "ana").await;
        complete(&world, completion(&begun, &came)).await.unwrap();
    }
    assert!(incidents(&world).await.is_empty());
}
