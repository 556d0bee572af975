mod cache;
mod properties;

use super::*;

const STEP: Duration = Duration::from_millis(10);
const PREFILL: Duration = Duration::from_micros(100);
const SEQUENCE: Duration = Duration::from_micros(50);
const SPEED: Speed = Speed { step_ms: 10.0, prefill_token_us: 100.0, sequence_us: 50.0, ..Speed::INSTANT };
const LIMITS: Limits = Limits {
    max_num_seqs: 4,
    max_num_batched_tokens: 100,
    block_size: 4,
    num_gpu_blocks: 1000,
    watermark: 0.0,
    enable_prefix_caching: true,
    by_priority: false,
};

fn batch(max_num_seqs: usize, by_priority: bool) -> Batch {
    Batch::new(Limits { max_num_seqs, by_priority, ..LIMITS }, SPEED, 0)
}

fn sequence(id: u64, prompt_tokens: u32, output_tokens: u32) -> Sequence {
    Sequence { id, priority: 0, prompt_tokens, output_tokens, prefix: [].into() }
}

fn add(batch: &mut Batch, now: Duration, sequence: Sequence) {
    batch.add(now, sequence).unwrap();
}

/// Ends the step that has begun and returns what it made.
fn end(batch: &mut Batch, now: Duration) -> Vec<Progress> {
    let mut made = Vec::new();
    batch.end(now, &mut made);
    made
}

/// Runs steps until nothing is left and returns who finished, in order.
fn drain(batch: &mut Batch, mut now: Duration) -> Vec<(u64, Timeline)> {
    let mut finished = Vec::new();
    while let Some(length) = batch.begin(now) {
        now += length;
        let made = end(batch, now);
        finished.extend(made.into_iter().filter_map(|progress| Some((progress.id, *progress.finished?))));
    }
    finished
}

#[test]
fn the_first_token_comes_with_the_end_of_the_prompt() {
    let mut batch = batch(4, false);
    add(&mut batch, Duration::ZERO, sequence(1, 20, 2));
    let length = batch.begin(Duration::ZERO).unwrap();
    assert_eq!(length, STEP + PREFILL * 20 + SEQUENCE);
    let moment =
        Moment::Prefilled { prompt_tokens: 20, cached_tokens: 0, since_arrival: length, token: true };
    assert_eq!(end(&mut batch, length), [Progress { id: 1, moment, finished: None }]);

    let second = batch.begin(length).unwrap();
    assert_eq!(second, STEP + SEQUENCE);
    let progress = end(&mut batch, length + second).remove(0);
    assert_eq!(progress.moment, Moment::Decoded { since_last: second });
    let timeline = progress.finished.unwrap();
    assert_eq!((timeline.output_tokens, timeline.last_token), (2, length + second));
    assert!(batch.begin(length + second).is_none());
}

#[test]
fn a_long_prompt_is_computed_in_chunks_while_others_go_on() {
    let mut batch = batch(4, false);
    add(&mut batch, Duration::ZERO, sequence(1, 1, 9));
    batch.begin(Duration::ZERO);
    end(&mut batch, STEP);
    add(&mut batch, STEP, sequence(2, 250, 1));
    for (step, made) in [vec![1], vec![1], vec![1, 2]].into_iter().enumerate() {
        assert!(batch.begin(STEP).is_some());
        let ids: Vec<u64> = end(&mut batch, STEP).iter().map(|progress| progress.id).collect();
        assert_eq!(ids, made, "step {step}");
    }
}

#[test]
fn the_lowest_priority_runs_first_and_ties_go_by_arrival() {
    let mut batch = batch(1, true);
    for (id, priority) in [5, 0, 0, -1, 10, -1].into_iter().enumerate() {
        add(&mut batch, Duration::ZERO, Sequence { priority, ..sequence(id as u64, 1, 1) });
    }
    let order: Vec<u64> = drain(&mut batch, Duration::ZERO).iter().map(|(id, _)| *id).collect();
    assert_eq!(order, [3, 5, 1, 2, 0, 4]);
}

#[test]
fn without_the_policy_a_priority_changes_nothing() {
    let mut batch = batch(1, false);
    for (id, priority) in [5, -1].into_iter().enumerate() {
        add(&mut batch, Duration::ZERO, Sequence { priority, ..sequence(id as u64, 1, 1) });
    }
    assert_eq!(drain(&mut batch, Duration::ZERO).first().unwrap().0, 0);
}

#[test]
fn an_aborted_sequence_makes_nothing_more() {
    let mut batch = batch(1, false);
    add(&mut batch, Duration::ZERO, sequence(1, 5, 3));
    add(&mut batch, Duration::ZERO, sequence(2, 7, 3));
    batch.begin(Duration::ZERO);
    assert_eq!(batch.abort(2), Some(Aborted { prefilling: true, prompt_tokens: 7 }));
    end(&mut batch, STEP);
    batch.begin(STEP);
    assert_eq!(batch.abort(1), Some(Aborted { prefilling: false, prompt_tokens: 5 }));
    assert_eq!(end(&mut batch, STEP), []);
    assert_eq!((batch.running(), batch.waiting()), (0, 0));
    assert_eq!(batch.abort(1), None);
}

#[test]
fn a_sequence_without_output_ends_with_its_prompt() {
    let mut batch = batch(1, false);
    add(&mut batch, Duration::ZERO, sequence(1, 5, 0));
    let (id, timeline) = drain(&mut batch, Duration::ZERO)[0];
    assert_eq!((id, timeline.output_tokens, timeline.prompt_tokens), (1, 0, 5));
}
