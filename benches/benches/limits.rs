//! What a decision about limits costs, while as many users come as the name says, each in turn.
//!
//! `unlimited` is an action without limits, `management` one limit for every user, `six` one limit for every layer, and
//! `refused` a call that is over its limit. What a call holds is given back at once.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use limits::{Action, Call, Layer, Limit, Limiter, Moment, Settings, Stage, Subjects, Tier};
use std::{hint::black_box, time::Duration};

/// Time from one call to the next: ten thousand of them in a second.
const APART: Duration = Duration::from_micros(100);

struct World {
    limiter: Limiter,
    call: Call,
    users: u128,
    came: u128,
    now: Duration,
}

impl World {
    fn new(limits: Vec<Limit>, users: u128) -> Option<Self> {
        let action = Action { limits, ..Action::default() };
        let settings = Settings { actions: [("do".to_owned(), action)].into(), ..Settings::default() };
        let limiter = Limiter::new(settings);
        let call = Call {
            action: limiter.action("do")?,
            tier: Tier::Free,
            subjects: Subjects::default(),
            stage: Stage::Door,
            tokens: 0,
        };
        Some(Self { limiter, call, users, came: 0, now: Duration::from_secs(1_000) })
    }

    fn turn(&mut self) -> bool {
        // All over the place, the same in every run.
        let user = self.came.wrapping_mul(0x9E37_79B9_7F4A_7C15) % self.users;
        self.came += 1;
        self.now += APART;
        let subjects = Subjects {
            address: Some(user),
            key: Some(user),
            user: Some(user),
            group: Some(user % 100),
            model: Some(user % 10),
            endpoint: Some(7),
        };
        let now = Moment { at: self.now, second: 1_790_000_000 };
        let entered = self.limiter.enter(black_box(&Call { subjects, ..self.call }), now);
        match entered {
            Ok(admission) => {
                self.limiter.end(&admission, None, now);
                true
            }
            Err(refusal) => {
                black_box(refusal);
                false
            }
        }
    }
}

fn limit(per: Layer, requests: u64) -> Limit {
    Limit { per, requests: Some(requests), ..Limit::default() }
}

fn decide(criterion: &mut Criterion) {
    let mut decisions = criterion.benchmark_group("limits");
    let many = 1_000_000_000;
    let six = [Layer::Address, Layer::Key, Layer::User, Layer::Endpoint].map(|layer| limit(layer, many));
    let at_once = Limit { concurrent: Some(many), ..Limit::default() };
    let by_key = Limit { per: Layer::Key, ..at_once.clone() };
    let six: Vec<Limit> = six.into_iter().chain([at_once, by_key]).collect();
    for users in [1, 1_000, 10_000] {
        for (name, limits, allowed) in [
            ("unlimited", Vec::new(), true),
            ("management", vec![limit(Layer::User, many)], true),
            ("six", six.clone(), true),
            ("refused", vec![limit(Layer::User, 0)], false),
        ] {
            let Some(mut world) = World::new(limits, users) else { continue };
            assert_eq!(world.turn(), allowed, "the benchmark asks what it says it asks");
            decisions.bench_function(BenchmarkId::new(name, users), |bencher| {
                bencher.iter(|| world.turn());
            });
        }
    }
    let mut limiter = Limiter::new(Settings::default());
    decisions.bench_function("a place among those under way", |bencher| {
        bencher.iter(|| {
            let place = limiter.begin("POST", black_box("/tollgate.permissions.v1.UserService/ListUsers"));
            if let Ok(Some(place)) = &place {
                limiter.over(place);
            }
        });
    });
    decisions.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
