//! Who somebody from outside is here, and how groups are kept in step, on both engines.

use crate::{
    idp::Idp,
    site::{oidc, person, providers, sealed, with_idp},
    world::{World, assert_missing, assert_refused},
};
use permissions::MIGRATIONS;
use proto::{common::v1::Role, permissions::v1 as pb};
use serde_json::json;
use shared::{config::SecretString, db::Db};
use tonic::Code;
use uuid::Uuid;

const GROUPS: &str = "groups = { eng = \"Engineering\", ops = \"Operations\" }";

/// Both engines, one after the other, with one provider called `corp`.
async fn worlds(idp: &Idp, extra: &str) -> [World; 2] {
    let config = sealed(&oidc("corp", &idp.issuer(), extra));
    let schema: &'static str = Box::leak(format!("test_{}", Uuid::new_v4().simple()).into_boxed_str());
    let url = SecretString::from(tests::postgres::url());
    let postgres = Db::open(&url, schema, &MIGRATIONS).await.unwrap();
    [
        World::on(Db::memory(&MIGRATIONS).await.unwrap(), None, &config).await,
        World::on(postgres, Some(schema), &config).await,
    ]
}

async fn add(world: &World, group: &str, user: &str) {
    let request = pb::AddMemberRequest {
        group_id: group.to_owned(),
        membership: Some(pb::Membership {
            member: Some(pb::membership::Member::UserId(user.to_owned())),
            ..Default::default()
        }),
        ..Default::default()
    };
    world.owner.groups().add_member(request).await.unwrap();
}

async fn remove(world: &World, group: &str, user: &str) {
    let request = pb::RemoveMemberRequest {
        group_id: group.to_owned(),
        member: Some(pb::remove_member_request::Member::UserId(user.to_owned())),
        ..Default::default()
    };
    world.owner.groups().remove_member(request).await.unwrap();
}

#[tokio::test]
async fn groups_are_kept_in_step_and_those_made_by_hand_are_left_alone() {
    let idp = Idp::start().await;
    for world in worlds(&idp, GROUPS).await {
        let engineering = world.group("Engineering").await;
        let by_hand = world.group("By hand").await;
        world.group("Operations").await;
        idp.account("ana", person("ana@example.org", &["eng", "sales"])).await;
        let ana = world.sign_in("corp", "ana").await.user_id;
        add(&world, &by_hand, &ana).await;
        assert_eq!(world.groups_of(&ana).await, ["By hand", "Engineering"]);
        idp.account("ana", person("ana@example.org", &["ops"])).await;
        world.sign_in("corp", "ana").await;
        assert_eq!(world.groups_of(&ana).await, ["By hand", "Operations"]);
        // Made by hand before the provider says the same: it stays when the provider withdraws it.
        add(&world, &engineering, &ana).await;
        idp.account("ana", person("ana@example.org", &["eng", "ops"])).await;
        world.sign_in("corp", "ana").await;
        idp.account("ana", person("ana@example.org", &[])).await;
        world.sign_in("corp", "ana").await;
        assert_eq!(world.groups_of(&ana).await, ["By hand", "Engineering"]);
        world.end().await;
    }
}

#[tokio::test]
async fn what_was_taken_away_by_hand_comes_back_with_the_provider() {
    let idp = Idp::start().await;
    for world in worlds(&idp, GROUPS).await {
        let engineering = world.group("Engineering").await;
        idp.account("ana", person("ana@example.org", &["eng"])).await;
        let ana = world.sign_in("corp", "ana").await.user_id;
        remove(&world, &engineering, &ana).await;
        assert!(world.groups_of(&ana).await.is_empty());
        assert!(world.identities(&ana).await[0].group_ids.is_empty());
        world.sign_in("corp", "ana").await;
        assert_eq!(world.groups_of(&ana).await, ["Engineering"]);
        // With the group goes what was noted of it.
        let delete = pb::DeleteGroupRequest { group_id: engineering, ..Default::default() };
        world.owner.groups().delete_group(delete).await.unwrap();
        world.sign_in("corp", "ana").await;
        assert!(world.identities(&ana).await[0].group_ids.is_empty());
        world.end().await;
    }
}

#[tokio::test]
async fn groups_are_made_when_that_is_wanted() {
    let idp = Idp::start().await;
    for world in worlds(&idp, &format!("create_groups = true\n{GROUPS}")).await {
        idp.account("ana", person("ana@example.org", &["eng", "sales"])).await;
        let ana = world.sign_in("corp", "ana").await.user_id;
        assert_eq!(world.groups_of(&ana).await, ["Engineering", "sales"]);
        world.end().await;
    }
}

#[tokio::test]
async fn a_sign_in_that_changes_nothing_is_no_write() {
    let idp = Idp::start().await;
    idp.account("ana", person("ana@example.org", &["eng"])).await;
    for world in worlds(&idp, GROUPS).await {
        world.group("Engineering").await;
        world.sign_in("corp", "ana").await;
        let before = world.count("SELECT revision FROM head").await;
        let used = "SELECT COUNT(*) FROM identities WHERE last_used_at > created_at";
        world.sign_in("corp", "ana").await;
        assert_eq!(world.count("SELECT revision FROM head").await, before);
        assert_eq!(world.count(used).await, 1, "only the time is new");
        world.end().await;
    }
}

#[tokio::test]
async fn events_say_who_and_why() {
    let idp = Idp::start().await;
    idp.account("ana", person("ana@example.org", &["eng"])).await;
    for world in worlds(&idp, GROUPS).await {
        world.group("Engineering").await;
        let ana = world.sign_in("corp", "ana").await.user_id;
        let own: String =
            world.text("SELECT MIN(actor) FROM events WHERE reason = 'signed in with corp'").await;
        assert_eq!(own, ana);
        let kinds = "SELECT COUNT(*) FROM events WHERE reason = 'signed in with corp'";
        assert_eq!(world.count(kinds).await, 3, "the user, the identity and the membership");
        world.end().await;
    }
}

#[tokio::test]
async fn an_existing_account_is_linked_by_a_verified_address_alone() {
    let idp = Idp::start().await;
    for world in worlds(&idp, "").await {
        let request = pb::CreateUserRequest {
            email: "Ana@Example.org".to_owned(),
            display_name: "Ana".to_owned(),
            role: Role::Auditor.into(),
            ..Default::default()
        };
        let ana = world.owner.users().create_user(request).await.unwrap().into_inner().user.unwrap();
        let unverified = json!({"email": "ana@example.org", "email_verified": false});
        idp.account("mallory", unverified).await;
        let refused = world.try_sign_in("corp", "mallory").await;
        assert_refused(refused, Code::PermissionDenied, "EMAIL_NOT_VERIFIED");
        idp.account("ana", person("ana@example.org", &[])).await;
        let entered = world.sign_in("corp", "ana").await;
        assert_eq!((entered.user_id.as_str(), entered.created), (ana.user_id.as_str(), false));
        assert_eq!(world.user_of(&ana.user_id).await, ana, "linking changes nothing of the user");
        // The address was given to somebody new at the provider.
        idp.account("ana2", person("ana@example.org", &[])).await;
        let refused = world.try_sign_in("corp", "ana2").await;
        assert_refused(refused, Code::PermissionDenied, "IDENTITY_CONFLICT");
        world.end().await;
    }
}

#[tokio::test]
async fn nobody_gets_an_account_for_an_address_that_nobody_vouches_for() {
    let idp = Idp::start().await;
    idp.account("bob", json!({"email": "bob@example.org"})).await;
    idp.account("eve", json!({"name": "Eve"})).await;
    let strict = with_idp(&idp, "").await;
    for login in ["bob", "eve"] {
        let refused = strict.try_sign_in("corp", login).await;
        assert_refused(refused, Code::PermissionDenied, "EMAIL_NOT_VERIFIED");
    }
    assert_eq!(strict.count("SELECT COUNT(*) FROM users").await, 1);
    let trusting = with_idp(&idp, "trust_email = true").await;
    assert!(trusting.sign_in("corp", "bob").await.created);
    let refused = trusting.try_sign_in("corp", "eve").await;
    assert_refused(refused, Code::PermissionDenied, "EMAIL_NOT_VERIFIED");
}

#[tokio::test]
async fn rules_keep_people_out_each_time_they_come() {
    let idp = Idp::start().await;
    let person = |groups: &[&str]| person("ana@example.org", groups);
    idp.account("ana", person(&["eng"])).await;
    let closed = with_idp(&idp, "create_users = false").await;
    assert_refused(closed.try_sign_in("corp", "ana").await, Code::PermissionDenied, "NO_ACCOUNT");
    let other = with_idp(&idp, "allowed_email_domains = [\"example.com\"]").await;
    let refused = other.try_sign_in("corp", "ana").await;
    assert_refused(refused, Code::PermissionDenied, "EMAIL_DOMAIN_NOT_ALLOWED");
    let chosen = with_idp(&idp, "required_groups = [\"eng\"]\ndefault_role = \"developer\"").await;
    let ana = chosen.sign_in("corp", "ana").await.user_id;
    assert_eq!(chosen.user_of(&ana).await.role(), Role::Developer);
    idp.account("ana", person(&["sales"])).await;
    assert_refused(chosen.try_sign_in("corp", "ana").await, Code::PermissionDenied, "GROUP_REQUIRED");
}

#[tokio::test]
async fn a_disabled_user_stays_out() {
    let idp = Idp::start().await;
    idp.account("ana", person("ana@example.org", &[])).await;
    let world = with_idp(&idp, "").await;
    let ana = world.sign_in("corp", "ana").await.user_id;
    let disable = pb::UpdateUserRequest { user_id: ana, disabled: Some(true), ..Default::default() };
    world.owner.users().update_user(disable).await.unwrap();
    assert_refused(world.try_sign_in("corp", "ana").await, Code::Unauthenticated, "ACCOUNT_DISABLED");
}

#[tokio::test]
async fn two_first_sign_ins_at_once_make_one_user() {
    let idp = Idp::start().await;
    idp.account("ana", person("ana@example.org", &[])).await;
    for world in worlds(&idp, "").await {
        let (one, two) = tokio::join!(world.sign_in("corp", "ana"), world.sign_in("corp", "ana"));
        assert_eq!(one.user_id, two.user_id);
        assert!(one.created != two.created);
        world.end().await;
    }
}

#[tokio::test]
async fn an_identity_is_unlinked_with_what_it_made() {
    let idp = Idp::start().await;
    idp.account("ana", person("ana@example.org", &["eng"])).await;
    for world in worlds(&idp, GROUPS).await {
        world.group("Engineering").await;
        let ana = world.sign_in("corp", "ana").await.user_id;
        let identity = world.identities(&ana).await.remove(0).identity_id;
        let unlink = || pb::UnlinkIdentityRequest { identity_id: identity.clone(), ..Default::default() };
        let stranger = world.user(Role::Developer).await;
        assert_missing(providers(&stranger).unlink_identity(unlink()).await, "identity", &identity);
        let others = pb::ListIdentitiesRequest { user_id: ana.clone() };
        let refused = providers(&stranger).list_identities(others).await;
        assert_refused(refused, Code::PermissionDenied, "NOT_YOURSELF");
        let only_asked = pb::UnlinkIdentityRequest { validate_only: true, ..unlink() };
        providers(&world.owner).unlink_identity(only_asked).await.unwrap();
        assert_eq!(world.groups_of(&ana).await, ["Engineering"], "nothing was done yet");
        let once = pb::UnlinkIdentityRequest { request_id: Uuid::new_v4().to_string(), ..unlink() };
        let first = providers(&world.owner).unlink_identity(once.clone()).await.unwrap().into_inner();
        let second = providers(&world.owner).unlink_identity(once).await.unwrap().into_inner();
        assert_eq!(first, second, "a repetition is answered as before");
        assert!(world.groups_of(&ana).await.is_empty() && world.identities(&ana).await.is_empty());
        assert_missing(providers(&world.owner).unlink_identity(unlink()).await, "identity", &identity);
        let again = world.sign_in("corp", "ana").await;
        assert_eq!((again.user_id, again.created), (ana, false), "linked by the address");
        world.end().await;
    }
}

#[tokio::test]
async fn an_admin_does_not_unlink_an_owner() {
    let idp = Idp::start().await;
    idp.account("boss", person("boss@example.org", &[])).await;
    let world = with_idp(&idp, "").await;
    let boss = world.sign_in("corp", "boss").await.user_id;
    let promote =
        pb::UpdateUserRequest { user_id: boss.clone(), role: Some(Role::Owner.into()), ..Default::default() };
    world.owner.users().update_user(promote).await.unwrap();
    let identity_id = world.identities(&boss).await.remove(0).identity_id;
    let request = pb::UnlinkIdentityRequest { identity_id, ..Default::default() };
    let admin = world.user(Role::Admin).await;
    let refused = providers(&admin).unlink_identity(request).await;
    assert_refused(refused, Code::PermissionDenied, "OWNER_REQUIRED");
}
