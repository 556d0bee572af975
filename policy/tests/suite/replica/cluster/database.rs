//! The one truth: logs of revisions, one per epoch, that forget nothing and are searched from end to end.

use policy::{
    Canonical, Change, Delta, Epoch, Freshness, Heartbeat, Message, Policy, Replica, Revision, Snapshot, Time,
};
use uuid::Uuid;

use super::BOUNDS;

pub(super) struct Log {
    pub(super) epoch: Epoch,
    deltas: Vec<Vec<Change>>,
    states: Vec<Policy>,
    normal: Vec<Canonical>,
    committed: Vec<Time>,
}

impl Log {
    fn new(number: usize, at: Time) -> Self {
        let (state, epoch) = (Policy::new(), Epoch(Uuid::from_u128(number as u128)));
        let normal = vec![state.canonical()];
        Self { epoch, deltas: Vec::new(), states: vec![state], normal, committed: vec![at] }
    }

    pub(super) fn head_revision(&self) -> Revision {
        Revision(self.deltas.len() as u64)
    }

    pub(super) fn state(&self, revision: Revision) -> &Policy {
        &self.states[at(revision)]
    }

    pub(super) fn normal(&self, revision: Revision) -> &Canonical {
        &self.normal[at(revision)]
    }

    fn commit(&mut self, changes: Vec<Change>, now: Time) {
        let mut state = self.states.last().unwrap().clone();
        state.apply_all(&changes).unwrap();
        self.normal.push(state.canonical());
        self.states.push(state);
        self.deltas.push(changes);
        self.committed.push(now);
    }

    fn delta(&self, revision: usize, at: Time) -> Message {
        let (revision, changes) = (Revision(revision as u64), self.deltas[revision - 1].clone());
        Message::Delta(Delta { epoch: self.epoch, revision, at, changes })
    }
}

fn at(revision: Revision) -> usize {
    usize::try_from(revision.get()).unwrap()
}

pub(super) struct Database {
    logs: Vec<Log>,
}

impl Database {
    pub(super) fn new(number: usize, now: Time) -> Self {
        Self { logs: vec![Log::new(number, now)] }
    }

    pub(super) fn current(&self) -> &Log {
        self.logs.last().unwrap()
    }

    pub(super) fn log(&self, epoch: Epoch) -> &Log {
        &self.logs[self.number(epoch)]
    }

    /// Which database this was; later ones are greater.
    pub(super) fn number(&self, epoch: Epoch) -> usize {
        self.logs.iter().position(|log| log.epoch == epoch).unwrap()
    }

    pub(super) fn head(&self) -> i64 {
        i64::try_from(self.current().deltas.len()).unwrap()
    }

    pub(super) fn commit(&mut self, changes: Vec<Change>, now: Time) -> (Epoch, Revision) {
        let log = self.logs.last_mut().unwrap();
        log.commit(changes, now);
        (log.epoch, log.head_revision())
    }

    pub(super) fn last_delta(&self, now: Time) -> Message {
        self.current().delta(self.current().deltas.len(), now)
    }

    /// The changes that can be made one after the other as things are.
    pub(super) fn fitting(&self, changes: &[Change]) -> Vec<Change> {
        let mut state = self.current().states.last().unwrap().clone();
        changes.iter().filter(|change| state.apply(change).is_ok()).cloned().collect()
    }

    /// A database from an older copy takes this one's place.
    pub(super) fn restore(&mut self, back: i64, now: Time) {
        let mut log = Log::new(self.logs.len() + 1, now);
        for changes in &self.current().deltas[..usize::try_from(back).unwrap()] {
            log.commit(changes.clone(), now);
        }
        self.logs.push(log);
    }

    /// What a replica that is there needs to get here.
    pub(super) fn answer(&self, epoch: Option<Epoch>, after: Revision, now: Time) -> Vec<Message> {
        let log = self.current();
        let (epoch, known) = (log.epoch, epoch == Some(log.epoch));
        let head = log.head_revision();
        let mut messages: Vec<Message> = if known {
            (at(after) + 1..=at(head)).map(|revision| log.delta(revision, now)).collect()
        } else {
            let facts = log.state(head).facts().collect();
            vec![Message::Snapshot(Snapshot { epoch, revision: head, at: now, facts })]
        };
        messages.push(Message::Heartbeat(Heartbeat { epoch, head, at: now }));
        messages
    }

    /// A replica may call itself fresh, or stale by so much, only if nothing is missing that is older than that.
    pub(super) fn holds_against(&self, replica: &Replica, freshness: Freshness, now: Time) {
        let Some(caught_up) = replica.caught_up_at() else {
            assert_eq!(freshness, Freshness::Expired);
            return;
        };
        let behind = now.since(caught_up);
        let expected = match behind {
            _ if behind <= BOUNDS.fresh_within => Freshness::Fresh,
            _ if behind <= BOUNDS.serve_stale_for => Freshness::Stale { behind },
            _ => Freshness::Expired,
        };
        assert_eq!(freshness, expected);
        let (number, log) = (self.number(replica.epoch().unwrap()), self.log(replica.epoch().unwrap()));
        let missing = &log.committed[at(replica.revision()) + 1..];
        let newer = self.logs[number + 1..].iter().flat_map(|log| &log.committed);
        for committed in missing.iter().chain(newer) {
            assert!(
                *committed >= caught_up,
                "complete up to {caught_up}, but misses a commit of {committed}"
            );
        }
    }
}
