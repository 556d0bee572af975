//! Who is served first.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use simulator::{Config, Faults, Policy};
use tokio::time::Instant;

use crate::harness::{InProcess, config, in_process, load, with};

/// Lets requests of these priorities queue up behind a stopped engine, sets it going, and returns the order in which
/// they were served. The clock is paused, so each answer is complete before the next one begins.
async fn served_in_order(policy: Policy, priorities: &[Option<i64>]) -> Vec<usize> {
    let config = Config { max_num_seqs: Some(1), scheduling_policy: policy, time_scale: 1.0, ..config() };
    let process = in_process(config);
    process.engine.set_faults(Faults { hang: true, ..Faults::default() });
    let requests = priorities.iter().enumerate().map(|(place, priority)| ask(&process, place, *priority));
    let start = async {
        process.engine.until(|counters| counters.waiting == priorities.len()).await;
        process.engine.set_faults(Faults::default());
    };
    let (mut finished, ()) = tokio::join!(join_all(requests), start);
    finished.sort();
    finished.into_iter().map(|(_, place)| place).collect()
}

async fn ask(process: &InProcess, place: usize, priority: Option<i64>) -> (Instant, usize) {
    // Requests arrive one after the other, so that ties can go by arrival.
    tokio::time::sleep(Duration::from_millis(place as u64 * 10)).await;
    let body = priority
        .map_or_else(|| load("w1", 2), |priority| with(load("w1", 2), "priority", Value::from(priority)));
    let (status, _) = process.ask("/v1/chat/completions", &body).await;
    assert_eq!(status, 200);
    (Instant::now(), place)
}

const SENT: [Option<i64>; 6] = [Some(5), Some(0), None, Some(-1), Some(10), Some(-1)];

#[tokio::test(start_paused = true)]
async fn lower_priorities_go_first_and_ties_by_arrival() {
    let order = served_in_order(Policy::Priority, &SENT).await;
    let served: Vec<_> = order.iter().map(|place| SENT[*place]).collect();
    assert_eq!(served, [Some(-1), Some(-1), Some(0), None, Some(5), Some(10)]);
    assert_eq!(order, [3, 5, 1, 2, 0, 4]);
}

#[tokio::test(start_paused = true)]
async fn first_come_first_served_takes_no_notice_of_priorities() {
    assert_eq!(served_in_order(Policy::Fcfs, &SENT).await, [0, 1, 2, 3, 4, 5]);
}
