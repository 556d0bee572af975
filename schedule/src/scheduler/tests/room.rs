//! Room is used: by whom it can be, as soon as it is there.

use super::{
    parts::{Call, Machine, State},
    world::World,
};
use crate::{Class, Outcome, Settings};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

fn runs(world: &World) -> usize {
    world.those(|job| matches!(job.state, State::Runs { .. })).len()
}

#[test]
fn whole_answers_do_not_wait_for_each_other() {
    let mut world = World::new(Settings::fair(), vec![Machine::new(&[0], 64, None)]);
    let call = Call { streams: false, class: Class::Batch, prompt: 1_000, answer: 400, ..Call::default() };
    let call = Call { patience: Duration::from_secs(600), ..call };
    for _ in 0..20 {
        world.arrive(&call);
    }
    world.pass(Duration::from_secs(3));
    assert_eq!(runs(&world), 20, "each prompt is a tenth of a second, each answer several");
}

#[test]
fn whoever_may_not_go_there_lets_others_pass() {
    let mut world =
        World::new(Settings::fair(), vec![Machine::new(&[0], 64, None), Machine::new(&[0], 1, None)]);
    world.arrive(&Call { avoid: Some(0), answer: 400, ..Call::default() });
    world.obey();
    let stuck = world.arrive(&Call { avoid: Some(0), user: 2, ..Call::default() }).unwrap();
    let free = world.arrive(&Call { user: 3, ..Call::default() }).unwrap();
    world.obey();
    assert!(matches!(world.jobs[&free].state, State::Runs { engine: 0, .. }));
    assert!(matches!(world.jobs[&stuck].state, State::Waits { .. }));
    world.open(1, false);
    world.pass(Duration::from_millis(200));
    assert!(matches!(world.jobs[&stuck].state, State::Runs { engine: 0, .. }), "there is no other any more");
}

#[test]
fn whoever_must_go_to_one_engine_waits_for_that_and_lets_others_pass() {
    let mut world =
        World::new(Settings::fair(), vec![Machine::new(&[0], 64, None), Machine::new(&[0], 1, None)]);
    let first = world.arrive(&Call { only: Some(1), answer: 400, ..Call::default() }).unwrap();
    world.obey();
    assert!(matches!(world.jobs[&first].state, State::Runs { engine: 1, .. }));
    let bound = world.arrive(&Call { only: Some(1), user: 2, ..Call::default() }).unwrap();
    let free = world.arrive(&Call { user: 3, ..Call::default() }).unwrap();
    world.obey();
    assert!(matches!(world.jobs[&free].state, State::Runs { engine: 0, .. }));
    assert!(matches!(world.jobs[&bound].state, State::Waits { .. }));
    world.cancel(first);
    world.obey();
    assert!(matches!(world.jobs[&bound].state, State::Runs { engine: 1, .. }));
    let again = world.fail(bound, Outcome::Lost).unwrap();
    world.obey();
    assert!(matches!(world.jobs[&again].state, State::Runs { engine: 1, .. }), "there is no other for it");
    world.open(1, false);
    assert!(world.arrive(&Call { only: Some(1), ..Call::default() }).is_none(), "its engine is away");
    assert!(world.arrive(&Call::default()).is_some());
}

#[test]
fn a_start_that_was_lost_costs_nothing() {
    let mut world = World::new(Settings::fair(), vec![Machine::new(&[0], 1, None)]);
    for _ in 0..50 {
        let ticket = world.arrive(&Call { user: 2, prompt: 4_000, ..Call::default() }).unwrap();
        world.obey();
        assert!(matches!(world.jobs[&ticket].state, State::Runs { .. }));
        let again = world.fail(ticket, Outcome::Lost).unwrap();
        world.cancel(again);
    }
    let busy = world.arrive(&Call::default()).unwrap();
    world.obey();
    let held = world.scheduler.queues[0].shares.hold(&[]);
    let unlucky = world.arrive(&Call { user: 2, ..Call::default() }).unwrap();
    let other = world.arrive(&Call { user: 4, class: Class::System, ..Call::default() }).unwrap();
    assert_eq!(world.scheduler.queues[0].shares.spent(&[0, 2]), Some(0));
    world.scheduler.queues[0].shares.release(held);
    world.cancel(busy);
    world.obey();
    assert!(matches!(world.jobs[&other].state, State::Runs { .. }));
    assert!(matches!(world.jobs[&unlucky].state, State::Waits { .. }));
}

#[test]
fn batch_work_makes_room_at_most_twice() {
    let mut world = World::new(Settings::fair(), vec![Machine::new(&[0], 64, None)]);
    let batch =
        Call { class: Class::Batch, prompt: 40_000, patience: Duration::from_secs(600), ..Call::default() };
    world.arrive(&batch);
    world.obey();
    for user in 2..40 {
        world.arrive(&Call { user, ..Call::default() });
        world.pass(Duration::from_millis(600));
    }
    let stops = world.said.iter().filter(|(_, action)| matches!(action, crate::Action::Stop { .. })).count();
    assert_eq!(stops, 2);
    world.pass(Duration::from_secs(60));
    let done = world.those(|job| job.call.class == Class::Batch && job.made.tokens() == job.call.answer);
    assert_eq!(done.len(), 1, "and it is served all the same");
}

#[test]
fn an_idle_engine_does_not_idle_for_somebody_who_may_not_go_there() {
    for avoid in [0, 1] {
        let mut world =
            World::new(Settings::fair(), vec![Machine::new(&[0], 64, None), Machine::new(&[0], 64, None)]);
        // An answer that cannot wait for a long prompt, at the engine that is not to be avoided.
        world.arrive(&Call { avoid: Some(avoid), answer: 400, ..Call::default() });
        world.pass(Duration::from_millis(100));
        world.arrive(&Call { avoid: Some(avoid), class: Class::System, prompt: 30_000, ..Call::default() });
        let free = world.arrive(&Call { user: 3, ..Call::default() }).unwrap();
        world.obey();
        assert!(matches!(world.jobs[&free].state, State::Runs { .. }), "the world checks that nothing idles");
    }
}

#[test]
fn no_more_is_held_than_is_allowed_whatever_the_engine_takes() {
    let mut world = World::new(Settings::fair(), vec![Machine::new(&[0], 64, None)]);
    let call = Call { prompt: 10, answer: 4_000, patience: Duration::from_secs(600), ..Call::default() };
    let call = Call { streams: false, class: Class::Batch, ..call };
    let moment = Duration::from_millis(500);
    world.scheduler.limit_to(0, Some(2));
    for _ in 0..10 {
        world.arrive(&call);
    }
    world.pass(moment);
    assert_eq!(runs(&world), 2);
    world.scheduler.limit_to(0, Some(0));
    let ran = world.those(|job| matches!(job.state, State::Runs { .. }));
    world.cancel(ran[0]);
    world.pass(moment);
    assert_eq!(runs(&world), 1, "what runs goes on, and nothing joins it");
    assert!(world.scheduler.backlog("small", world.now).is_some_and(|wait| wait > Duration::ZERO));
    world.scheduler.limit_to(0, None);
    world.pass(moment);
    assert_eq!(runs(&world), 9);
    world.open(0, false);
    assert_eq!(world.scheduler.backlog("small", world.now), None);
}

/// Whoever waits who sent this call.
fn waits(world: &World, user: u128) -> usize {
    world.those(|job| job.call.user == user && matches!(job.state, State::Waits { .. })).len()
}

#[test]
fn spare_work_leaves_time_for_whoever_comes_next() {
    let settings = Settings { spare: Duration::from_secs(2), ..Settings::fair() };
    let mut world = World::new(settings, vec![Machine::new(&[0], 64, None)]);
    let answered = world.arrive(&Call { answer: 400, ..Call::default() }).unwrap();
    world.pass(Duration::from_millis(100));
    let spare = Call { user: 2, class: Class::Batch, spare: true, patience: HOUR, ..Call::default() };
    world.arrive(&spare);
    world.arrive(&Call { user: 3, spare: false, ..spare.clone() });
    world.pass(Duration::from_millis(100));
    assert_eq!((waits(&world, 2), waits(&world, 3)), (1, 0), "the answer has a second to spare, not two");
    world.pass(Duration::from_secs(2));
    assert_eq!(waits(&world, 2), 0, "it gained more than a second");
    assert!(matches!(world.jobs[&answered].state, State::Runs { .. }), "and is still under way");
}

#[test]
fn spare_work_is_not_in_the_way_of_its_own_sender() {
    let settings = Settings { spare: HOUR, ..Settings::fair() };
    let mut world = World::new(settings, vec![Machine::new(&[0], 64, None)]);
    world.arrive(&Call { answer: 10_000, ..Call::default() });
    world.pass(Duration::from_millis(100));
    let line = Call { user: 2, class: Class::Batch, spare: true, patience: HOUR, ..Call::default() };
    world.arrive(&line);
    let ordinary = world.arrive(&Call { spare: false, ..line }).unwrap();
    world.pass(Duration::from_millis(100));
    assert!(world.jobs[&ordinary].ran);
    assert_eq!(waits(&world, 2), 1);
}

#[test]
fn spare_work_holds_up_nobody_who_had_more() {
    let settings = Settings { spare: HOUR, ..Settings::fair() };
    let mut world = World::new(settings, vec![Machine::new(&[0], 64, None)]);
    let long = world.arrive(&Call { answer: 10_000, ..Call::default() }).unwrap();
    world.pass(Duration::from_millis(100));
    world.arrive(&Call { user: 2, class: Class::Batch, spare: true, patience: HOUR, ..Call::default() });
    for _ in 0..40 {
        let had_much = world.arrive(&Call { user: 3, prompt: 2_900, answer: 1, ..Call::default() }).unwrap();
        world.pass(Duration::from_secs(1));
        assert!(world.jobs[&had_much].ran, "it had up to three bands of tokens more than the spare work");
    }
    assert_eq!(waits(&world, 2), 1);
    world.cancel(long);
    world.pass(Duration::from_millis(100));
    assert_eq!(waits(&world, 2), 0, "an idle engine takes it");
}
