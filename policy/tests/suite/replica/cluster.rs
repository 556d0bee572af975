//! Several replicas of one database, and people who write to the database and read from any replica: all of it driven
//! from one seed, with messages that are lost, repeated, late or out of order, a hint channel that dies, a database
//! that is away or comes back as an older one, and replicas that start again from what they kept.
//!
//! Held against the database's own log at every read: what a token promises, how stale an answer may be, that nobody
//! sees time go back, and that who was excluded before something was opened to all stays outside.

mod database;
mod reader;

use std::{collections::BTreeMap, time::Duration};

use policy::{Bounds, Change, Epoch, Freshness, Message, Outcome, Replica, Revision, Snapshot, Time};
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::world::change;
use database::Database;
use reader::{Enemy, Reader, Seen};

const SEEDS: u64 = 32;
/// Of simulated time per seed.
const SECONDS: i64 = 90;
const MILLI: i64 = 1_000;
const BOUNDS: Bounds =
    Bounds { fresh_within: Duration::from_secs(2), serve_stale_for: Duration::from_secs(12) };

/// What is on its way, or is going to happen by itself.
enum Event {
    Arrives { at: usize, message: Message },
    Asks { from: usize, epoch: Option<Epoch>, after: Revision },
    Poll(usize),
    Write,
    Read,
    Exclude,
    Trouble,
}

struct Node {
    replica: Replica,
    /// What it last wrote to disk.
    kept: Option<Snapshot>,
}

struct Cluster {
    now: Time,
    runner: TestRunner,
    dice: u64,
    database: Database,
    nodes: Vec<Node>,
    /// By instant, and by order of sending within one.
    events: BTreeMap<(Time, u64), Event>,
    sent: u64,
    /// Until when nothing that is a hint arrives.
    hints_dead_until: Time,
    /// Until when the database does not answer.
    away_until: Time,
    readers: Vec<Reader>,
    enemies: Vec<Enemy>,
    seen: Seen,
}

impl Cluster {
    fn new(seed: u64) -> Self {
        let rng = TestRng::from_seed(RngAlgorithm::XorShift, &(u128::from(seed) + 1).to_le_bytes());
        let mut cluster = Self {
            now: Time(0),
            runner: TestRunner::new_with_rng(Config::default(), rng),
            dice: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            database: Database::new(1, Time(0)),
            nodes: Vec::new(),
            events: BTreeMap::new(),
            sent: 0,
            hints_dead_until: Time(0),
            away_until: Time(0),
            readers: vec![Reader::default(); 4],
            enemies: Vec::new(),
            seen: Seen::default(),
        };
        let count = 3 + cluster.below(3);
        cluster
            .nodes
            .resize_with(usize::try_from(count).unwrap(), || Node { replica: Replica::new(), kept: None });
        (0..cluster.nodes.len()).for_each(|node| cluster.after(0, Event::Poll(node)));
        for start in [Event::Write, Event::Read, Event::Exclude, Event::Trouble] {
            cluster.after(500 * MILLI, start);
        }
        cluster
    }

    /// A number below `n` (xorshift, so that a seed stays what it is).
    fn below(&mut self, n: i64) -> i64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        i64::try_from(self.dice % u64::try_from(n).unwrap()).unwrap()
    }

    fn one_in(&mut self, n: i64) -> bool {
        self.below(n) == 0
    }

    fn after(&mut self, micros: i64, event: Event) {
        self.sent += 1;
        self.events.insert((Time(self.now.0 + micros), self.sent), event);
    }

    /// Some are lost, some arrive twice, each takes its own time, and some take seconds.
    fn send(&mut self, event: impl Fn() -> Event) {
        let copies = if self.one_in(8) { 0 } else { 1 + i64::from(self.one_in(8)) };
        for _ in 0..copies {
            let slow = if self.one_in(20) { 4_000 } else { 60 };
            let delay = (1 + self.below(slow)) * MILLI;
            self.after(delay, event());
        }
    }

    fn run(&mut self) {
        while let Some(((at, _), event)) = self.events.pop_first() {
            if at > Time(SECONDS * 1_000 * MILLI) {
                return;
            }
            self.now = at;
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrives { at, message } => self.arrive(at, &message),
            Event::Asks { from, epoch, after } => self.answer(from, epoch, after),
            Event::Poll(node) => {
                self.ask(node);
                let pause = (80 + self.below(40)) * MILLI;
                self.after(pause, Event::Poll(node));
            }
            Event::Write => {
                self.write();
                let pause = (1 + self.below(1_500)) * MILLI;
                self.after(pause, Event::Write);
            }
            Event::Read => {
                self.read();
                let pause = (1 + self.below(60)) * MILLI;
                self.after(pause, Event::Read);
            }
            Event::Exclude => {
                self.exclude();
                let pause = (1 + self.below(9_000)) * MILLI;
                self.after(pause, Event::Exclude);
            }
            Event::Trouble => {
                self.trouble();
                let pause = (1 + self.below(12_000)) * MILLI;
                self.after(pause, Event::Trouble);
            }
        }
    }

    fn ask(&mut self, from: usize) {
        let (epoch, after) = (self.nodes[from].replica.epoch(), self.nodes[from].replica.revision());
        self.send(|| Event::Asks { from, epoch, after });
    }

    fn answer(&mut self, from: usize, epoch: Option<Epoch>, after: Revision) {
        if self.now < self.away_until {
            return;
        }
        for message in self.database.answer(epoch, after, self.now) {
            self.send(|| Event::Arrives { at: from, message: message.clone() });
        }
    }

    fn arrive(&mut self, at: usize, message: &Message) {
        let node = &mut self.nodes[at];
        let before = (node.replica.epoch(), node.replica.revision());
        let outcome = node.replica.receive(message, self.now);
        if before != (node.replica.epoch(), node.replica.revision()) {
            let log = self.database.log(node.replica.epoch().unwrap());
            assert_eq!(node.replica.policy().canonical(), *log.normal(node.replica.revision()));
        }
        match outcome {
            Outcome::Applied | Outcome::Ignored => {}
            Outcome::Behind { .. } | Outcome::NeedSnapshot => self.ask(at),
            Outcome::Broken(error) => panic!("the database is sound: {error}"),
        }
    }

    fn commit(&mut self, changes: Vec<Change>) -> Option<(Epoch, Revision)> {
        if self.now < self.away_until {
            return None;
        }
        let token = self.database.commit(changes, self.now);
        let hint = self.database.last_delta(self.now);
        for at in 0..self.nodes.len() {
            if self.now >= self.hints_dead_until {
                self.send(|| Event::Arrives { at, message: hint.clone() });
            }
        }
        Some(token)
    }

    fn write(&mut self) {
        let changes: Vec<Change> =
            (0..3).map(|_| change().new_tree(&mut self.runner).unwrap().current()).collect();
        let fitting = self.database.fitting(&changes);
        if let Some(token) = self.commit(fitting) {
            let reader = usize::try_from(self.below(4)).unwrap();
            self.readers[reader].wrote(token);
        }
    }

    /// First one person is shut out, then the thing is opened to all: two writes, the second knows of the first.
    fn exclude(&mut self) {
        let enemy = Enemy::new(self.enemies.len());
        if self.commit(enemy.world()).is_none() || self.commit(enemy.exclusion()).is_none() {
            return;
        }
        if let Some(token) = self.commit(enemy.opening()) {
            self.enemies.push(enemy.known_from(token));
        }
    }

    fn read(&mut self) {
        let (node, reader) = (self.below(self.nodes.len() as i64), self.below(4));
        let replica = &self.nodes[usize::try_from(node).unwrap()].replica;
        let freshness = replica.freshness(self.now, &BOUNDS);
        self.database.holds_against(replica, freshness, self.now);
        self.seen.note(freshness);
        if freshness != Freshness::Expired {
            self.readers[usize::try_from(reader).unwrap()].read(
                replica,
                &self.database,
                self.now,
                &mut self.seen,
            );
            for enemy in &self.enemies {
                enemy.stays_outside(replica, self.now, &mut self.seen);
            }
        }
    }

    fn trouble(&mut self) {
        let long = self.below(9_000) * MILLI;
        match self.below(6) {
            0 | 1 => self.hints_dead_until = Time(self.now.0 + 2 * long),
            2 => self.away_until = Time(self.now.0 + long),
            3 => self.away_until = Time(self.now.0 + 2 * long),
            4 => {
                let back = self.below(self.database.head() + 1);
                self.database.restore(back, self.now);
                self.seen.restored += 1;
            }
            _ => self.restart(),
        }
        for node in &mut self.nodes {
            node.kept = node.replica.snapshot().or_else(|| node.kept.take());
        }
    }

    /// A replica that was stopped goes on from what it kept, which is older than what it had served.
    fn restart(&mut self) {
        let at = usize::try_from(self.below(self.nodes.len() as i64)).unwrap();
        let node = &mut self.nodes[at];
        node.replica = match &node.kept {
            Some(kept) => Replica::restore(kept, self.now).unwrap(),
            None => Replica::new(),
        };
        self.seen.restarted += 1;
    }

    /// Nothing is lost any more and nothing new is written: everyone must get to where the database is.
    fn heal(&mut self) {
        for node in &mut self.nodes {
            let mut messages = self.database.answer(node.replica.epoch(), node.replica.revision(), self.now);
            messages.extend(self.database.answer(None, Revision(0), self.now));
            for message in messages {
                node.replica.receive(&message, self.now);
            }
            let log = self.database.current();
            assert_eq!(
                (node.replica.epoch(), node.replica.revision()),
                (Some(log.epoch), log.head_revision())
            );
            assert_eq!(node.replica.policy().canonical(), *log.normal(log.head_revision()));
            assert_eq!(node.replica.freshness(self.now, &BOUNDS), Freshness::Fresh);
        }
    }
}

#[test]
fn replicas_keep_their_promises_whatever_happens_around_them() {
    let mut seen = Seen::default();
    for seed in 0..SEEDS {
        let mut cluster = Cluster::new(seed);
        cluster.seen = seen;
        // A failure below is repeated by this seed alone.
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            cluster.run();
            cluster.heal();
        }));
        assert!(told.is_ok(), "seed {seed}");
        seen = cluster.seen;
    }
    assert!(seen.everything(), "the simulation did not meet all it is for: {seen:?}");
}
