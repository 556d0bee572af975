//! Whatever happens, in whatever order: what the scheduler may never do, and what it must.

mod fairness;
mod learning;
mod parts;
mod retry;
mod room;
mod waits;
mod world;

use super::Scheduler;
use crate::{Action, Class, Outcome, Settings, Speed};
use parts::{Call, Machine, State};
use proptest::prelude::*;
use std::time::Duration;
use world::World;

/// What may happen; numbers choose among what is there.
#[derive(Debug, Clone)]
enum Event {
    Arrive(Call),
    Cancel(usize),
    Fail(usize, Outcome),
    Open(usize, bool),
    Resize(usize, u32),
    Jump(Duration),
}

fn call() -> impl Strategy<Value = Call> {
    let class = (0..4_usize).prop_map(|class| Class::ALL[class]);
    let prompt = prop_oneof![8 => 1..3_000_u32, 1 => Just(0), 1 => 3_000..60_000_u32];
    let answer = prop_oneof![6 => 1..60_u32, 1 => 60..400_u32];
    let patience = prop_oneof![1..500_u64, 500..60_000_u64, Just(u64::MAX)].prop_map(Duration::from_millis);
    let avoid = prop_oneof![9 => Just(None), 1 => (0..3_usize).prop_map(Some)];
    let only = prop_oneof![9 => Just(None), 1 => (0..3_usize).prop_map(Some)];
    let who = (0..4_u128, 1..4_u32, 0..2_usize, class);
    let what = (prompt, answer, any::<[bool; 2]>(), 0..4_u64);
    (who, what, patience, avoid, only).prop_map(
        |((user, weight, model, class), what, patience, avoid, only)| {
            let (prompt, answer, [streams, spare], prefix) = what;
            Call {
                user,
                weight,
                model,
                class,
                spare: spare && class == Class::Batch,
                prompt,
                answer,
                streams,
                prefix: prefix * 10,
                asks: u64::from(prompt % 7),
                patience,
                avoid,
                only,
            }
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let outcome = prop_oneof![Just(Outcome::Lost), Just(Outcome::Busy)];
    prop_oneof![
        24 => call().prop_map(Event::Arrive),
        4 => any::<usize>().prop_map(Event::Cancel),
        3 => (any::<usize>(), outcome).prop_map(|(of, outcome)| Event::Fail(of, outcome)),
        2 => (0..3_usize, any::<bool>()).prop_map(|(engine, open)| Event::Open(engine, open)),
        1 => (0..3_usize, 1..20_u32).prop_map(|(engine, requests)| Event::Resize(engine, requests)),
        1 => prop_oneof![Just(0), Just(700), Just(86_400_000)].prop_map(|ms| Event::Jump(Duration::from_millis(ms))),
    ]
}

/// Events with the time before each, much of it none.
fn events() -> impl Strategy<Value = Vec<(Duration, Event)>> {
    let time = prop_oneof![5 => Just(0), 4 => 0..30_u64, 1 => 30..3_000_u64].prop_map(Duration::from_millis);
    proptest::collection::vec((time, event()), 1..150)
}

fn settings() -> impl Strategy<Value = Settings> {
    let fair = prop_oneof![Just(Settings::fair()), Just(Settings::unfair())];
    let length = prop_oneof![Just(100_000_usize), Just(10)];
    (fair, any::<[bool; 3]>(), length, 0..4_u8).prop_map(
        |(settings, [pacing, refusing, sharing], length, few)| {
            let shares = if sharing { [0.0, 0.1, 0.0, 0.3] } else { [0.0; 4] };
            // Mostly as it is used.
            let (pacing, refusing) = (pacing || few > 0, refusing || few > 0);
            Settings { pacing, refusing, shares, length, ..settings }
        },
    )
}

/// Two engines of one model each, with little room, and one of both.
fn engines() -> Vec<Machine> {
    vec![
        Machine::new(&[0], 4, Some(20_000)),
        Machine::new(&[1], 64, None),
        Machine::new(&[0, 1], 16, Some(100_000)),
    ]
}

fn take_place(world: &mut World, event: &Event) {
    match event {
        Event::Arrive(call) => {
            world.arrive(call);
        }
        Event::Cancel(of) => {
            let those = world.those(|_| true);
            if let Some(&ticket) = those.get(of % those.len().max(1)) {
                world.cancel(ticket);
            }
        }
        Event::Fail(of, outcome) => {
            let those = world.those(|job| matches!(job.state, State::Runs { .. }));
            if let Some(&ticket) = those.get(of % those.len().max(1)) {
                world.fail(ticket, *outcome);
            }
        }
        Event::Open(engine, open) => world.open(*engine, *open),
        Event::Resize(engine, requests) => {
            world.engines[*engine].capacity.requests = *requests;
            world.tell(*engine, Speed::default());
        }
        Event::Jump(time) => world.jump(*time),
    }
}

fn run(settings: Settings, events: &[(Duration, Event)]) -> World {
    let mut world = World::new(settings, engines());
    for (time, event) in events {
        world.pass(*time);
        take_place(&mut world, event);
        world.obey();
    }
    world
}

/// What is left where nobody waits and nothing runs.
fn traces(scheduler: &Scheduler) -> [usize; 6] {
    let left = scheduler.waiting.len() + scheduler.running.len();
    let times = scheduler.expiries.len() + scheduler.agings.len();
    let waiting = scheduler.queues.iter().map(|queue| queue.shares.waiting()).sum();
    let work = scheduler.queues.iter().map(|queue| queue.backlogged()).sum();
    [left, times, waiting, work, scheduler.aside.len(), scheduler.actions.len()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// The world checks each action as it comes: capacity, where it goes, in time, once; and that nothing idles.
    #[test]
    fn every_action_is_allowed_and_none_is_missing(settings in settings(), events in events()) {
        let mut world = run(settings, &events);
        world.pass(Duration::from_secs(20));
        let starts = world.said.iter().filter(|(_, action)| matches!(action, Action::Start { .. })).count();
        let ran = world.those(|job| job.ran).len();
        prop_assert_eq!(starts, ran);
    }

    #[test]
    fn whoever_waits_is_started_or_refused_in_the_end(settings in settings(), events in events()) {
        let mut world = run(settings, &events);
        let bound = Duration::from_secs(3_600);
        for ticket in world.those(|job| job.call.patience > bound && matches!(job.state, State::Waits { .. })) {
            world.cancel(ticket);
        }
        world.pass(bound);
        prop_assert!(world.those(|job| job.state != State::Gone).is_empty());
    }

    #[test]
    fn cancelled_work_leaves_no_trace(settings in settings(), events in events()) {
        let mut world = run(settings, &events);
        world.clear();
        prop_assert_eq!(traces(&world.scheduler), [0; 6]);
        // A newcomer starts at once, as in a scheduler to which nothing ever happened.
        world.open(0, true);
        world.now += Duration::from_secs(60);
        let ticket = world.arrive(&Call { user: 9, ..Call::default() });
        world.obey();
        let started = |state| matches!(state, State::Runs { .. });
        prop_assert!(ticket.is_some_and(|ticket| started(world.jobs[&ticket].state)));
    }

    #[test]
    fn the_same_events_make_the_same_actions(settings in settings(), events in events()) {
        let (one, other) = (run(settings.clone(), &events), run(settings, &events));
        prop_assert_eq!(&one.said, &other.said);
        prop_assert_eq!(one.refused, other.refused);
        for model in world::MODELS {
            let waits = |world: &World| world.scheduler.waits(model, None, usize::MAX, world.now);
            prop_assert_eq!(waits(&one), waits(&other));
        }
    }
}
