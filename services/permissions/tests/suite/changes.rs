//! Every change as it happens: nothing lost, nothing twice, and what begins or ends by time at its instant (P8).

use crate::{
    audit::{all, audit},
    time_travel::soon,
    world::{Caller, World, assert_invalid, assert_refused, grant, on_both_engines, uuid},
};
use pb::{
    Action, Effect, change_service_client::ChangeServiceClient, grant::Grantee,
    watch_changes_response::Message,
};
use policy::Change;
use proto::{common::v1::Role, permissions::v1 as pb};
use shared::{db::Db, on, time};
use sqlx::types::Json;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;
use uuid::Uuid;

pub(crate) async fn watch(
    caller: &Caller,
    token: &str,
    kinds: &[&str],
) -> Result<Streaming<pb::WatchChangesResponse>, Status> {
    let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    let request = pb::WatchChangesRequest { resume_token: token.to_owned(), kinds };
    ChangeServiceClient::new(caller.channel()).watch_changes(request).await.map(tonic::Response::into_inner)
}

/// A watcher, and what it was told.
pub(crate) struct Watcher {
    stream: Streaming<pb::WatchChangesResponse>,
    pub(crate) token: String,
    events: Vec<proto::common::v1::Event>,
    expirations: Vec<pb::watch_changes_response::Expiration>,
}

impl Watcher {
    /// Watches until the first word.
    pub(crate) async fn new(caller: &Caller, token: &str, kinds: &[&str]) -> Self {
        let stream = watch(caller, token, kinds).await.unwrap();
        let mut watcher = Self { stream, token: String::new(), events: Vec::new(), expirations: Vec::new() };
        watcher.step().await;
        watcher
    }

    /// Goes on, as after a broken connection.
    async fn reconnect(&mut self, caller: &Caller) {
        self.stream = watch(caller, &self.token, &[]).await.unwrap();
    }

    /// Takes one message in. Returns whether it was a heartbeat.
    async fn step(&mut self) -> bool {
        let answer = self.stream.message().await.unwrap().expect("the stream goes on");
        assert!(!answer.resume_token.is_empty());
        self.token = answer.resume_token;
        match answer.message.unwrap() {
            Message::Event(event) => self.events.push(*event),
            Message::Expiration(expiration) => self.expirations.push(expiration),
            Message::Heartbeat(beat) => {
                assert!(beat.time.is_some());
                return true;
            }
        }
        false
    }

    async fn until_events(&mut self, count: usize) {
        while self.events.len() < count {
            self.step().await;
        }
    }

    async fn until_expirations(&mut self, count: usize) {
        while self.expirations.len() < count {
            self.step().await;
        }
    }

    async fn quiet(&mut self) {
        while !self.step().await {}
    }
}

async fn create_grant(
    world: &World,
    user: &str,
    model: &str,
    start: Option<u64>,
    end: Option<u64>,
) -> String {
    let grant = pb::Grant {
        start_time: start.map(soon),
        expire_time: end.map(soon),
        ..grant(model, Grantee::UserId(user.to_owned()), Action::Use, Effect::Allow)
    };
    let request = pb::CreateGrantRequest { grant: Some(grant), ..Default::default() };
    world.owner.grants().create_grant(request).await.unwrap().into_inner().grant.unwrap().grant_id
}

async fn since(world: &World, revision: u64) -> Vec<proto::common::v1::Event> {
    let filter = proto::common::v1::EventFilter { from_revision: revision + 1, ..Default::default() };
    all(
        &world.owner,
        pb::ListEventsRequest { filter: Some(filter), oldest_first: true, ..Default::default() },
    )
    .await
}

async fn head(world: &World) -> u64 {
    let head: i64 =
        on!(&world.db, |pool| sqlx::query_scalar("SELECT revision FROM head").fetch_one(pool).await).unwrap();
    u64::try_from(head).unwrap()
}

on_both_engines! {
    async fn events_come_in_order_and_only_of_the_kinds_asked_for(world: World) {
        let from = head(world).await;
        let mut everything = Watcher::new(&world.owner, "", &[]).await;
        let mut grants = Watcher::new(&world.service(), "", &["grant", "model"]).await;
        let (model, user) = (world.model("m").await, world.user(Role::Auditor).await);
        world.allow(&user.id, &model).await;
        world.group("last").await;
        let expected = since(world, from).await;
        everything.until_events(expected.len()).await;
        assert_eq!(everything.events, expected);
        grants.until_events(2).await;
        grants.quiet().await;
        let wanted: Vec<_> = expected.into_iter().filter(|event| ["grant", "model"].contains(&event.kind.as_str())).collect();
        assert_eq!(grants.events, wanted);
        let shown = format!("{:?}", everything.events);
        assert!(!shown.contains("example.org") && !shown.contains("\"hash\""));
        assert!(watch(&user, "", &[]).await.is_ok());
    }

    async fn over_broken_connections_nothing_is_lost_or_told_twice(world: World) {
        let other = world.another().await;
        let from = head(world).await;
        let mut watcher = Watcher::new(&world.owner, "", &[]).await;
        let (model, user) = (world.model("m").await, world.user(Role::Member).await);
        for n in 0..12_u64 {
            create_grant(world, &user.id, &world.model(&format!("m{n}")).await, Some(10 + n), Some(60 + 7 * n)).await;
            world.group(&format!("group-{n}")).await;
            // Here and there, after any message, whatever it was.
            watcher.step().await;
            watcher.reconnect(if n % 2 == 0 { &other.owner } else { &world.owner }).await;
        }
        world.allow(&user.id, &model).await;
        let expected = since(world, from).await;
        while watcher.events.len() < expected.len() || watcher.expirations.len() < 24 {
            watcher.step().await;
            watcher.reconnect(&other.owner).await;
        }
        watcher.quiet().await;
        assert_eq!(watcher.events, expected);
        let mut told: Vec<_> = watcher.expirations.iter().map(|one| (one.id.clone(), one.began)).collect();
        told.sort();
        told.dedup();
        assert_eq!((told.len(), watcher.expirations.len()), (24, 24));
        other.end().await;
    }

    async fn what_begins_and_ends_is_told_at_its_instant(world: World) {
        let mut watcher = Watcher::new(&world.service(), "", &[]).await;
        let (model, user, group) = (world.model("m").await, world.user(Role::Member).await, world.group("g").await);
        let granted = create_grant(world, &user.id, &model, Some(200), Some(500)).await;
        let member = pb::membership::Member::UserId(user.id.clone());
        let membership = Some(pb::Membership { member: Some(member), expire_time: Some(soon(300)), ..Default::default() });
        let request = pb::AddMemberRequest { group_id: group.clone(), membership, ..Default::default() };
        world.owner.groups().add_member(request).await.unwrap();
        let request = pb::CreateKeyRequest { name: "k".to_owned(), expire_time: Some(soon(400)), ..Default::default() };
        let key = world.owner.keys().create_key(request).await.unwrap().into_inner().key.unwrap();
        watcher.until_expirations(4).await;
        watcher.quiet().await;
        let instant = |one: &pb::watch_changes_response::Expiration| time::from_proto(one.time.as_ref().unwrap());
        assert!(watcher.expirations.windows(2).all(|two| instant(&two[0]) <= instant(&two[1])));
        let mut told: Vec<_> = watcher.expirations.iter().map(|one| (one.kind.as_str(), one.id.clone(), one.began)).collect();
        told.sort();
        let expected = [("grant", granted.clone(), false), ("grant", granted, true), ("key", key.key_id, false), ("membership", group, false)];
        assert_eq!(told, expected);
        let of = |kind| watcher.expirations.iter().find(|one| one.kind == kind).unwrap();
        assert_eq!(of("membership").member, Some(pb::watch_changes_response::expiration::Member::UserId(user.id)));
        assert_eq!(of("key").time, key.expire_time);
    }

    async fn what_ended_while_nobody_watched_is_told_at_the_next_watch(world: World) {
        let watcher = Watcher::new(&world.owner, "", &[]).await;
        let token = watcher.token.clone();
        drop(watcher);
        let (model, user) = (world.model("m").await, world.user(Role::Member).await);
        let ended = create_grant(world, &user.id, &model, None, Some(80)).await;
        let revoked = create_grant(world, &user.id, &world.model("n").await, None, Some(2_000)).await;
        let request = pb::RevokeGrantRequest { grant_id: revoked.clone(), ..Default::default() };
        world.owner.grants().revoke_grant(request).await.unwrap();
        let mut later = Watcher::new(&world.owner, "", &[]).await;
        create_grant(world, &user.id, &world.model("o").await, None, Some(2_200)).await;
        later.until_expirations(1).await;
        let mut again = Watcher::new(&world.owner, &token, &[]).await;
        again.until_expirations(2).await;
        again.quiet().await;
        assert_eq!(again.expirations.len(), 2);
        assert_eq!(again.expirations[0].id, ended);
        assert!(again.expirations.iter().all(|one| one.id != revoked));
    }

    async fn tokens_of_another_store_and_nonsense_are_refused(world: World) {
        assert_invalid(watch(&world.owner, "nonsense", &[]).await.map(tonic::Response::new), "resume_token");
        let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_invalid(watch(&world.owner, "", &many).await.map(tonic::Response::new), "kinds");
        world.group("lost").await;
        let mut watcher = Watcher::new(&world.owner, "", &[]).await;
        let token = watcher.token.clone();
        // As if a backup of before the group had been put back.
        world.sql("DELETE FROM groups").await;
        world.sql("DELETE FROM events WHERE revision = (SELECT revision FROM head)").await;
        world.sql("UPDATE head SET revision = revision - 1").await;
        let status = loop {
            match watcher.stream.message().await {
                Ok(message) => assert!(message.is_some()),
                Err(status) => break status,
            }
        };
        assert_refused::<()>(Err(status), Code::Aborted, "STORE_REPLACED");
        assert_invalid(watch(&world.owner, &token, &[]).await.map(tonic::Response::new), "resume_token");
        let mut fresh = Watcher::new(&world.owner, "", &[]).await;
        world.group(&uuid()).await;
        fresh.until_events(1).await;
    }
}

#[tokio::test]
async fn who_reads_too_slowly_is_cut_and_goes_on_without_a_gap() {
    let world = World::sqlite().await;
    let mut slow = Watcher::new(&world.owner, "", &[]).await;
    slow.quiet().await;
    world.group("first").await;
    slow.until_events(1).await;
    let first = slow.events[0].revision;
    let mut quick = Watcher::new(&world.owner, "", &[]).await;
    let Db::Sqlite(pool) = &world.db else { panic!("memory is SQLite") };
    let mut tx = pool.unwatched().begin().await.unwrap();
    for n in 1..=7_000_i64 {
        let statement = "INSERT INTO events (revision, ordinal, kind, id, action, change, actor, request_id, reason, occurred_at) \
            VALUES ((SELECT revision FROM head) + $1, 0, 'group', '', 'created', $2, 'test', '', '', 0)";
        let group = policy::Group { id: Uuid::now_v7().into(), disabled: false };
        sqlx::query(statement).bind(n).bind(Json(Change::PutGroup(group))).execute(&mut *tx).await.unwrap();
    }
    sqlx::query("UPDATE head SET revision = revision + 7000").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    quick.until_events(7_000).await;
    let status = loop {
        match slow.stream.message().await {
            Ok(message) => {
                let message = message.unwrap();
                slow.token = message.resume_token;
                if let Some(Message::Event(event)) = message.message {
                    slow.events.push(*event);
                }
            }
            Err(status) => break status,
        }
    };
    let info = status.get_details_error_info().unwrap();
    assert_eq!((status.code(), info.reason.as_str()), (Code::ResourceExhausted, "WATCHER_TOO_SLOW"));
    assert_eq!(info.metadata["resume_token"], slow.token);
    slow.reconnect(&world.owner).await;
    slow.until_events(7_001).await;
    let revisions: Vec<u64> = slow.events.iter().map(|event| event.revision).collect();
    assert_eq!(revisions, (first..=first + 7_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_stops_reading_keeps_no_connection_from_the_others() {
    // There is one connection only.
    let world = World::sqlite().await;
    let token = Watcher::new(&world.owner, "", &[]).await.token;
    let mut held = Vec::new();
    for n in 0..20 {
        world.group(&format!("group-{n}")).await;
        let mut watch = watch(&world.owner, &token, &[]).await.unwrap();
        watch.message().await.unwrap().unwrap();
        let mut export =
            audit(&world.owner).export_events(pb::ExportEventsRequest::default()).await.unwrap().into_inner();
        export.message().await.unwrap().unwrap();
        let mut verify =
            audit(&world.owner).verify_chain(pb::VerifyChainRequest::default()).await.unwrap().into_inner();
        verify.message().await.unwrap().unwrap();
        held.push((watch, export, verify));
    }
    assert!(all(&world.owner, pb::ListEventsRequest::default()).await.len() >= 22);
}

#[tokio::test]
async fn heartbeats_go_on_while_nothing_happens_and_the_end_is_told() {
    let world = World::sqlite().await;
    let mut watcher = Watcher::new(&world.owner, "", &[]).await;
    assert!(watcher.step().await && watcher.step().await);
    assert!(world.tasks.end(std::time::Duration::from_secs(5)).await);
    let status = loop {
        match watcher.stream.message().await {
            Ok(message) => assert!(message.is_some(), "the end is not silent"),
            Err(status) => break status,
        }
    };
    assert_refused::<()>(Err(status), Code::Unavailable, "SHUTTING_DOWN");
}
