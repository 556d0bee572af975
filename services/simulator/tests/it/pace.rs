//! Time, on a paused clock: what a step costs, what waits for what, and that the model's clock does not drift.

use std::time::Duration;

use futures_util::future::join_all;
use simulator::{Config, Faults};
use tokio::time::Instant;

use crate::harness::{config, event, in_process, load, stream};

/// A second per thousand prompt tokens, ten milliseconds per step, one more per sequence.
fn timed() -> Config {
    let (prefill_tokens_per_second, decode_step_ms, decode_us_per_seq) =
        (Some(1000.0), Some(10.0), Some(1000.0));
    Config { time_scale: 1.0, prefill_tokens_per_second, decode_step_ms, decode_us_per_seq, ..config() }
}

/// Timers fire on whole milliseconds, and a request takes one to be prepared.
const SLACK: Duration = Duration::from_millis(3);

fn assert_close(taken: Duration, expected_ms: u64) {
    let expected = Duration::from_millis(expected_ms);
    assert!(taken >= expected && taken <= expected + SLACK, "took {taken:?}, expected {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn the_first_token_takes_the_prompt_and_the_others_a_step_each() {
    let process = in_process(timed());
    let begin = Instant::now();
    let mut body = process.post("/v1/chat/completions", &stream(&"w1 ".repeat(97), 101)).await.into_body();
    assert_eq!(begin.elapsed(), Duration::ZERO, "the headers leave at once");
    event(&mut body).await.unwrap();
    assert_close(begin.elapsed(), 100 + 11);
    let first = Instant::now();
    while event(&mut body).await.is_some() {}
    assert_close(first.elapsed(), 100 * 11);
}

#[tokio::test(start_paused = true)]
async fn sequences_share_steps_and_each_makes_them_longer() {
    let process = in_process(timed());
    let begin = Instant::now();
    let bodies: Vec<_> = (0..10).map(|_| load("w1", 11)).collect();
    join_all(bodies.iter().map(|body| process.ask("/v1/chat/completions", body))).await;
    // Ten prompts of four tokens, then eleven steps of ten sequences.
    assert_close(begin.elapsed(), 40 + 11 * 20);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_fit_waits_with_its_headers_sent() {
    let process = in_process(Config { max_num_seqs: Some(1), ..timed() });
    let begin = Instant::now();
    let mut first = process.post("/v1/chat/completions", &stream("w1", 10)).await.into_body();
    event(&mut first).await.unwrap();
    let mut second = process.post("/v1/chat/completions", &stream("w1", 10)).await.into_body();
    let reading = async { while event(&mut first).await.is_some() {} };
    let (_, role) = tokio::join!(reading, event(&mut second));
    assert!(role.unwrap().starts_with(b"data: {\"id\":"));
    assert_close(begin.elapsed(), 4 + 10 * 11 + 4 + 11);
}

#[tokio::test(start_paused = true)]
async fn ten_times_faster_takes_a_tenth() {
    let process = in_process(Config { time_scale: 10.0, ..timed() });
    let begin = Instant::now();
    process.ask("/v1/chat/completions", &load("w1", 1000)).await;
    assert_close(begin.elapsed(), 1100);
}

#[tokio::test(start_paused = true)]
async fn a_slow_engine_takes_longer_for_every_step() {
    let process = in_process(timed());
    process.engine.set_faults(Faults { slow: Some(3.0), ..Faults::default() });
    let begin = Instant::now();
    process.ask("/v1/chat/completions", &load("w1", 10)).await;
    assert_close(begin.elapsed(), 3 * (4 + 10 * 11));
}

#[tokio::test(start_paused = true)]
async fn as_fast_as_it_can_takes_no_time_at_all() {
    let process = in_process(config());
    let begin = Instant::now();
    process.ask("/v1/chat/completions", &load("w1", 4000)).await;
    assert!(begin.elapsed() <= SLACK);
}
