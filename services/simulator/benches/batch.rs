//! What a step of the batch costs the one who drives it: 200 sequences that run at all times, each replaced by a new one
//! when it ends, with a cache that is large enough, one that is too small, and prompts that begin alike.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use simulator::Profile;
use simulator::batching::{Batch, Limits, Progress, Sequence};
use std::{sync::Arc, time::Duration};

const RUNNING: u64 = 200;

/// Always so many sequences, of lengths that are all over the place but the same in every run.
struct Load {
    batch: Batch,
    now: Duration,
    next: u64,
    shared: bool,
    made: Vec<Progress>,
}

impl Load {
    fn new(limits: Limits, shared: bool) -> Self {
        let batch = Batch::new(limits, Profile::reference().speed, 1);
        let mut load = Self { batch, now: Duration::ZERO, next: 0, shared, made: Vec::new() };
        (0..RUNNING).for_each(|_| load.add());
        (0..2_000).for_each(|_| load.step());
        load
    }

    fn add(&mut self) {
        let (id, number) = (self.next, self.next.wrapping_mul(6_364_136_223_846_793_005) >> 33);
        let (prompt_tokens, output_tokens) = (100 + (number % 2_000) as u32, 50 + (number % 300) as u32);
        let prefix: Arc<[u64]> = match self.shared {
            true => (0..u64::from(prompt_tokens / 16)).map(|block| block + (number % 50) * 1_000).collect(),
            false => [].into(),
        };
        let sequence = Sequence { id, priority: 0, prompt_tokens, output_tokens, prefix };
        assert!(self.batch.add(self.now, sequence).is_ok());
        self.next += 1;
    }

    fn step(&mut self) {
        let Some(length) = self.batch.begin(self.now) else { unreachable!("there is always somebody") };
        self.now += length;
        self.made.clear();
        self.batch.end(self.now, &mut self.made);
        let finished = self.made.iter().filter(|progress| progress.finished.is_some()).count();
        (0..finished).for_each(|_| self.add());
    }
}

fn step(criterion: &mut Criterion) {
    let limits = Profile::reference().limits;
    let mut group = criterion.benchmark_group("step");
    group.throughput(Throughput::Elements(RUNNING));
    for (name, limits, shared) in [
        ("roomy", limits, false),
        ("crowded", Limits { num_gpu_blocks: 8_000, ..limits }, false),
        ("alike", limits, true),
    ] {
        let mut load = Load::new(limits, shared);
        group.bench_function(name, |bencher| bencher.iter(|| load.step()));
        assert_eq!(load.batch.counts().preemptions > 0, name == "crowded");
        assert_eq!(load.batch.counts().prefix_hits > 0, shared);
    }
}

criterion_group!(benches, step);
criterion_main!(benches);
