//! One source, one replica and a bad network between them, all driven from one seed.
//!
//! After every message: the copy is exactly the state of some revision, never an earlier one than before, and
//! everything committed by the instant it claims to be complete at is in it. Once the network heals it converges.

use policy::{
    Canonical, Change, Delta, Epoch, Freshness, Heartbeat, Message, Outcome, Policy, Replica, Revision,
    Snapshot, Time,
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::world::history;

/// One log: the state and the instant of every revision, from revision zero.
struct Log {
    epoch: Epoch,
    deltas: Vec<Vec<Change>>,
    states: Vec<Policy>,
    normal: Vec<Canonical>,
    committed: Vec<Time>,
}

impl Log {
    fn new(n: u128, at: Time) -> Self {
        let (state, epoch) = (Policy::new(), Epoch(Uuid::from_u128(n)));
        let normal = vec![state.canonical()];
        Self { epoch, deltas: Vec::new(), states: vec![state], normal, committed: vec![at] }
    }

    fn head(&self) -> usize {
        self.deltas.len()
    }

    fn commit(&mut self, changes: Vec<Change>, at: Time) {
        let mut state = self.states.last().unwrap().clone();
        state.apply_all(&changes).unwrap();
        self.normal.push(state.canonical());
        self.states.push(state);
        self.deltas.push(changes);
        self.committed.push(at);
    }

    /// The same log up to a revision, as a restored database goes on from it.
    fn restored(&self, n: u128, revision: usize, at: Time) -> Self {
        let mut log = Self::new(n, at);
        self.deltas[..revision].iter().for_each(|changes| log.commit(changes.clone(), at));
        log
    }

    fn delta(&self, revision: usize, at: Time) -> Message {
        let changes = self.deltas[revision - 1].clone();
        Message::Delta(Delta { epoch: self.epoch, revision: Revision(revision as u64), at, changes })
    }

    fn snapshot(&self, at: Time) -> Message {
        let facts = self.states[self.head()].facts().collect();
        Message::Snapshot(Snapshot { epoch: self.epoch, revision: Revision(self.head() as u64), at, facts })
    }

    fn heartbeat(&self, at: Time) -> Message {
        Message::Heartbeat(Heartbeat { epoch: self.epoch, head: Revision(self.head() as u64), at })
    }
}

/// A generator small enough to be repeated from its seed forever (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }
}

struct Simulation {
    dice: Dice,
    now: Time,
    logs: Vec<Log>,
    network: Vec<Message>,
    replica: Replica,
    /// Which log and which revision the replica has reached.
    reached: (usize, u64),
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let (dice, now) = (Dice(seed | 1), Time(0));
        Self {
            dice,
            now,
            logs: vec![Log::new(1, now)],
            network: Vec::new(),
            replica: Replica::new(),
            reached: (0, 0),
        }
    }

    fn log(&self) -> &Log {
        self.logs.last().unwrap()
    }

    /// One in six is lost, one in six arrives twice.
    fn send(&mut self, message: Message) {
        match self.dice.below(6) {
            0 => {}
            1 => self.network.extend([message.clone(), message]),
            _ => self.network.push(message),
        }
    }

    fn commit(&mut self, changes: Vec<Change>) {
        let now = self.now;
        self.logs.last_mut().unwrap().commit(changes, now);
        self.send(self.log().delta(self.log().head(), now));
    }

    fn restore_database(&mut self) {
        let back = self.dice.below(self.log().head() + 1);
        let log = self.log().restored(self.logs.len() as u128 + 1, back, self.now);
        self.logs.push(log);
    }

    /// Any message on its way may be the next to arrive.
    fn deliver(&mut self) {
        if !self.network.is_empty() {
            let next = self.dice.below(self.network.len());
            let message = self.network.swap_remove(next);
            let outcome = self.replica.receive(&message, self.now);
            self.verify();
            self.answers(&outcome).into_iter().for_each(|answer| self.send(answer));
        }
    }

    fn answers(&self, outcome: &Outcome) -> Vec<Message> {
        let log = self.log();
        match outcome {
            Outcome::Applied | Outcome::Ignored => Vec::new(),
            Outcome::Behind { after } if self.replica.epoch() == Some(log.epoch) => {
                let missing = usize::try_from(after.get()).unwrap() + 1..=log.head();
                missing.map(|revision| log.delta(revision, self.now)).collect()
            }
            Outcome::Behind { .. } | Outcome::NeedSnapshot => vec![log.snapshot(self.now)],
            Outcome::Broken(error) => panic!("the source is sound: {error}"),
        }
    }

    fn verify(&mut self) {
        let Some(epoch) = self.replica.epoch() else { return };
        let number = self.logs.iter().position(|log| log.epoch == epoch).unwrap();
        let reached = (number, self.replica.revision().get());
        assert!(reached >= self.reached, "went back from {:?} to {reached:?}", self.reached);
        self.reached = reached;
        let (log, revision) = (&self.logs[number], usize::try_from(reached.1).unwrap());
        assert_eq!(self.replica.policy().canonical(), log.normal[revision]);
        let claimed = self.replica.caught_up_at().unwrap();
        assert!(claimed <= self.now);
        // In a log that was left, what came after the restore is not the replica's to know.
        let committed = log.committed.iter().filter(|at| **at < claimed).count();
        assert!(committed <= revision + 1, "claims {claimed} but misses what was committed by then");
    }

    fn heal(&mut self) {
        self.network.clear();
        let mut messages = vec![self.log().heartbeat(self.now)];
        while let Some(message) = messages.pop() {
            let outcome = self.replica.receive(&message, self.now);
            self.verify();
            let answers = self.answers(&outcome);
            if !answers.is_empty() {
                messages.push(self.log().heartbeat(self.now));
                messages.extend(answers.into_iter().rev());
            }
        }
    }
}

/// The changes that fit one after the other, whatever the log was restored to: puts and removals of users and groups
/// never depend on what is there, and the rest is tried first.
fn fitting(log: &Log, changes: &[Change]) -> Vec<Change> {
    let mut state = log.states.last().unwrap().clone();
    changes.iter().filter(|change| state.apply(change).is_ok()).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_replica_behind_a_bad_network_never_lies_never_goes_back_and_converges(
        seed in any::<u64>(), history in history(60),
    ) {
        let mut simulation = Simulation::new(seed);
        for changes in history.chunks(3) {
            simulation.now = Time(simulation.now.0 + 10);
            if simulation.dice.below(12) == 0 {
                simulation.restore_database();
            }
            let changes = fitting(simulation.log(), changes);
            simulation.commit(changes);
            for _ in 0..simulation.dice.below(6) {
                simulation.now = Time(simulation.now.0 + 1);
                let beat = simulation.log().heartbeat(simulation.now);
                simulation.send(beat);
                simulation.deliver();
                simulation.deliver();
            }
        }
        simulation.heal();
        let (replica, log) = (&simulation.replica, simulation.log());
        prop_assert_eq!(replica.epoch(), Some(log.epoch));
        prop_assert_eq!(replica.revision(), Revision(log.head() as u64));
        prop_assert_eq!(replica.caught_up_at(), Some(simulation.now));
        prop_assert_eq!(replica.freshness(simulation.now, &policy::Bounds::default()), Freshness::Fresh);
    }
}
