//! What is told as the time after which asking again is worth it is true: of those who come back then, nine in ten are
//! served, whether more is asked than there is for a moment or for good.

use super::{
    parts::{Call, Machine, State},
    world::World,
};
use crate::{Class, Settings, Ticket};
use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

/// Numbers in 0..1 that look random.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A request as many are: a few long, most short; three in ten interactive, two in ten batch.
fn call(numbers: &mut Numbers) -> Call {
    let class = match numbers.next() {
        part if part < 0.3 => Class::Interactive,
        part if part < 0.8 => Class::Default,
        _ => Class::Batch,
    };
    let prompt = 100.0 * 40_f64.powf(numbers.next());
    let answer = 10.0 * 20_f64.powf(numbers.next());
    let user = (20.0 * numbers.next()) as u128;
    let patience = Duration::from_secs(600);
    let asks = (numbers.next() * 1e15) as u64 + 1;
    Call { user, class, asks, prompt: prompt as u32, answer: answer as u32, patience, ..Call::default() }
}

/// Callers who do as they are told: how many were told to ask again, and how many of these were served then.
#[derive(Debug, Default)]
struct Obedience {
    told: usize,
    served: usize,
    again: usize,
}

/// `rate` says how many requests arrive in a second at each time. Everyone who is refused comes back when told.
fn obey(seed: u64, seconds: u64, rate: impl Fn(f64) -> f64) -> Obedience {
    let mut world =
        World::new(Settings::fair(), vec![Machine::new(&[0], 64, None), Machine::new(&[0], 64, None)]);
    let mut numbers = Numbers(seed);
    let mut back: BTreeMap<(Duration, usize), Call> = BTreeMap::new();
    // Of those who came back: what became of them is known when they have left the queue.
    let mut waiting: HashSet<Ticket> = HashSet::new();
    let mut obedience = Obedience::default();
    let (mut next, end) = (Duration::ZERO, Duration::from_secs(seconds));
    let mut number = 0;
    while world.now < end {
        let at = back.keys().next().map_or(next, |first| first.0.min(next));
        world.pass(at.saturating_sub(world.now));
        if at == next {
            world.arrive(&call(&mut numbers));
            next += Duration::from_secs_f64(-(1.0 - numbers.next()).ln() / rate(next.as_secs_f64()));
        } else if let Some((_, call)) = back.pop_first() {
            obedience.told += 1;
            match world.arrive(&call) {
                Some(ticket) => assert!(waiting.insert(ticket)),
                None => obedience.again += 1,
            }
        }
        world.obey();
        for (at, call, after) in world.told.drain(..) {
            number += 1;
            back.insert((at + after, number), call);
        }
        waiting.retain(|ticket| match world.jobs[ticket].state {
            State::Waits { .. } => true,
            State::Runs { .. } => {
                obedience.served += 1;
                false
            }
            State::Gone => {
                if world.jobs[ticket].ran {
                    obedience.served += 1;
                } else {
                    obedience.again += 1;
                }
                false
            }
        });
        world.jobs.retain(|_, job| job.state != State::Gone);
    }
    obedience
}

/// Nine of ten callers who come back when they were told are served, when so many requests arrive in a second.
#[track_caller]
fn holds(seconds: u64, least: usize, rate: impl Fn(f64) -> f64) {
    let seen = obey(7, seconds, rate);
    assert!(seen.told >= least, "too few were refused to say: {seen:?}");
    assert!(seen.served * 10 >= (seen.served + seen.again) * 9, "{seen:?}");
}

#[test]
fn it_holds_where_a_little_more_is_asked_than_there_is() {
    holds(80, 40, |_| 34.0);
}

#[test]
fn it_holds_where_far_more_is_asked_than_there_is() {
    holds(60, 100, |_| 50.0);
}

#[test]
fn it_holds_after_a_burst() {
    holds(110, 200, |at| if at % 60.0 < 15.0 { 80.0 } else { 8.0 });
}
