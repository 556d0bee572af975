//! What a decision of the scheduler costs while others wait: it should not depend on how many do, or who they are.
//!
//! Four engines are as full as may be, and each time an answer ends somebody arrives and whoever is next starts.
//! `arrive` and `start` are the time of these two, `end` that of the first token and the end; `cancel` is a request
//! that arrives and is no longer wanted. The names are engines' requests, users, and how many wait.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use schedule::{
    Action, Capacity, Class, Made, Objective, Outcome, Request, Scheduler, Settings, Share, Speed, Ticket,
    Verdict,
};
use std::{
    collections::VecDeque,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

const MODEL: &str = "model";
const ENGINES: usize = 4;
/// Time from one decision to the next: ten thousand of them in a second.
const APART: Duration = Duration::from_micros(100);

/// What of a turn is measured.
#[derive(Clone, Copy)]
enum Part {
    End,
    Arrive,
    Start,
}

struct World {
    scheduler: Scheduler,
    running: VecDeque<Ticket>,
    /// Those of them whose prompt is not computed.
    fresh: Vec<Ticket>,
    now: Duration,
    users: u128,
    arrived: u128,
}

impl World {
    fn new(requests: u32, users: u128, waiting: usize) -> Self {
        // Nobody is refused, so that as many wait as the name says; patience still ends for everybody.
        // No answer is ever late, so that all of them have time to spare.
        let hour = Duration::from_secs(3_600);
        let promised = Objective::Stream { first_token: hour, per_token: Duration::from_millis(50) };
        let Settings { objectives: [.., batch], .. } = Settings::fair();
        let objectives = [promised, promised, promised, batch];
        let settings = Settings { refusing: false, length: usize::MAX, objectives, ..Settings::fair() };
        let mut scheduler = Scheduler::new(settings);
        let capacity = Capacity { requests, ..Capacity::default() };
        for engine in 0..ENGINES {
            scheduler.engine(engine, &[MODEL.to_owned()], true, capacity, Speed::default());
        }
        let now = Duration::from_secs(1);
        let mut world =
            Self { scheduler, running: VecDeque::new(), fresh: Vec::new(), now, users, arrived: 0 };
        while world.scheduler.waiting(MODEL) < waiting {
            world.arrive();
            world.start();
            world.compute();
        }
        assert_eq!(
            world.running.len(),
            ENGINES * requests as usize,
            "the benchmark asks what it says it asks"
        );
        world
    }

    fn arrive(&mut self) -> Option<Ticket> {
        // All over the place, the same in every run.
        let user = self.arrived.wrapping_mul(0x9E37_79B9_7F4A_7C15) % self.users;
        let class = if self.arrived.is_multiple_of(4) { Class::Batch } else { Class::Interactive };
        let request = Request {
            model: MODEL,
            path: &[
                Share { id: user % 100, weight: 1 },
                Share { id: user, weight: 1 },
                Share { id: 1, weight: 1 },
            ],
            class,
            spare: false,
            prompt: 100 + (self.arrived % 13) as u32 * 10,
            most: None,
            prefix: Arc::default(),
            asks: self.arrived as u64,
            arrived: self.now,
            deadline: None,
            patience: Duration::from_secs(1_000_000),
            only: None,
            avoid: None,
            streams: true,
            preempted: 0,
            made: Made::default(),
        };
        self.arrived += 1;
        match self.scheduler.arrive(&request, self.now) {
            Verdict::Queued(ticket) => Some(ticket),
            Verdict::Refused(_) => None,
        }
    }

    /// Starts all that may.
    fn start(&mut self) {
        while let Some(action) = self.scheduler.next(self.now) {
            if let Action::Start { ticket, .. } = action {
                self.running.push_back(ticket);
                self.fresh.push(ticket);
            }
        }
    }

    fn compute(&mut self) {
        for ticket in self.fresh.drain(..) {
            self.scheduler.first_token(ticket, self.now);
        }
    }

    /// All prompts are computed, and the oldest answer ends.
    fn end(&mut self) {
        self.compute();
        if let Some(ticket) = self.running.pop_front() {
            self.scheduler.finished(ticket, Outcome::Done, self.now);
        }
    }

    /// So many ends, arrivals and starts, and the time that one part of them took.
    fn turns(&mut self, turns: u64, part: Part) -> Duration {
        let mut took = [Duration::ZERO; 3];
        for _ in 0..turns {
            self.now += APART;
            let began = Instant::now();
            self.end();
            let ended = Instant::now();
            self.arrive();
            let arrived = Instant::now();
            self.start();
            let times = [ended - began, arrived - ended, arrived.elapsed()];
            for (took, time) in took.iter_mut().zip(times) {
                *took += time;
            }
        }
        took[part as usize]
    }

    /// Somebody arrives and goes away again.
    fn change_of_mind(&mut self) {
        if let Some(ticket) = self.arrive() {
            self.scheduler.cancel(black_box(ticket));
        }
    }
}

fn decide(criterion: &mut Criterion) {
    let mut decisions = criterion.benchmark_group("schedule");
    for requests in [64, 256] {
        for users in [1, 1_000, 100_000] {
            for waiting in [100, 10_000, 100_000] {
                let mut world = World::new(requests, users, waiting);
                let name = format!("{requests}/{users}/{waiting}");
                for (part, word) in [(Part::Arrive, "arrive"), (Part::Start, "start"), (Part::End, "end")] {
                    decisions.bench_function(BenchmarkId::new(word, &name), |bencher| {
                        bencher.iter_custom(|turns| world.turns(turns, part));
                    });
                }
                let left = world.scheduler.waiting(MODEL);
                assert!(left.abs_diff(waiting) <= ENGINES, "as many wait as before: {left}");
                decisions.bench_function(BenchmarkId::new("cancel", &name), |bencher| {
                    bencher.iter(|| world.change_of_mind());
                });
            }
        }
    }
    decisions.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
