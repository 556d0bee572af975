//! Signing in with a password, and the sessions that come of it: carried on, listed, ended (A1).

use crate::world::{
    Caller, World, assert_invalid, assert_missing, assert_refused, config, on_both_engines, uuid,
};
use permissions::Config;
use proto::{common::v1::Role, permissions::v1 as pb};
use secrecy::ExposeSecret;
use std::time::Duration;
use tonic::{Code, Request};
use tonic_types::StatusExt;

pub(crate) const PASSWORD: &str = "correct horse battery";

fn credentials(email: &str, password: &str) -> pb::SignInRequest {
    pb::SignInRequest { email: email.to_owned(), password: password.to_owned() }
}

type Signed = Result<tonic::Response<pb::SignInResponse>, tonic::Status>;

async fn try_sign_in(world: &World, email: &str, password: &str) -> Signed {
    world.nobody().sessions().sign_in(credentials(email, password)).await
}

pub(crate) async fn sign_in(world: &World, email: &str, password: &str) -> pb::SessionTokens {
    try_sign_in(world, email, password).await.unwrap().into_inner().tokens.unwrap()
}

/// A new user with a password, who calls with a key.
pub(crate) async fn user(world: &World, role: Role) -> (Caller, String) {
    let user = world.user(role).await;
    let request = pb::SetPasswordRequest {
        user_id: user.id.clone(),
        new_password: PASSWORD.to_owned(),
        ..Default::default()
    };
    world.owner.sessions().set_password(request).await.unwrap();
    let request = pb::GetUserRequest { user_id: user.id.clone() };
    let email = world.owner.users().get_user(request).await.unwrap().into_inner().user.unwrap().email;
    (user, email)
}

/// Somebody in a session of a new user.
pub(crate) async fn signed_in(world: &World, role: Role) -> (Caller, pb::SessionTokens) {
    let (_, email) = user(world, role).await;
    let tokens = sign_in(world, &email, PASSWORD).await;
    (world.with_secret(&tokens.access_token), tokens)
}

type Refreshed = Result<tonic::Response<pb::RefreshSessionResponse>, tonic::Status>;

async fn try_refresh(world: &World, token: &str) -> Refreshed {
    let request = pb::RefreshSessionRequest { refresh_token: token.to_owned() };
    world.nobody().sessions().refresh_session(request).await
}

async fn refresh(world: &World, token: &str) -> pb::SessionTokens {
    try_refresh(world, token).await.unwrap().into_inner().tokens.unwrap()
}

async fn list(
    caller: &Caller,
    user: &str,
) -> Result<tonic::Response<pb::ListSessionsResponse>, tonic::Status> {
    let request = pb::ListSessionsRequest { user_id: user.to_owned(), ..Default::default() };
    caller.sessions().list_sessions(request).await
}

async fn mine(caller: &Caller) -> Vec<pb::Session> {
    list(caller, "").await.unwrap().into_inner().sessions
}

fn end(session: &str) -> pb::EndSessionRequest {
    pb::EndSessionRequest { session_id: session.to_owned(), ..Default::default() }
}

async fn revision(world: &World) -> i64 {
    shared::on!(&world.db, |pool| sqlx::query_scalar("SELECT revision FROM head").fetch_one(pool).await)
        .unwrap()
}

on_both_engines! {
    async fn a_password_opens_a_session_that_every_method_accepts(world: World) {
        let before = revision(world).await;
        let tokens = sign_in(world, "Owner@LocalHost", world.password.expose_secret()).await;
        assert!(tokens.refresh_token.starts_with("tgr_") && tokens.refresh_token.len() == 47);
        assert_eq!((tokens.token_type.as_str(), tokens.user_id.as_str()), ("Bearer", world.owner.id.as_str()));
        assert!((895..=900).contains(&tokens.expires_in), "{}", tokens.expires_in);
        let owner = world.with_secret(&tokens.access_token);
        let sessions = mine(&owner).await;
        assert_eq!(sessions.len(), 1);
        let session = &sessions[0];
        assert_eq!((&session.session_id, session.current), (&tokens.session_id, true));
        assert_eq!((session.method.as_str(), &session.user_id), ("password", &world.owner.id));
        let day = session.expire_time.unwrap().seconds - session.create_time.unwrap().seconds;
        assert_eq!(day, 24 * 60 * 60);
        assert_eq!(tokens.refresh_expire_time, session.expire_time);
        refresh(world, &tokens.refresh_token).await;
        assert_eq!(revision(world).await, before, "signing in and refreshing raise no revision");
        assert!(!mine(&world.owner).await[0].current, "a key is in no session");
    }

    async fn whatever_is_wrong_the_answer_is_the_same(world: World) {
        let (user, email) = user(world, Role::Member).await;
        let without = world.user(Role::Member).await;
        let get = pb::GetUserRequest { user_id: without.id.clone() };
        let passwordless = world.owner.users().get_user(get).await.unwrap().into_inner().user.unwrap().email;
        let wrong = [
            (email.as_str(), "correct horse batterz"),
            (email.as_str(), ""),
            ("nobody@example.org", PASSWORD),
            ("", PASSWORD),
            (passwordless.as_str(), ""),
            (passwordless.as_str(), PASSWORD),
        ];
        let mut messages = std::collections::BTreeSet::new();
        for (email, password) in wrong {
            let status = try_sign_in(world, email, password).await.unwrap_err();
            messages.insert(format!("{:?} {}", status.code(), status.message()));
            assert_refused::<()>(Err(status), Code::Unauthenticated, "SIGN_IN_REFUSED");
        }
        let request = pb::UpdateUserRequest { user_id: user.id, disabled: Some(true), ..Default::default() };
        world.owner.users().update_user(request).await.unwrap();
        let status = try_sign_in(world, &email, PASSWORD).await.unwrap_err();
        messages.insert(format!("{:?} {}", status.code(), status.message()));
        assert_eq!(messages.len(), 1, "{messages:?}");
    }

    async fn a_refresh_token_works_once_and_a_copied_one_ends_the_session(world: World) {
        let (user, first) = signed_in(world, Role::Member).await;
        let second = refresh(world, &first.refresh_token).await;
        assert_eq!(first.session_id, second.session_id);
        assert_ne!(first.access_token, second.access_token);
        assert_eq!(first.refresh_expire_time, second.refresh_expire_time, "refreshing makes no session longer");
        let third = refresh(world, &second.refresh_token).await;
        let (thief, owner) = (world.with_secret(&third.access_token), world.with_secret(&second.access_token));
        assert!(list(&thief, "").await.is_ok() && list(&owner, "").await.is_ok());
        // The second token comes back, from whoever had it copied.
        assert_refused(try_refresh(world, &second.refresh_token).await, Code::Unauthenticated, "REFRESH_TOKEN_REUSED");
        for caller in [&thief, &owner, &user] {
            assert_refused(list(caller, "").await, Code::Unauthenticated, "SESSION_ENDED");
        }
        assert_refused(try_refresh(world, &third.refresh_token).await, Code::Unauthenticated, "SESSION_ENDED");
        assert_refused(try_refresh(world, &first.refresh_token).await, Code::Unauthenticated, "REFRESH_TOKEN_REUSED");
        for nothing in ["", "tgr_nothing", &first.access_token, &world.owner.secret] {
            assert_refused(try_refresh(world, nothing).await, Code::Unauthenticated, "REFRESH_TOKEN_UNKNOWN");
        }
    }

    async fn of_many_who_show_one_token_at_once_one_is_answered_and_the_session_ends(world: World) {
        let (_, tokens) = signed_in(world, Role::Member).await;
        let other = world.another().await;
        let mut all = tokio::task::JoinSet::new();
        for n in 0..8 {
            let caller = if n % 2 == 0 { world.nobody() } else { other.nobody() };
            let refresh_token = tokens.refresh_token.clone();
            all.spawn(async move { caller.sessions().refresh_session(pb::RefreshSessionRequest { refresh_token }).await });
        }
        let (good, bad): (Vec<_>, Vec<_>) = all.join_all().await.into_iter().partition(Result::is_ok);
        assert_eq!((good.len(), bad.len()), (1, 7));
        for refused in bad {
            assert_refused(refused, Code::Unauthenticated, "REFRESH_TOKEN_REUSED");
        }
        let next = good.into_iter().flatten().next().unwrap().into_inner().tokens.unwrap();
        assert_refused(try_refresh(world, &next.refresh_token).await, Code::Unauthenticated, "SESSION_ENDED");
        assert!(other.tasks.end(Duration::from_secs(5)).await);
    }

    async fn signing_out_ends_the_session_by_either_token(world: World) {
        for by_refresh_token in [false, true] {
            let (user, tokens) = signed_in(world, Role::Member).await;
            let refresh_token = if by_refresh_token { tokens.refresh_token.clone() } else { String::new() };
            let caller = if by_refresh_token { world.nobody() } else { user.clone() };
            let request = pb::SignOutRequest { refresh_token };
            caller.sessions().sign_out(request.clone()).await.unwrap();
            assert_refused(list(&user, "").await, Code::Unauthenticated, "SESSION_ENDED");
            assert_refused(try_refresh(world, &tokens.refresh_token).await, Code::Unauthenticated, "SESSION_ENDED");
            if by_refresh_token {
                caller.sessions().sign_out(request).await.unwrap();
            }
        }
        let nothing = pb::SignOutRequest::default();
        for caller in [world.nobody(), world.owner.clone(), world.service(), world.with_secret("tgk_wrong")] {
            assert_refused(caller.sessions().sign_out(nothing.clone()).await, Code::Unauthenticated, "CREDENTIAL_MISSING");
        }
        let unknown = pb::SignOutRequest { refresh_token: "tgr_nothing".to_owned() };
        assert_refused(world.nobody().sessions().sign_out(unknown).await, Code::Unauthenticated, "REFRESH_TOKEN_UNKNOWN");
    }

    async fn sessions_are_ended_by_their_owner_and_by_those_who_may(world: World) {
        let (ana, tokens) = signed_in(world, Role::Member).await;
        let (ben, _) = signed_in(world, Role::Developer).await;
        let (admin, _) = signed_in(world, Role::Admin).await;
        let owners = sign_in(world, "owner@localhost", world.password.expose_secret()).await;
        assert_missing(ben.sessions().end_session(end(&tokens.session_id)).await, "session", &tokens.session_id);
        assert_refused(list(&ben, &tokens.user_id).await, Code::PermissionDenied, "NOT_YOURSELF");
        assert_refused(
            ben.sessions().end_sessions(pb::EndSessionsRequest { user_id: tokens.user_id.clone(), ..Default::default() }).await,
            Code::PermissionDenied,
            "NOT_YOURSELF",
        );
        assert_eq!(list(&admin, &tokens.user_id).await.unwrap().into_inner().sessions.len(), 1);
        let check = pb::EndSessionRequest { validate_only: true, ..end(&tokens.session_id) };
        admin.sessions().end_session(check).await.unwrap();
        assert!(list(&ana, "").await.is_ok(), "only asked whether it could be done");
        admin.sessions().end_session(end(&tokens.session_id)).await.unwrap();
        assert_refused(list(&ana, "").await, Code::Unauthenticated, "SESSION_ENDED");
        assert!(list(&admin, &tokens.user_id).await.unwrap().into_inner().sessions.is_empty());
        // Once more changes nothing.
        let before = revision(world).await;
        admin.sessions().end_session(end(&tokens.session_id)).await.unwrap();
        assert_eq!(revision(world).await, before);
        let refused = admin.sessions().end_session(end(&owners.session_id)).await;
        assert_refused(refused, Code::PermissionDenied, "OWNER_REQUIRED");
        let all = pb::EndSessionsRequest { user_id: owners.user_id, ..Default::default() };
        assert_refused(admin.sessions().end_sessions(all).await, Code::PermissionDenied, "OWNER_REQUIRED");
        assert_invalid(admin.sessions().end_session(end("x")).await, "session_id");
        let nothing = uuid();
        assert_missing(admin.sessions().end_session(end(&nothing)).await, "session", &nothing);
    }

    async fn all_other_sessions_end_at_once(world: World) {
        let (_, email) = user(world, Role::Member).await;
        let here = sign_in(world, &email, PASSWORD).await;
        let there = [sign_in(world, &email, PASSWORD).await, sign_in(world, &email, PASSWORD).await];
        let caller = world.with_secret(&here.access_token);
        assert_eq!(mine(&caller).await.len(), 3);
        let keep = pb::EndSessionsRequest { keep_current: true, ..Default::default() };
        assert_eq!(caller.sessions().end_sessions(keep.clone()).await.unwrap().into_inner().ended, 2);
        for tokens in &there {
            let other = world.with_secret(&tokens.access_token);
            assert_refused(list(&other, "").await, Code::Unauthenticated, "SESSION_ENDED");
        }
        assert_eq!(mine(&caller).await.len(), 1);
        assert_eq!(caller.sessions().end_sessions(keep).await.unwrap().into_inner().ended, 0);
        let all = pb::EndSessionsRequest::default();
        assert_eq!(caller.sessions().end_sessions(all).await.unwrap().into_inner().ended, 1);
        assert_refused(list(&caller, "").await, Code::Unauthenticated, "SESSION_ENDED");
    }

    async fn sessions_are_listed_page_by_page(world: World) {
        let (_, email) = user(world, Role::Member).await;
        let mut made = Vec::new();
        for _ in 0..3 {
            made.push(sign_in(world, &email, PASSWORD).await);
        }
        let caller = world.with_secret(&made[0].access_token);
        let (mut found, mut page) = (Vec::new(), pb::ListSessionsRequest { page_size: 1, ..Default::default() });
        loop {
            let answer = caller.sessions().list_sessions(page.clone()).await.unwrap().into_inner();
            found.extend(answer.sessions.into_iter().map(|session| session.session_id));
            if answer.next_page_token.is_empty() {
                break;
            }
            page.page_token = answer.next_page_token;
        }
        assert_eq!(found, made.iter().map(|tokens| tokens.session_id.clone()).collect::<Vec<_>>());
    }

    async fn a_disabled_user_is_out_at_once_and_stays_out(world: World) {
        let (user, tokens) = signed_in(world, Role::Member).await;
        let set = |disabled| pb::UpdateUserRequest {
            user_id: tokens.user_id.clone(),
            disabled: Some(disabled),
            ..Default::default()
        };
        world.owner.users().update_user(set(true)).await.unwrap();
        let (_, reason) = crate::world::refusal(list(&user, "").await);
        assert!(["SESSION_ENDED", "ACCOUNT_DISABLED"].contains(&reason.as_str()), "{reason}");
        assert!(try_refresh(world, &tokens.refresh_token).await.is_err());
        world.owner.users().update_user(set(false)).await.unwrap();
        assert_refused(list(&user, "").await, Code::Unauthenticated, "SESSION_ENDED");
        assert!(try_refresh(world, &tokens.refresh_token).await.is_err());
    }

    async fn the_role_in_a_session_is_the_one_held_now(world: World) {
        let (user, tokens) = signed_in(world, Role::Member).await;
        let users = pb::ListUsersRequest::default();
        assert_refused(user.users().list_users(users.clone()).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        let promote = |role: Role| pb::UpdateUserRequest {
            user_id: tokens.user_id.clone(),
            role: Some(role.into()),
            ..Default::default()
        };
        world.owner.users().update_user(promote(Role::Admin)).await.unwrap();
        assert!(user.users().list_users(users.clone()).await.is_ok());
        world.owner.users().update_user(promote(Role::Member)).await.unwrap();
        assert_refused(user.users().list_users(users).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
    }

    async fn what_a_client_says_of_itself_is_kept_unreadable(world: World) {
        let mut request = Request::new(credentials("owner@localhost", world.password.expose_secret()));
        let agent = format!("curious browser {}", "x".repeat(300));
        request.metadata_mut().insert("user-agent", agent.parse().unwrap());
        request.metadata_mut().insert("x-forwarded-for", "203.0.113.7".parse().unwrap());
        world.nobody().sessions().sign_in(request).await.unwrap();
        let session = mine(&world.owner).await.remove(0);
        assert_eq!((session.peer_address.as_str(), session.user_agent.len()), ("203.0.113.7", 256));
        assert!(session.user_agent.starts_with("curious browser"));
        let kept: Vec<u8> =
            shared::on!(&world.db, |pool| sqlx::query_scalar("SELECT client FROM sessions").fetch_one(pool).await).unwrap();
        let plain = |text: &str| kept.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(!plain("curious") && !plain("203.0.113.7"));
        let tokens: Vec<Vec<u8>> = shared::on!(&world.db, |pool| sqlx::query_scalar("SELECT hash FROM refresh_tokens")
            .fetch_all(pool)
            .await)
        .unwrap();
        assert!(tokens.iter().all(|hash| hash.len() == 32));
    }

    async fn a_password_is_changed_by_who_knows_it(world: World) {
        let (_, email) = user(world, Role::Member).await;
        let (here, there) = (sign_in(world, &email, PASSWORD).await, sign_in(world, &email, PASSWORD).await);
        let caller = world.with_secret(&here.access_token);
        let change = |current: &str, new: &str| pb::ChangePasswordRequest {
            current_password: current.to_owned(),
            new_password: new.to_owned(),
            ..Default::default()
        };
        let new = "a different passphrase";
        for bad in ["short", "eleven char", &"x".repeat(129), &email.to_uppercase()] {
            let refused = caller.sessions().change_password(change(PASSWORD, bad)).await;
            assert_invalid(refused, "new_password");
        }
        let refused = caller.sessions().change_password(change("not it", new)).await;
        assert_refused(refused, Code::PermissionDenied, "PASSWORD_WRONG");
        let other = world.with_secret(&there.access_token);
        let request = pb::ChangePasswordRequest { request_id: uuid(), ..change(PASSWORD, new) };
        let first = caller.sessions().change_password(request.clone()).await.unwrap().into_inner();
        let again = caller.sessions().change_password(request).await.unwrap().into_inner();
        assert_eq!(first.token, again.token, "a repetition is answered as before");
        assert!(list(&caller, "").await.is_ok());
        assert_refused(list(&other, "").await, Code::Unauthenticated, "SESSION_ENDED");
        assert_refused(try_sign_in(world, &email, PASSWORD).await, Code::Unauthenticated, "SIGN_IN_REFUSED");
        sign_in(world, &email, new).await;
    }

    async fn passwords_of_others_are_set_by_those_who_may(world: World) {
        let (ana, tokens) = signed_in(world, Role::Member).await;
        let (admin, admins) = signed_in(world, Role::Admin).await;
        let set = |user: &str, new: &str| pb::SetPasswordRequest {
            user_id: user.to_owned(),
            new_password: new.to_owned(),
            ..Default::default()
        };
        let new = "a different passphrase";
        let refused = ana.sessions().set_password(set(&admins.user_id, new)).await;
        assert_refused(refused, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        let refused = admin.sessions().set_password(set(&world.owner.id, new)).await;
        assert_refused(refused, Code::PermissionDenied, "OWNER_REQUIRED");
        assert_invalid(admin.sessions().set_password(set(&admins.user_id, new)).await, "user_id");
        assert_invalid(admin.sessions().set_password(set(&tokens.user_id, "short")).await, "new_password");
        let nobody = uuid();
        assert_missing(admin.sessions().set_password(set(&nobody, new)).await, "user", &nobody);
        admin.sessions().set_password(set(&tokens.user_id, new)).await.unwrap();
        assert_refused(list(&ana, "").await, Code::Unauthenticated, "SESSION_ENDED");
    }

    async fn an_end_is_known_to_every_process_and_after_a_restart(world: World) {
        let (_, tokens) = signed_in(world, Role::Member).await;
        let (_, other_tokens) = signed_in(world, Role::Member).await;
        let running = world.another().await;
        let there = running.with_secret(&tokens.access_token);
        assert!(list(&there, "").await.is_ok(), "a token of one process is good at another");
        let ended = world.owner.sessions().end_session(end(&tokens.session_id)).await.unwrap().into_inner();
        let check = pb::CheckRequest {
            model: Some(pb::check_request::Model::ModelName("m".to_owned())),
            action: pb::Action::Use.into(),
            at_least_as_fresh: ended.token,
            ..Default::default()
        };
        running.owner.authorization().check(check).await.unwrap();
        assert_refused(list(&there, "").await, Code::Unauthenticated, "SESSION_ENDED");
        let restarted = world.another().await;
        let there = restarted.with_secret(&tokens.access_token);
        assert_refused(list(&there, "").await, Code::Unauthenticated, "SESSION_ENDED");
        assert!(list(&restarted.with_secret(&other_tokens.access_token), "").await.is_ok());
        for other in [running, restarted] {
            assert!(other.tasks.end(Duration::from_secs(5)).await);
        }
    }
}

#[tokio::test]
async fn many_failures_have_to_wait_and_the_wait_is_told() {
    let world = World::sqlite().await;
    let (_, email) = user(&world, Role::Member).await;
    for _ in 0..5 {
        assert_refused(try_sign_in(&world, &email, "wrong").await, Code::Unauthenticated, "SIGN_IN_REFUSED");
    }
    let status = try_sign_in(&world, &email, PASSWORD).await.unwrap_err();
    let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
    assert_refused::<()>(Err(status), Code::ResourceExhausted, "SIGN_IN_LIMITED");
}

#[tokio::test]
async fn a_session_is_over_when_its_time_is() {
    let config = Config {
        access_token_lifetime: Duration::from_secs(1),
        session_lifetime: Duration::from_secs(1),
        ..config()
    };
    let world =
        World::on(shared::db::Db::memory(&permissions::MIGRATIONS).await.unwrap(), None, &config).await;
    let tokens = sign_in(&world, "owner@localhost", world.password.expose_secret()).await;
    let end = shared::time::from_proto(&tokens.refresh_expire_time.unwrap()).unwrap();
    tokio::time::sleep(end.since(shared::time::now())).await;
    assert_refused(
        try_refresh(&world, &tokens.refresh_token).await,
        Code::Unauthenticated,
        "SESSION_EXPIRED",
    );
    let owner = world.with_secret(&tokens.access_token);
    assert_refused(list(&owner, "").await, Code::Unauthenticated, "TOKEN_EXPIRED");
    assert!(mine(&world.owner).await.is_empty());
    assert!(try_refresh(&world, &tokens.refresh_token).await.is_err());
}
