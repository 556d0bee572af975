//! Who waits, as it is shown, and what comes of it.

use super::{
    parts::{Call, Machine, State},
    world::{MODELS, World},
};
use crate::{Class, Outcome, Settings, Wait, Why};
use std::time::Duration;

fn calm() -> Settings {
    Settings { refusing: false, ..Settings::fair() }
}

/// All that wait, in the order in which they are believed to start, looked at a few at a time.
fn waits(world: &World, model: usize, most: usize) -> Vec<Wait> {
    let (mut all, mut from) = (Vec::new(), None);
    loop {
        let (some, next) = world.scheduler.waits(MODELS[model], from, most, world.now);
        assert!(some.len() <= most);
        all.extend(some);
        from = next;
        if from.is_none() {
            break;
        }
    }
    if let Some(line) = world.scheduler.line(MODELS[model], world.now) {
        line.predict(&mut all, world.now);
    }
    all
}

#[test]
fn a_look_in_pieces_sees_everyone_once() {
    let mut world = World::new(calm(), vec![Machine::new(&[0, 1], 1, None)]);
    for number in 0..60 {
        let class = Class::ALL[1 + number % 3];
        let patience = Duration::from_secs(600);
        world.arrive(&Call {
            user: number as u128 % 7,
            model: number % 2,
            class,
            patience,
            ..Call::default()
        });
        world.obey();
    }
    for model in [0, 1] {
        let whole = waits(&world, model, usize::MAX);
        let waiting = world.those(|job| job.call.model == model && matches!(job.state, State::Waits { .. }));
        let mut seen: Vec<_> = whole.iter().map(|wait| wait.ticket).collect();
        seen.sort_unstable();
        assert_eq!(seen, waiting);
        assert_eq!(waits(&world, model, 7), whole);
        assert!(whole.is_sorted_by_key(|wait| wait.starts));
        assert!(whole.iter().all(|wait| wait.starts >= world.now && wait.finishes > wait.starts));
        let line = world.scheduler.line(MODELS[model], world.now).unwrap();
        assert_eq!(line.waiting.iter().sum::<usize>(), whole.len());
        assert_eq!(line.why, Some(Why::Full));
        assert_eq!(whole.iter().filter(|wait| wait.why == Why::Full).count(), 1, "one is next");
    }
}

#[test]
fn each_is_told_what_it_waits_for() {
    let settings = Settings { band: 1_000, ..calm() };
    let mut world = World::new(settings, vec![Machine::new(&[0], 1, None)]);
    let patience = Duration::from_secs(600);
    let running = world.arrive(&Call { user: 4, patience, ..Call::default() }).unwrap();
    world.obey();
    let first = world.arrive(&Call { user: 1, patience, ..Call::default() }).unwrap();
    // It has its turn before those, and its user has had more than the others from then on.
    world.arrive(&Call {
        user: 2,
        class: Class::System,
        prompt: 20_000,
        answer: 400,
        patience,
        ..Call::default()
    });
    let greedy = world.arrive(&Call { user: 2, patience, ..Call::default() }).unwrap();
    world.cancel(running);
    world.obey();
    let second = world.arrive(&Call { user: 1, patience, prompt: 900, ..Call::default() }).unwrap();
    let batch = world.arrive(&Call { user: 3, class: Class::Batch, patience, ..Call::default() }).unwrap();
    world.obey();
    let why = |world: &World, ticket| {
        waits(world, 0, 2).iter().find(|wait| wait.ticket == ticket).map(|wait| wait.why)
    };
    assert_eq!(why(&world, greedy), Some(Why::Share));
    assert_eq!(why(&world, first), Some(Why::Full));
    assert_eq!(why(&world, second), Some(Why::Turn));
    assert_eq!(why(&world, batch), Some(Why::Class));
    world.open(0, false);
    assert_eq!(why(&world, first), Some(Why::NoEngine));
}

#[test]
fn a_prompt_that_the_answers_under_way_cannot_spare_is_paced() {
    let mut world = World::new(calm(), vec![Machine::new(&[0], 64, None)]);
    world.arrive(&Call { answer: 400, ..Call::default() });
    world.pass(Duration::from_millis(100));
    let long = world.arrive(&Call { user: 2, prompt: 50_000, ..Call::default() }).unwrap();
    world.obey();
    assert_eq!(waits(&world, 0, 9).first().map(|wait| (wait.ticket, wait.why)), Some((long, Why::Paced)));
}

#[test]
fn who_hangs_up_pays_and_teaches_nothing() {
    let mut world = World::new(calm(), vec![Machine::new(&[0], 64, None)]);
    for _ in 0..50 {
        world.arrive(&Call { answer: 300, ..Call::default() });
        world.pass(Duration::from_secs(10));
    }
    let known = world.scheduler.queues[0].outputs.mean();
    assert!((known - 300.0).abs() < 60.0, "{known}");
    let share = world.scheduler.queues[0].shares.hold(&[]);
    let before = world.scheduler.queues[0].shares.spent(&[1]).unwrap_or(0);
    for _ in 0..200 {
        let ticket = world.arrive(&Call { answer: 300, prompt: 700, ..Call::default() }).unwrap();
        world.pass(Duration::from_millis(200));
        assert!(world.jobs[&ticket].made.tokens() < 100);
        world.cancel(ticket);
        world.obey();
    }
    assert_eq!(world.scheduler.queues[0].outputs.mean(), known, "nothing is learned from them");
    let spent = world.scheduler.queues[0].shares.spent(&[1]).unwrap_or(0);
    assert!(spent >= before + 200 * 700, "and what was computed for them is theirs");
    world.scheduler.queues[0].shares.release(share);
    // One whose engine failed it after the first token teaches nothing either.
    let ticket = world.arrive(&Call { answer: 300, ..Call::default() }).unwrap();
    world.pass(Duration::from_millis(200));
    world.fail(ticket, Outcome::Lost);
    assert_eq!(world.scheduler.queues[0].outputs.mean(), known);
}
