//! Blocks, sharing and preemption, one case each.

use super::*;

const NOW: Duration = Duration::ZERO;

/// Blocks of four tokens, and so many of them.
fn small(num_gpu_blocks: u32) -> Batch {
    Batch::new(Limits { num_gpu_blocks, ..LIMITS }, SPEED, 0)
}

fn with(prefix: &[u64], sequence: Sequence) -> Sequence {
    Sequence { prefix: prefix.into(), ..sequence }
}

fn cached(moment: Moment) -> Option<u32> {
    match moment {
        Moment::Prefilled { cached_tokens, .. } => Some(cached_tokens),
        Moment::Decoded { .. } => None,
    }
}

/// One step; who got something in it.
fn step(batch: &mut Batch) -> Vec<u64> {
    batch.begin(NOW).unwrap();
    end(batch, NOW).iter().map(|progress| progress.id).collect()
}

#[test]
fn blocks_are_taken_as_tokens_are_computed_and_given_back_at_the_end() {
    let mut batch = small(10);
    add(&mut batch, NOW, sequence(1, 7, 3));
    assert_eq!(batch.cache().held, 0, "a waiting sequence holds nothing");
    let held: Vec<u32> = (0..3).map(|_| (step(&mut batch), batch.cache().held).1).collect();
    // Seven tokens in two blocks, the first made one fills them, the second needs a third; then it has ended.
    assert_eq!(held, [2, 2, 0]);
}

#[test]
fn a_prompt_waits_until_all_of_it_fits() {
    let mut batch = small(6);
    add(&mut batch, NOW, sequence(1, 12, 2));
    add(&mut batch, NOW, sequence(2, 16, 1));
    add(&mut batch, NOW, sequence(3, 1, 1));
    assert_eq!(step(&mut batch), [1]);
    assert_eq!((batch.running(), batch.waiting()), (1, 2), "nobody overtakes the one that does not fit");
    assert_eq!(step(&mut batch), [1]);
    assert_eq!(step(&mut batch), [2, 3]);
}

#[test]
fn the_watermark_stays_free_when_a_sequence_starts_beside_others() {
    let mut batch = Batch::new(Limits { num_gpu_blocks: 10, watermark: 0.3, ..LIMITS }, SPEED, 0);
    add(&mut batch, NOW, sequence(1, 16, 2));
    add(&mut batch, NOW, sequence(2, 16, 1));
    assert_eq!(step(&mut batch), [1], "six blocks are free, four needed and three must stay free");
    step(&mut batch);
    assert_eq!(step(&mut batch), [2], "alone it may have them all");
}

#[test]
fn the_last_to_start_is_preempted_and_computes_what_it_had_made_again() {
    let mut batch = small(4);
    add(&mut batch, NOW, sequence(1, 7, 4));
    add(&mut batch, NOW, sequence(2, 7, 4));
    assert_eq!(step(&mut batch), [1, 2]);
    assert_eq!(step(&mut batch), [1, 2]);
    // Both need a third block now; the first gets one of the second's.
    assert_eq!(step(&mut batch), [1]);
    assert_eq!((batch.counts().preemptions, batch.running(), batch.waiting()), (1, 1, 1));
    assert_eq!(step(&mut batch), [1], "its last token");
    batch.begin(NOW).unwrap();
    assert_eq!(batch.work(), Work::prefill(9, 0), "seven of the prompt and the two it had made");
    assert_eq!(end(&mut batch, NOW)[0].moment, Moment::Decoded { since_last: NOW });
    let finished = drain(&mut batch, NOW);
    assert_eq!((finished[0].1.output_tokens, finished[0].1.preemptions), (4, 1));
}

#[test]
fn by_priority_the_lowest_is_preempted_though_it_was_planned_already() {
    let mut batch = Batch::new(Limits { num_gpu_blocks: 4, by_priority: true, ..LIMITS }, SPEED, 0);
    add(&mut batch, NOW, Sequence { priority: 5, ..sequence(1, 5, 9) });
    step(&mut batch);
    add(&mut batch, NOW, Sequence { priority: 1, ..sequence(2, 8, 9) });
    step(&mut batch);
    // The second needs a third block, and the first, which was planned before it in this step, has to go.
    batch.begin(NOW).unwrap();
    assert_eq!(batch.work(), Work::decode(8));
    let ids: Vec<u64> = end(&mut batch, NOW).iter().map(|progress| progress.id).collect();
    assert_eq!((ids, batch.counts().preemptions), (vec![2], 1));
    let order: Vec<u64> = drain(&mut batch, NOW).iter().map(|(id, _)| *id).collect();
    assert_eq!(order, [2, 1]);
}

#[test]
fn when_one_gives_its_own_place_up_the_others_go_on_at_once() {
    let mut batch = Batch::new(Limits { num_gpu_blocks: 4, by_priority: true, ..LIMITS }, SPEED, 0);
    add(&mut batch, NOW, Sequence { priority: 5, ..sequence(1, 7, 9) });
    step(&mut batch);
    add(&mut batch, NOW, Sequence { priority: 1, ..sequence(2, 6, 9) });
    assert_eq!(step(&mut batch), [1, 2], "together they fill the cache");
    // The first needs a block then, and is itself the lowest.
    assert_eq!(step(&mut batch), [2]);
    assert_eq!((batch.counts().preemptions, batch.running(), batch.waiting()), (1, 1, 1));
}

#[test]
fn what_one_has_computed_another_need_not() {
    let mut batch = small(100);
    add(&mut batch, NOW, with(&[11, 12, 13], sequence(1, 13, 1)));
    step(&mut batch);
    add(&mut batch, NOW, with(&[11, 12, 23, 24], sequence(2, 17, 1)));
    batch.begin(NOW).unwrap();
    assert_eq!(batch.work(), Work::prefill(9, 8));
    assert_eq!(cached(end(&mut batch, NOW)[0].moment), Some(8));
    let counts = batch.counts();
    assert_eq!((counts.prefix_queries, counts.prefix_hits), (13 + 17, 8));
}

#[test]
fn two_that_start_together_share_one_copy() {
    let mut batch = small(100);
    for id in [1, 2] {
        add(&mut batch, NOW, with(&[11, 12], sequence(id, 9, 2)));
    }
    step(&mut batch);
    assert_eq!(batch.cache().held, 4, "two in common, one each");
    assert!(batch.abort(1).is_some());
    assert_eq!(batch.cache().held, 3, "what the other still needs stays");
}

#[test]
fn the_last_token_is_always_computed() {
    let mut batch = small(100);
    add(&mut batch, NOW, with(&[11, 12], sequence(1, 8, 1)));
    step(&mut batch);
    add(&mut batch, NOW, with(&[11, 12], sequence(2, 8, 1)));
    batch.begin(NOW).unwrap();
    assert_eq!(batch.work(), Work::prefill(4, 4), "and with it the whole of its block");
}

#[test]
fn an_answer_can_be_the_prefix_of_the_next_question() {
    let mut batch = small(100);
    add(&mut batch, NOW, with(&[11, 12, 13], sequence(1, 6, 7)));
    drain(&mut batch, NOW);
    add(&mut batch, NOW, with(&[11, 12, 13, 14], sequence(2, 16, 1)));
    let Timeline { cached_tokens, .. } = drain(&mut batch, NOW)[0].1;
    assert_eq!(cached_tokens, 12, "of the thirteen tokens twelve were computed");
}

#[test]
fn the_longest_unused_is_given_up_first_and_from_its_end() {
    let mut batch = small(6);
    for (id, prefix) in [(1, [11, 12, 13]), (2, [21, 22, 23])] {
        add(&mut batch, NOW, with(&prefix, sequence(id, 12, 1)));
        step(&mut batch);
    }
    assert_eq!((batch.cache().held, batch.cache().idle), (0, 6));
    add(&mut batch, NOW, sequence(3, 5, 1));
    step(&mut batch);
    for (id, prefix, expected) in [(4, [21, 22, 23], 8), (5, [11, 12, 13], 4)] {
        add(&mut batch, NOW, with(&prefix, sequence(id, 12, 1)));
        batch.begin(NOW).unwrap();
        assert_eq!(cached(end(&mut batch, NOW)[0].moment), Some(expected), "sequence {id}");
    }
}

#[test]
fn a_preempted_sequence_finds_what_nobody_took_from_it() {
    let mut batch = small(5);
    add(&mut batch, NOW, sequence(1, 7, 6));
    add(&mut batch, NOW, with(&[21, 22], sequence(2, 8, 9)));
    while batch.counts().preemptions == 0 {
        step(&mut batch);
    }
    while batch.running() == 0 || batch.waiting() > 0 {
        step(&mut batch);
    }
    let Timeline { cached_tokens, preemptions, .. } = drain(&mut batch, NOW)[0].1;
    assert_eq!((cached_tokens, preemptions), (0, 1), "what it found later is not what its prompt was spared");
    assert_eq!(batch.counts().prefix_hits, 0, "nor counted");
}

#[test]
fn without_the_cache_nothing_is_shared_or_counted() {
    let mut batch = Batch::new(Limits { enable_prefix_caching: false, ..LIMITS }, SPEED, 0);
    for id in [1, 2] {
        add(&mut batch, NOW, with(&[11, 12], sequence(id, 9, 1)));
        let Timeline { cached_tokens, .. } = drain(&mut batch, NOW)[0].1;
        assert_eq!(cached_tokens, 0);
    }
    assert_eq!((batch.counts(), batch.cache().idle), (Counts::default(), 0));
}

#[test]
fn a_sequence_that_can_never_fit_is_refused() {
    let mut batch = small(3);
    let refused = batch.add(NOW, sequence(1, 10, 4));
    assert_eq!(refused, Err(TooLong { tokens: 14, room: 12 }));
    assert_eq!(batch.waiting(), 0);
    add(&mut batch, NOW, sequence(2, 10, 3));
    assert_eq!(drain(&mut batch, NOW).len(), 1, "the last token made needs no room");
}

#[test]
fn what_is_in_a_step_decides_how_long_it_takes() {
    let speed = Speed { attention_ns: 3.0, context_token_ns: 1000.0, ..SPEED };
    let mut batch = Batch::new(LIMITS, speed, 0);
    add(&mut batch, NOW, sequence(1, 10, 3));
    let attention = Duration::from_nanos(3 * 55);
    assert_eq!(batch.begin(NOW), Some(STEP + PREFILL * 10 + SEQUENCE + attention));
    end(&mut batch, NOW);
    assert_eq!(batch.begin(NOW), Some(STEP + SEQUENCE + Duration::from_micros(11)));
}
