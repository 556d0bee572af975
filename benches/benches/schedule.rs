//! What a decision of the scheduler costs while others wait: it should not depend on how many do, or who they are.
//!
//! Four engines are as full as may be. `start` is a request that ends, one that arrives, and the start of whoever is
//! next, so that as many wait as before; `cancel` is one that arrives and is no longer wanted. The names are engines'
//! requests, users, and how many wait.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use schedule::{
    Action, Capacity, Class, Made, Outcome, Request, Scheduler, Settings, Share, Speed, Ticket, Verdict,
};
use std::{collections::VecDeque, hint::black_box, sync::Arc, time::Duration};

const MODEL: &str = "model";
const ENGINES: usize = 4;
/// Time from one decision to the next: ten thousand of them in a second.
const APART: Duration = Duration::from_micros(100);

struct World {
    scheduler: Scheduler,
    running: VecDeque<Ticket>,
    now: Duration,
    users: u128,
    arrived: u128,
}

impl World {
    fn new(requests: u32, users: u128, waiting: usize) -> Self {
        // Nobody is refused, so that as many wait as the name says; patience still ends for everybody.
        let settings = Settings { refusing: false, length: usize::MAX, ..Settings::fair() };
        let mut scheduler = Scheduler::new(settings);
        let capacity = Capacity { requests, ..Capacity::default() };
        for engine in 0..ENGINES {
            scheduler.engine(engine, &[MODEL.to_owned()], true, capacity, Speed::default());
        }
        let now = Duration::from_secs(1);
        let mut world = Self { scheduler, running: VecDeque::new(), now, users, arrived: 0 };
        while world.scheduler.waiting(MODEL) < waiting {
            world.arrive();
            world.start();
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
            prompt: 100 + (self.arrived % 13) as u32 * 10,
            most: None,
            prefix: Arc::default(),
            arrived: self.now,
            deadline: None,
            patience: Duration::from_secs(1_000_000),
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

    /// Starts all that may; their first tokens come at once.
    fn start(&mut self) {
        while let Some(action) = self.scheduler.next(self.now) {
            if let Action::Start { ticket, .. } = action {
                self.scheduler.first_token(ticket, self.now);
                self.running.push_back(ticket);
            }
        }
    }

    /// The oldest answer ends, somebody arrives, and whoever is next starts.
    fn turn(&mut self) {
        self.now += APART;
        if let Some(ticket) = self.running.pop_front() {
            self.scheduler.finished(ticket, Outcome::Done, self.now);
        }
        self.arrive();
        self.start();
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
                decisions.bench_function(BenchmarkId::new("start", &name), |bencher| {
                    bencher.iter(|| world.turn());
                });
                assert_eq!(world.scheduler.waiting(MODEL), waiting, "as many wait as before");
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
