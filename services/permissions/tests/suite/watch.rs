//! The policy as a stream: everything once, then every change in order, from any point on, with no gap (P8).

use crate::world::{Caller, World, assert_invalid, assert_refused, on_both_engines, uuid};
use permissions::Config;
use policy::{Change, Policy};
use proto::permissions::v1::{self as pb, watch_policy_response::Message};
use shared::{db::Db, on_tx, wire};
use std::time::Duration;
use tokio::task::JoinSet;
use tonic::{Code, Streaming};
use uuid::Uuid;

/// A watcher who applies what it is sent, and fails when something does not follow.
pub(crate) struct Follower {
    stream: Streaming<pb::WatchPolicyResponse>,
    pub(crate) epoch: String,
    pub(crate) revision: u64,
    pub(crate) policy: Policy,
    facts: Vec<Change>,
    pub(crate) snapshots: usize,
    pub(crate) parts: usize,
}

impl Follower {
    /// Watches from nothing.
    pub(crate) async fn new(caller: &Caller) -> Self {
        Self::resume(caller, String::new(), 0, Policy::new()).await
    }

    /// Watches on from what is held.
    pub(crate) async fn resume(caller: &Caller, epoch: String, revision: u64, policy: Policy) -> Self {
        let request = pb::WatchPolicyRequest { epoch: epoch.clone(), after_revision: revision };
        let stream = caller.policy().watch_policy(request).await.unwrap().into_inner();
        Self { stream, epoch, revision, policy, facts: Vec::new(), snapshots: 0, parts: 0 }
    }

    /// Takes one message in. Returns whether it was a heartbeat.
    pub(crate) async fn step(&mut self) -> bool {
        let answer = self.stream.message().await.unwrap().expect("the stream goes on");
        let message = answer.message.unwrap();
        match message {
            Message::Snapshot(part) => self.take(answer.epoch, part),
            Message::Delta(delta) => {
                assert_eq!((&answer.epoch, delta.revision), (&self.epoch, self.revision + 1), "no gap");
                assert!(delta.commit_time.is_some() && !delta.changes.is_empty());
                let changes: Vec<_> =
                    delta.changes.iter().map(|change| wire::change_from_proto(change).unwrap()).collect();
                self.policy.apply_all(&changes).unwrap();
                self.revision = delta.revision;
            }
            Message::Heartbeat(beat) => {
                assert_eq!((&answer.epoch, beat.revision), (&self.epoch, self.revision));
                assert!(beat.time.is_some());
                return true;
            }
        }
        false
    }

    fn take(&mut self, epoch: String, part: pb::watch_policy_response::Snapshot) {
        assert!(part.facts.len() <= 1_000 && part.time.is_some());
        self.parts += 1;
        self.facts.extend(part.facts.iter().map(|fact| wire::change_from_proto(fact).unwrap()));
        if part.last {
            self.policy = Policy::from_facts(std::mem::take(&mut self.facts)).unwrap();
            self.snapshots += 1;
            (self.epoch, self.revision) = (epoch, part.revision);
        }
    }

    /// Follows until there is nothing more to be sent.
    pub(crate) async fn catch_up(&mut self) {
        while !self.step().await {}
    }

    /// Follows until this revision.
    pub(crate) async fn until(&mut self, revision: u64) {
        while self.revision < revision {
            self.step().await;
        }
    }
}

/// Writes so many groups, one after the other.
async fn write(caller: Caller, prefix: String, count: u32) {
    for n in 0..count {
        let request = pb::CreateGroupRequest { name: format!("{prefix}-{n}"), ..Default::default() };
        caller.groups().create_group(request).await.unwrap();
    }
}

on_both_engines! {
    async fn a_watcher_gets_a_snapshot_then_every_change_without_a_gap(world: World) {
        let other = world.another().await;
        let (mut here, mut there) = (Follower::new(&world.service()).await, Follower::new(&other.service()).await);
        here.catch_up().await;
        there.catch_up().await;
        let start = here.revision;
        let mut writers = JoinSet::new();
        for (n, caller) in [&world.owner, &other.owner, &world.owner, &other.owner].into_iter().enumerate() {
            writers.spawn(write(caller.clone(), format!("writer{n}"), 10));
        }
        here.until(start + 40).await;
        there.until(start + 40).await;
        writers.join_all().await;
        assert_eq!((here.snapshots, there.snapshots), (1, 1));
        assert_eq!(here.policy.canonical(), there.policy.canonical());
        // Who joins now is given the same.
        let mut late = Follower::new(&world.service()).await;
        late.catch_up().await;
        assert_eq!((late.revision, late.policy.canonical()), (here.revision, here.policy.canonical()));
        other.end().await;
    }

    async fn a_watcher_goes_on_from_where_it_was(world: World) {
        let mut first = Follower::new(&world.service()).await;
        first.catch_up().await;
        let (epoch, revision, policy) = (first.epoch.clone(), first.revision, first.policy.clone());
        drop(first);
        // More than is read from the log at once.
        write(world.owner.clone(), "while-away".to_owned(), 300).await;
        let mut again = Follower::resume(&world.service(), epoch.clone(), revision, policy).await;
        again.until(revision + 300).await;
        assert_eq!(again.snapshots, 0);
        let mut fresh = Follower::new(&world.service()).await;
        fresh.catch_up().await;
        assert_eq!(again.policy.canonical(), fresh.policy.canonical());
        // From the very first revision, the log alone leads to the same.
        let mut all = Follower::resume(&world.service(), epoch, 0, Policy::new()).await;
        all.until(revision + 300).await;
        assert_eq!((all.snapshots, all.policy.canonical()), (0, fresh.policy.canonical()));
    }

    async fn what_cannot_be_continued_starts_anew(world: World) {
        let mut held = Follower::new(&world.service()).await;
        held.catch_up().await;
        let foreign = Follower::resume(&world.service(), uuid(), 3, Policy::new()).await;
        let future = Follower::resume(&world.service(), held.epoch.clone(), held.revision + 1_000, Policy::new()).await;
        for mut follower in [foreign, future] {
            follower.catch_up().await;
            assert_eq!((follower.snapshots, &follower.epoch, follower.revision), (1, &held.epoch, held.revision));
        }
    }

    async fn a_restored_store_begins_a_new_epoch_for_every_watcher(world: World) {
        let mut follower = Follower::new(&world.service()).await;
        follower.catch_up().await;
        world.group("lost").await;
        follower.catch_up().await;
        let before = follower.epoch.clone();
        // As if a backup of before the group had been put back.
        world.sql("DELETE FROM groups").await;
        world.sql("DELETE FROM events WHERE revision = (SELECT revision FROM head)").await;
        world.sql("UPDATE head SET revision = revision - 1").await;
        while follower.epoch == before {
            follower.step().await;
        }
        assert_eq!(follower.snapshots, 2);
        world.group("kept").await;
        follower.catch_up().await;
        let mut fresh = Follower::new(&world.service()).await;
        fresh.catch_up().await;
        assert_eq!(follower.policy.canonical(), fresh.policy.canonical());
    }

    async fn a_large_snapshot_comes_in_parts(world: World) {
        let mut tx = world.db.begin().await.unwrap();
        for n in 0..2_100 {
            on_tx!(&mut tx, |on| sqlx::query("INSERT INTO groups (id, name, description, created_at) SELECT $1, $2, '', created_at FROM users")
                .bind(Uuid::now_v7())
                .bind(format!("group-{n}"))
                .execute(on)
                .await
                .map(drop))
            .unwrap();
        }
        tx.commit().await.unwrap();
        let other = world.another().await;
        let mut follower = Follower::new(&other.service()).await;
        follower.catch_up().await;
        assert_eq!((follower.parts, follower.snapshots), (3, 1));
        other.end().await;
    }
}

#[tokio::test]
async fn a_watcher_that_reads_nothing_for_long_misses_nothing() {
    let world = World::sqlite().await;
    let mut slow = Follower::new(&world.service()).await;
    slow.catch_up().await;
    let start = slow.revision;
    // More than the loop keeps for watchers; written behind the service's back, in one go.
    let Db::Sqlite(pool) = &world.db else { panic!("memory is SQLite") };
    let mut tx = pool.unwatched().begin().await.unwrap();
    for n in 1..=1_500_i64 {
        let group = Uuid::now_v7();
        let statement = "INSERT INTO groups (id, name, description, created_at) VALUES ($1, $2, '', 0)";
        sqlx::query(statement).bind(group).bind(format!("group-{n}")).execute(&mut *tx).await.unwrap();
        let statement = "INSERT INTO events (revision, ordinal, kind, id, action, change, actor, request_id, reason, occurred_at) \
            VALUES ((SELECT revision FROM head) + $1, 0, 'group', '', 'created', $2, 'test', '', '', 0)";
        let change = Change::PutGroup(policy::Group { id: group.into(), disabled: false });
        sqlx::query(statement).bind(n).bind(sqlx::types::Json(change)).execute(&mut *tx).await.unwrap();
    }
    sqlx::query("UPDATE head SET revision = revision + 1500").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    world.group("last").await;
    slow.until(start + 1_501).await;
    assert_eq!(slow.snapshots, 1);
}

#[tokio::test]
async fn heartbeats_go_on_while_nothing_happens() {
    let world = World::sqlite().await;
    let mut follower = Follower::new(&world.service()).await;
    follower.catch_up().await;
    assert!(follower.step().await && follower.step().await);
}

#[tokio::test]
async fn a_watch_ends_with_the_process_and_says_that_another_may_be_asked() {
    let world = World::sqlite().await;
    let mut follower = Follower::new(&world.service()).await;
    follower.catch_up().await;
    assert!(world.tasks.end(Duration::from_secs(5)).await);
    let status = loop {
        match follower.stream.message().await {
            Ok(message) => assert!(message.is_some(), "the end is not silent"),
            Err(status) => break status,
        }
    };
    assert_refused::<()>(Err(status), Code::Unavailable, "SHUTTING_DOWN");
}

#[tokio::test]
async fn without_the_store_a_watch_is_unavailable() {
    let world = World::sqlite().await;
    let config = Config { fresh_within: Duration::ZERO, ..crate::world::config() };
    let stale = world.another_with(&config).await;
    let mut watch =
        stale.service().policy().watch_policy(pb::WatchPolicyRequest::default()).await.unwrap().into_inner();
    let status = loop {
        match watch.message().await {
            Ok(message) => assert!(message.is_some()),
            Err(status) => break status,
        }
    };
    assert_refused::<()>(Err(status), Code::Unavailable, "POLICY_STALE");
    world.db.close().await;
    let refused = world.service().policy().watch_policy(pb::WatchPolicyRequest::default()).await;
    assert_refused(refused, Code::Unavailable, "POLICY_STALE");
    let malformed = pb::WatchPolicyRequest { epoch: "x".to_owned(), after_revision: 0 };
    assert_invalid(world.service().policy().watch_policy(malformed).await, "epoch");
}

impl World {
    /// The policy as the tables make it, in a form in which two can be compared.
    pub(crate) async fn policy(&self) -> policy::Canonical {
        let mut follower = Follower::new(&self.service()).await;
        follower.catch_up().await;
        let followed = follower.policy.canonical();
        let other = self.another().await;
        let mut loaded = Follower::new(&other.service()).await;
        loaded.catch_up().await;
        assert_eq!(loaded.policy.canonical(), followed, "what is loaded is what was followed");
        other.end().await;
        followed
    }
}
