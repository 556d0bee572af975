//! The replica by example, alone behind a bad network, and as one of several that people read from.

mod cluster;
mod simulation;

use std::time::Duration;

use policy::{
    Bounds, Change, Delta, Epoch, Freshness, Heartbeat, Message, Outcome, Replica, Revision, Snapshot, Time,
};
use uuid::Uuid;

use crate::world::{key, user, user_id};

fn epoch(n: u128) -> Epoch {
    Epoch(Uuid::from_u128(n))
}

fn snapshot(of: u128, revision: u64, at: i64) -> Message {
    let facts = (0..u8::try_from(revision).unwrap()).map(|n| Change::PutUser(user(n))).collect();
    Message::Snapshot(Snapshot { epoch: epoch(of), revision: Revision(revision), at: Time(at), facts })
}

/// Revision n puts user n − 1.
fn delta(of: u128, revision: u64, at: i64) -> Message {
    let changes = vec![Change::PutUser(user(u8::try_from(revision - 1).unwrap()))];
    Message::Delta(Delta { epoch: epoch(of), revision: Revision(revision), at: Time(at), changes })
}

fn heartbeat(of: u128, head: u64, at: i64) -> Message {
    Message::Heartbeat(Heartbeat { epoch: epoch(of), head: Revision(head), at: Time(at) })
}

/// What the messages did, each received at the instant it was sent.
fn outcomes(replica: &mut Replica, messages: &[(Message, i64)]) -> Vec<Outcome> {
    messages.iter().map(|(message, now)| replica.receive(message, Time(*now))).collect()
}

#[test]
fn without_a_snapshot_there_is_nothing_to_follow_or_serve() {
    let mut replica = Replica::new();
    assert_eq!(replica.receive(&delta(1, 1, 5), Time(5)), Outcome::NeedSnapshot);
    assert_eq!(replica.receive(&heartbeat(1, 0, 5), Time(5)), Outcome::NeedSnapshot);
    assert_eq!(replica.freshness(Time(5), &Bounds::default()), Freshness::Expired);
    assert_eq!(replica.snapshot(), None);
}

#[test]
fn deltas_apply_in_order_only_and_once() {
    let mut replica = Replica::new();
    let messages = [
        (snapshot(1, 2, 10), 10),
        (delta(1, 3, 11), 11),
        (delta(1, 3, 11), 12),
        (delta(1, 6, 12), 13),
        (delta(1, 2, 9), 14),
    ];
    let behind = Outcome::Behind { after: Revision(3) };
    let expected = [Outcome::Applied, Outcome::Applied, Outcome::Ignored, behind, Outcome::Ignored];
    assert_eq!(outcomes(&mut replica, &messages), expected);
    assert_eq!(replica.revision(), Revision(3));
    assert_eq!(replica.policy().users().count(), 3);
}

#[test]
fn only_what_proves_completeness_moves_the_caught_up_instant() {
    let mut replica = Replica::new();
    replica.receive(&snapshot(1, 2, 10), Time(10));
    replica.receive(&delta(1, 3, 20), Time(20));
    assert_eq!(replica.caught_up_at(), Some(Time(10)));
    assert_eq!(replica.receive(&heartbeat(1, 4, 30), Time(30)), Outcome::Behind { after: Revision(3) });
    assert_eq!(replica.caught_up_at(), Some(Time(10)));
    assert_eq!(replica.receive(&heartbeat(1, 3, 25), Time(31)), Outcome::Applied);
    assert_eq!(replica.caught_up_at(), Some(Time(25)));
    assert_eq!(replica.receive(&heartbeat(1, 3, 24), Time(32)), Outcome::Ignored);
    assert_eq!(replica.caught_up_at(), Some(Time(25)));
}

#[test]
fn a_sender_with_a_fast_clock_cannot_make_the_copy_look_fresh_for_longer() {
    let mut replica = Replica::new();
    replica.receive(&snapshot(1, 0, 1_000_000_000), Time(10));
    assert_eq!(replica.caught_up_at(), Some(Time(10)));
}

#[test]
fn another_epoch_needs_a_snapshot_and_the_left_one_is_never_taken_up_again() {
    let mut replica = Replica::new();
    let messages = [
        (snapshot(1, 5, 10), 10),
        (heartbeat(2, 3, 20), 20),
        (delta(2, 6, 20), 20),
        (snapshot(2, 3, 21), 21),
        (snapshot(1, 9, 22), 22),
        (delta(1, 4, 22), 22),
        (snapshot(3, 9, 15), 23),
    ];
    let (applied, need, ignored) = (Outcome::Applied, Outcome::NeedSnapshot, Outcome::Ignored);
    let expected = [applied.clone(), need.clone(), need, applied, ignored.clone(), ignored.clone(), ignored];
    assert_eq!(outcomes(&mut replica, &messages), expected);
    assert_eq!((replica.epoch(), replica.revision()), (Some(epoch(2)), Revision(3)));
}

#[test]
fn a_delta_that_does_not_fit_stops_the_copy_until_a_snapshot_comes() {
    let mut replica = Replica::new();
    replica.receive(&snapshot(1, 1, 10), Time(10));
    let changes = vec![Change::RemoveUser(user_id(0)), Change::PutKey(key(1, 3))];
    let torn = Message::Delta(Delta { epoch: epoch(1), revision: Revision(2), at: Time(11), changes });
    assert_eq!(replica.receive(&torn, Time(11)), Outcome::NeedSnapshot);
    assert_eq!(replica.freshness(Time(11), &Bounds::default()), Freshness::Expired);
    assert_eq!(replica.snapshot(), None);
    assert_eq!(replica.receive(&heartbeat(1, 1, 12), Time(12)), Outcome::NeedSnapshot);
    assert_eq!(replica.receive(&snapshot(1, 1, 13), Time(13)), Outcome::Applied);
    assert_eq!(replica.policy().users().count(), 1);
    assert_eq!(replica.freshness(Time(13), &Bounds::default()), Freshness::Fresh);
}

#[test]
fn a_snapshot_that_contradicts_itself_changes_nothing() {
    let mut replica = Replica::new();
    replica.receive(&snapshot(1, 1, 10), Time(10));
    let facts = vec![Change::PutKey(key(1, 3))];
    let broken = Message::Snapshot(Snapshot { epoch: epoch(1), revision: Revision(2), at: Time(11), facts });
    assert!(matches!(replica.receive(&broken, Time(11)), Outcome::Broken(_)));
    assert_eq!((replica.revision(), replica.policy().users().count()), (Revision(1), 1));
}

#[test]
fn a_copy_is_fresh_then_stale_then_expired() {
    let bounds = Bounds::default();
    let mut replica = Replica::new();
    replica.receive(&snapshot(1, 1, 0), Time(0));
    let after = |wait| replica.freshness(Time(0).plus(wait), &bounds);
    let (fresh, quarter) = (Duration::from_secs(2), Duration::from_secs(15 * 60));
    let tick = Duration::from_micros(1);
    assert_eq!(after(fresh), Freshness::Fresh);
    assert_eq!(after(fresh + tick), Freshness::Stale { behind: fresh + tick });
    assert_eq!(after(quarter), Freshness::Stale { behind: quarter });
    assert_eq!(after(quarter + tick), Freshness::Expired);
    let strict = Bounds { serve_stale_for: Duration::ZERO, ..bounds };
    assert_eq!(replica.freshness(Time(0).plus(fresh), &strict), Freshness::Fresh);
    assert_eq!(replica.freshness(Time(0).plus(fresh + tick), &strict), Freshness::Expired);
}

#[test]
fn a_copy_kept_on_disk_is_as_old_as_it_was_and_goes_on_from_there() {
    let mut replica = Replica::new();
    replica.receive(&snapshot(1, 4, 10), Time(10));
    let kept = serde_json::to_string(&replica.snapshot().unwrap()).unwrap();
    let mut restored = Replica::restore(&serde_json::from_str(&kept).unwrap(), Time(3_000_000)).unwrap();
    assert_eq!(restored.policy(), replica.policy());
    assert_eq!((restored.revision(), restored.caught_up_at()), (Revision(4), Some(Time(10))));
    let behind = Duration::from_micros(2_999_990);
    assert_eq!(restored.freshness(Time(3_000_000), &Bounds::default()), Freshness::Stale { behind });
    assert_eq!(restored.receive(&delta(1, 5, 3_000_000), Time(3_000_001)), Outcome::Applied);
}
