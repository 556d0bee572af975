//! Who gets how much while everybody wants more than there is.

use super::{
    parts::{Call, Job, Machine, State},
    world::World,
};
use crate::{Action, Class, Outcome, Settings};
use proptest::prelude::*;
use std::time::Duration;

const STEP: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_secs(100_000);

/// Brings what waits of a call to so many.
fn top_up(world: &mut World, call: &Call, most: usize) {
    let waits = |user, class| {
        move |job: &Job| {
            job.call.user == user && job.call.class == class && matches!(job.state, State::Waits { .. })
        }
    };
    for _ in world.those(waits(call.user, call.class)).len()..most {
        world.arrive(call).unwrap();
    }
    world.jobs.retain(|_, job| job.state != State::Gone);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn those_with_the_same_weight_are_never_far_apart(
        shapes in proptest::collection::vec((200..2_000_u32, 1..60_u32, any::<bool>()), 4),
    ) {
        let settings = Settings { refusing: false, band: 4_000, ..Settings::fair() };
        // Whoever starts is within the band of the least. From then on it can only gain its own prompt, and the tokens
        // of all answers that are under way, which are charged as they come: 16 of 60 tokens at most.
        let bound = settings.band + 2_000 + u64::from(settings.output_weight) * 16 * 60;
        let engines = vec![Machine::new(&[0], 8, None), Machine::new(&[0], 8, None)];
        let mut world = World::new(settings, engines);
        // All in one group, for within it they are compared.
        let calls: Vec<Call> = (0..).zip(shapes).map(|(at, (prompt, answer, streams))| {
            Call { user: 1 + 2 * at, prompt, answer, streams, patience: LONG, ..Call::default() }
        }).collect();
        for _ in 0..1_500 {
            for call in &calls {
                top_up(&mut world, call, 8);
            }
            world.pass(STEP);
            let spent = |call: &Call| world.scheduler.queues[0].shares.spent(&[1, call.user]).unwrap();
            let (least, most) = (calls.iter().map(spent).min(), calls.iter().map(spent).max());
            prop_assert!(most.unwrap() - least.unwrap() <= bound, "{least:?} and {most:?}");
        }
        prop_assert!(world.scheduler.queues[0].shares.spent(&[1, 1]).unwrap() > 5 * bound, "long enough to tell");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn charges_and_refunds_are_what_was_served(
        calls in proptest::collection::vec((1..3_000_u32, 1..80_u32, any::<bool>()), 1..40),
        failures in proptest::collection::vec((any::<usize>(), any::<bool>(), any::<bool>()), 0..200),
    ) {
        let engines = vec![Machine::new(&[0], 16, None), Machine::new(&[0], 4, None)];
        let mut world = World::new(Settings { refusing: false, ..Settings::fair() }, engines);
        let mut calls = calls.iter().cycle().map(|&(prompt, answer, streams)| {
            Call { prompt, answer, streams, patience: LONG, ..Call::default() }
        });
        // Somebody alone, with something waiting all the time: only what it spends moves its counter.
        let waits = |job: &Job| matches!(job.state, State::Waits { .. });
        let runs = |job: &Job| matches!(job.state, State::Runs { .. });
        for (of, fails, busy) in failures {
            for _ in world.those(waits).len()..8 {
                world.arrive(&calls.next().unwrap());
            }
            world.pass(STEP);
            let running = world.those(runs);
            if fails && !running.is_empty() {
                let outcome = if busy { Outcome::Busy } else { Outcome::Lost };
                world.fail(running[of % running.len()], outcome);
            }
        }
        for ticket in world.those(runs) {
            world.cancel(ticket);
        }
        let charged = world.charged.get(&1).copied();
        let spent = world.scheduler.queues.first().and_then(|queue| queue.shares.spent(&[1, 1]));
        prop_assert_eq!(spent, charged);
    }
}

#[test]
fn weights_are_parts_of_the_whole() {
    let settings = Settings { refusing: false, band: 4_000, ..Settings::fair() };
    let mut world = World::new(settings, vec![Machine::new(&[0], 16, None)]);
    for _ in 0..6_000 {
        for (user, weight) in [(1, 1), (3, 3)] {
            top_up(&mut world, &Call { user, weight, prompt: 400, patience: LONG, ..Call::default() }, 6);
        }
        world.pass(STEP);
    }
    let ratio = world.charged[&3] as f64 / world.charged[&1] as f64;
    assert!((ratio - 3.0).abs() < 0.2, "{ratio}");
}

/// What part of the starts is batch, after ten seconds, with so much of each class waiting.
fn batch_part(share: f64, interactive: usize, batch: usize) -> f64 {
    let settings = Settings { refusing: false, shares: [0.0, 0.0, 0.0, share], ..Settings::fair() };
    let mut world = World::new(settings, vec![Machine::new(&[0], 32, None), Machine::new(&[0], 32, None)]);
    for _ in 0..4_000 {
        for user in 1..5 {
            let call = Call { user, prompt: 600, answer: 20, patience: LONG, ..Call::default() };
            top_up(&mut world, &call, interactive);
            top_up(&mut world, &Call { class: Class::Batch, ..call }, batch);
        }
        let before = world.said.len();
        world.pass(STEP);
        for at in before..world.said.len() {
            if let (_, Action::Start { ticket, .. }) = world.said[at] {
                world.starts[world.jobs[&ticket].call.class.index()] +=
                    usize::from(world.now > Duration::from_secs(10));
            }
        }
    }
    let all: usize = world.starts.iter().sum();
    assert!(all > 300, "{all}");
    world.starts[Class::Batch.index()] as f64 / all as f64
}

#[test]
fn a_class_has_what_is_kept_for_it_and_no_more() {
    let part = batch_part(0.3, 4, 4);
    assert!((part - 0.3).abs() < 0.03, "{part}");
}

#[test]
fn without_a_share_the_more_urgent_go_first() {
    let part = batch_part(0.0, 4, 4);
    assert!(part < 0.02, "{part}");
}

#[test]
fn a_share_that_is_not_used_is_everybodys() {
    assert_eq!(batch_part(0.3, 4, 0), 0.0);
    assert_eq!(batch_part(0.3, 0, 4), 1.0);
}
