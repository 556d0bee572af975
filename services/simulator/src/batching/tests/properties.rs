//! What holds whatever comes: on random arrivals, aborts and steps, in caches that are far too small.

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Action {
    Add {
        priority: i64,
        prompt_tokens: u32,
        output_tokens: u32,
        family: u64,
        common: u32,
    },
    Abort {
        id: u64,
    },
    /// A step, in the middle of which a sequence may be aborted.
    Step {
        abort: Option<u64>,
    },
}

fn action() -> impl Strategy<Value = Action> {
    let add = (-3_i64..3, 1_u32..150, 0_u32..12, 0_u64..3, 0_u32..40);
    prop_oneof![
        3 => add.prop_map(|(priority, prompt_tokens, output_tokens, family, common)| {
            Action::Add { priority, prompt_tokens, output_tokens, family, common }
        }),
        1 => (0_u64..40).prop_map(|id| Action::Abort { id }),
        6 => proptest::option::weighted(0.2, 0_u64..40).prop_map(|abort| Action::Step { abort }),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    // The longest sequence has 150 + 12 tokens, and so needs up to 41 blocks.
    (1_usize..6, 41_u32..90, any::<bool>(), any::<bool>(), 0.0..0.2_f64).prop_map(
        |(max_num_seqs, num_gpu_blocks, enable_prefix_caching, by_priority, watermark)| Limits {
            max_num_seqs,
            num_gpu_blocks,
            watermark,
            enable_prefix_caching,
            by_priority,
            ..LIMITS
        },
    )
}

/// The first `common` blocks are those of the family, the rest its own.
fn content(id: u64, family: u64, common: u32, tokens: u32) -> std::sync::Arc<[u64]> {
    let own = |place: u32| 1_000_000 * (id + 10) + u64::from(place);
    let shared = |place: u32| 1000 * (family + 1) + u64::from(place);
    (0..tokens / 4).map(|place| if place < common { shared(place) } else { own(place) }).collect()
}

/// A batch and everything it has done.
struct Run {
    batch: Batch,
    now: Duration,
    next: u64,
    wanted: HashMap<u64, u32>,
    aborted: HashSet<u64>,
    made: Vec<Progress>,
}

impl Run {
    fn new(limits: Limits, noise: f64) -> Self {
        let batch = Batch::new(limits, Speed { noise, ..SPEED }, 9);
        let (wanted, aborted) = (HashMap::new(), HashSet::new());
        Self { batch, now: Duration::ZERO, next: 0, wanted, aborted, made: Vec::new() }
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Add { priority, prompt_tokens, output_tokens, family, common } => {
                let id = self.next;
                let prefix = content(id, family, common, prompt_tokens + output_tokens);
                let sequence = Sequence { id, priority, prompt_tokens, output_tokens, prefix };
                add(&mut self.batch, self.now, sequence);
                self.wanted.insert(id, output_tokens);
                self.next += 1;
            }
            Action::Abort { id } => self.abort(id),
            Action::Step { abort } => {
                self.step(abort);
            }
        }
        audit(&self.batch);
    }

    fn abort(&mut self, id: u64) {
        if self.batch.abort(id).is_some() {
            self.aborted.insert(id);
        }
    }

    fn step(&mut self, abort: Option<u64>) -> bool {
        let before: HashSet<u64> = self.batch.running.iter().map(|running| running.id).collect();
        let Some(length) = self.batch.begin(self.now) else { return false };
        audit(&self.batch);
        in_order(&self.batch, &before);
        abort.into_iter().for_each(|id| self.abort(id));
        audit(&self.batch);
        self.now += length;
        self.batch.end(self.now, &mut self.made);
        true
    }

    fn finish(mut self) -> Self {
        while self.step(None) {
            audit(&self.batch);
        }
        assert_eq!(self.batch.waiting() + self.batch.running(), 0, "nothing is left behind");
        assert_eq!(self.batch.cache().held, 0, "and nothing is held");
        self
    }

    /// Tokens that each sequence got, and how often it ended.
    fn tokens(&self) -> HashMap<u64, (u32, u32)> {
        let mut tokens: HashMap<u64, (u32, u32)> = HashMap::new();
        for progress in &self.made {
            let (made, ended) = tokens.entry(progress.id).or_default();
            *made += u32::from(!matches!(progress.moment, Moment::Prefilled { token: false, .. }));
            *ended += u32::from(progress.finished.is_some());
        }
        tokens
    }
}

/// The limits hold, and every block is accounted for.
fn audit(batch: &Batch) {
    let limits = batch.limits;
    assert!(batch.running.len() <= limits.max_num_seqs);
    let planned: u32 = batch.running.iter().map(|running| running.planned).sum();
    assert!(planned <= limits.max_num_batched_tokens);
    assert_eq!(batch.waiting.len(), batch.ranks.len());
    for waiting in batch.waiting.values() {
        assert_eq!((waiting.blocks(), waiting.computed(), waiting.planned), (0, 0, 0));
    }
    for running in &batch.running {
        let tokens = running.computed() + running.planned;
        assert!(running.blocks() * limits.block_size >= tokens);
        assert!(running.blocks() <= tokens.max(1).div_ceil(limits.block_size), "no more than it needs");
    }
    batch.blocks.audit(batch.running.iter().map(Running::held));
    let Cache { total, held, idle } = batch.cache();
    assert!(held + idle <= total);
}

/// Who started in this step was ahead of everybody who still waits.
fn in_order(batch: &Batch, before: &HashSet<u64>) {
    let started = batch.running.iter().filter(|running| !before.contains(&running.id));
    let Some(last) = started.map(Running::rank).max() else { return };
    assert!(batch.waiting.keys().all(|rank| *rank > last));
}

proptest! {
    #[test]
    fn limits_hold_blocks_add_up_and_every_sequence_ends_once_with_its_tokens(
        actions in vec(action(), 1..200), limits in limits(),
    ) {
        let mut run = Run::new(limits, 0.0);
        actions.iter().for_each(|action| run.act(action));
        let run = run.finish();
        let tokens = run.tokens();
        for (id, wanted) in &run.wanted {
            let (made, ended) = tokens.get(id).copied().unwrap_or_default();
            if run.aborted.contains(id) {
                prop_assert!(ended == 0 && made <= *wanted);
            } else {
                prop_assert_eq!((made, ended), (*wanted, 1));
            }
        }
    }

    #[test]
    fn preemption_changes_when_but_not_what(actions in vec(action(), 1..120), limits in limits()) {
        let actions: Vec<_> = actions.iter().filter(|action| !matches!(action, Action::Abort { .. })).collect();
        let outcome = |num_gpu_blocks| {
            let mut run = Run::new(Limits { num_gpu_blocks, ..limits }, 0.0);
            for action in &actions {
                match action {
                    Action::Step { .. } => run.act(&Action::Step { abort: None }),
                    other => run.act(other),
                }
            }
            run.finish().tokens()
        };
        prop_assert_eq!(outcome(41), outcome(100_000));
    }

    #[test]
    fn the_same_seed_and_the_same_events_make_the_same_run(
        actions in vec(action(), 1..100), limits in limits(),
    ) {
        let play = || {
            let mut run = Run::new(limits, 0.1);
            actions.iter().for_each(|action| run.act(action));
            run.finish()
        };
        let (one, other) = (play(), play());
        prop_assert_eq!(one.made, other.made);
        prop_assert_eq!(one.now, other.now);
    }

    #[test]
    fn sharing_saves_exactly_the_full_blocks_in_common(
        first in 1_u32..400, second in 1_u32..400, common in 0_u32..100,
    ) {
        let mut batch = batch(2, false);
        for (id, tokens) in [(1, first), (2, second)] {
            let prefix = content(id, 0, common, tokens);
            add(&mut batch, Duration::ZERO, Sequence { prefix, ..sequence(id, tokens, 1) });
            let mut computed = 0;
            while let Some(length) = batch.begin(Duration::ZERO) {
                computed += batch.work().prefill_tokens;
                end(&mut batch, length);
            }
            let saved = if id == 1 { 0 } else { 4 * common.min(first / 4).min((second - 1) / 4) };
            prop_assert_eq!(computed, u64::from(tokens - saved));
        }
    }

    #[test]
    fn who_was_aborted_leaves_no_trace(actions in vec(action(), 1..60), limits in limits()) {
        let mut run = Run::new(limits, 0.0);
        actions.iter().for_each(|action| run.act(action));
        (0..run.next).for_each(|id| run.abort(id));
        audit(&run.batch);
        prop_assert_eq!(run.batch.cache().held, 0);
        let alone = |batch: &mut Batch, now| {
            // The longest that fits, so that a single block held back would show.
            let longest = Sequence { prefix: [].into(), ..sequence(99, limits.num_gpu_blocks * 4, 1) };
            add(batch, now, longest);
            let (id, timeline) = drain(batch, now)[0];
            (id, timeline.last_token - now, timeline.preemptions, timeline.cached_tokens)
        };
        let mut fresh = Batch::new(limits, SPEED, 9);
        prop_assert_eq!(alone(&mut run.batch, run.now), alone(&mut fresh, Duration::ZERO));
    }
}
