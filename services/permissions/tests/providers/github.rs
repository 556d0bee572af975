//! GitHub's OAuth 2.

use crate::{
    browser::Browser,
    octocat::Octocat,
    site::{site, tampered},
    world::assert_refused,
};
use tonic::Code;

#[tokio::test]
async fn a_person_signs_in_with_organisations() {
    let octocat = Octocat::start().await;
    let world = site(&octocat.settings("groups = { ACME = \"Engineering\" }")).await;
    world.group("Engineering").await;
    let entered = world.sign_in("github", "").await;
    let user = world.user_of(&entered.user_id).await;
    assert_eq!((user.email.as_str(), user.display_name.as_str()), ("mona@example.org", "Mona"));
    assert_eq!(world.groups_of(&entered.user_id).await, ["Engineering"]);
    assert_eq!(world.identities(&entered.user_id).await[0].subject, "583231");
    octocat.account.lock().unwrap().organisations.clear();
    assert_eq!(world.sign_in("github", "").await.user_id, entered.user_id);
    assert!(world.groups_of(&entered.user_id).await.is_empty());
}

#[tokio::test]
async fn all_pages_of_organisations_are_read() {
    let octocat = Octocat::start().await;
    octocat.account.lock().unwrap().organisations = (0..250).map(|number| format!("org-{number}")).collect();
    let world = site(&octocat.settings("groups = { org-249 = \"Last\" }")).await;
    world.group("Last").await;
    let entered = world.sign_in("github", "").await;
    assert_eq!(world.groups_of(&entered.user_id).await, ["Last"]);
}

#[tokio::test]
async fn who_has_no_name_is_called_by_the_login() {
    let octocat = Octocat::start().await;
    octocat.account.lock().unwrap().name = None;
    let world = site(&octocat.settings("")).await;
    let entered = world.sign_in("github", "").await;
    assert_eq!(world.user_of(&entered.user_id).await.display_name, "Mona-Lisa");
}

#[tokio::test]
async fn only_the_primary_address_counts_and_only_when_verified() {
    let octocat = Octocat::start().await;
    octocat.account.lock().unwrap().emails =
        vec![("old@example.org", false, true), ("mona@example.org", true, false)];
    let world = site(&octocat.settings("")).await;
    let refused = world.try_sign_in("github", "").await;
    assert_refused(refused, Code::PermissionDenied, "EMAIL_NOT_VERIFIED");
}

#[tokio::test]
async fn a_code_works_once_and_for_its_verifier_alone() {
    let octocat = Octocat::start().await;
    let world = site(&octocat.settings("")).await;
    let begun = world.begin("github").await;
    let url = tampered(&begun.authorization_url, "code_challenge", &"x".repeat(43));
    let back = Browser::default().sign_in(&url, "").await;
    assert_refused(world.complete(&begun, &back).await, Code::Unauthenticated, "PROVIDER_REFUSED");
    let begun = world.begin("github").await;
    let back = Browser::default().sign_in(&begun.authorization_url, "").await;
    world.complete(&begun, &back).await.unwrap();
    assert_refused(world.complete(&begun, &back).await, Code::FailedPrecondition, "SIGN_IN_UNKNOWN");
}

#[tokio::test]
async fn a_client_secret_that_is_wrong_is_the_administrators_affair() {
    let octocat = Octocat::start().await;
    let settings = octocat.settings("").replace(crate::octocat::SECRET, "another");
    let world = site(&settings).await;
    let refused = world.try_sign_in("github", "").await;
    assert_refused(refused, Code::Internal, "PROVIDER_REFUSES_CLIENT");
}

#[tokio::test]
async fn what_is_not_githubs_api_is_not_understood() {
    let octocat = Octocat::start().await;
    let settings = octocat.settings("");
    let world = site(&settings.replace("/api/v3", "/api/v9")).await;
    let refused = world.try_sign_in("github", "").await;
    assert_refused(refused, Code::Unavailable, "PROVIDER_UNAVAILABLE");
}
