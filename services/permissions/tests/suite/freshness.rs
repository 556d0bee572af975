//! How new an answer is: every demand a question can make, the tokens that carry one, and what is refused (P8).

use crate::world::{Caller, World, assert_invalid, assert_refused, on_both_engines, uuid};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use pb::{Action, Verdict, check_request::Model, consistency::Requirement};
use permissions::Config;
use proto::{common::v1::Role, permissions::v1 as pb};
use std::time::Duration;
use tonic::{Code, Request};
use tonic_types::StatusExt;

/// At least as fresh as this token.
pub(crate) fn fresh(token: String) -> Option<pb::Consistency> {
    wanted(Requirement::AtLeastAsFresh(token))
}

pub(crate) fn wanted(requirement: Requirement) -> Option<pb::Consistency> {
    Some(pb::Consistency { requirement: Some(requirement) })
}

fn within(millis: u64) -> Option<pb::Consistency> {
    let limit = shared::time::duration_to_proto(Duration::from_millis(millis));
    wanted(Requirement::MaxStaleness(limit))
}

fn full() -> Option<pb::Consistency> {
    wanted(Requirement::FullyConsistent(true))
}

fn ask(user: &str, model: &str, consistency: Option<pb::Consistency>) -> pb::CheckRequest {
    pb::CheckRequest {
        user_id: user.to_owned(),
        model: Some(Model::ModelId(model.to_owned())),
        action: Action::Use.into(),
        consistency,
        ..Default::default()
    }
}

async fn check(caller: &Caller, request: pb::CheckRequest) -> pb::CheckResponse {
    caller.authorization().check(request).await.unwrap().into_inner()
}

async fn verdict(caller: &Caller, request: pb::CheckRequest) -> Verdict {
    check(caller, request).await.verdict()
}

/// Never looks at the log by itself, within the time of a test.
fn sluggish() -> Config {
    let fresh_within = Duration::from_secs(600);
    Config { poll_interval: Duration::from_secs(60), fresh_within, ..crate::world::config() }
}

async fn revoke(caller: &Caller, grant: String) -> String {
    let request = pb::RevokeGrantRequest { grant_id: grant, ..Default::default() };
    caller.grants().revoke_grant(request).await.unwrap().into_inner().token
}

on_both_engines! {
    async fn a_full_question_sees_everything_committed_before_it_and_a_quick_one_need_not(world: World) {
        let (member, model) = (world.user(Role::Member).await, world.model("m").await);
        let other = world.another_with(&sluggish()).await;
        for _ in 0..20 {
            let (grant, _) = world.allow(&member.id, &model).await;
            assert_eq!(verdict(&other.owner, ask(&member.id, &model, None)).await, Verdict::Denied);
            assert_eq!(verdict(&other.owner, ask(&member.id, &model, full())).await, Verdict::Allowed);
            revoke(&world.owner, grant).await;
            assert_eq!(verdict(&other.owner, ask(&member.id, &model, None)).await, Verdict::Allowed);
            // Nothing can be older than nothing, so this is a look as well.
            assert_eq!(verdict(&other.owner, ask(&member.id, &model, within(0))).await, Verdict::Denied);
        }
        other.end().await;
    }

    async fn an_exact_revision_is_answered_from_that_revision_and_an_instant_from_what_held_then(world: World) {
        let (member, model) = (world.user(Role::Member).await, world.model("m").await);
        let mut states = Vec::new();
        for _ in 0..5 {
            let (grant, allowed) = world.allow(&member.id, &model).await;
            let then = shared::time::to_proto(shared::time::now());
            states.push((Verdict::Allowed, allowed, then));
            let denied = revoke(&world.owner, grant).await;
            states.push((Verdict::Denied, denied, shared::time::to_proto(shared::time::now())));
        }
        for (expected, token, then) in states {
            let at = wanted(Requirement::AtRevision(token.clone()));
            let answer = check(&world.owner, ask(&member.id, &model, at)).await;
            assert_eq!((answer.verdict(), &answer.token), (expected, &token));
            let at = wanted(Requirement::AtTime(then));
            let answer = check(&world.owner, ask(&member.id, &model, at)).await;
            assert_eq!((answer.verdict(), &answer.token), (expected, &token));
        }
    }

    async fn any_read_waits_for_the_revision_in_its_metadata(world: World) {
        let (member, model) = (world.user(Role::Member).await, world.model("m").await);
        let other = world.another_with(&sluggish()).await;
        let (_, token) = world.allow(&member.id, &model).await;
        let mut request = Request::new(ask(&member.id, &model, None));
        request.metadata_mut().insert("x-permissions-min-revision", token.parse().unwrap());
        let answer = other.owner.authorization().check(request).await.unwrap();
        let said = |name: &str| answer.metadata().get(name).unwrap().to_str().unwrap().to_owned();
        assert!(said("x-permissions-staleness-ms").parse::<u64>().unwrap() < 60_000);
        assert_eq!(said("x-permissions-revision"), answer.get_ref().token);
        assert_eq!(answer.into_inner().verdict(), Verdict::Allowed);
        // A read that asks the store waits as well, and takes no nonsense.
        let mut list = Request::new(pb::ListGrantsRequest::default());
        list.metadata_mut().insert("x-permissions-min-revision", "x".parse().unwrap());
        assert_invalid(other.owner.grants().list_grants(list).await, "x-permissions-min-revision");
        other.end().await;
    }

    async fn a_key_is_good_at_once_in_every_process(world: World) {
        let other = world.another_with(&sluggish()).await;
        let member = world.user(Role::Member).await;
        let there = other.with_secret(&member.secret);
        there.may("", &uuid(), Action::Use).await;
        other.end().await;
    }
}

#[tokio::test]
async fn the_future_is_no_question() {
    let world = World::sqlite().await;
    let model = world.model("m").await;
    let future = wanted(Requirement::AtTime(crate::world::in_seconds(60)));
    assert_invalid(world.owner.authorization().check(ask("", &model, future)).await, "consistency.at_time");
}

#[tokio::test]
async fn a_process_that_lost_the_store_keeps_answering_and_refuses_who_asks_for_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.db");
    let world = World::on(World::file(&path).await, None, &crate::world::config()).await;
    let (member, model) = (world.user(Role::Member).await, world.model("m").await);
    let before = check(&world.owner, ask(&member.id, &model, None)).await.token;
    world.model("n").await;
    let lost = world.another_on(World::file(&path).await, &sluggish()).await;
    let known = check(&lost.owner, ask(&member.id, &model, None)).await;
    let kept = wanted(Requirement::AtRevision(known.token.clone()));
    assert_eq!(verdict(&lost.owner, ask(&member.id, &model, kept.clone())).await, Verdict::Denied);
    lost.db.close().await;
    let (_, token) = world.allow(&member.id, &model).await;

    assert_eq!(verdict(&lost.owner, ask(&member.id, &model, None)).await, Verdict::Denied);
    assert_eq!(verdict(&lost.owner, ask(&member.id, &model, fresh(known.token))).await, Verdict::Denied);
    assert_eq!(verdict(&lost.owner, ask(&member.id, &model, within(600_000))).await, Verdict::Denied);
    // A state that was asked for lately is there, another one would have to be read.
    assert_eq!(verdict(&lost.owner, ask(&member.id, &model, kept)).await, Verdict::Denied);
    let before = wanted(Requirement::AtRevision(before));
    let refused = lost.owner.authorization().check(ask(&member.id, &model, before)).await;
    assert_refused(refused, Code::Unavailable, "STORE_UNAVAILABLE");
    for consistency in [full(), within(0)] {
        let refused = lost.owner.authorization().check(ask(&member.id, &model, consistency)).await;
        let status = refused.unwrap_err();
        assert!(status.get_error_details().retry_info().is_some());
        assert_eq!(
            (status.code(), shared::status::reason(&status).as_str()),
            (Code::Unavailable, "POLICY_STALE")
        );
    }
    let status = lost.owner.authorization().check(ask(&member.id, &model, fresh(token))).await.unwrap_err();
    assert!(status.get_error_details().retry_info().is_some());
    let reason = shared::status::reason(&status);
    assert_eq!((status.code(), reason.as_str()), (Code::Unavailable, "REVISION_NOT_YET_APPLIED"));
    lost.end().await;
}

#[tokio::test]
async fn tokens_made_up_or_of_elsewhere_are_refused_by_the_field() {
    let (world, elsewhere) = (World::sqlite().await, World::sqlite().await);
    let model = world.model("m").await;
    let own = check(&world.owner, ask("", &model, None)).await.token;
    let foreign = check(&elsewhere.owner, ask("", &model, None)).await.token;
    for requirement in [Requirement::AtLeastAsFresh, Requirement::AtRevision] {
        let asked = ask("", &model, wanted(requirement(foreign.clone())));
        let refused = world.owner.authorization().check(asked).await;
        assert_refused(refused, Code::InvalidArgument, "TOKEN_OF_ANOTHER_CLUSTER");
    }
    let mut forged = URL_SAFE_NO_PAD.decode(&own).unwrap();
    let at = forged.len() - 9;
    forged[at] += 1;
    for nonsense in ["", "x", "!!!!", "AAAA", &URL_SAFE_NO_PAD.encode(forged)] {
        let refused = world.owner.authorization().check(ask("", &model, fresh(nonsense.to_owned()))).await;
        assert_invalid(refused, "consistency.at_least_as_fresh");
    }
    for requirement in [Requirement::FullyConsistent(false), Requirement::MinimizeLatency(false)] {
        let refused = world.owner.authorization().check(ask("", &model, wanted(requirement))).await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    }
    world.sql("UPDATE head SET epoch = randomblob(16)").await;
    // The new epoch is found by looking.
    while check(&world.owner, ask("", &model, full())).await.token == own {}
    let refused = world.owner.authorization().check(ask("", &model, fresh(own))).await;
    assert_refused(refused, Code::InvalidArgument, "TOKEN_OF_ANOTHER_EPOCH");
}
