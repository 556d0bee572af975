use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

fn two_engines(limit: u32, length: usize) -> Schedule {
    let mut schedule = Schedule::new(length);
    schedule.engine(0, vec!["m".into()], true, limit);
    schedule.engine(1, vec!["m".into()], true, limit);
    schedule
}

fn arrival(tokens: u64, now: Instant) -> Arrival<'static> {
    Arrival { model: "m", tokens, deadline: now + Duration::from_secs(60), avoid: None }
}

#[test]
fn the_engine_with_the_fewest_outstanding_tokens_is_chosen() {
    let (mut schedule, now) = (two_engines(8, 8), Instant::now());
    let engine = |verdict| match verdict {
        Verdict::Run(start) => start.engine,
        other => panic!("{other:?}"),
    };
    assert_eq!(engine(schedule.arrive(arrival(1_000, now), now)), 0);
    assert_eq!(engine(schedule.arrive(arrival(10, now), now)), 1);
    assert_eq!(engine(schedule.arrive(arrival(10, now), now)), 1);
    schedule.finished("m", 0, 1_000, now);
    assert_eq!(engine(schedule.arrive(arrival(10, now), now)), 0);
}

#[test]
fn a_retry_goes_to_another_engine_unless_there_is_none() {
    let (mut schedule, now) = (two_engines(8, 8), Instant::now());
    let again = Arrival { avoid: Some(0), ..arrival(1, now) };
    assert!(matches!(schedule.arrive(again, now), Verdict::Run(Start { engine: 1, .. })));
    schedule.engine(1, vec!["m".into()], false, 8);
    assert!(matches!(schedule.arrive(again, now), Verdict::Run(Start { engine: 0, .. })));
}

#[test]
fn a_full_queue_refuses_and_says_when() {
    let (mut schedule, now) = (two_engines(1, 1), Instant::now());
    for _ in 0..2 {
        assert!(matches!(schedule.arrive(arrival(1, now), now), Verdict::Run(_)));
    }
    assert!(matches!(schedule.arrive(arrival(1, now), now), Verdict::Wait(_)));
    assert!(
        matches!(schedule.arrive(arrival(1, now), now), Verdict::Full(after) if after >= Duration::from_secs(1))
    );
    assert_eq!(schedule.arrive(Arrival { model: "other", ..arrival(1, now) }, now), Verdict::NoEngine);
}

#[test]
fn what_is_past_its_deadline_does_not_start_and_holds_nobody_up() {
    let (mut schedule, now) = (two_engines(1, 9), Instant::now());
    for _ in 0..2 {
        schedule.arrive(arrival(1, now), now);
    }
    let soon = Arrival { deadline: now + Duration::from_secs(1), ..arrival(1, now) };
    schedule.arrive(soon, now);
    let Verdict::Wait(patient) = schedule.arrive(arrival(1, now), now) else { panic!() };
    let later = now + Duration::from_secs(2);
    schedule.finished("m", 0, 1, later);
    assert_eq!(schedule.start(later).map(|start| start.ticket), Some(patient));
    assert_eq!(schedule.start(later), None);
}

#[derive(Debug, Clone)]
enum Step {
    Arrive(u64),
    Finish(usize),
    Cancel(usize),
    Health(EngineId, bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u64..500).prop_map(Step::Arrive),
        3 => (0usize..50).prop_map(Step::Finish),
        1 => (0usize..50).prop_map(Step::Cancel),
        1 => (0usize..2, any::<bool>()).prop_map(|(engine, healthy)| Step::Health(engine, healthy)),
    ]
}

proptest! {
    /// Capacity is never exceeded, order is kept, nothing waits while something could run, and the ledger balances.
    #[test]
    fn random_histories_keep_the_rules(steps in proptest::collection::vec(step(), 1..200)) {
        let (mut schedule, now) = (two_engines(3, 10), Instant::now());
        let mut running: Vec<(EngineId, u64)> = Vec::new();
        let mut waiting: VecDeque<(Ticket, u64)> = VecDeque::new();
        let mut healthy = [true, true];
        for step in steps {
            match step {
                Step::Arrive(tokens) => match schedule.arrive(arrival(tokens, now), now) {
                    Verdict::Run(start) => {
                        prop_assert!(waiting.is_empty(), "overtook the queue");
                        running.push((start.engine, tokens));
                    }
                    Verdict::Wait(ticket) => waiting.push_back((ticket, tokens)),
                    Verdict::Full(_) => prop_assert_eq!(waiting.len(), 10),
                    Verdict::NoEngine => prop_assert_eq!(healthy, [false, false]),
                },
                Step::Finish(index) if !running.is_empty() => {
                    let (engine, tokens) = running.swap_remove(index % running.len());
                    schedule.finished("m", engine, tokens, now);
                }
                Step::Cancel(index) if !waiting.is_empty() => {
                    let (ticket, _) = waiting.remove(index % waiting.len()).unwrap();
                    schedule.cancel("m", ticket);
                }
                Step::Health(engine, well) => {
                    healthy[engine] = well;
                    schedule.engine(engine, vec!["m".into()], well, 3);
                }
                _ => {}
            }
            while let Some(start) = schedule.start(now) {
                let (ticket, tokens) = waiting.pop_front().unwrap();
                prop_assert_eq!(start.ticket, ticket, "out of order");
                prop_assert!(healthy[start.engine]);
                running.push((start.engine, tokens));
            }
            for (engine, healthy) in healthy.into_iter().enumerate() {
                let on: Vec<u64> = running.iter().filter(|(at, _)| *at == engine).map(|(_, tokens)| *tokens).collect();
                prop_assert!(on.len() <= 3);
                prop_assert_eq!(schedule.load(engine), (on.len() as u32, on.iter().sum()));
                prop_assert!(waiting.is_empty() || !healthy || on.len() == 3, "idle while somebody waits");
            }
            prop_assert_eq!(schedule.waiting("m"), waiting.len());
        }
    }
}
