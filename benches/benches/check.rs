//! What a decision costs in process, from a thousand grants to a million: it should not depend on their number.
//!
//! `own` is one caller again and again, at the bottom of ten groups, let in at the top; `sets` the same through three
//! nested sets; `refused` the same caller where nothing lets it in; `authorize` from key and model name. `many` goes
//! through a thousand users and all models, so that hardly anything is in the processor's cache. `batch` is a thousand
//! checks in one go, as a batch request asks them.

use benches::world::{self, GRANTED, GRANTED_BY_SETS, MODELS, REFUSED, Size, model, user};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use policy::{Action, ModelId, Policy, Time, UserId};
use std::{hint::black_box, iter::successors};

const NOW: Time = Time(1_000_000);

/// A thousand users and models all over the place, the same in every run.
fn pairs(size: Size) -> Vec<(UserId, ModelId)> {
    let next = |number: &u32| Some(number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let numbers = successors(Some(1_u32), next).map(|number| number >> 8);
    numbers.map(|number| (user(number % size.users), model(number % MODELS))).take(1_000).collect()
}

fn answers_as_meant(policy: &Policy) -> bool {
    let asked = [GRANTED, GRANTED_BY_SETS, REFUSED].map(model);
    asked.map(|model| policy.check(user(0), model, Action::Use, NOW).allowed) == [true, true, false]
}

fn check(criterion: &mut Criterion) {
    let mut decisions = criterion.benchmark_group("check");
    for grants in [1_000, 10_000, 100_000, 1_000_000] {
        let size = Size::of(grants);
        let policy = match Policy::from_facts(size.facts()) {
            Ok(policy) => policy,
            Err(error) => unreachable!("the facts of the benchmark fit together: {error}"),
        };
        assert!(answers_as_meant(&policy), "the benchmark asks what it says it asks");
        let pairs = pairs(size);

        for (name, asked) in [("own", GRANTED), ("sets", GRANTED_BY_SETS), ("refused", REFUSED)] {
            decisions.bench_function(BenchmarkId::new(name, grants), |bencher| {
                bencher.iter(|| policy.check(black_box(user(0)), black_box(model(asked)), Action::Use, NOW));
            });
        }
        decisions.bench_function(BenchmarkId::new("authorize", grants), |bencher| {
            let hash = world::key().hash;
            bencher.iter(|| policy.authorize(black_box(&hash), black_box("model-0"), None, NOW));
        });
        decisions.bench_function(BenchmarkId::new("many", grants), |bencher| {
            let mut next = pairs.iter().cycle();
            bencher.iter(|| next.next().map(|(user, model)| policy.check(*user, *model, Action::Use, NOW)));
        });
        decisions.bench_function(BenchmarkId::new("batch", grants), |bencher| {
            let all = || pairs.iter().map(|(user, model)| policy.check(*user, *model, Action::Use, NOW));
            bencher.iter(|| all().filter(|decision| decision.allowed).count());
        });
    }
    decisions.finish();
}

criterion_group!(benches, check);
criterion_main!(benches);
