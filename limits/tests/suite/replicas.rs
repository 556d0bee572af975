//! Three replicas that tell each other now and then: how far they go beyond a limit together, and how they mend.

use crate::world::{at, call, requests, settings};
use limits::{Limiter, share::Heard};
use proptest::prelude::*;
use std::{collections::HashMap, time::Duration};

const SECONDS: u64 = 10;
const WINDOW: u64 = SECONDS * 1_000_000;
const MOST: u64 = 40;
/// A fifth of the limit.
const LEASE: u64 = 8;

/// What a replica told of a counter, and when.
type Told = (u64, Vec<(Duration, u32)>, u64);

/// The place through which they share, and replicas whose clocks have nothing in common.
struct World {
    replicas: Vec<(Limiter, u64)>,
    place: HashMap<(String, usize), Told>,
    now: u64,
    allowed: Vec<u64>,
}

impl World {
    fn new() -> Self {
        let replica = |number: u64| {
            let mut limiter = Limiter::new(settings(vec![requests(MOST, SECONDS)]));
            limiter.share(true, true);
            (limiter, number * 12_345_678)
        };
        let replicas = (0..3).map(replica).collect();
        Self { replicas, place: HashMap::new(), now: WINDOW * 3, allowed: Vec::new() }
    }

    fn ask(&mut self, which: usize) -> bool {
        let (limiter, skew) = &mut self.replicas[which];
        let call = call(limiter, 1);
        let allowed = limiter.enter(&call, at(self.now + *skew)).is_ok();
        if allowed {
            self.allowed.push(self.now);
        }
        allowed
    }

    /// A replica tells and hears.
    fn exchange(&mut self, which: usize) {
        let (limiter, skew) = &mut self.replicas[which];
        let moment = at(self.now + *skew);
        for report in limiter.reports(100, moment) {
            self.place.insert((report.name.clone(), which), (self.now, report.used, report.held));
            let mut heard = Heard::default();
            for ((name, from), (told, used, held)) in &self.place {
                if *name == report.name && *from != which {
                    let since = Duration::from_micros(self.now - told);
                    heard.used.extend(used.iter().map(|(age, many)| (*age + since, u64::from(*many))));
                    heard.held += held;
                }
            }
            limiter.heard(report.place, &heard, moment);
        }
    }

    /// The most there were in any window.
    fn most(&self) -> usize {
        let within =
            |start: &u64| self.allowed.iter().filter(|at| **at >= *start && **at - start < WINDOW).count();
        self.allowed.iter().map(within).max().unwrap_or(0)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Ask(usize),
    Exchange(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..3_usize).prop_map(Step::Ask),
        2 => (0..3_usize).prop_map(Step::Exchange),
        1 => (0..WINDOW / 6).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..1_500)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn never_more_than_the_limit_and_a_lease_for_each_of_the_others(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Ask(which) => drop(world.ask(which)),
                Step::Exchange(which) => world.exchange(which),
                Step::Wait(micros) => world.now += micros,
            }
        }
        let most = world.most() as u64;
        prop_assert!(most <= MOST + 2 * LEASE, "{most} were let in");
    }

    #[test]
    fn told_at_once_they_are_as_one(steps in prop::collection::vec((0..3_usize, 0..WINDOW / 20), 1..400)) {
        let mut world = World::new();
        for (which, wait) in steps {
            world.now += wait;
            let before = world.allowed.iter().filter(|at| world.now - **at < WINDOW + 3 * WINDOW / 20).count() as u64;
            for replica in 0..3 {
                // What is not news is told again, so that everybody knows everything.
                world.replicas[replica].0.tell_all();
                world.exchange(replica);
            }
            let allowed = world.ask(which);
            world.exchange(which);
            prop_assert!(allowed || before >= MOST, "refused after {before}");
        }
        prop_assert!(world.most() as u64 <= MOST, "{} were let in", world.most());
    }
}

#[test]
fn a_place_that_has_forgotten_everything_is_told_again() {
    let mut world = World::new();
    for which in 0..3 {
        for _ in 0..LEASE {
            assert!(world.ask(which));
        }
        world.exchange(which);
    }
    world.place.clear();
    for which in [0, 1, 2, 0, 1, 2] {
        world.replicas[which].0.tell_all();
        world.exchange(which);
    }
    let more = (0..100)
        .filter(|turn| {
            let allowed = world.ask(turn % 3);
            world.exchange(turn % 3);
            allowed
        })
        .count() as u64;
    assert!(more <= MOST - 3 * LEASE + 2 * LEASE, "{more} more were let in");
}

#[test]
fn alone_each_keeps_the_whole_limit_and_back_together_they_are_one_again() {
    let mut world = World::new();
    world.replicas.iter_mut().for_each(|(limiter, _)| limiter.share(false, false));
    for which in 0..3 {
        assert_eq!((0..100).filter(|_| world.ask(which)).count() as u64, MOST);
    }
    world.replicas.iter_mut().for_each(|(limiter, _)| limiter.share(true, true));
    for which in [0, 1, 2, 0, 1, 2] {
        world.exchange(which);
    }
    world.now += WINDOW + WINDOW / 5;
    world.allowed.clear();
    for turn in 0..300 {
        world.ask(turn % 3);
        world.exchange(turn % 3);
    }
    assert!((MOST..=MOST + 2 * LEASE).contains(&(world.most() as u64)), "{} were let in", world.most());
}

#[test]
fn what_others_hold_is_believed_for_ten_seconds() {
    let limit = limits::Limit { concurrent: Some(2), ..limits::Limit::default() };
    let replica = || {
        let mut limiter = Limiter::new(settings(vec![limit.clone()]));
        limiter.share(true, true);
        limiter
    };
    let mut here = replica();
    let call = call(&here, 1);
    let first = here.enter(&call, at(0)).unwrap();
    let report = here.reports(1, at(0)).remove(0);
    assert_eq!(report.held, 1);
    here.heard(report.place, &Heard { held: 1, ..Heard::default() }, at(0));
    assert!(here.enter(&call, at(1)).is_err(), "one here, one elsewhere");
    assert!(here.enter(&call, at(10_000_001)).is_ok(), "it was not heard of any more");
    here.end(&first, None, at(10_000_002));
}

#[test]
fn a_clearing_elsewhere_clears_here() {
    let mut limiter = Limiter::new(settings(vec![requests(2, SECONDS)]));
    limiter.share(true, true);
    let call = call(&limiter, 1);
    for _ in 0..2 {
        limiter.enter(&call, at(0)).unwrap();
    }
    let report = limiter.reports(1, at(0)).remove(0);
    limiter.heard(report.place, &Heard { cleared: 7, ..Heard::default() }, at(0));
    assert!(limiter.enter(&call, at(0)).is_ok());
    let report = limiter.reports(1, at(0)).remove(0);
    assert_eq!(report.cleared, 7);
}
