//! The past as it was: the fold of the log for every revision, across checkpoints, and as far back as events are
//! kept (P7).

use crate::{
    audit::{all, audit, instants, verify},
    changes::Watcher,
    replica::Things,
    watch::Follower,
    world::{World, assert_invalid, assert_refused, config, in_seconds, now, on_both_engines},
};
use permissions::{Config, Events};
use policy::{Action, Change, Policy, Time};
use proto::permissions::v1 as pb;
use rand::{SeedableRng, rngs::StdRng};
use shared::{db::Db, on, time, wire};
use sqlx::types::Json;
use std::{collections::BTreeMap, time::Duration};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A checkpoint after every seventh event.
pub(crate) fn often() -> Config {
    let events = Events { checkpoint_after: 7, look_every: Duration::from_millis(5), ..Events::default() };
    Config { events, ..config() }
}

/// Events go as soon as there is a checkpoint.
pub(crate) fn forgetful() -> Config {
    let events = Events { keep_for: Duration::from_millis(1), ..often().events };
    Config { events, ..config() }
}

/// The policy after each revision, as a watcher of it saw it.
type Past = BTreeMap<u64, Policy>;

/// Makes random changes, and remembers the policy after each.
async fn live(world: &World, seed: u64, changes: u32) -> (Things, Past) {
    live_until(world, seed, changes, 0).await
}

/// The same, and goes on until so many checkpoints are there: a slow process makes one where a quick one makes three.
async fn live_until(world: &World, seed: u64, changes: u32, wanted: u64) -> (Things, Past) {
    let mut follower = Follower::resume(&world.service(), epoch(world).await, 0, Policy::new()).await;
    let mut things = Things::new(world).await;
    let mut random = StdRng::seed_from_u64(seed);
    let mut n = 0;
    while n < changes || checkpoints(world).await < wanted {
        things.change(world, &mut random, n).await;
        n += 1;
        assert!(n < 10_000, "checkpoints are made");
    }
    let mut past = Past::from([(0, Policy::new())]);
    let head = head(world).await;
    while follower.revision < head {
        follower.step().await;
        past.insert(follower.revision, follower.policy.clone());
    }
    (things, past)
}

async fn epoch(world: &World) -> String {
    let mut follower = Follower::new(&world.service()).await;
    follower.catch_up().await;
    follower.epoch
}

pub(crate) async fn number(world: &World, query: &'static str) -> u64 {
    let number: i64 = on!(&world.db, |pool| sqlx::query_scalar(query).fetch_one(pool).await).unwrap();
    u64::try_from(number).unwrap()
}

async fn head(world: &World) -> u64 {
    number(world, "SELECT revision FROM head").await
}

pub(crate) async fn checkpoints(world: &World) -> u64 {
    number(world, "SELECT count(*) FROM checkpoints").await
}

const KINDS: [&str; 7] = ["user", "group", "membership", "model", "grant", "key", "signing_key"];

/// The facts of a kind, page by page.
async fn facts(world: &World, revision: u64, kind: &str) -> Result<(Vec<pb::PolicyChange>, u64), Status> {
    let (mut facts, mut page_token) = (Vec::new(), String::new());
    loop {
        let at = Some(pb::get_state_at_request::At::Revision(revision));
        let request = pb::GetStateAtRequest {
            at,
            kind: kind.to_owned(),
            page_size: 4,
            page_token,
            ..Default::default()
        };
        let answer = audit(&world.owner).get_state_at(request).await?.into_inner();
        assert_eq!(answer.revision, revision);
        facts.extend(answer.facts);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok((facts, answer.counts.get(kind).copied().unwrap_or_default()));
        }
    }
}

/// A fact as the past is shown: without digests.
fn shown(fact: &Change) -> pb::PolicyChange {
    let mut shown = wire::change_to_proto(fact);
    if let Some(pb::policy_change::Change::PutKey(key)) = &mut shown.change {
        key.key_hash.clear();
    }
    shown
}

async fn same(world: &World, revision: u64, policy: &Policy) {
    let mut found = 0;
    for kind in KINDS {
        let (facts, count) = facts(world, revision, kind).await.unwrap();
        assert_eq!(u64::try_from(facts.len()).unwrap(), count, "{kind} at {revision}");
        let expected: Vec<_> =
            policy.facts().map(|fact| shown(&fact)).filter(|fact| facts.contains(fact)).collect();
        assert_eq!(facts, expected, "{kind} at {revision}");
        found += facts.len();
    }
    assert_eq!(found, policy.facts().count(), "at {revision}");
}

async fn check_at(
    world: &World,
    at: pb::check_at_request::At,
    user: &str,
    model: &str,
) -> Result<bool, Status> {
    let request = pb::CheckAtRequest {
        at: Some(at),
        user_id: user.to_owned(),
        model_id: model.to_owned(),
        action: pb::Action::Use.into(),
    };
    Ok(audit(&world.owner).check_at(request).await?.into_inner().verdict() == pb::Verdict::Allowed)
}

pub(crate) async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let arrival = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), arrival).await.expect("it happens");
}

fn out_of_range<T: std::fmt::Debug>(result: Result<T, Status>) -> (String, String) {
    let status = result.unwrap_err();
    let info = status.get_details_error_info().unwrap();
    assert_eq!((status.code(), info.reason.as_str()), (Code::OutOfRange, "REVISION_NOT_KEPT"));
    (info.metadata["earliest_revision"].clone(), info.metadata["latest_revision"].clone())
}

type Cell = (String, String, i32);

/// Every permission of a policy at an instant.
fn permissions(policy: &Policy, at: Time) -> Vec<Cell> {
    let mut cells = Vec::new();
    for user in policy.users() {
        for model in policy.models() {
            for action in Action::ALL {
                if policy.check(user.id, model.id, *action, at).allowed {
                    let action = wire::action_to_proto(*action).into();
                    cells.push((user.id.to_string(), model.id.to_string(), action));
                }
            }
        }
    }
    cells
}

async fn diff(world: &World, from: u64, to: u64) -> Vec<pb::PermissionDifference> {
    use pb::diff_permissions_request::{From, To};
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::DiffPermissionsRequest {
            from: Some(From::FromRevision(from)),
            to: Some(To::ToRevision(to)),
            page_size: 3,
            page_token,
            ..Default::default()
        };
        let answer = audit(&world.owner).diff_permissions(request).await.unwrap().into_inner();
        found.extend(answer.differences);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}

async fn history(world: &World, user: &str, model: &str) -> Vec<pb::AccessInterval> {
    let request = pb::GetAccessHistoryRequest {
        user_id: user.to_owned(),
        model_id: model.to_owned(),
        ..Default::default()
    };
    let answer = audit(&world.owner).get_access_history(request).await.unwrap().into_inner();
    assert_eq!(answer.next_page_token, "");
    answer.intervals
}

/// Whether the history says that it was allowed at an instant.
fn allowed(history: &[pb::AccessInterval], at: Time) -> bool {
    let instant = |cause: &pb::PermissionCause| time::from_proto(cause.time.as_ref().unwrap()).unwrap();
    history.iter().filter(|interval| interval.action() == pb::Action::Use).any(|interval| {
        let begun = interval.begin.as_ref().is_none_or(|begin| instant(begin) <= at);
        begun && interval.end.as_ref().is_none_or(|end| at < instant(end))
    })
}

on_both_engines! {
    async fn every_revision_is_the_fold_of_the_log_up_to_it(world: World) {
        let other = world.another_with(&often()).await;
        let (things, past) = live_until(world, 23, 60, 2).await;
        assert!(past.len() > 40);
        for (revision, policy) in past.iter().step_by(3).rev().chain(past.iter().step_by(5)) {
            same(world, *revision, policy).await;
        }
        for (revision, policy) in past.iter().skip(1).step_by(7) {
            let request = pb::ListEventsRequest {
                filter: Some(proto::common::v1::EventFilter { from_revision: *revision, to_revision: *revision, ..Default::default() }),
                ..Default::default()
            };
            let at = time::from_proto(all(&world.owner, request).await[0].time.as_ref().unwrap()).unwrap();
            for (user, model) in things.users.iter().zip(things.models.iter().cycle()) {
                let expected = policy.check(user.parse().unwrap(), model.parse().unwrap(), Action::Use, at).allowed;
                let by_revision = pb::check_at_request::At::Revision(*revision);
                assert_eq!(check_at(world, by_revision, user, model).await.unwrap(), expected);
                let by_time = pb::check_at_request::At::Time(time::to_proto(at));
                assert_eq!(check_at(world, by_time, user, model).await.unwrap(), expected);
            }
        }
        other.end().await;
    }

    async fn one_thing_can_be_asked_for_and_the_future_cannot(world: World) {
        let group = world.group("team").await;
        let request = pb::GetStateAtRequest { kind: "group".to_owned(), id: group.clone(), ..Default::default() };
        let answer = audit(&world.owner).get_state_at(request).await.unwrap().into_inner();
        assert_eq!((answer.facts.len(), answer.counts["group"], answer.counts["user"]), (1, 1, 1));
        let head = head(world).await;
        let known = ("0".to_owned(), head.to_string());
        assert_eq!(out_of_range(facts(world, head + 1, "user").await), known);
        let future = Some(pb::get_state_at_request::At::Time(in_seconds(60)));
        let request = pb::GetStateAtRequest { at: future, ..Default::default() };
        assert_eq!(out_of_range(audit(&world.owner).get_state_at(request).await), known);
        let request = pb::DiffPermissionsRequest::default();
        assert_invalid(audit(&world.owner).diff_permissions(request).await, "from");
        let request = pb::DiffPermissionsRequest {
            from: Some(pb::diff_permissions_request::From::FromRevision(2)),
            to: Some(pb::diff_permissions_request::To::ToRevision(1)),
            ..Default::default()
        };
        assert_invalid(audit(&world.owner).diff_permissions(request).await, "to");
        let request = pb::GetAccessHistoryRequest { user_id: "x".to_owned(), ..Default::default() };
        assert_invalid(audit(&world.owner).get_access_history(request).await, "user_id");
        assert_eq!(audit(&world.owner).check_at(pb::CheckAtRequest::default()).await.unwrap_err().code(), Code::InvalidArgument);
    }

    async fn the_difference_of_two_points_is_that_of_their_checks_and_names_its_cause(world: World) {
        let (_, past) = live(world, 31, 120).await;
        let revisions: Vec<u64> = past.keys().copied().filter(|revision| *revision > 0).collect();
        let last = *revisions.last().unwrap();
        let mut causes = 0;
        for (from, to) in [(1, last), (last / 3, last / 2), (last / 2, last), (last, last)] {
            let at = async |revision| {
                let request = pb::GetStateAtRequest { at: Some(pb::get_state_at_request::At::Revision(revision)), ..Default::default() };
                time::from_proto(audit(&world.owner).get_state_at(request).await.unwrap().into_inner().time.as_ref().unwrap()).unwrap()
            };
            let (before, after) = (permissions(&past[&from], at(from).await), permissions(&past[&to], at(to).await));
            let mut expected: Vec<(Cell, bool)> = Vec::new();
            expected.extend(after.iter().filter(|cell| !before.contains(cell)).map(|cell| (cell.clone(), true)));
            expected.extend(before.iter().filter(|cell| !after.contains(cell)).map(|cell| (cell.clone(), false)));
            expected.sort();
            let found = diff(world, from, to).await;
            let mut cells: Vec<(Cell, bool)> = found
                .iter()
                .map(|one| ((one.user_id.clone(), one.model_id.clone(), one.action), one.verdict() == pb::Verdict::Allowed))
                .collect();
            cells.sort();
            assert_eq!(cells, expected, "{from} to {to}");
            for one in &found {
                let cause = one.cause.as_ref().unwrap();
                assert!(cause.revision > from && cause.revision <= to);
                let (user, model) = (one.user_id.parse().unwrap(), one.model_id.parse().unwrap());
                let action = wire::action_from_proto(one.action).unwrap();
                let at = time::from_proto(cause.time.as_ref().unwrap()).unwrap();
                let now = past[&cause.revision].check(user, model, action, at).allowed;
                let then = past[&(cause.revision - 1)].check(user, model, action, at).allowed;
                assert_eq!((then, now), (one.verdict() == pb::Verdict::Denied, one.verdict() == pb::Verdict::Allowed));
                causes += 1;
            }
        }
        assert!(causes > 5, "{causes} differences");
    }

    async fn the_history_of_access_is_what_checks_said_at_every_instant(world: World) {
        let (things, _) = live(world, 47, 80).await;
        let mut flips = 0;
        let instants = instants(&world.db).await;
        for user in things.users.iter().take(4) {
            for model in things.models.iter().take(3) {
                let history = history(world, user, model).await;
                flips += history.len();
                for at in instants.iter().step_by(4).flat_map(|at| [Time(at.0 - 1), *at, Time(at.0 + 1)]) {
                    let by_time = pb::check_at_request::At::Time(time::to_proto(at));
                    let said = check_at(world, by_time, user, model).await.unwrap();
                    assert_eq!(allowed(&history, at), said, "{user} {model} at {at}: {history:?}");
                }
            }
        }
        assert!(flips > 2);
    }

    async fn what_expired_is_in_the_history_with_its_instant(world: World) {
        let (model, user) = (world.model("m").await, world.user(proto::common::v1::Role::Member).await);
        let (start, end) = (soon(100), soon(300));
        let grant = pb::Grant { start_time: Some(start), expire_time: Some(end),
            ..crate::world::grant(&model, pb::grant::Grantee::UserId(user.id.clone()), pb::Action::Use, pb::Effect::Allow) };
        let request = pb::CreateGrantRequest { grant: Some(grant), ..Default::default() };
        world.owner.grants().create_grant(request).await.unwrap();
        until(async || now() > time::from_proto(&end).unwrap()).await;
        let intervals = history(world, &user.id, &model).await;
        let by_time = |at| Some(pb::PermissionCause { time: Some(at), revision: 0, ordinal: 0 });
        let expected = pb::AccessInterval { action: pb::Action::Use.into(), begin: by_time(start), end: by_time(end) };
        assert_eq!(intervals, [expected]);
        let request = pb::DiffPermissionsRequest {
            from: Some(pb::diff_permissions_request::From::FromTime(start)),
            to: Some(pb::diff_permissions_request::To::ToTime(end)),
            user_id: user.id.clone(),
            ..Default::default()
        };
        let found = audit(&world.owner).diff_permissions(request).await.unwrap().into_inner().differences;
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].verdict(), found[0].cause), (pb::Verdict::Denied, by_time(end)));
    }

    async fn what_is_said_to_be_kept_can_be_asked_about(world: World) {
        let epoch = epoch(world).await;
        let watcher = Watcher::new(&world.owner, "", &[]).await.token;
        let (things, past) = live(world, 59, 50).await;
        let other = world.another_with(&forgetful()).await;
        until(async || number(world, "SELECT count(*) FROM events").await < 7).await;
        until(async || checkpoints(world).await == 1).await;
        other.end().await;
        let (earliest, latest) = out_of_range(facts(world, 0, "user").await);
        let earliest: u64 = earliest.parse().unwrap();
        assert!(earliest > 30 && latest == head(world).await.to_string());
        for (revision, policy) in &past {
            if *revision >= earliest {
                same(world, *revision, policy).await;
            } else {
                out_of_range(facts(world, *revision, "user").await);
            }
        }
        let early = pb::check_at_request::At::Time(in_seconds(-3_600));
        out_of_range(check_at(world, early, &things.users[0], &things.models[0]).await);
        // The log and the chain go on.
        world.group("later").await;
        let found = verify(world, 0, 0).await;
        assert_eq!((found.fault, found.revision), (None, head(world).await));
        assert_eq!(verify(world, earliest + 1, 0).await.fault, None);
        let events = all(&world.owner, pb::ListEventsRequest::default()).await;
        assert!(events.iter().all(|event| event.revision > earliest) && !events.is_empty());
        let answer = audit(&world.owner).list_events(pb::ListEventsRequest::default()).await.unwrap().into_inner();
        assert_eq!(answer.earliest_revision, earliest + 1);
        history(world, &things.users[1], &things.models[1]).await;
        // Who watches from before is given everything anew, or told to ask for it.
        let mut follower = Follower::resume(&world.service(), epoch, 1, Policy::new()).await;
        follower.catch_up().await;
        assert_eq!((follower.snapshots, follower.revision), (1, head(world).await));
        let mut stream = crate::changes::watch(&world.owner, &watcher, &[]).await;
        assert_refused(stream.as_mut().map(|_| tonic::Response::new(())).map_err(|status| status.clone()), Code::OutOfRange, "REVISION_NOT_KEPT");
        let rebuilt = world.another().await;
        let mut read = Follower::new(&rebuilt.service()).await;
        read.catch_up().await;
        assert_eq!(read.policy.canonical(), follower.policy.canonical());
        rebuilt.end().await;
    }

    async fn a_log_with_a_gap_is_not_folded(world: World) {
        live(world, 3, 5).await;
        world.sql("DELETE FROM events WHERE revision = 9").await;
        assert!(facts(world, 8, "user").await.is_ok());
        for revision in [9, 12] {
            let refused = facts(world, revision, "user").await.map(tonic::Response::new);
            assert_refused(refused, Code::Internal, "STORE_CORRUPT");
        }
    }

    async fn what_is_half_deleted_is_known_from_the_next_checkpoint_on(world: World) {
        let other = world.another_with(&often()).await;
        let (_, past) = live_until(world, 61, 30, 3).await;
        other.end().await;
        // As if the process had ended between two statements.
        world.sql("DELETE FROM events WHERE revision <= (SELECT min(revision) FROM checkpoints) + 1").await;
        let second = number(world, "SELECT min(revision) FROM checkpoints \
            WHERE revision > (SELECT min(revision) FROM checkpoints)").await;
        assert_eq!(out_of_range(facts(world, second - 1, "user").await).0, second.to_string());
        same(world, second, &past[&second]).await;
        let found = verify(world, 0, 0).await;
        assert_eq!((found.fault, found.revision), (None, head(world).await));
    }

    async fn of_several_processes_one_writes_each_checkpoint(world: World) {
        let (one, two) = (world.another_with(&often()).await, world.another_with(&often()).await);
        for n in 0..40 {
            world.group(&format!("group-{n}")).await;
        }
        until(async || number(world, "SELECT coalesce(max(revision), 0) FROM checkpoints").await >= 35).await;
        let chained = number(world, "SELECT count(*) FROM checkpoints c WHERE follows = 0 OR EXISTS \
            (SELECT 1 FROM checkpoints o WHERE o.revision = c.follows)").await;
        assert_eq!(chained, checkpoints(world).await);
        let events = number(world, "SELECT count(*) FROM events").await;
        assert!(chained * 7 <= events, "no more than one for every seven events: {chained} of {events}");
        one.end().await;
        two.end().await;
    }
}

#[tokio::test]
async fn a_long_history_comes_in_pages() {
    let world = World::sqlite().await;
    let (model, user) = (world.model("m").await, world.user(proto::common::v1::Role::Member).await);
    let (granted, _) = world.allow(&user.id, &model).await;
    let begin = head(&world).await;
    // More than one page walks over, and most of what is compared for one page.
    let Db::Sqlite(pool) = &world.db else { panic!("memory is SQLite") };
    let mut tx = pool.unwatched().begin().await.unwrap();
    for n in 1..=5_100_i64 {
        let statement = "INSERT INTO events (revision, ordinal, kind, id, action, change, actor, request_id, reason, occurred_at) \
            SELECT h.revision + $1, 0, 'group', '', 'created', $2, 'test', '', '', max(e.occurred_at) FROM head h, events e \
            WHERE e.revision = h.revision";
        let group = policy::Group { id: uuid::Uuid::now_v7().into(), disabled: false };
        sqlx::query(statement).bind(n).bind(Json(Change::PutGroup(group))).execute(&mut *tx).await.unwrap();
    }
    sqlx::query("UPDATE head SET revision = revision + 5100").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let request = pb::RevokeGrantRequest { grant_id: granted, ..Default::default() };
    world.owner.grants().revoke_grant(request).await.unwrap();
    let request = pb::GetAccessHistoryRequest { user_id: user.id, model_id: model, ..Default::default() };
    let first = audit(&world.owner).get_access_history(request.clone()).await.unwrap().into_inner();
    assert!(first.intervals.is_empty() && !first.next_page_token.is_empty());
    let request = pb::GetAccessHistoryRequest { page_token: first.next_page_token, ..request };
    let second = audit(&world.owner).get_access_history(request.clone()).await.unwrap().into_inner();
    let span =
        |interval: &pb::AccessInterval| (interval.begin.unwrap().revision, interval.end.unwrap().revision);
    assert_eq!(second.intervals.iter().map(span).collect::<Vec<_>>(), [(begin, begin + 5_101)]);
    assert_eq!(second.next_page_token, "");
    let request = pb::GetAccessHistoryRequest { user_id: world.owner.id.clone(), ..request };
    assert_invalid(audit(&world.owner).get_access_history(request).await, "page_token");
}

/// An instant so many milliseconds from now.
pub(crate) fn soon(milliseconds: u64) -> prost_types::Timestamp {
    time::to_proto(now().plus(Duration::from_millis(milliseconds)))
}
